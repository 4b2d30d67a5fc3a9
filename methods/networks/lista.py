"""The gradient half of a LISTA step; which shrinkage follows it makes the model SC or GroupSC."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

__all__ = ["gradient_step"]


def gradient_step(alpha: Tensor | None, y: Tensor, C: Tensor, D: Tensor, M: Tensor | None = None) -> Tensor:
    """B = alpha + C^T (M * (y - D alpha)): Eq. 3 and the first line of Eq. 11; with a mask, Eq. 14.

    alpha  codes (..., p), or None for 0, whose first step is C^T (M * y); may be of a longer dtype than the others,
           in which the products are formed
    y      centred patches (..., m)
    C, D   (m, p)
    M      1 where a value was observed, else 0, (..., m); None: all were
    """
    residual = y if alpha is None else y - F.linear(alpha.to(D.dtype), D)
    if M is not None:
        residual = M * residual
    step = F.linear(residual, C.T)
    return step if alpha is None else alpha + step
