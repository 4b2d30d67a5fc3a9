"""GroupSC on a CPU in float32: every row of tiles takes its steps of Algorithm 1 as soon as it can.

A step of a row of tiles needs the codes of the rows around it, a refresh of its similarities the estimates of a few
more. So a row takes a step when those below have taken the one before: when the first rows are done, the last have
not begun. Codes and similarities are kept of the rows in between alone. For 24 steps with windows of 24 patches these
are 28 rows of tiles: memory grows with the width of the image, and no longer with its height.

Between the products of a tile there is one compiled pass each (`methods.fast.passes`): the squares of its neighbours'
codes, the shrinkage, the residual. A tile and what it needs stay in a core's cache.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Container
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from bench.methods.fast.bands import aligned
from bench.methods.fast.passes import add_patches, compared, mix, normalised, residual, shrink_groups, squares_around
from bench.methods.fast.threads import Workers
from bench.methods.fast.windows import Tiling
from bench.methods.networks.sparse_coding import SparseCoding
from bench.methods.sparse.multiply import addmm, bmm, mm
from bench.methods.sparse.patches import coverage
from torch import Tensor

__all__ = ["Sweep"]


class Stage(NamedTuple):
    """What a row of tiles does `lag` rows behind the first: before step k (the row's codes are B_k), or that step."""

    lag: int
    kind: str  # "begin", "refresh" or "step"
    k: int


def stages(n_steps: int, refreshed: Container[int], reach: int, overlap: int) -> list[Stage]:
    """All that a row goes through, in order.

    refreshed  the steps before which similarities are refreshed
    reach      how many rows of tiles a window reaches up or down
    overlap    how many rows of tiles below have patches with pixels of a row's own patches
    """
    lag, through = 0, [Stage(0, "begin", 0)]
    for k in range(n_steps):
        lag += reach
        if k in refreshed:
            lag += overlap
            through.append(Stage(lag, "refresh", k))
        through.append(Stage(lag, "step", k))
    return through


class Sweep:
    """The sweep over one image.

    network    GroupSC, on the CPU
    y          the reflected image (C, h, w), float32
    mask       1 where a value was observed, else 0, like y; None: all were
    lmbda      thresholds (K, p)
    thin       see methods.fast.groupsc
    workers    take tiles of a row while there are any

    codes   B of a row's step and of the one before, by turns: (2, n_slots, across * n, p); row r in slot r % n_slots
    Sigma   (n_slots, across, n_parts, n / n_parts, n_each); see `Tiling.halves` and `passes.short`
    mass    the sums of its rows, (n_slots, across, n)
    x_hat   by step: the sum of its estimates, the mean of them in rows that are complete, (C, > h, > w)
    """

    def __init__(
        self,
        network: SparseCoding,
        y: Tensor,
        mask: Tensor | None,
        lmbda: Tensor,
        thin: int,
        workers: Workers,
    ) -> None:
        self.net, self.workers, self.size = network, workers, network.patch_size
        self.y, self.masked = np.ascontiguousarray(y), mask is not None
        self.M = np.empty((0, 0, 0), np.float32) if mask is None else np.ascontiguousarray(mask.to(y.dtype))
        s, (channels, height, width), (m, p) = self.size, y.shape, network.D.shape
        self.tiling = tiling = Tiling(height - s + 1, width - s + 1, network.window, thin, y.device)
        self.mu = F.avg_pool2d(y.mean(0)[None, None], s, 1)[0, 0].numpy()
        self.lmbda, self.nu = lmbda.detach().contiguous().numpy(), np.float32(torch.sigmoid(network.nu).item())
        self.kappa = network.kappa.detach().numpy()
        self.C, self.W_T = network.C.detach(), network.W.detach().T.contiguous()
        self.D_T = aligned(network.D.T)

        reach, overlap = (math.ceil(n / tiling.h) for n in (max(1, network.window // 2), s - 1))
        self.stages = stages(network.n_steps, network.refreshed, reach, overlap)
        self.n_slots = min(tiling.down, self.stages[-1].lag + reach + 1)
        n, n_near = tiling.weight.shape
        n_parts, n_each, self.step = tiling.halves()
        self.codes = np.zeros((2, self.n_slots, tiling.across * n, p), np.float32)
        self.Sigma = np.zeros((self.n_slots, tiling.across, n_parts, n // n_parts, n_each), np.uint16)
        self.mass = np.zeros((self.n_slots, tiling.across, n), np.float32)
        self.near = tiling.rows.numpy(), tiling.columns.numpy()
        parts = tiling.weight.view(n_parts, -1, n_near)
        weights = [part[:, k * self.step : k * self.step + n_each] for k, part in enumerate(parts)]
        self.weight = torch.stack(weights).numpy()
        inside = (tiling.rows >= 0) & (tiling.rows < tiling.h) & (tiling.columns >= 0) & (tiling.columns < tiling.w)
        self.own = inside.nonzero()[:, 0]

        self.estimates = torch.empty(tiling.across, n, m)  # of a row of tiles
        self.scratch = Scratch(n, n_near, m, self.D_T.shape, (n_parts, n_each, self.step))
        beyond = tiling.down * tiling.h + s - 1, tiling.across * tiling.w + s - 1
        looked_at = [stage.k - 1 for stage in self.stages if stage.kind == "refresh"] + [network.n_steps - 1]
        self.x_hat = {k: np.zeros((channels, *beyond), np.float32) for k in looked_at}
        counts = coverage(height, width, s, like=y)
        means = F.avg_pool2d(F.pad(torch.from_numpy(self.mu)[None, None], (s - 1,) * 4), s, 1)[0, 0] * s**2
        self.of_means, self.per_patch = (means / counts).numpy(), (1 / counts).numpy()

    @staticmethod
    def can(network: SparseCoding) -> bool:
        """Whether this runs a network of these options."""
        return network.penalty == "group" and network.averaged

    def restored(self) -> Tensor:
        """The mean of the last estimates, (C, h, w)."""
        for first in range(self.tiling.down + self.stages[-1].lag):
            for lag, kind, k in self.stages:
                if 0 <= first - lag < self.tiling.down:
                    self._row(first - lag, kind, k)
        _, height, width = self.y.shape
        return torch.from_numpy(self.x_hat[self.net.n_steps - 1][:, :height, :width])

    def _row(self, r: int, kind: str, k: int) -> None:
        do = {"begin": self._begin, "refresh": self._refresh, "step": self._step}[kind]
        self.workers.do(lambda c: do(r, c, k), range(self.tiling.across))
        if kind == "step" and k in self.x_hat:
            self._average(r, k)

    def _begin(self, r: int, c: int, k: int) -> None:
        """The similarities of the degraded image, and B of the first step, which starts from 0."""
        gray = self.masked and not self.net.first_guess  # as `seen_alike`
        self._similarity(r, c, self.y, np.float32(1), gray)
        scratch, (codes, _) = self.scratch, self._tile(r, c, 0)
        scratch.residual.zero_()
        self._residual(r, c, scratch, masked=not self.net.first_guess)
        mm(scratch.m_residual, self.C, out=codes)

    def _refresh(self, r: int, c: int, k: int) -> None:
        self._similarity(r, c, self.x_hat[k - 1], self.nu, gray=False)

    def _similarity(self, r: int, c: int, x: np.ndarray, nu: np.float32, gray: bool) -> None:
        """Sigma <- (1 - nu) Sigma + nu Sigma^ (Algorithm 1, line 7), with Sigma^ of the image x."""
        scratch, tiling, slot = self.scratch, self.tiling, r % self.n_slots
        width = self.size**2 + 2 if gray else scratch.compared.shape[1]
        right, exists = scratch.compared[:, :width], scratch.exists
        place = r * tiling.h, c * tiling.w, self.size
        compared(x, self.mu, self.kappa, gray, *self.near, *place, scratch.compared.numpy(), exists)
        left = right[self.own]
        left[:, -2:] = left[:, -2:].flip(1)
        products = bmm(left.view(len(self.weight), -1, width), scratch.parts(right).transpose(1, 2))
        estimate = products.exp_().numpy()  # Eq. 12
        Sigma, mass = self.Sigma[slot, c], self.mass[slot, c]
        mix(Sigma, mass, estimate, estimate.view(np.int32), self.weight, exists, self.step, nu)

    def _step(self, r: int, c: int, k: int) -> None:
        """Eq. 11, its second line before its first: from B_k to B_{k+1}; the estimates, if they are looked at."""
        scratch, tiling = self.scratch, self.tiling
        (_, B), (codes, alpha) = self._tile(r, c, k), self._tile(r, c, k + 1)
        place = r * tiling.h, c * tiling.w, tiling.gh, tiling.gw, tiling.h, tiling.w
        squares_around(self.codes[k % 2], *self.near, *place, scratch.squares)
        slot = r % self.n_slots
        normalised(self.Sigma[slot, c], self.mass[slot, c], scratch.Sigma.numpy())
        bmm(scratch.Sigma, scratch.squares_of_parts, out=scratch.norm2_of_parts)
        shrink_groups(B, scratch.norm2, self.lmbda[k], alpha)
        if k in self.x_hat:
            mm(codes, self.W_T, out=self.estimates[c])
        if k + 1 < self.net.n_steps:
            mm(codes, self.D_T, out=scratch.residual)
            self._residual(r, c, scratch, masked=True)
            addmm(codes, scratch.m_residual, self.C, out=codes)

    def _tile(self, r: int, c: int, k: int) -> tuple[Tensor, np.ndarray]:
        """A tile's codes at step k, (n, p), as torch and as NumPy see them."""
        n = self.tiling.h * self.tiling.w
        codes = self.codes[k % 2, r % self.n_slots, c * n : (c + 1) * n]
        return torch.from_numpy(codes), codes

    def _residual(self, r: int, c: int, scratch: Scratch, *, masked: bool) -> None:
        """M * (y - D alpha), without M unless masked, from D alpha."""
        h, w = self.tiling.h, self.tiling.w
        place = self.size, r * h, c * w, h, w
        residual(self.y, self.mu, self.M, masked and self.masked, *place, scratch.residual_)

    def _average(self, r: int, k: int) -> None:
        """Add a row's estimates to the image, and divide where no more will come."""
        tiling, x_hat = self.tiling, self.x_hat[k]
        for c, estimates in enumerate(self.estimates.numpy()):
            add_patches(estimates, self.size, r * tiling.h, c * tiling.w, tiling.h, tiling.w, 1, x_hat)
        _, height, width = self.y.shape
        end = height if r + 1 == tiling.down else (r + 1) * tiling.h
        complete = slice(r * tiling.h, end)
        part = x_hat[:, complete, :width]
        part *= self.per_patch[complete]
        part += self.of_means[complete]


class Scratch(threading.local):
    """What a tile needs within a step, each thread its own; a name with _ is the same memory, for the passes.

    parts_  see Tiling.halves
    """

    def __init__(self, n: int, n_near: int, m: int, D_T: tuple[int, int], parts_: tuple[int, int, int]) -> None:
        self.parts_, (p, width) = parts_, D_T
        self.residual = torch.empty(n, width)
        self.m_residual, self.residual_ = self.residual[:, :m], self.residual.numpy()
        self.compared, self.exists = torch.empty(n_near, m + 2), np.empty(n_near, np.float32)
        squares, norm2 = torch.empty(n_near, p), torch.empty(n, p)
        self.squares, self.norm2 = squares.numpy(), norm2.numpy()
        self.squares_of_parts, self.norm2_of_parts = self.parts(squares), norm2.view(parts_[0], -1, p)
        self.Sigma = torch.empty(parts_[0], n // parts_[0], parts_[1])

    def parts(self, x: Tensor) -> Tensor:
        """x (n_near, n) as it belongs to the parts of a tile, (n_parts, n_each, n): a view in which they overlap."""
        n_parts, n_each, step = self.parts_
        return x.as_strided((n_parts, n_each, x.shape[1]), (step * x.stride(0), x.stride(0), 1))
