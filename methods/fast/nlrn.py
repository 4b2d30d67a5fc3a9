"""NLRN on a whole image at once, every pixel attending to the q x q pixels around it, made fast.

What is computed is `NonLocalRecurrent.forward` with `neighbours(H, W, q)`, which needs as many correlations as pairs
of pixels; here memory and time are linear in the number of pixels. (In float32 on a CPU, methods.fast.streamed is
faster and smaller.) Four things make it fast:

1. Tiles. The pixels of a tile have most of their neighbours in common, so their correlations with all pixels of the
   tile's surroundings are one product; those outside of a pixel's neighbourhood are minus infinity.
2. Correlations stay where they are from state to state: the next state's products are added to them in place.
3. If asked for, bfloat16 for features and correlations, with sums in float32.
4. Threads that each take whole tiles, instead of sharing every operation; convolutions as in methods.fast.banded.

Only 3 is an approximation.
"""

from __future__ import annotations

import copy

import torch
from bench.methods.fast.banded import BandedConvolutions
from bench.methods.fast.threads import torch_in_parallel
from bench.methods.networks.nlrn import NonLocal, NonLocalRecurrent, is_neighbour
from torch import Tensor, nn

__all__ = ["Sliding", "Tiling"]

TILE = 12  # side of a tile, in pixels
TILES_AT_ONCE = {"cpu": 1, "cuda": 64, "mps": 64}


class Tiling:
    """H x W pixels cut into tiles of h x w, each in surroundings of near_h x near_w that hold all its neighbours.

    The last tiles end with the image, and may overlap those before.

    tiles  (row, column) of each tile's first pixel, (row, column) of its surroundings', and the (row, column) from
           which on its pixels are in no tile before it
    """

    def __init__(self, H: int, W: int, q: int) -> None:
        self.shape, self.q = (H, W), q
        (self.h, self.near_h, rows), (self.w, self.near_w, columns) = (_cut(n, q) for n in (H, W))
        self.tiles = [tuple(zip(row, column, strict=True)) for row in rows for column in columns]

    def penalty(self, k: int) -> Tensor:
        """(h * w, near_h * near_w): 0 where a pixel of tile k has a neighbour, else minus infinity."""
        (i, j), (near_i, near_j), _ = self.tiles[k]
        rows, columns = (
            is_neighbour(torch.arange(a, a + n_own)[:, None], torch.arange(b, b + n_near), n, self.q)
            for a, n_own, b, n_near, n in (
                (i, self.h, near_i, self.near_h, self.shape[0]),
                (j, self.w, near_j, self.near_w, self.shape[1]),
            )
        )
        within = rows[:, None, :, None] & columns[None, :, None, :]
        return torch.where(within.flatten(2, 3).flatten(0, 1), 0.0, -torch.inf)

    def inside(self, x: Tensor, tiles: slice) -> Tensor:
        """The pixels of some tiles, out of x (H, W, n): (n_tiles, h * w, n)."""
        parts = [x[i : i + self.h, j : j + self.w] for (i, j), _, _ in self.tiles[tiles]]
        return torch.stack(parts).flatten(1, 2)

    def around(self, x: Tensor, tiles: slice) -> Tensor:
        """Those of their surroundings: (n_tiles, near_h * near_w, n)."""
        parts = [x[i : i + self.near_h, j : j + self.near_w] for _, (i, j), _ in self.tiles[tiles]]
        return torch.stack(parts).flatten(1, 2)

    def add(self, x: Tensor, values: Tensor, tiles: slice) -> None:
        """x (H, W, n) += values (n_tiles, h * w, n), each pixel in one of its tiles only."""
        values = values.unflatten(1, (self.h, self.w))
        for ((i, j), _, (new_i, new_j)), part in zip(self.tiles[tiles], values, strict=True):
            x[new_i : i + self.h, new_j : j + self.w] += part[new_i - i :, new_j - j :]


