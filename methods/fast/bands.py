"""Sparse coding of all patches of an image on a CPU in float32: a few rows of patches at a time stay in the caches.

A thread takes a whole band through all steps. Between two products there is one compiled pass over the codes
(`methods.fast.passes`), and nothing new is asked of the system's memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from bench.methods.fast.passes import add_patches, take_patches
from bench.methods.fast.threads import torch_in_parallel
from torch import Tensor

__all__ = ["aligned", "sum_of_estimates"]

BAND = 1024  # patches coded together; 256 codes of each take half of a core's second cache
ALIGNMENT = 16  # numbers that the widest registers hold


def aligned(x: Tensor) -> Tensor:
    """x (n, m) with columns of zeros up to a multiple of 16: a product of 81 columns takes longer than one of 96."""
    return F.pad(x.detach(), (0, -x.shape[1] % ALIGNMENT)).contiguous()


def sum_of_estimates(images: Sequence[Tensor], size: int, estimate: Callable[..., Tensor]) -> Tensor:
    """The sum over all patches of size x size pixels of their estimates, each in its place, like the first image.

    images    (C, h, w), all of one shape
    estimate  from the patches (n, m) of each image, `aligned`, to estimates (n, m) of the first one's
    """
    pictures = [np.ascontiguousarray(image) for image in images]
    channels, height, width = pictures[0].shape
    gh, gw, m = height - size + 1, width - size + 1, channels * size**2
    rows = max(1, BAND // gw)
    tops = range(0, gh, rows)

    @torch.inference_mode()
    def one_band(top: int) -> np.ndarray:
        down = min(rows, gh - top)
        patches = [torch.zeros(down * gw, m + -m % ALIGNMENT) for _ in pictures]
        for picture, out in zip(pictures, patches, strict=True):
            take_patches(picture, size, top, 0, down, gw, 1, out.numpy())
        return estimate(*patches).numpy()

    total = np.zeros_like(pictures[0])
    with torch_in_parallel(torch.device("cpu")) as workers:
        for top, estimates in zip(tops, workers.map(one_band, tops), strict=True):
            add_patches(estimates, size, top, 0, min(rows, gh - top), gw, 1, total)
    return torch.from_numpy(total)
