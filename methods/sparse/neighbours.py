"""The patches most like each patch of an image, searched for in a window around it."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["nearest_patches", "window_sums"]

BAND = 24  # rows of patches searched for at a time: their distances, (2 r + 1)^2 for each patch, are held in memory


def nearest_patches(x: Tensor, size: int, k: int, radius: int, dilation: int = 1) -> tuple[Tensor, Tensor]:
    """The k patches that are nearest to each patch of x, itself the first of them.

    x         (h, w), with a border of radius * dilation pixels around the part whose patches are compared; the
              neighbours may lie in the border
    size      s: patches are s x s pixels, `dilation` pixels apart
    radius    r: candidates begin up to r * dilation pixels away along each axis, in steps of `dilation`
    returns   squared distances (k, gh * gw), ascending, and the places of the neighbours among all patches of x, as
              row * (patches in a row of x) + column; gh = h - (s - 1) dilation - 2 r dilation, gw likewise
    """
    r, d, extent = radius, dilation, (size - 1) * dilation
    side = 2 * r + 1
    h, w = x.shape
    gh, gw = h - extent - 2 * r * d, w - extent - 2 * r * d
    in_a_row = w - extent
    shift = torch.arange(side, device=x.device) * d
    offsets = (shift[:, None] * in_a_row + shift).flatten()  # from the first candidate of a patch
    distances, places = x.new_empty(k, gh * gw), offsets.new_empty(k, gh * gw)
    x = x.contiguous()
    for top in range(0, gh, BAND):
        rows = min(BAND, gh - top)
        here = x[top + r * d : top + r * d + rows + extent, r * d : r * d + gw + extent]
        # On the CPU topk takes half the time where 64 k <= n: it sorts partially there. Hence the infinite ones.
        candidates = x.new_full((max(side * side, 64 * k), rows, gw), torch.inf)
        for i in range(side):
            # the band moved i * d rows down and 0, d, 2 d, ... columns to the right, without a copy
            moved = x.as_strided((side, *here.shape), (d, w, 1), x.storage_offset() + (top + i * d) * w)
            candidates[i * side : (i + 1) * side] = window_sums(moved.sub(here).square_(), size, d)
        found = candidates.flatten(1).T.contiguous().topk(k, largest=False, sorted=True)
        first = torch.arange(top, top + rows, device=x.device)[:, None] * in_a_row + torch.arange(gw, device=x.device)
        band = slice(top * gw, (top + rows) * gw)
        distances[:, band] = found.values.T
        places[:, band] = (offsets[found.indices] + first.view(-1, 1)).T
    return distances, places


def window_sums(x: Tensor, size: int, dilation: int = 1) -> Tensor:
    """Sums over windows of size x size values, `dilation` apart: (..., h, w) to (..., h - e, w - e), e their extent.

    Along each axis from sums over 1, 2, 4, ... values: 4 additions where 7 values take 6.
    """
    for axis in (-1, -2):
        length = x.shape[axis] - (size - 1) * dilation
        total, reached, n, power = None, 0, 1, x  # power: sums over n values
        while True:
            if size & n:
                part = power.narrow(axis, reached * dilation, length)
                total = part if total is None else total + part
                reached += n
            if 2 * n > size:
                break
            left = power.shape[axis] - n * dilation
            power = power.narrow(axis, 0, left) + power.narrow(axis, n * dilation, left)
            n *= 2
        x = total
    return x