def _cut(n: int, q: int) -> tuple[int, int, list[tuple[int, int, int]]]:
    """For n pixels in a row: the length of a tile, that of its surroundings, and for each tile where it begins, where
    its surroundings begin, and from where on it is the first to hold its pixels."""
    length = min(TILE, n)
    near = min(length + q - 1, n)
    starts = [*range(0, n - length, length), n - length]
    ends = [0, *(start + length for start in starts)]
    return length, near, [(a, min(max(a - q // 2, 0), n - near), new) for a, new in zip(starts, ends, strict=False)]


class Sliding(nn.Module):
    """See the module's text.

    net    in evaluation mode
    dtype  of features and correlations; float32 gives the network's own answer up to the rounding of sums
    """

    def __init__(self, net: NonLocalRecurrent, q: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.q, self.dtype, self.propagate = q, dtype, net.propagate
        self.input, self.output = net.input, net.output
        short = copy.deepcopy(net.non_local).to(dtype)
        self.states = [
            (
                state.norm_1,
                short[list(net.non_local).index(state.non_local)] if state.non_local else None,
                state.norm_2,
                self._local(state.conv_a, state.norm_3, state.conv_b),
            )
            for state in net.states()
        ]

    def _local(self, conv_a: nn.Conv2d, norm: nn.Module, conv_b: nn.Conv2d) -> nn.Module:
        """conv_a, norm (merged with it), ReLU, conv_b."""
        chain = nn.Sequential(nn.utils.fuse_conv_bn_eval(conv_a, norm), nn.ReLU(), conv_b)
        if conv_a.weight.device.type == "cpu":
            return BandedConvolutions(chain, self.dtype)
        return copy.deepcopy(chain).to(dtype=self.dtype, memory_format=torch.channels_last)

    def forward(self, y: Tensor) -> Tensor:
        """Degraded image (1, C, H, W), float32 in [0, 1], to the estimate."""
        y = y.contiguous(memory_format=torch.channels_last)
        tiling = Tiling(*y.shape[2:], self.q)
        correlations = Correlations(tiling, self.dtype, y.device, keep=self.propagate)
        s0 = s = self.input(y).to(self.dtype)
        for norm_1, non_local, norm_2, local in self.states:
            X = norm_1(s).relu_()
            if non_local is not None:
                X = correlations.attend(non_local, X)
            s = local(norm_2(X)).add_(s0)
        return y + self.output(s.float())


class Correlations:
    """What the pixels of all tiles have to do with those around them.

    keep  whether those of one state are added to the next's
    """

    def __init__(self, tiling: Tiling, dtype: torch.dtype, device: torch.device, *, keep: bool) -> None:
        self.tiling, self.keep = tiling, keep
        step = TILES_AT_ONCE[device.type]
        self.batches = [slice(k, min(k + step, len(tiling.tiles))) for k in range(0, len(tiling.tiles), step)]
        self.penalties = Penalties(tiling, dtype, device)
        n, n_near = tiling.h * tiling.w, tiling.near_h * tiling.near_w
        self.S = torch.empty(len(tiling.tiles) if keep else 0, n, n_near, dtype=dtype, device=device)
        self.fresh = True

    def attend(self, non_local: NonLocal, X: Tensor) -> Tensor:
        """Z + X for features X (1, m, H, W): Eq. 6 within the neighbourhoods."""
        theta, psi, g = (x[0] for x in non_local.embed(X))
        answer = X.clone()
        Z_and_X, tiling = answer[0].permute(1, 2, 0), self.tiling
        n_neighbours = min(tiling.q, tiling.shape[0]) * min(tiling.q, tiling.shape[1])

        def one_batch(tiles: slice) -> None:
            own, near = tiling.inside(theta, tiles), tiling.around(psi, tiles).transpose(1, 2)
            if self.keep and not self.fresh:
                S = self.S[tiles].baddbmm_(own, near)
            else:
                S = torch.baddbmm(self.penalties[tiles], own, near, out=self.S[tiles] if self.keep else None)
            weights = torch.softmax(S, -1) if non_local.softmax else S.masked_fill(S.isneginf(), 0) / n_neighbours
            tiling.add(Z_and_X, torch.bmm(weights, tiling.around(g, tiles)), tiles)

        with torch_in_parallel(X.device) as workers:
            workers.do(one_batch, self.batches)
        self.fresh = False
        return answer


class Penalties:
    """Tiling.penalty of some tiles; those of most tiles are alike."""

    def __init__(self, tiling: Tiling, dtype: torch.dtype, device: torch.device) -> None:
        places = [(near_i - i, near_j - j) for (i, j), (near_i, near_j), _ in tiling.tiles]
        kinds = {place: k for k, place in enumerate(places)}
        self.kinds = {place: tiling.penalty(k).to(device, dtype) for place, k in kinds.items()}
        self.of_tiles = [self.kinds[place] for place in places]

    def __getitem__(self, tiles: slice) -> Tensor:
        return torch.stack(self.of_tiles[tiles])
