"""LIDIA on a CPU: what `networks.lidia.lidia_denoise` computes, up to the rounding of sums, made fast and small.

1. The search for neighbours goes tile by tile, and sorts few of the candidates (methods.fast.nearest).
2. Patches are copied from the image when a layer wants them: of a group only its members' places and weights are
   kept.
3. A layer is two products of a group in the caches and nothing else: sums begin with its offsets, ReLU comes before
   they are stored (methods.fast.separable).
4. Threads that each take whole groups.

Memory grows with the image, by about 420 bytes a patch at its peak: the layers that weigh the members need most.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from bench.methods.fast.nearest import ACROSS, DOWN, nearest
from bench.methods.fast.separable import (
    OVERHANG,
    ROWS,
    add_estimates,
    add_moments,
    estimated,
    group_of_one,
    members,
    one_patch,
    separable,
)
from bench.methods.fast.threads import Workers, torch_in_parallel
from bench.methods.networks.lidia import (
    GRAY,
    OUTLIER,
    RADIUS,
    K,
    Moments,
    PatchNetwork,
    Piece,
    Scale,
    Separable,
    blurred,
    cut,
    split,
)
from bench.methods.sparse.neighbours import window_sums
from bench.methods.sparse.patches import reflect
from bench.methods.sparse.products import LANES
from torch import Tensor

__all__ = ["restored"]

AT_ONCE = 4 * ROWS  # groups that go through the layers together: what a layer makes of them stays in the second cache
TASK = 9 * AT_ONCE  # groups that a thread takes before it asks for more

SIDE = 2 * RADIUS + 1


def restored(net: PatchNetwork, y: Tensor, statistics: str) -> Tensor:
    """See `networks.lidia.lidia_denoise`; y (1, C, H, W) is on the CPU."""
    with torch.inference_mode():
        (H, W), s = y.shape[2:], net.size
        y = 2 * y - 1
        mean = y.mean((2, 3), keepdim=True)
        y = y - mean
        grid = Grid(H + s - 1, W + s - 1, s)
        images = reflect(y, s - 1), blurred(reflect(y, (s - 1) // 2 + 1 + s - 1))
        groups = [
            Groups.found(grid, scale, x, dilation, statistics == "stored")
            for dilation, (scale, x) in enumerate(zip(net.scales, images, strict=True), start=1)
        ]
        patches = Groups.alone(images[0][0], 1, np.ones((grid.h * grid.w, 1), np.float32))
        with torch_in_parallel(y.device) as workers:
            x_hat = Restoration(net, grid, groups, patches, split((grid.h, grid.w), statistics), workers).image()
        x_hat = x_hat[None, :, s - 1 : s - 1 + H, s - 1 : s - 1 + W]
        return ((x_hat + mean).clamp(-1, 1) + 1) / 2


@dataclass(frozen=True)
class Grid:
    """h x w patches of size x size pixels."""

    h: int
    w: int
    size: int

    def shape(self, dilation: int) -> tuple[int, int]:
        """Of the image that they are cut from, with pixels `dilation` apart."""
        return self.h + (self.size - 1) * dilation, self.w + (self.size - 1) * dilation

    def sums(self, x: Tensor, dilation: int) -> Tensor:
        """For values of the patches, (h, w), the sums over the patches that each pixel is in."""
        e = (self.size - 1) * dilation
        return window_sums(F.pad(x, [e] * 4), self.size, dilation)


@dataclass(frozen=True)
class Groups:
    """The groups of all N patches at one scale.

    x           the image (dilation, C, h, w): every dilation-th column, from each of the first on
    side        candidates in a row
    candidates  (N, K) the members, the patch itself first: see `fast.nearest`
    weights     (N, K) of the members
    """

    dilation: int
    x: np.ndarray
    side: int
    candidates: np.ndarray
    weights: np.ndarray

    @classmethod
    def found(cls, grid: Grid, scale: Scale, x: Tensor, dilation: int, stored: bool) -> Groups:
        """Those of the nearest patches in x (1, C, h, w)."""
        N, s = grid.h * grid.w, grid.size
        distances, candidates = torch.empty(N, K), np.empty((N, K), np.int16)
        around = F.pad(x, [RADIUS * dilation] * 4, value=OUTLIER)
        gray = around[0, 0] if x.shape[1] == 1 else torch.tensordot(x.new_tensor(GRAY), around[0], 1)
        gray = F.pad(gray, (0, -grid.w % ACROSS, 0, -grid.h % DOWN)).contiguous().numpy()

        def search(top: int) -> None:
            for left in range(0, grid.w, ACROSS):
                nearest(gray, s, K, RADIUS, dilation, top, left, grid.h, grid.w, distances.numpy(), candidates)

        with torch_in_parallel(x.device) as workers:
            workers.do(search, range(0, grid.h, DOWN))
        distances[:, K - 1] = spreads(x[0], s, dilation).flatten()  # where the patch itself would have a 0
        weights = scale.weights(distances, stored).contiguous().numpy()
        return cls(dilation, phases(around[0], dilation), SIDE, candidates, weights)

    @classmethod
    def alone(cls, x: Tensor, dilation: int, weights: np.ndarray) -> Groups:
        """Each patch of x (C, h, w), without a border, for itself, with its weight (N, 1)."""
        return cls(dilation, phases(x, dilation), 1, np.zeros(weights.shape, np.int16), weights)

    def members(self, grid: Grid, some: range, out: np.ndarray, at: int = 0) -> None:
        """out[:, at :] <- the members of some groups, times their weights."""
        members(
            self.x,
            grid.size,
            self.dilation,
            grid.w,
            self.side,
            self.candidates,
            self.weights,
            some.start,
            some.step,
            out,
            at,
        )


def spreads(x: Tensor, size: int, dilation: int) -> Tensor:
    """Of all patches of x (C, h, w), their m values' variance times m, (gh, gw)."""
    m, x = len(x) * size**2, x.double()
    total, squares = (window_sums(values.sum(0), size, dilation) for values in (x, x.square()))
    return ((squares - total.square() / m) * m / (m - 1)).clamp_min(0).float()


