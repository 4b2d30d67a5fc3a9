"""LIDIA as its paper writes it, its layers and the way through a whole image, in plain operations of torch.

Vaksman, Elad, Milanfar, "LIDIA: Lightweight Learned Image Denoising with Instance Adaptation", CVPR Workshops 2020.
Where the authors' code says more than the paper, we follow the code. What batch normalisation has for statistics,
methods.lidia tells.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from bench.methods.sparse.neighbours import nearest_patches
from bench.methods.sparse.patches import reflect
from torch import Tensor, nn

__all__ = ["PatchNetwork", "Separable", "lidia_denoise", "lidia_estimate", "margin_of", "split"]

K = 14  # patches in a group
SIZES = {1: 7, 3: 5}  # side of the patches, by channels
RADIUS = 14  # of the search window
OUTLIER = -1.0  # the value of pixels around the image, which makes patches with many of them unlike any other
GRAY = (0.2989, 0.5870, 0.1140)
SAMPLE = 4096
AUTHORS_CHUNK = 40_000
CHUNK = {"cpu": 256, "cuda": 2**15, "mps": 2**15}  # patches worked on at a time

Moments = tuple[Tensor, Tensor]
"""Mean and variance of each channel, in front of a batch normalisation."""


# --- the network: groups of patches (K, n, m), the patches of a group along the first axis -----------------


class Separable(nn.Module):
    """Y = hor X ver^T + b for each group X (hor_in, ver_in), then batch normalisation and ReLU if asked for.

    hor  (hor_out, hor_in)   mixes the patches of a group
    ver  (ver_out, ver_in)   mixes the pixels of a patch
    b    (hor_out, ver_out)
    """

    def __init__(
        self, ver_in: int, ver_out: int, hor_in: int, hor_out: int, *, bn: bool = False, relu: bool = True
    ) -> None:
        super().__init__()
        self.hor = nn.Parameter(torch.randn(hor_out, hor_in) / hor_in**0.5)
        self.ver = nn.Parameter(torch.randn(ver_out, ver_in) / ver_in**0.5)
        self.b = nn.Parameter(torch.zeros(hor_out, ver_out))
        self.bn = nn.BatchNorm2d(hor_out) if bn else None
        self.relu = relu

    def forward(self, X: Tensor, moments: Moments | None = None) -> Tensor:
        """(hor_in, n, ver_in) to (hor_out, n, ver_out). moments: of `linear`'s answer; None: those stored.

        A batch normalisation in training mode has those of this answer, and learns them.
        """
        if self.bn is not None and self.bn.training:
            Y = self.bn(self.linear(X)[None])[0]
        else:
            Y = self.linear(X, *self.normalised(moments))
        return Y.relu_() if self.relu else Y

    def normalised(self, moments: Moments | None = None) -> tuple[Tensor, Tensor]:
        """hor and b, with the batch normalisation that comes after them."""
        if self.bn is None:
            return self.hor, self.b
        mean, var = (self.bn.running_mean, self.bn.running_var) if moments is None else moments
        scale = (self.bn.weight / torch.sqrt(var + self.bn.eps))[:, None]
        return scale * self.hor, scale * (self.b - mean[:, None]) + self.bn.bias[:, None]

    def linear(self, X: Tensor, hor: Tensor | None = None, b: Tensor | None = None) -> Tensor:
        """hor X ver^T + b, in the order that takes fewer products."""
        hor, b = self.hor if hor is None else hor, self.b if b is None else b
        n = X.shape[1]
        if len(hor) < len(X):
            Y = (hor @ X.flatten(1)).view(len(hor), n, -1) @ self.ver.T
        else:
            Y = (hor @ (X @ self.ver.T).flatten(1)).view(len(hor), n, -1)
        return Y + b[:, None]

    def macs(self) -> int:
        """Of one group."""
        (hor_out, hor_in), (ver_out, ver_in) = self.hor.shape, self.ver.shape
        if hor_out < hor_in:
            return hor_out * ver_in * (hor_in + ver_out)
        return hor_in * ver_in * ver_out + hor_out * hor_in * ver_out


class Part(nn.Module):
    """x = first(X); a x + (1 - a) second(x). Without a second layer x itself."""

    def __init__(self, first: Separable, second: Separable | None) -> None:
        super().__init__()
        self.first, self.second = first, second
        if second is not None:
            self.a = nn.Parameter(torch.zeros(1))

    def forward(self, X: Tensor, first: Moments | None = None, second: Moments | None = None) -> Tensor:
        x = self.first(X, first)
        return x if self.second is None else torch.lerp(self.second(x, second), x, self.a)

    def macs(self) -> int:
        return self.first.macs() + (0 if self.second is None else self.second.macs())


class PatchWeights(nn.Module):
    """From the distances of a group, as exp(-|alpha| d), to a weight for each of its patches: (n, K) to (n, K)."""

    def __init__(self) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.full((1,), 0.5))
        layers: list[nn.Module] = []
        for _ in range(6):
            layers += [nn.Linear(K, K, bias=False), nn.BatchNorm1d(K), nn.ReLU()]
        last = nn.Linear(K, K)
        nn.init.ones_(last.bias)  # training begins with weights near 1: the second scale divides by them
        self.layers = nn.Sequential(*layers, last)

    def forward(self, distances: Tensor, stored: bool) -> Tensor:
        """stored: whether batch normalisation uses its stored statistics, or those of `distances`."""
        w = torch.exp(-self.alpha.abs() * distances)
        for layer in self.layers:
            if isinstance(layer, nn.BatchNorm1d) and not stored:
                w = F.batch_norm(w, None, None, layer.weight, layer.bias, training=True, eps=layer.eps)
            else:
                w = layer(w)
        return w


class Scale(nn.Module):
    """The layers that each of the two scales has for itself."""

    def __init__(self, m: int, width: int, small: bool) -> None:
        super().__init__()
        self.weights = PatchWeights()
        second = None if small else Separable(width, width, K, K, bn=True)
        self.part1 = Part(Separable(m, width, K, K), second)
        self.to_patch = Separable(width, m, K, 1, relu=False)
        self.from_patch = Separable(m, width, 1, K)


def margin_of(channels: int) -> int:
    """Pixels around an image in which its patches may have neighbours, at the second scale: 38, in colour 35."""
    size = SIZES[channels]
    return (size - 1) // 2 + 1 + (size - 1) + 2 * RADIUS


class PatchNetwork(nn.Module):
    """What is learned: gray 7x7 patches through layers 64 wide, colour 5x5x3 ones through layers 80 wide.

    small  whether both parts are without their second layers
    """

    def __init__(self, channels: int, *, small: bool = False) -> None:
        super().__init__()
        self.size, width = SIZES[channels], 64 if channels == 1 else 80
        self.margin = margin_of(channels)
        m = channels * self.size**2
        self.scales = nn.ModuleList(Scale(m, width, small) for _ in range(2))
        layers = [Separable(width, width, 4 * K, 4 * K, bn=True) for _ in range(1 if small else 2)]
        self.part2 = Part(layers[0], None if small else layers[1])
        self.out = Separable(width, m, 4 * K, 1, relu=False)
        self.beta = nn.Parameter(torch.full((1,), 0.5))


# --- a whole image -----------------------------------------------------------------------------------------


@dataclass
class Found:
    """All N patches of one scale, and what is like each.

    patches    (places, m)  those of the image with its border
    places     (K, N)       of the members of each group, the patch itself first
    distances  (N, K)       to the K - 1 others; last the patch's own spread
    """

    patches: Tensor
    places: Tensor
    distances: Tensor

    def first(self) -> Tensor:
        """The patches themselves, (N, m)."""
        return self.patches[self.places[0]]


@dataclass
class Groups:
    """The groups of all N patches at one scale, not formed before they are asked for.

    patches, places  see `Found`
    weights          (K, N) of the members
    """

    patches: Tensor
    places: Tensor
    weights: Tensor

    def weighted(self, some: slice) -> Tensor:
        """(K, n, m) for the n groups `some`."""
        return self.patches[self.places[:, some]].mul_(self.weights[:, some, None])

    def first(self, some: slice) -> Tensor:
        """The patches themselves, (n, m)."""
        return self.patches[self.places[0, some]]


def lidia_denoise(net: PatchNetwork, y: Tensor, statistics: str) -> Tensor:
    """LIDIA of one image (1, C, H, W) in [0, 1]; the answer is clamped to [0, 1].

    statistics  of batch normalisation: "sample" and "authors" as the module says, or "stored". In the first two the
                layers that weigh the patches have those of the whole image, as with the authors

    Memory grows with the image by the patches and their places, not by the layers' activations: these exist for a
    few patches at a time, and those in front of the aggregation are computed anew where they are needed again.
    """
    with torch.no_grad():
        centred, mean = without_mean(y)
        groups = groups_of(net, surrounded(net, centred), statistics == "stored")
        grid = grid_of(net, y, 0)
        x_hat = mean_image(net, *denoised_patches(net, groups, grid, split(grid, statistics)), grid) + mean
        return (x_hat.clamp(-1, 1) + 1) / 2


def lidia_estimate(net: PatchNetwork, y: Tensor, *, inner: bool) -> Tensor:
    """What `lidia_denoise` answers to a batch of crops (N, C, h, w), for training: not clamped, and with gradients.

    inner  answer for the part of each crop with `margin` pixels around it, (N, C, h - 2 margin, w - 2 margin), where
           all neighbours are the picture's own. Else for the whole crop

    In training mode batch normalisation has the statistics of all patches of the batch, and learns them; in
    evaluation mode those that it has learned ("stored"). All patches are in memory at once: some 200 kB each.
    """
    y, mean = without_mean(y)
    s, grid = net.size, grid_of(net, y, net.margin if inner else 0)
    n, images = grid[0] * grid[1], [(surroundings if inner else surrounded)(net, image) for image in y.split(1)]
    own, back, patches = [], [], y
    for dilation, (scale, of_scale) in enumerate(zip(net.scales, zip(*images, strict=True), strict=True), start=1):
        found = [found_in(x, s, dilation) for x in of_scale]
        weights = scale.weights(torch.cat([one.distances for one in found]), True)
        groups = torch.cat([one.patches[one.places] for one in found], 1) * weights.T[:, :, None]
        own.append(scale.part1(groups))
        single = zip(scale.to_patch(own[-1])[0].split(n), weights[:, :1].split(n), strict=True)
        cut = [aggregate(of_crop, grid, s, dilation, weight) for of_crop, weight in single]
        back.append(scale.from_patch(torch.cat(cut)[None]))
        if dilation == 1:
            patches = torch.cat([one.first() for one in found])
    x_hat = patches - net.out(net.part2(torch.cat(own + back)))[0]
    weights = torch.exp(-net.beta.abs() * x_hat.var(1, correction=0, keepdim=True))
    each = zip(x_hat.split(n), weights.split(n), strict=True)
    return (torch.cat([mean_image(net, *one, grid) for one in each]) + mean + 1) / 2


def without_mean(y: Tensor) -> tuple[Tensor, Tensor]:
    """From [0, 1] to [-1, 1], without the mean of each channel; and these means."""
    y = 2 * y - 1
    mean = y.mean((2, 3), keepdim=True)
    return y - mean, mean


def grid_of(net: PatchNetwork, y: Tensor, rim: int) -> tuple[int, int]:
    """Rows and columns of patches, all that have a pixel of y (N, C, H, W) that is not on its rim."""
    H, W = (n - 2 * rim for n in y.shape[2:])
    return H + net.size - 1, W + net.size - 1


def mean_image(net: PatchNetwork, patches: Tensor, weights: Tensor, grid: tuple[int, int]) -> Tensor:
    """The weighted mean of all patches that a pixel lies in: patches (N, m), weights (N, 1) to (1, C, H, W)."""
    s, (h, w) = net.size, grid
    total = fold(patches * weights, (h + s - 1, w + s - 1), s)
    total_weight = fold(weights.expand(-1, s * s).contiguous(), total.shape[2:], s)
    return (total / total_weight)[:, :, s - 1 : h, s - 1 : w]


def surrounded(net: PatchNetwork, y: Tensor) -> list[Tensor]:
    """The image (1, C, H, W) at both scales, with all that its patches and their neighbours have around it.

    At the second scale it is blurred: patches there have every second pixel.
    """
    s = net.size
    images = reflect(y, s - 1), blurred(reflect(y, (s - 1) // 2 + 1 + s - 1))
    return [F.pad(x, [RADIUS * dilation] * 4, value=OUTLIER) for dilation, x in enumerate(images, start=1)]


def surroundings(net: PatchNetwork, y: Tensor) -> list[Tensor]:
    """The same for the inner part of y, but for `net.margin` pixels: what is around it is there."""
    rim = net.margin - (net.size - 1) - RADIUS
    return [y[:, :, rim:-rim, rim:-rim], blurred(y)]


def groups_of(net: PatchNetwork, images: list[Tensor], stored: bool) -> list[Groups]:
    """The groups at the image's own scale, and those of patches with every second pixel of the blurred image."""
    groups = []
    for dilation, (x, scale) in enumerate(zip(images, net.scales, strict=True), start=1):
        found = found_in(x, net.size, dilation)
        weights = scale.weights(found.distances, stored)
        groups.append(Groups(found.patches, found.places, weights.T.contiguous()))
    return groups


