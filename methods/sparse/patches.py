"""All overlapping patches of an image, and the way back by averaging."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["average", "centre", "coverage", "extract", "reflect"]


def extract(x: Tensor, size: int) -> Tensor:
    """All patches of `size` x `size` pixels, stride 1, none beyond the border (Sec. 2).

    x        images (B, C, h, w)
    returns  (B, gh, gw, m) with gh = h - size + 1, gw = w - size + 1, m = C * size * size: the pixels of patch (i, j)
             of channel 0 row by row, then of channel 1, ...; its top left pixel is (i, j)
    """
    B, _, h, w = x.shape
    return F.unfold(x, size).transpose(1, 2).reshape(B, h - size + 1, w - size + 1, -1)


def centre(y: Tensor) -> tuple[Tensor, Tensor]:
    """Eq. 5: patches (..., m) without their means, and the means (..., 1). In colour one mean over all channels."""
    mu = y.mean(-1, keepdim=True)
    return y - mu, mu


def average(patches: Tensor, size: int) -> Tensor:
    """Eq. 2 and 6: each pixel is the mean of the estimates that the patches covering it give.

    The paper divides by m everywhere and neglects the border; here, as in the authors' code, a pixel near the border
    is divided by the number of patches that do cover it.

    patches  (B, gh, gw, m)
    returns  images (B, C, h, w)
    """
    B, gh, gw, m = patches.shape
    height, width = gh + size - 1, gw + size - 1
    total = F.fold(patches.reshape(B, gh * gw, m).transpose(1, 2), (height, width), size)
    return total / coverage(height, width, size, like=total)


def coverage(height: int, width: int, size: int, like: Tensor) -> Tensor:
    """How many patches cover each pixel, (height, width), with the dtype and device of `like`."""

    def along(length: int) -> Tensor:
        position = torch.arange(length, device=like.device)
        return position.clamp(max=length - size) - (position - size + 1).clamp(min=0) + 1

    return torch.outer(along(height), along(width)).to(like.dtype)


def reflect(x: Tensor, before: int, below: int | None = None, right: int | None = None) -> Tensor:
    """x (B, C, h, w) with pixels mirrored about its border added, as often as it takes: a side may be 1 pixel long.

    before        above and to the left
    below, right  default: `before`
    """
    for axis, after in ((2, below), (3, right)):
        n = x.shape[axis]
        i = torch.arange(-before, n + (before if after is None else after), device=x.device) % max(1, 2 * (n - 1))
        x = x.index_select(axis, torch.minimum(i, (2 * (n - 1) - i).abs()))
    return x
