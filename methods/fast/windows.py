"""The windows of GroupSC's patches: tiles of patches, and the neighbours that a tile's patches share, thinned."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["Tiling", "neighbourhood"]

TILE = 12  # side of a tile, in patches
MARGIN = 2  # patches around a tile that are all kept


class Tiling:
    """The grid of gh x gw patches cut into `down` x `across` tiles of h x w patches, and the neighbours of a tile.

    They are the same for every tile but for its place. The last tiles may reach beyond the grid; patches there are
    zero and nobody's neighbours.

    rows, columns  (n_near,)  where the neighbours are, counted from a tile's first patch
    weight         (h * w, n_near)  how often a neighbour counts for each of the tile's patches: 0 outside its window
    """

    def __init__(self, gh: int, gw: int, window: int, thin: int, device: torch.device) -> None:
        self.gh, self.gw = gh, gw
        self.down, self.across = math.ceil(gh / TILE), math.ceil(gw / TILE)
        self.h, self.w = math.ceil(gh / self.down), math.ceil(gw / self.across)
        self.rows, self.columns, times = neighbourhood(self.h, self.w, window, thin)
        bi = torch.arange(self.h).repeat_interleave(self.w)[:, None]
        bj = torch.arange(self.w).repeat(self.h)[:, None]
        within = _within(self.rows - bi, window) & _within(self.columns - bj, window)
        self.weight = (within * times).to(device)

    def n_pairs(self, *, halved: bool) -> int:
        """Pairs of a patch and a neighbour of its tile's, or of its half of the tile's."""
        n, n_near = self.weight.shape
        return self.down * self.across * n * (self.halves()[1] if halved else n_near)

    def halves(self) -> tuple[int, int, int]:
        """How many parts a tile's rows make, 2 or 1, and which neighbours its patches have: all others weigh 0.

        returns  n_parts, n, step: those of part k are k * step ... k * step + n - 1
        """
        n_near = len(self.rows)
        if self.h % 2:
            return 1, n_near, 0
        used = [(weight > 0).any(0).nonzero()[:, 0] for weight in self.weight.chunk(2)]
        step = int(used[1][0])
        n = max(int(used[0][-1]) + 1, n_near - step)
        return 2, n, n_near - n

    def near(self) -> tuple[Tensor, Tensor]:
        """Each tile's neighbours, as places in what `cut` returns, flattened, and which of them are beyond the grid.

        Both (n_tiles, n_near), on the device of `weight`.
        """
        i = (torch.arange(self.down) * self.h).repeat_interleave(self.across)[:, None] + self.rows
        j = (torch.arange(self.across) * self.w).repeat(self.down)[:, None] + self.columns
        exists = (i >= 0) & (i < self.gh) & (j >= 0) & (j < self.gw)
        tile = (i // self.h) * self.across + j // self.w
        place = tile * (self.h * self.w) + (i % self.h) * self.w + j % self.w
        return torch.where(exists, place, 0).to(self.weight.device), ~exists.to(self.weight.device)

    def cut(self, x: Tensor) -> Tensor:
        """(1, gh, gw, n) to (n_tiles, h * w, n)."""
        below, beside = self.down * self.h - self.gh, self.across * self.w - self.gw
        x = torch.nn.functional.pad(x[0], (0, 0, 0, beside, 0, below))
        x = x.unflatten(1, (self.across, self.w)).unflatten(0, (self.down, self.h))
        return x.transpose(1, 2).flatten(2, 3).flatten(0, 1)

    def join(self, x: Tensor) -> Tensor:
        """(n_tiles, h * w, n) to (1, gh, gw, n)."""
        x = x.unflatten(1, (self.h, self.w)).unflatten(0, (self.down, self.across))
        return x.transpose(1, 2).flatten(2, 3).flatten(0, 1)[None, : self.gh, : self.gw]


def neighbourhood(h: int, w: int, window: int, thin: int) -> tuple[Tensor, Tensor, Tensor]:
    """Rows and columns of the neighbours kept for an h x w tile, (n_near,) each, and how often each counts.

    They are counted from the tile's first patch: 0 <= row < h is in the tile.
    """
    i = torch.arange(-(window // 2), h + (window - 1) // 2)
    j = torch.arange(-(window // 2), w + (window - 1) // 2)
    # drawn, not every other one: a lattice would miss all that repeats in step with it
    lots = torch.rand(len(i) // thin + 1, len(j) // thin + 1, thin**2, generator=torch.Generator().manual_seed(0))
    drawn = lots == lots.amax(-1, keepdim=True)
    drawn = drawn.unflatten(2, (thin, thin)).transpose(1, 2).flatten(2, 3).flatten(0, 1)[: len(i), : len(j)]
    close_i, close_j = ((x >= -MARGIN) & (x < n + MARGIN) for x, n in ((i, h), (j, w)))
    close = close_i[:, None] & close_j
    rows, columns = (drawn | close).nonzero(as_tuple=True)
    return i[rows], j[columns], torch.where(close[rows, columns], 1.0, float(thin * thin))


def _within(offset: Tensor, window: int) -> Tensor:
    return (offset >= -(window // 2)) & (offset <= (window - 1) // 2)