def found_in(x: Tensor, size: int, dilation: int) -> Found:
    """All patches of an image with its border, and their neighbours."""
    with torch.autocast(x.device.type, enabled=False):  # neighbours do not hang on eight bits
        gray = x[0, 0] if x.shape[1] == 1 else torch.tensordot(x.new_tensor(GRAY), x[0], 1)
    distances, places = nearest_patches(gray, size, K, RADIUS, dilation)
    patches = unfold(x, size, dilation)
    m = patches.shape[1]
    spread = patches[places[0]].var(1) * m  # stands where the first patch would have its distance 0
    return Found(patches, places, torch.cat([distances[1:], spread[None]]).T)


@dataclass
class Piece:
    """Groups that share statistics of batch normalisation, and those which these are taken from (None: stored)."""

    groups: range
    sample: range | None


def split(grid: tuple[int, int], statistics: str) -> list[Piece]:
    """The groups of a grid, in raster order, as "sample", "authors" or "stored" treats them."""
    everything = range(grid[0] * grid[1])
    if statistics == "authors":
        return [Piece(part, part) for part in cut(everything, AUTHORS_CHUNK)]
    if statistics == "sample":
        step = max(1, len(everything) // SAMPLE)
        while math.gcd(step, grid[1]) > 1:  # else some columns would never be met
            step += 1
        return [Piece(everything, everything[::step])]
    return [Piece(everything, None)]


def cut(groups: range, n: int) -> list[range]:
    """So many at a time."""
    return [groups[k : k + n] for k in range(0, len(groups), n)]


def slices(groups: range, n: int) -> Iterator[slice]:
    """So many at a time, as one picks them out of all."""
    return (slice(some.start, some.stop, some.step) for some in cut(groups, n))


def denoised_patches(
    net: PatchNetwork, groups: list[Groups], grid: tuple[int, int], pieces: list[Piece]
) -> tuple[Tensor, Tensor]:
    """Estimates of all N patches (N, m), and their weights (N, 1)."""
    (N, m), device = (groups[0].places.shape[1], groups[0].patches.shape[1]), groups[0].patches.device
    chunk = CHUNK[device.type]
    moments, aggregated = [], []
    for dilation, (scale, group) in enumerate(zip(net.scales, groups, strict=True), start=1):
        moments.append([part1_moments(scale, group, piece.sample, chunk) for piece in pieces])
        single = group.patches.new_empty(N, m)
        for piece, second in zip(pieces, moments[-1], strict=True):
            for some in slices(piece.groups, chunk):
                single[some] = scale.to_patch(scale.part1(group.weighted(some), None, second))[0]
        aggregated.append(aggregate(single, grid, net.size, dilation, group.weights[0][:, None]))
    estimates, weights = torch.empty_like(single), single.new_empty(N, 1)
    for piece, *seconds in zip(pieces, *moments, strict=True):
        joined = partial(joined_scales, net, groups, seconds, aggregated)
        first, second = part2_moments(net.part2, joined, piece.sample, chunk)
        for some in slices(piece.groups, chunk):
            x_hat = groups[0].first(some).sub_(net.out(net.part2(joined(some), first, second))[0])
            estimates[some] = x_hat
            weights[some] = torch.exp(-net.beta.abs() * x_hat.var(1, correction=0, keepdim=True))
    return estimates, weights


def joined_scales(
    net: PatchNetwork, groups: list[Groups], seconds: list[Moments | None], aggregated: list[Tensor], some: slice
) -> Tensor:
    """Both scales of the n groups `some`, and what the aggregation gives back to them: (4 K, n, width)."""
    scales = list(zip(net.scales, groups, seconds, aggregated, strict=True))
    own = [scale.part1(group.weighted(some), None, second) for scale, group, second, _ in scales]
    return torch.cat(own + [scale.from_patch(patches[some][None]) for scale, _, _, patches in scales])


def part1_moments(scale: Scale, group: Groups, sample: range | None, chunk: int) -> Moments | None:
    """Of the layer of part 1 that has a batch normalisation, its second."""
    part = scale.part1
    if sample is None or part.second is None:
        return None
    return moments_of(lambda some: part.second.linear(part.first(group.weighted(some))), sample, chunk)


def part2_moments(
    part: Part, joined: Callable[[slice], Tensor], sample: range | None, chunk: int
) -> tuple[Moments | None, Moments | None]:
    """Of both layers of part 2; the second's depend on the first's."""
    if sample is None:
        return None, None
    first = moments_of(lambda some: part.first.linear(joined(some)), sample, chunk)
    if part.second is None:
        return first, None
    return first, moments_of(lambda some: part.second.linear(part.first(joined(some), first)), sample, chunk)


def moments_of(layer: Callable[[slice], Tensor], sample: range, chunk: int) -> Moments:
    """Mean and variance of each channel of layer(sample), (channels, n, width), a few of the sample at a time."""
    n, total, squares = 0, *torch.zeros(2, dtype=torch.float64)
    for some in slices(sample, chunk):
        Y = layer(some).flatten(1).double()
        total, squares, n = total + Y.sum(1), squares + Y.square().sum(1), n + Y.shape[1]
    mean = total / n
    return mean.float(), (squares / n - mean.square()).clamp_min(0).float()


def aggregate(patches: Tensor, grid: tuple[int, int], size: int, dilation: int, weight: Tensor) -> Tensor:
    """Each patch (N, m) cut anew from the image that is the mean of them all.

    At the second scale (dilation 2) the patches are divided by their weights (N, 1), the image is blurred, and what
    is cut from it is multiplied by the weights.
    """
    shape = [n + (size - 1) * dilation for n in grid]
    count = fold(patches.new_ones(len(patches), size * size), shape, size, dilation)
    if dilation == 1:
        return unfold(fold(patches, shape, size) / count, size)
    image = fold(patches / weight, shape, size, dilation) / count
    return unfold(blurred(reflect(image, 1)), size, dilation).mul_(weight)


def blurred(x: Tensor) -> Tensor:
    """x (B, C, h, w) filtered by (1, 2, 1) / 4 along both axes, without the outermost pixels."""
    x = (x[:, :, :-2] + x[:, :, 2:] + 2 * x[:, :, 1:-1]) / 4
    return (x[:, :, :, :-2] + x[:, :, :, 2:] + 2 * x[:, :, :, 1:-1]) / 4


def unfold(x: Tensor, size: int, dilation: int = 1) -> Tensor:
    """Patches (N, m) of one image (1, C, h, w)."""
    return F.unfold(x, size, dilation=dilation)[0].T.contiguous()


def fold(patches: Tensor, shape: list[int] | tuple[int, int], size: int, dilation: int = 1) -> Tensor:
    """Patches (N, m) summed into an image (1, C, h, w)."""
    return F.fold(patches.T[None], list(shape), size, dilation=dilation)