def phases(x: Tensor, dilation: int) -> np.ndarray:
    """x (C, h, w) as (dilation, C, h, >= w / dilation), with columns of zeros for the kernels to copy."""
    x = F.pad(x, (0, OVERHANG * dilation + -x.shape[2] % dilation))
    return x.unflatten(2, (-1, dilation)).permute(3, 0, 1, 2).contiguous().numpy()


class Layer:
    """A separable layer of groups, with what its batch normalisation makes of it.

    raw  without that, and without its ReLU
    a    the share of what it is given in its answer
    """

    def __init__(self, unit: Separable, moments: Moments | None = None, *, a: float = 0.0, raw: bool = False) -> None:
        hor, b = (unit.hor, unit.b) if raw else unit.normalised(moments)
        self.width, self.a = len(unit.ver), np.float32(a)
        self.hor, self.b, self.ver = hor.detach().contiguous().numpy(), widened(b), widened(unit.ver.T)
        self.least = np.float32(-np.inf if raw or not unit.relu else 0)

    def __call__(self, X: np.ndarray, scratch: Scratch, Y: np.ndarray, at: int = 0) -> None:
        """Y[:, at :] <- a X + (1 - a) (this layer of X)."""
        ver, hor, b = self.ver, self.hor, self.b
        separable(X, len(ver), ver, hor, b, self.least, self.a, scratch.products, Y, at)


class OnePatch:
    """A layer that makes one patch of a group."""

    def __init__(self, unit: Separable) -> None:
        self.hor, self.b, self.ver = unit.hor[0].detach().numpy(), widened(unit.b)[0], widened(unit.ver.T)

    def __call__(self, X: np.ndarray, scratch: Scratch) -> np.ndarray:
        """(n, rows, width) to (n, >= m)."""
        one_patch(self.hor, X, self.ver, self.b, scratch.z, scratch.patches)
        return scratch.patches[: len(X)]


class FromPatch:
    """A layer that makes a group of one patch."""

    def __init__(self, unit: Separable) -> None:
        self.hor, self.b, self.ver = unit.hor[:, 0].detach().numpy(), widened(unit.b), widened(unit.ver.T)
        self.nothing = np.zeros(self.b.shape[1], np.float32)

    def __call__(self, scratch: Scratch, out: np.ndarray, at: int) -> None:
        """out[:, at : at + K] <- this layer of scratch.alone."""
        X = scratch.alone[:, 0]
        group_of_one(X, len(self.ver), self.ver, self.hor, self.b, self.nothing, scratch.z, out, at)


