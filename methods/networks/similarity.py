"""Similarities between patches of one window, and sums over neighbours weighted with them.

A patch b = (i, j) has as neighbours the patches in rows i - w//2 ... i + (w-1)//2 and in columns likewise, those that
exist: `window` w = 48 gives the authors' i-24 ... i+23, an odd w a centred window. Sigma_ba is 0 elsewhere, so the
grid of patches is cut into tiles, and each tile is multiplied with its surroundings only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import torch
from bench.methods.networks.on_gpu import dense_similarity
from bench.methods.sparse.multiply import baddbmm, bmm, product
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["Similarity", "Tile", "mix", "n_pairs", "similarity", "tiles"]

WIDER = 1.25
"""How many times the pairs of patches of square tiles strips may have."""

FAR = 1e10
"""Added to the distance of patches outside the window, as by the authors: exp(-FAR) is 0."""


def similarity(x: Tensor, kappa: Tensor) -> Tensor:
    """Eq. 12: Sigma_ba = exp(-||diag(kappa) (x_b - x_a)||^2) for all patches x (..., n, m): (..., n, n).

    The definition; what the network runs is `Similarity`.
    """
    u = x * kappa
    return torch.exp(-(u.unsqueeze(-2) - u.unsqueeze(-3)).square().sum(-1))


def mix(Sigma: Tensor, estimate: Tensor, nu: Tensor) -> Tensor:
    """Algorithm 1, line 7: (1 - nu) Sigma + nu Sigma^, nu in [0, 1]."""
    return torch.lerp(Sigma, estimate, nu.to(Sigma.dtype))


@dataclass(frozen=True)
class Tile:
    """Patches rows x columns of the grid, and the surroundings near_rows x near_columns with all their neighbours."""

    rows: slice
    columns: slice
    near_rows: slice
    near_columns: slice

    @property
    def shape(self) -> tuple[int, int]:
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start

    @property
    def near_shape(self) -> tuple[int, int]:
        return self.near_rows.stop - self.near_rows.start, self.near_columns.stop - self.near_columns.start

    def inside(self, x: Tensor) -> Tensor:
        """The tile's own part of x (B, gh, gw, ...), as (B, n_tile, ...)."""
        return x[:, self.rows, self.columns].flatten(1, 2)

    def around(self, x: Tensor) -> Tensor:
        """The part of x (B, gh, gw, ...) that holds all the neighbours of the tile's patches, (B, n_near, ...)."""
        return x[:, self.near_rows, self.near_columns].flatten(1, 2)

    def penalty(self, window: int, like: Tensor) -> Tensor:
        """(n_tile, n_near): 0 for neighbours, -FAR for others, with the dtype and device of `like`."""
        spans = [
            (near.start - own.start, own.stop - own.start, near.stop - near.start)
            for own, near in ((self.rows, self.near_rows), (self.columns, self.near_columns))
        ]
        return _penalty(*spans, window, like.dtype, like.device)


