"""Non-local sums: each pixel's average of the features around it, weighted with its correlation to them.

The correlation of pixel i with pixel j is the product theta_i psi_j, to which that of the previous recurrent state is
added if there is one; over its neighbourhood it becomes weights, by a softmax or divided by the number of neighbours.

An `Attend` is a way to do so:

    attend(theta, psi, g, S, softmax) -> Z, S

    theta, psi  (B, H, W, l)
    g           (B, H, W, m)
    S           what the previous call returned, or None
    softmax     weights exp(S_ij) / sum_j exp(S_ij); False: S_ij / n
    Z           (B, H, W, m)
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

__all__ = ["Attend", "Neighbourhoods", "everywhere"]

Attend = Callable[[Tensor, Tensor, Tensor, Any, bool], tuple[Tensor, Any]]


def everywhere(theta: Tensor, psi: Tensor, g: Tensor, S: Tensor | None, softmax: bool) -> tuple[Tensor, Tensor]:
    """Over all pixels of the crop, as in training: the crops have the size of the neighbourhood (Sec. 5).

    S is (B, HW, HW) and stays in the dtype of the products, so that it passes through memory as rarely and as short
    as can be. On a GPU H * W should be a multiple of 8.
    """
    with torch.autocast(g.device.type, enabled=False):  # it would compute softmax in float32, and move twice as much
        theta, psi, values = (x.flatten(1, 2) for x in (theta, psi, g))
        psi_T = psi.transpose(1, 2)
        S = torch.bmm(theta, psi_T) if S is None else torch.baddbmm(S, theta, psi_T)
        weights = torch.softmax(S, -1) if softmax else S / S.shape[-1]
        return torch.bmm(weights, values).view(g.shape), S


class Neighbourhoods:
    """Over the q x q pixels around each, a tile of pixels at a time: memory is linear in the number of pixels.

    Near the border the neighbourhood is moved inwards, so that all have q * q pixels where the image has as many: in
    training too a pixel sees its whole crop, wherever it lies in it.
    """

    SIDE = 12

    def __init__(self, H: int, W: int, q: int, device: torch.device) -> None:
        self.tiles = [(*rows, *columns) for rows in cut(H, q, self.SIDE) for columns in cut(W, q, self.SIDE)]
        self.device = device
        self.q = q

    def __call__(
        self, theta: Tensor, psi: Tensor, g: Tensor, S: list[Tensor] | None, softmax: bool
    ) -> tuple[Tensor, list[Tensor]]:
        Z, correlations = torch.empty_like(g), []
        for k, (rows, near_rows, inside_rows, columns, near_columns, inside_columns) in enumerate(self.tiles):
            own, near = (slice(None), rows, columns), (slice(None), near_rows, near_columns)
            T = theta[own].flatten(1, 2) @ psi[near].flatten(1, 2).transpose(1, 2)
            if S is not None:
                T = T + S[k]
            inside = inside_rows[:, None, :, None] & inside_columns[None, :, None, :]
            inside = inside.flatten(2, 3).flatten(0, 1).to(g.device)
            if softmax:
                weights = torch.softmax(T.masked_fill(~inside, -torch.inf), -1)
            else:
                weights = T * inside / inside.sum(-1, keepdim=True)
            Z[own] = (weights @ g[near].flatten(1, 2)).view(Z[own].shape)
            correlations.append(T)
        return Z, correlations


def cut(n: int, q: int, side: int) -> list[tuple[slice, slice, Tensor]]:
    """n pixels in a row, in tiles of about `side`: the tile, all that its pixels' neighbourhoods touch, and whether
    the neighbourhood of the tile's i-th pixel holds the j-th of those, (n_tile, n_near)."""
    first = torch.clamp(torch.arange(n) - q // 2, 0, max(n - q, 0))  # of each pixel's neighbourhood
    n_tiles = -(-n // side)
    edges = [round(k * n / n_tiles) for k in range(n_tiles + 1)]
    tiles = []
    for a, b in pairwise(edges):
        start, stop = int(first[a]), min(int(first[b - 1]) + q, n)
        j = torch.arange(start, stop)
        inside = (j >= first[a:b, None]) & (j < first[a:b, None] + q)
        tiles.append((slice(a, b), slice(start, stop), inside))
    return tiles
