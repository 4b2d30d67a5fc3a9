"""In which numbers the products of codes and dictionaries are formed."""

from __future__ import annotations

import torch

__all__ = ["fast_dtype"]


def fast_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where its products are faster than float32's, else float32."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    asked = getattr(torch.cpu, "_is_avx512_bf16_supported", None)  # not documented; older versions lack it
    return torch.bfloat16 if asked is not None and asked() else torch.float32
