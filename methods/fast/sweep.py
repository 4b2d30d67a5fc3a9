"""GroupSC on a CPU in float32: every row of tiles takes its steps of Algorithm 1 as soon as it can.

A step of a row of tiles needs the codes of the rows around it, a refresh of its similarities the estimates of a few
more. So a row takes a step when those below have taken the one before (`methods.fast.pipeline`): when the first rows
are done, the last have not begun. Codes and similarities are kept of the rows in between alone. For 24 steps with
windows of 24 patches these are 28 rows of tiles: memory grows with the width of the image, and no longer with its
height.

A step of a tile is one compiled call (`methods.fast.step`): the squares of its neighbours' codes, the norms of its
groups, the shrinkage, the residual. A tile and what it needs stay in a core's cache.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Container
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from bench.methods.fast.passes import add_patches, compared, mix
from bench.methods.fast.pipeline import Pipeline, Stage
from bench.methods.fast.step import begin, step
from bench.methods.fast.threads import Workers
from bench.methods.fast.windows import Tiling
from bench.methods.networks.sparse_coding import SparseCoding
from bench.methods.sparse.multiply import bmm
from bench.methods.sparse.patches import coverage
from bench.methods.sparse.products import spaced, whole
from torch import Tensor

__all__ = ["Sweep"]


class Turn(NamedTuple):
    """What a row of tiles does before step k (the row's codes are B_k), or that step.

    below  how many rows below must have done what comes before
    kind   "begin", "refresh" or "step"
    """

    below: int
    kind: str
    k: int


def turns(n_steps: int, refreshed: Container[int], reach: int, overlap: int) -> list[Turn]:
    """All that a row goes through, in order.

    refreshed  the steps before which similarities are refreshed
    reach      how many rows of tiles a window reaches up or down
    overlap    how many rows of tiles below have patches with pixels of a row's own patches
    """
    through = [Turn(0, "begin", 0)]
    for k in range(n_steps):
        if k in refreshed:
            through += [Turn(reach + overlap, "refresh", k), Turn(0, "step", k)]
        else:
            through.append(Turn(reach, "step", k))
    return through


class Rows(Stage):
    """A turn of all rows of tiles, one after the other.

    sweep  whose codes and similarities it changes
    """

    def __init__(self, strips: list[range], before: Rows | None, sweep: Sweep, turn: Turn) -> None:
        super().__init__(strips, before)
        self.sweep, self.turn = sweep, turn

    def needs(self, n: int) -> int:
        return min(n + self.turn.below + 1, len(self.strips))

    @property
    def ready(self) -> bool:
        """The first turn waits for the last where a row's slot is used again: no row around may still need it."""
        sweep = self.sweep
        free = (
            self.before is not None or self.n < sweep.n_slots or self.n < sweep.n_done + sweep.n_slots - sweep.reach
        )
        return free and super().ready

    def make(self, n: int) -> None:
        self.sweep.row(n, self.turn)
        if self.after is None:
            self.sweep.n_done = n + 1


class Sweep:
    """The sweep over one image.

    network    GroupSC, on the CPU
    y          the reflected image (C, h, w), float32
    mask       1 where a value was observed, else 0, like y; None: all were
    lmbda      thresholds (K, p)
    thin       see methods.fast.groupsc
    workers    each takes a row of tiles whose turn it is

    codes   B of a row's step and of the one before, by turns: (2, n_slots, across * n, p); row r in slot r % n_slots
    Sigma   (n_slots, across, n_parts, n / n_parts, n_each); see `Tiling.halves` and `passes.short`
    mass    the sums of its rows, (n_slots, across, n)
    x_hat   by step: the sum of its estimates, the mean of them in rows that are complete, (C, > h, > w)
    spare   memory for the estimates of a row of tiles, (across, n, > m)
    n_done  rows of tiles that have taken the last step
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
        self.net, self.pipeline, self.size = network, Pipeline(workers), network.patch_size
        self.y, self.masked = np.ascontiguousarray(y), mask is not None
        self.M = np.empty((0, 0, 0), np.float32) if mask is None else np.ascontiguousarray(mask.to(y.dtype))
        s, (channels, height, width), m = self.size, y.shape, len(network.D)
        p = whole(network.D.shape[1])  # more codes than there are stay 0
        self.tiling = tiling = Tiling(height - s + 1, width - s + 1, network.window, thin, y.device)
        self.mu = F.avg_pool2d(y.mean(0)[None, None], s, 1)[0, 0].numpy()
        self.nu, self.kappa = np.float32(torch.sigmoid(network.nu).item()), network.kappa.detach().numpy()
        self.lmbda = F.pad(lmbda.detach(), (0, p - lmbda.shape[1])).numpy()
        self.C = filled(zeros(m, p), network.C)
        self.D_T, self.W_T = (filled(zeros(p, whole(m)), x.T) for x in (network.D, network.W))
        self.none = np.empty((0, self.D_T.shape[1]), np.float32)

        reach, overlap = (math.ceil(n / tiling.h) for n in (max(1, network.window // 2), s - 1))
        self.reach, self.turns = reach, turns(network.n_steps, network.refreshed, reach, overlap)
        self.n_slots = min(tiling.down, sum(turn.below for turn in self.turns) + reach + 1)
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

        self.scratch = Scratch(n, n_near, m, p, (n_parts, n_each, self.step))
        beyond = tiling.down * tiling.h + s - 1, tiling.across * tiling.w + s - 1
        looked_at = [turn.k - 1 for turn in self.turns if turn.kind == "refresh"] + [network.n_steps - 1]
        self.x_hat = {k: np.zeros((channels, *beyond), np.float32) for k in looked_at}
        self.estimates_shape = tiling.across, n, whole(m)
        self.spare: list[np.ndarray] = []
        self.n_done = 0
        counts = coverage(height, width, s, like=y)
        means = F.avg_pool2d(F.pad(torch.from_numpy(self.mu)[None, None], (s - 1,) * 4), s, 1)[0, 0] * s**2
        self.of_means, self.per_patch = (means / counts).numpy(), (1 / counts).numpy()

    @staticmethod
    def can(network: SparseCoding) -> bool:
        """Whether this runs a network of these options."""
        return network.penalty == "group" and network.averaged

    def restored(self) -> Tensor:
        """The mean of the last estimates, (C, h, w)."""
        rows = None
        strips = [range(r, r + 1) for r in range(self.tiling.down)]
        for turn in self.turns:
            rows = Rows(strips, rows, self, turn)
        self.pipeline.run(rows)
        _, height, width = self.y.shape
        return torch.from_numpy(self.x_hat[self.net.n_steps - 1][:, :height, :width])

    def row(self, r: int, turn: Turn) -> None:
        """A row's turn."""
        do = {"begin": self._begin, "refresh": self._refresh}.get(turn.kind)
        if do is not None:
            self.pipeline.do(lambda c: do(r, c, turn.k), range(self.tiling.across))
            return
        looked_at = turn.k in self.x_hat
        estimates = self._memory() if looked_at else [self.none] * self.tiling.across
        self.pipeline.do(lambda c: self._step(r, c, turn.k, estimates[c]), range(self.tiling.across))
        if looked_at:
            self._average(r, turn.k, estimates)
            self.spare.append(estimates)

    def _begin(self, r: int, c: int, k: int) -> None:
        """The similarities of the degraded image, and B of the first step, which starts from 0."""
        gray = self.masked and not self.net.first_guess  # as `seen_alike`
        self._similarity(r, c, self.y, np.float32(1), gray)
        masked = self.masked and not self.net.first_guess
        place, r_scratch = self._place(r, c), self.scratch.step[-1]
        begin(self.y, self.mu, self.M, masked, self.size, place, self.C, r_scratch, self._tile(r, c, 0))

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

    def _memory(self) -> np.ndarray:
        """For the estimates of a row of tiles."""
        try:
            return self.spare.pop()
        except IndexError:
            return np.empty(self.estimates_shape, np.float32)

    def _step(self, r: int, c: int, k: int, estimates: np.ndarray) -> None:
        """Eq. 11, its second line before its first: from B_k to B_{k+1}; estimates, if there is memory for them."""
        last = k + 1 == self.net.n_steps
        slot = r % self.n_slots
        step(
            self.codes[k % 2],
            self.near,
            self._place(r, c),
            self._tile(r, c, k),
            self._tile(r, c, k + 1),
            self.Sigma[slot, c],
            self.mass[slot, c],
            self.step,
            self.lmbda[k],
            self.W_T if len(estimates) else self.none,
            estimates,
            self.y,
            self.mu,
            self.M,
            self.masked,
            self.size,
            self.none if last else self.D_T,
            self.C,
            self.scratch.step,
        )

    def _place(self, r: int, c: int) -> tuple[int, int, int, int, int, int]:
        tiling = self.tiling
        return r * tiling.h, c * tiling.w, tiling.gh, tiling.gw, tiling.h, tiling.w

    def _tile(self, r: int, c: int, k: int) -> np.ndarray:
        """A tile's codes at step k, (n, p)."""
        n = self.tiling.h * self.tiling.w
        return self.codes[k % 2, r % self.n_slots, c * n : (c + 1) * n]

    def _average(self, r: int, k: int, estimates: np.ndarray) -> None:
        """Add a row's estimates to the image, and divide where no more will come."""
        tiling, x_hat = self.tiling, self.x_hat[k]
        for c in range(tiling.across):
            add_patches(estimates[c], self.size, r * tiling.h, c * tiling.w, tiling.h, tiling.w, 1, x_hat)
        _, height, width = self.y.shape
        end = height if r + 1 == tiling.down else (r + 1) * tiling.h
        complete = slice(r * tiling.h, end)
        part = x_hat[:, complete, :width]
        part *= self.per_patch[complete]
        part += self.of_means[complete]


class Scratch(threading.local):
    """What a tile needs within a step, each thread its own.

    step    see `methods.fast.step`
    parts_  see `Tiling.halves`
    """

    def __init__(self, n: int, n_near: int, m: int, p: int, parts_: tuple[int, int, int]) -> None:
        self.parts_, n_part = parts_, n // parts_[0]
        self.compared, self.exists = torch.empty(n_near, m + 2), np.empty(n_near, np.float32)
        weights, norm2 = np.empty((n_part, parts_[1]), np.float32), np.empty((n_part, p), np.float32)
        self.step = zeros(n_near, p), weights, norm2, np.empty((n, whole(m)), np.float32)

    def parts(self, x: Tensor) -> Tensor:
        """x (n_near, n) as it belongs to the parts of a tile, (n_parts, n_each, n): a view in which they overlap."""
        n_parts, n_each, step = self.parts_
        return x.as_strided((n_parts, n_each, x.shape[1]), (step * x.stride(0), x.stride(0), 1))


def zeros(n_rows: int, n_columns: int) -> np.ndarray:
    """(n_rows, > n_columns), for `add_product`."""
    return np.zeros((n_rows, spaced(n_columns)), np.float32)


def filled(out: np.ndarray, x: Tensor) -> np.ndarray:
    """out, with x in its first rows and columns."""
    out[: len(x), : x.shape[1]] = x.detach()
    return out