def widened(x: Tensor) -> np.ndarray:
    """With columns of zeros, for whole vectors."""
    return F.pad(x.detach(), (0, -x.shape[-1] % LANES)).contiguous().numpy()


class Sums:
    """Of what a layer gives to the groups of a sample, for each of its channels."""

    def __init__(self, channels: int) -> None:
        self.n, self.total, self.squares = 0, np.zeros(channels), np.zeros(channels)

    def add(self, Y: np.ndarray, width: int) -> None:
        add_moments(Y, width, self.total, self.squares)
        self.n += len(Y) * width

    def __iadd__(self, other: Sums) -> Sums:
        self.n, self.total, self.squares = self.n + other.n, self.total + other.total, self.squares + other.squares
        return self

    def moments(self) -> Moments:
        mean = self.total / self.n
        var = np.maximum(self.squares / self.n - mean**2, 0)
        return torch.from_numpy(mean).float(), torch.from_numpy(var).float()


class Scratch(threading.local):
    """What the layers make of some groups, each thread its own."""

    def __init__(self, size: int, m: int, width: int) -> None:
        copied, m, width = (n + -n % LANES for n in (m + OVERHANG - size, m, width))
        self.X, self.alone = (np.zeros((AT_ONCE, n, copied), np.float32) for n in (K, 1))
        self.half, self.own = np.zeros((2, AT_ONCE, K, width), np.float32)
        self.joined, self.all = np.zeros((2, AT_ONCE, 4 * K, width), np.float32)
        self.products, self.z = np.zeros((4 * K, width), np.float32), np.zeros((AT_ONCE, width), np.float32)
        self.patches = np.zeros((AT_ONCE, m), np.float32)


