"""N3Net: convolutional blocks, and between them blocks that add to an image the nearest neighbours of its patches.

Plötz, Roth, "Neural Nearest Neighbors Networks", NeurIPS 2018. What the paper's figures leave open, the sizes and how
neighbours are drawn, is as the authors' weights for Gaussian noise want it (github.com/visinf/n3net, commit 5d5883a).

For evaluation alone: in a training the distances of all patches would have to be normalised together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

__all__ = ["LEAST", "PATCH", "STRIDE", "WINDOW", "DnCNNBlock", "K", "N3Block", "N3Network", "merged", "products"]

FEATURES, WIDTH = 8, 64
K = 7  # neighbours
PATCH, STRIDE = 10, 5
WINDOW = 15  # patches of a side of the window that holds the candidates
TEMPERATURE = 0.1
LOWEST = -80.0  # of a candidate's logit below the nearest one's, or its weight would not be a float32
LEAST = PATCH + 2 * STRIDE
"""pixels of a side: three patches each way, so that there are more candidates than neighbours"""
COLUMNS = {"cpu": 32, "cuda": 128, "mps": 128}
"""patches of a row that are compared together"""


class N3Network(nn.Module):
    """Gray images (1, 1, H, W) in [0, 1], of LEAST pixels a side or more, to their estimates: Fig. 2b."""

    def __init__(self) -> None:
        super().__init__()
        all_volumes = FEATURES * (1 + K)
        self.blocks = nn.ModuleList(
            [DnCNNBlock(1, FEATURES), DnCNNBlock(all_volumes, FEATURES), DnCNNBlock(all_volumes, 1)]
        )
        self.n3 = nn.ModuleList(N3Block(FEATURES) for _ in range(2))

    def forward(self, y: Tensor) -> Tensor:
        x: Tensor = self.blocks[0](y)
        for n3, block in zip(self.n3, self.blocks[1:], strict=True):
            x = block(n3(x))
        return x


class DnCNNBlock(nn.Module):
    """Six convolutions; what comes out is added to what went in, as far as both have channels."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(n_in, WIDTH, 3, padding=1),
            nn.ReLU(),
            *normalised(WIDTH, 4),
            nn.Conv2d(WIDTH, n_out, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        r: Tensor = self.body(x)
        n = min(x.shape[1], r.shape[1])
        return torch.cat([x[:, :n] + r[:, :n], r[:, n:]], 1)


def normalised(n_in: int, n: int) -> list[nn.Module]:
    """n convolutions to WIDTH channels with batch normalisation and ReLU."""
    layers: list[nn.Module] = []
    for channels in (n_in, *[WIDTH] * (n - 1)):
        layers += [nn.Conv2d(channels, WIDTH, 3, padding=1, bias=False), nn.BatchNorm2d(WIDTH), nn.ReLU()]
    return layers


def merged(chain: nn.Sequential) -> nn.Sequential:
    """Convolutions and ReLU alone, that answer as `chain` does in evaluation mode."""
    layers: list[nn.Module] = []
    for layer in chain:
        if isinstance(layer, nn.BatchNorm2d):
            convolution = layers[-1]
            assert isinstance(convolution, nn.Conv2d)
            layers[-1] = fuse_conv_bn_eval(convolution, layer)
        else:
            layers.append(layer)
    return nn.Sequential(*layers)


@dataclass(frozen=True)
class Tile:
    """Patches of a row that are compared with the same candidates.

    some     their columns
    around   the candidates' columns
    outside  (n, w) bool: which of these columns are in the window of none but another patch
    own      (n,) the place of each patch's own column among them
    """

    some: slice
    around: slice
    outside: Tensor
    own: Tensor


class N3Block(nn.Module):
    """x (1, C, H, W), and how K neighbour volumes differ from it: (1, (1 + K) C, H, W): Fig. 2a.

    In the k-th volume each patch of x is the mean of its candidates with the weights of the k-th neighbour.

    embedding    what the patches are compared by
    temperature  the logarithm of that of the weights, at each pixel
    norm         of the distances, their sign turned
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.embedding = nn.Sequential(*normalised(channels, 2), nn.Conv2d(WIDTH, channels, 3, padding=1))
        self.temperature = nn.Sequential(*normalised(channels, 2), nn.Conv2d(WIDTH, 1, 3, padding=1))
        self.norm = nn.BatchNorm1d(1)

    def forward(self, x: Tensor) -> Tensor:
        patches, embedded = cut(x), cut(self.embedding(x))
        embedded = embedded - embedded.mean((0, 1))  # no distance changes, and their rounding errors shrink
        t = TEMPERATURE * torch.exp(cut(self.temperature(x)).mean(2))
        rows, columns, _ = patches.shape
        row = tiles(columns, COLUMNS[x.device.type], x.device)
        above, height = padded(x.shape[2])
        left, width = padded(x.shape[3])
        total = x.new_zeros(K, x.shape[1], height, width)
        for i, top in enumerate(windows(rows)):
            neighbours = torch.cat([self.neighbours(patches, embedded, t, i, top, tile) for tile in row], 1)
            strip = F.fold(neighbours.transpose(1, 2), (PATCH, width), PATCH, stride=STRIDE)
            total[:, :, STRIDE * i : STRIDE * i + PATCH] += strip
        total /= covered(rows, x.device)[:, None] * covered(columns, x.device)
        volumes = total[:, :, above : above + x.shape[2], left : left + x.shape[3]]
        return torch.cat([x, (volumes - x).flatten(0, 1)[None]], 1)

    def neighbours(self, patches: Tensor, embedded: Tensor, t: Tensor, i: int, top: int, tile: Tile) -> Tensor:
        """The K neighbours (K, n, m) of the patches of a tile in row i, whose windows begin with row `top`.

        patches, embedded  (rows, columns, m) each
        t                  (rows, columns) the temperatures
        """
        candidates = embedded[top : top + WINDOW, tile.around]
        d = squared_distances(embedded[i, tile.some], candidates.flatten(0, 1))
        logits = self.norm(-d.view(-1, 1)).view(len(d), *candidates.shape[:2]) / t[i, tile.some, None, None]
        logits.masked_fill_(tile.outside[:, None], -math.inf)
        logits[torch.arange(len(d)), i - top, tile.own] = -math.inf  # no patch is its own neighbour
        w = relaxed_nearest(logits.flatten(1), K)
        return (w.flatten(0, 1) @ patches[top : top + WINDOW, tile.around].flatten(0, 1)).unflatten(0, w.shape[:2])


def products(H: int, W: int) -> int:
    """Multiply-accumulates of a block's distances and neighbours in an image of H x W, of the candidates alone."""
    rows, columns = grid(H), grid(W)
    candidates = min(WINDOW, rows) * min(WINDOW, columns)
    return rows * columns * candidates * FEATURES * PATCH**2 * (1 + K)


def relaxed_nearest(logits: Tensor, k: int) -> Tensor:
    """Weights (k, n, candidates) that sum to 1: k draws without replacement, each in its mean.

        w = softmax(l),  l <- l + log(1 - w),  which is  w <- w (1 - w) / sum of w (1 - w)

    logits  (n, candidates), divided by the temperature; in each row more than k are finite, and -inf is no candidate
    """
    x = logits - logits.amax(1, keepdim=True)
    w = x.clamp_min(LOWEST).exp_().masked_fill_(x.isneginf(), 0)
    weights = []
    for _ in range(k):
        w = w / w.sum(1, keepdim=True)
        weights.append(w)
        w = w * (1 - w)
    return torch.stack(weights)


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """Of a (n, m) to b (N, m): (n, N)."""
    squares = torch.linalg.vecdot(a, a)[:, None] + torch.linalg.vecdot(b, b)
    return torch.addmm(squares, a, b.T, alpha=-2).clamp_min_(0)


# --- patches: PATCH pixels a side, STRIDE apart, zeros around the image --------------------------------------


def padded(n: int) -> tuple[int, int]:
    """How many zeros stand before n pixels, and how many pixels it takes to cover them with patches."""
    length = PATCH + STRIDE * math.ceil(max(0, n - PATCH) / STRIDE)
    return (length - n) // 2, length


def grid(n: int) -> int:
    """How many patches cover n pixels."""
    return 1 + (padded(n)[1] - PATCH) // STRIDE


def cut(x: Tensor) -> Tensor:
    """The patches of x (1, C, H, W): (rows, columns, C * PATCH * PATCH)."""
    (above, height), (left, width) = (padded(n) for n in x.shape[2:])
    x = F.pad(x, (left, width - x.shape[3] - left, above, height - x.shape[2] - above))
    patches = F.unfold(x, PATCH, stride=STRIDE)[0].T.contiguous()
    return patches.view(grid(height), grid(width), -1)


def covered(n: int, device: torch.device) -> Tensor:
    """How many of n patches in a row each of their pixels lies in."""
    ones = torch.ones(1, PATCH, n, device=device)
    return F.fold(ones, (1, PATCH + STRIDE * (n - 1)), (1, PATCH), stride=(1, STRIDE))[0, 0, 0]


def windows(n: int) -> list[int]:
    """Where the window of each of n patches begins: it has the patch in its middle, or ends with the image."""
    return [max(0, min(i - WINDOW // 2, n - WINDOW)) for i in range(n)]


def tiles(columns: int, n: int, device: torch.device) -> list[Tile]:
    """The patches of a row, n at a time."""
    starts = torch.tensor(windows(columns), device=device)
    row = []
    for first in range(0, columns, n):
        some = slice(first, min(first + n, columns))
        around = slice(int(starts[first]), int(starts[some.stop - 1]) + WINDOW)
        column = torch.arange(around.start, min(around.stop, columns), device=device)
        start = starts[some, None]
        outside = (column < start) | (column >= start + WINDOW)
        row.append(Tile(some, around, outside, torch.arange(some.start, some.stop, device=device) - around.start))
    return row