@lru_cache(maxsize=32)
@torch.inference_mode(False)  # what is kept may be wanted in training later
def _penalty(
    rows: tuple[int, int, int], columns: tuple[int, int, int], window: int, dtype: torch.dtype, device: torch.device
) -> Tensor:
    def near(offset: int, n_own: int, n_near: int) -> Tensor:
        i = torch.arange(n_own, device=device)[:, None]
        a = torch.arange(offset, offset + n_near, device=device)[None, :]
        return (a >= i - window // 2) & (a <= i + (window - 1) // 2)

    neighbours = near(*rows)[:, None, :, None] & near(*columns)[None, :, None, :]
    return torch.where(neighbours.flatten(2, 3).flatten(0, 1), 0.0, -FAR).to(dtype)


@lru_cache(maxsize=64)
def tiles(gh: int, gw: int, window: int, side: int) -> tuple[Tile, ...]:
    """Tiles of about side * side patches that cover a grid of gh x gw: whole rows of a grid not much wider than the
    window, which lie in memory as they are wanted; else squares.
    """
    squares, strips = _cut(gh, gw, window, side, side), _cut(gh, gw, window, max(1, side * side // gw), gw)
    return strips if n_pairs(strips) <= WIDER * n_pairs(squares) else squares


def n_pairs(cut: Sequence[Tile]) -> int:
    """Pairs of a patch and another of its tile's surroundings."""
    return sum(math.prod(tile.shape) * math.prod(tile.near_shape) for tile in cut)


def _cut(gh: int, gw: int, window: int, height: int, width: int) -> tuple[Tile, ...]:
    def cut(length: int, side: int) -> list[tuple[slice, slice]]:
        n = max(1, math.ceil(length / side))
        edges = [round(k * length / n) for k in range(n + 1)]
        return [
            (slice(a, b), slice(max(0, a - window // 2), min(length, b + (window - 1) // 2)))
            for a, b in pairwise(edges)
        ]

    return tuple(Tile(rows, columns, r, c) for rows, r in cut(gh, height) for columns, c in cut(gw, width))


class Similarity:
    """Sigma of a batch of images, and its row sums ||Sigma_i||_1.

    tiles  where each part of Sigma belongs
    Sigma  for each tile, (B, n_tile, n_near), in the dtype of the products to come
    mass   (B, gh, gw, 1), float32 at least
    """

    def __init__(self, tiles: Sequence[Tile], Sigma: Sequence[Tensor], mass: Tensor) -> None:
        self.tiles, self.Sigma, self.mass = tuple(tiles), tuple(Sigma), mass

    @classmethod
    def of(cls, u: Tensor, window: int, side: int, dtype: torch.dtype) -> Similarity:
        """Eq. 12 within the window, by tiles of about side x side patches; u = diag(kappa) x, (B, gh, gw, m)."""
        _, gh, gw, _ = u.shape
        cut = tiles(gh, gw, window, side)
        if u.is_cuda and len(cut) == 1 and dtype != u.dtype:
            S, row_sums = dense_similarity(u, cut[0].penalty(window, u), dtype)
            return cls(cut, [S], row_sums)
        mass, *Sigma = _Gaussian.apply(u, cut, window, dtype)
        return cls(cut, Sigma, mass)

    def mixed_with(self, other: Similarity, nu: Tensor) -> Similarity:
        Sigma = [mix(S, S_new, nu) for S, S_new in zip(self.Sigma, other.Sigma, strict=True)]
        return Similarity(self.tiles, Sigma, mix(self.mass, other.mass, nu))

    def without_mass(self) -> Similarity:
        """The same with row sums that are taken for 1."""
        return Similarity(self.tiles, self.Sigma, torch.ones_like(self.mass))

    def sum(self, q: Tensor) -> Tensor:
        """sum_a Sigma_ba q_a for all patches b; q (B, gh, gw, p)."""
        B, _, _, p = q.shape
        q = q.to(self.Sigma[0].dtype)
        products = [product(S, tile.around(q)) for tile, S in zip(self.tiles, self.Sigma, strict=True)]
        parts = [part.view(B, *tile.shape, p) for tile, part in zip(self.tiles, products, strict=True)]
        across = sum(tile.rows.start == 0 for tile in self.tiles)
        return torch.cat([torch.cat(parts[k : k + across], 2) for k in range(0, len(parts), across)], 1)


class _Gaussian(torch.autograd.Function):
    """exp(-||u_b - u_a||^2) tile by tile and its row sums, with few passes over memory there and back."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, cut: tuple[Tile, ...], window: int, dtype: torch.dtype) -> tuple[Tensor, ...]:
        mass = u.new_empty(*u.shape[:-1], 1)
        one, norm2 = torch.ones_like(mass), u.square().sum(-1, keepdim=True)
        left, right = torch.cat([2 * u, -norm2, one], -1), torch.cat([u, one, -norm2], -1)
        Sigma = []
        for tile in cut:
            penalty = tile.penalty(window, u).expand(len(u), -1, -1)
            S = baddbmm(penalty, tile.inside(left), tile.around(right).transpose(1, 2))  # minus the distance
            S.clamp_max_(0).exp_()  # rounding can leave a distance a little below 0
            mass[:, tile.rows, tile.columns] = S.sum(-1).view(len(u), *tile.shape, 1)
            Sigma.append(S.to(dtype))
        ctx.cut = cut
        ctx.save_for_backward(u, *Sigma)
        return mass, *Sigma

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dmass: Tensor, *dSigma: Tensor) -> tuple[Tensor | None, ...]:
        """dL/du_b = 2 sum_a G_ba (u_a - u_b) and dL/du_a = 2 sum_b G_ba (u_b - u_a), G = (dSigma + dmass) * Sigma."""
        u, *Sigma = ctx.saved_tensors
        u1 = torch.cat([u, torch.ones_like(dmass)], -1)
        du = torch.zeros_like(u1)  # of each patch: sums of G u, and of G
        for tile, S, dS in zip(ctx.cut, Sigma, dSigma, strict=True):
            G = torch.add(dS, tile.inside(dmass)).mul_(S)
            own, near = du[:, tile.rows, tile.columns], du[:, tile.near_rows, tile.near_columns]
            own += bmm(G, tile.around(u1)).view(own.shape)
            near += bmm(G.transpose(1, 2), tile.inside(u1)).view(near.shape)
        return 2 * (du[..., :-1] - du[..., -1:] * u), None, None, None