class Restoration:
    """The network over one image, whose groups are found.

    patches     the image's own, each for itself
    first       the first layers of part 1, by scale
    seconds     its second ones, by scale and piece; None: there is none
    aggregated  the patches that the aggregation gives back, by scale
    """

    def __init__(
        self,
        net: PatchNetwork,
        grid: Grid,
        groups: list[Groups],
        patches: Groups,
        pieces: list[Piece],
        workers: Workers,
    ) -> None:
        self.net, self.grid, self.workers = net, grid, workers
        self.groups, self.patches, self.pieces = groups, patches, pieces
        self.m, self.width = net.out.ver.shape
        self.scratch = Scratch(net.size, self.m, self.width)
        self.first = [Layer(scale.part1.first) for scale in net.scales]
        self.seconds = [[self._second(scale, piece) for piece in pieces] for scale in range(len(groups))]
        self.to_patch = [OnePatch(scale.to_patch) for scale in net.scales]
        self.from_patch = [FromPatch(scale.from_patch) for scale in net.scales]
        self.out = OnePatch(net.out)
        self.aggregated = [self._aggregate(scale) for scale in range(len(groups))]

    def image(self) -> Tensor:
        """The mean of all estimates, weighted: (C, h, w)."""
        grid, part2 = self.grid, [self._part2(k) for k in range(len(self.pieces))]
        beta = np.float32(self.net.beta.abs().item())
        weights = np.empty(grid.h * grid.w, np.float32)

        def estimates(k: int, groups: range) -> np.ndarray:
            x_hat = np.empty((len(groups), self.m), np.float32)
            for some, answer in zip(cut(groups, AT_ONCE), split_rows(x_hat), strict=True):
                noise = self.out(self._through(part2[k], self._joined(k, some)), self.scratch)
                y = self.scratch.alone[: len(some)]
                self.patches.members(grid, some, y)
                estimated(y, noise, beta, answer, weights[some.start : some.stop])
            return x_hat

        total = self._sum(estimates, 1)
        return total / grid.sums(torch.from_numpy(weights).view(grid.h, grid.w), 1)

    # --- part 1, and what is made of it ---

    def _second(self, scale: int, piece: Piece) -> Layer | None:
        part = self.net.scales[scale].part1
        if part.second is None:
            return None
        moments = None
        if piece.sample is not None:
            plain = Layer(part.second, raw=True)
            moments = self._moments(
                plain, piece.sample, lambda some: self._part1(scale, plain, some, self.scratch.own)
            )
        return Layer(part.second, moments, a=part.a.item())

    def _part1(self, scale: int, second: Layer | None, some: range, out: np.ndarray, at: int = 0) -> np.ndarray:
        scratch, n = self.scratch, len(some)
        X, half = scratch.X[:n], scratch.half[:n]
        self.groups[scale].members(self.grid, some, X)
        if second is None:
            self.first[scale](X, scratch, out[:n], at)
        else:
            self.first[scale](X, scratch, half)
            second(half, scratch, out[:n], at)
        return out[:n]

    def _aggregate(self, scale: int) -> Groups:
        """Each patch cut anew from the image that is the mean of them all: see `networks.lidia.aggregate`."""
        grid, group = self.grid, self.groups[scale]
        dilation, own = group.dilation, group.weights[:, :1]

        def estimates(k: int, groups: range) -> np.ndarray:
            z = np.empty((len(groups), self.m), np.float32)
            for some, answer in zip(cut(groups, AT_ONCE), split_rows(z), strict=True):
                x = self._part1(scale, self.seconds[scale][k], some, self.scratch.own)
                answer[:] = self.to_patch[scale](x, self.scratch)[:, : self.m]
            return z if dilation == 1 else z / own[groups.start : groups.stop]

        total = self._sum(estimates, dilation)
        image = total / grid.sums(torch.ones(grid.h, grid.w), dilation)
        if dilation == 1:
            return Groups.alone(image, 1, np.ones_like(own))
        return Groups.alone(blurred(reflect(image[None], 1))[0], dilation, np.ascontiguousarray(own))

    # --- part 2 ---

    def _part2(self, k: int) -> list[Layer]:
        """Its layers, for the k-th piece."""
        part = self.net.part2
        layers = [Layer(part.first, self._part2_moments(k, [], part.first))]
        if part.second is not None:
            layers.append(Layer(part.second, self._part2_moments(k, layers, part.second), a=part.a.item()))
        return layers

    def _part2_moments(self, k: int, before: list[Layer], unit: Separable) -> Moments | None:
        """Of the layer that comes after those before it."""
        sample = self.pieces[k].sample
        if sample is None:
            return None
        through = [*before, Layer(unit, raw=True)]
        return self._moments(through[-1], sample, lambda some: self._through(through, self._joined(k, some)))

    def _joined(self, k: int, some: range) -> np.ndarray:
        """Both scales of some groups, and what the aggregation gives back to them: (n, 4 K, width)."""
        scratch, n = self.scratch, len(some)
        out = scratch.joined
        for scale in range(2):
            self._part1(scale, self.seconds[scale][k], some, out, scale * K)
        for scale, patches in enumerate(self.aggregated):
            patches.members(self.grid, some, scratch.alone[:n])
            self.from_patch[scale](scratch, out, (2 + scale) * K)
        return out[:n]

    def _through(self, layers: list[Layer], X: np.ndarray) -> np.ndarray:
        Y = self.scratch.all[: len(X)]
        for layer in layers:
            layer(X, self.scratch, Y)
            X, Y = Y, X
        return X

    # --- what both have ---

    def _sum(self, estimates: Callable[[int, range], np.ndarray], dilation: int) -> Tensor:
        """The sum of the estimates (n, m) of all patches, each in its place: (C, h, w)."""
        grid = self.grid
        total = np.zeros((self.m // grid.size**2, *grid.shape(dilation)), np.float32)
        tasks = [(k, groups) for k, piece in enumerate(self.pieces) for groups in cut(piece.groups, TASK)]

        @torch.inference_mode()
        def one(task: tuple[int, range]) -> np.ndarray:
            return estimates(*task)

        for (_, groups), patches in zip(tasks, self.workers.map(one, tasks), strict=True):
            add_estimates(patches, grid.size, dilation, grid.w, groups.start, total)
        return torch.from_numpy(total)

    def _moments(self, layer: Layer, sample: range, answer: Callable[[range], np.ndarray]) -> Moments:
        """Of each channel of `answer` (n, channels, width) for the groups of a sample; it ends with `layer`."""

        @torch.inference_mode()
        def one(groups: range) -> Sums:
            sums = Sums(len(layer.hor))
            for some in cut(groups, AT_ONCE):
                sums.add(answer(some), layer.width)
            return sums

        total = Sums(len(layer.hor))
        for sums in self.workers.map(one, cut(sample, TASK)):
            total += sums
        return total.moments()


def split_rows(x: np.ndarray) -> Iterator[np.ndarray]:
    """AT_ONCE rows of x at a time."""
    return (x[k : k + AT_ONCE] for k in range(0, len(x), AT_ONCE))
