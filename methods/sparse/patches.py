"""All overlapping patches of an image, and the way back by averaging."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["average", "centre", "coverage", "extract", "from_image", "random_patches", "reflect", "sum_of_estimates"]

AT_ONCE = 2**15  # patches that `sum_of_estimates` holds


def from_image(image: np.ndarray, size: int) -> Tensor:
    """A float32 image (H, W, C) as (1, C, H, W), a copy; reflected, below and to the right, to the size of a patch.

    Raises ValueError if not all of its values are finite.
    """
    wrong = image.size - np.count_nonzero(np.isfinite(image))
    if wrong:
        raise ValueError(f"{wrong} of the image's {image.size} values are NaN or infinite; expected finite ones.")
    H, W, _ = image.shape
    return reflect(torch.tensor(image).permute(2, 0, 1)[None], 0, max(0, size - H), max(0, size - W)).contiguous()


def extract(x: Tensor, size: int) -> Tensor:
    """All patches of `size` x `size` pixels, stride 1, none beyond the border (Sec. 2).

    x        images (B, C, h, w)
    returns  (B, gh, gw, m) with gh = h - size + 1, gw = w - size + 1, m = C * size * size: the pixels of patch (i, j)
             of channel 0 row by row, then of channel 1, ...; its top left pixel is (i, j)
    """
    B, _, h, w = x.shape
    return F.unfold(x, size).transpose(1, 2).reshape(B, h - size + 1, w - size + 1, -1)


def centre(y: Tensor, channels: int = 1) -> tuple[Tensor, Tensor]:
    """Eq. 5: patches (..., m) without their means, and the means (..., 1). In colour one mean over all channels.

    channels  3: each loses its own mean instead, and the means are (..., m), repeated over the channel
    """
    if channels == 1:
        mu = y.mean(-1, keepdim=True)
    else:
        parts = y.unflatten(-1, (channels, -1))
        mu = parts.mean(-1, keepdim=True).expand_as(parts).flatten(-2)
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


def random_patches(x: Tensor, size: int, most: int, seed: int = 0) -> Tensor:
    """All patches (n, m) of the image x (1, C, h, w), or `most` different ones at random where there are more."""
    views = x[0].unfold(1, size, 1).unfold(2, size, 1).movedim(0, 2)  # (gh, gw, C, size, size), no copy
    gh, gw = views.shape[:2]
    if gh * gw <= most:
        return views.reshape(gh * gw, -1)
    chosen = torch.from_numpy(np.random.default_rng(seed).choice(gh * gw, most, replace=False))
    return views[chosen // gw, chosen % gw].flatten(1)


def sum_of_estimates(x: Tensor, size: int, estimate: Callable[[Tensor], Tensor], stride: int = 1) -> Tensor:
    """The sum over all patches of their estimates, each in its place; a few rows of patches at a time.

    x         image (1, C, h, w)
    estimate  from patches (n, m) to their estimates
    stride    pixels between patches
    returns   (1, C, h, w); divided by `coverage`, for stride 1, it is the average
    """
    total = torch.zeros_like(x)
    gh, gw = ((n - size) // stride + 1 for n in x.shape[2:])
    rows = max(1, AT_ONCE // gw)
    for top in range(0, gh, rows):
        band = slice(stride * top, stride * (min(top + rows, gh) - 1) + size)
        patches = F.unfold(x[:, :, band], size, stride=stride)[0].T.contiguous()
        total[:, :, band] += F.fold(estimate(patches).T[None], x[:, :, band].shape[2:], size, stride=stride)
    return total


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
