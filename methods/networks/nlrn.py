"""NLRN as its paper writes it: a state, correlations with all pixels of a crop, and what is carried on of both.

Liu, Wen, Fan, Loy, Huang, "Non-Local Recurrent Network for Image Restoration", NeurIPS 2018, Sec. 3 and 4.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from bench.methods.networks.correlations import attended
from bench.methods.sparse.multiply import may_be_compiled, product
from torch import Tensor, nn

__all__ = ["METRICS", "NonLocal", "NonLocalRecurrent", "is_neighbour", "neighbours"]

METRICS = {  # Table 1: phi(X_i, X_j), and which of the embeddings theta and psi it has
    "embedded-gaussian": 2,
    "symmetric-gaussian": 1,
    "gaussian": 0,
    "embedded-dot": 2,
    "dot": 0,
    "euclidean": 0,
}


def neighbours(H: int, W: int, q: int) -> Tensor:
    """Whether pixel j is in the neighbourhood S_i of pixel i: bool (HW, HW), pixels row by row.

    S_i are the q x q pixels around i; near the border they are moved inwards, so that every pixel has q * q
    neighbours where the image has as many. So it is in training, where a pixel sees its whole crop of about q x q
    pixels wherever in it it lies: the paper's circular padding (Sec. 5) has the same effect.
    """
    rows, columns = (is_neighbour(torch.arange(n)[:, None], torch.arange(n), n, q) for n in (H, W))
    return (rows[:, None, :, None] & columns[None, :, None, :]).flatten(2, 3).flatten(0, 1)


def is_neighbour(i: Tensor, j: Tensor, n: int, q: int) -> Tensor:
    """Whether j is among the q neighbours of i, of n pixels in a row."""
    first = (i - q // 2).clamp(0, max(n - q, 0))
    return (j >= first) & (j < first + q)


class NonLocalRecurrent(nn.Module):
    """s^t = f_recurrent(s^(t-1), s^0) for t = 1 ... T, and x = y + f_output(s^T) (Sec. 4).

    f_recurrent is a non-local module and two convolutions, to which s^0 is added; batch normalisation and ReLU stand
    before them as in the authors' code, which has no ReLU between the non-local module and the first convolution.

    Options:
    n_steps    T, the unrolling length
    width      m, features per pixel
    embedding  l, the length of theta(X_i) and psi(X_i)
    metric     phi of Table 1, one of METRICS
    propagate  whether the correlations of the previous state are added before they are normalised (Fig. 3)
    every      the non-local module is used in every state (1), every other (2), ..., in none (0): Table 2
    tied       whether all states share their convolutions: Table 2
    neighbourhood  q, the side in pixels of the neighbourhoods S_i (Fig. 5), in training too where crops are larger;
                   0: the paper's 45 when an image is restored, all of the crop in training
    """

    def __init__(
        self,
        channels: int = 1,
        *,
        n_steps: int = 12,
        width: int = 128,
        embedding: int = 64,
        metric: str = "embedded-gaussian",
        propagate: bool = True,
        every: int = 1,
        tied: bool = True,
        neighbourhood: int = 0,
    ) -> None:
        super().__init__()
        if metric not in METRICS:
            raise ValueError(f"metric is '{metric}', expected one of {', '.join(METRICS)}")
        if neighbourhood < 0:
            raise ValueError(f"neighbourhood is {neighbourhood}, expected a side in pixels, or 0")
        self.propagate, self.every, self.neighbourhood = propagate, every, neighbourhood
        n_sets = 1 if tied else n_steps
        self.input = nn.Sequential(norm(channels), convolution(channels, width))
        self.non_local = nn.ModuleList(NonLocal(width, embedding, metric) for _ in range(n_sets if every else 0))
        self.conv_a = nn.ModuleList(convolution(width, width) for _ in range(n_sets))
        self.conv_b = nn.ModuleList(convolution(width, width) for _ in range(n_sets))
        self.norms = nn.ModuleList(nn.ModuleList(norm(width) for _ in range(3)) for _ in range(n_steps))
        self.output = nn.Sequential(norm(width), nn.ReLU(), convolution(width, channels))
        nn.init.zeros_(self.output[-1].weight)  # training starts from x = y; the paper's from Xavier's weights
        self.to(memory_format=torch.channels_last)

    def forward(self, y: Tensor, neighbours: Tensor | None = None) -> Tensor:
        """Degraded images (B, C, H, W) in [0, 1] to estimates.

        neighbours  (HW, HW), whether pixel j is in S_i; None: as the option `neighbourhood` says for training
        """
        if neighbours is None:
            neighbours = self.confined(*y.shape[2:], y.device)
        s0 = s = self.input(y.contiguous(memory_format=torch.channels_last))
        S = None
        for norm_1, non_local, norm_2, conv_a, norm_3, conv_b in self.states():
            x = F.relu(norm_1(s))
            if non_local is not None:
                x, S = non_local(x, S if self.propagate else None, neighbours)
            x = conv_a(norm_2(x))
            x = conv_b(F.relu(norm_3(x)))
            s = x + s0
        return y + self.output(s)

    def confined(self, H: int, W: int, device: torch.device) -> Tensor | None:
        """`neighbours` of a crop that is larger than the neighbourhood; None: each pixel looks at all of it."""
        q = self.neighbourhood
        return neighbours(H, W, q).to(device) if 0 < q < max(H, W) else None

    def states(self) -> Iterator[State]:
        """What each state is made of; most of it is the same for all."""
        for t, (norm_1, norm_2, norm_3) in enumerate(self.norms):
            k = t if len(self.conv_a) > 1 else 0
            non_local = self.non_local[k] if self.every and t % self.every == 0 else None
            yield State(norm_1, non_local, norm_2, self.conv_a[k], norm_3, self.conv_b[k])

    def macs(self, pixels: int, pairs: int) -> int:
        """Multiply-accumulates for so many pixels, and pairs of pixels that are correlated."""
        per_pixel = self.input[1].weight.numel() + self.output[2].weight.numel()
        per_pair = 0
        for state in self.states():
            per_pixel += state.conv_a.weight.numel() + state.conv_b.weight.numel()
            if state.non_local is not None:
                per_pixel += state.non_local.theta_psi_g.weight.numel()
                per_pair += state.non_local.macs_per_pair
        return pixels * per_pixel + pairs * per_pair


class State(NamedTuple):
    norm_1: nn.Module
    non_local: NonLocal | None
    norm_2: nn.Module
    conv_a: nn.Conv2d
    norm_3: nn.Module
    conv_b: nn.Conv2d


class NonLocal(nn.Module):
    """Z_i = 1/delta_i sum_(j in S_i) phi(X_i, X_j) G(X)_j + X_i (Eq. 6 and Fig. 1, a skip connection around it).

    (Eq. 6 prints X_i W_g; Eq. 1 and 2 have G(X)_j = X_j W_g.) theta, psi and g are the 1x1 convolutions of one
    module, their outputs side by side; g starts at zero, so the module starts as the identity (Sec. 3.3).
    """

    def __init__(self, width: int, embedding: int, metric: str) -> None:
        super().__init__()
        self.metric, self.width, self.embedding = metric, width, embedding
        self.softmax = not metric.endswith("dot")
        self.macs_per_pair = width + (embedding if METRICS[metric] else width + (metric == "euclidean"))
        self.theta_psi_g = convolution(width, METRICS[metric] * embedding + width, size=1)
        nn.init.zeros_(self.theta_psi_g.weight[-width:].detach())

    def forward(self, X: Tensor, S: Tensor | None = None, neighbours: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Features (B, m, H, W) and the correlations so far, as it returned them, to Z + X and the new correlations.

        Correlations stay in the dtype of the products, so that they pass through memory as rarely and as short as can
        be. On a GPU, H * W should be a multiple of 8.
        """
        theta, psi, g = (x.flatten(1, 2) for x in self.embed(X))
        if self.softmax and may_be_compiled(theta):
            Z, S = attended(theta, psi, g, S, neighbours)
            return X + Z.transpose(1, 2).unflatten(2, X.shape[2:]), S
        with torch.autocast(X.device.type, enabled=False):  # it would have the softmax in float32
            psi_T = psi.transpose(1, 2)
            S = product(theta, psi_T, S)
            Z = product(self.weights(S, neighbours), g)
        return X + Z.transpose(1, 2).unflatten(2, X.shape[2:]), S

    def weights(self, S: Tensor, neighbours: Tensor | None = None) -> Tensor:
        """phi / delta, of S's shape. A sum of products may be zero: theirs are divided by their number instead."""
        if self.softmax:
            return torch.softmax(S if neighbours is None else S.masked_fill(~neighbours, -torch.inf), -1)
        return S / S.shape[-1] if neighbours is None else S * neighbours / neighbours.sum(-1, keepdim=True)

    def embed(self, X: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Vectors theta_i, psi_j (B, H, W, l) whose product is the correlation of i and j, and G(X) (B, H, W, m)."""
        *embedded, g = (
            self.theta_psi_g(X).permute(0, 2, 3, 1).split([self.embedding] * METRICS[self.metric] + [self.width], -1)
        )
        X = X.permute(0, 2, 3, 1).to(g.dtype)
        if self.metric == "euclidean":  # -||X_i - X_j||^2 / h^2, less the square of X_i, which the softmax cancels
            h2 = self.width  # the paper does not give its h
            one, norm2 = torch.ones_like(X[..., :1]), X.square().sum(-1, keepdim=True)
            return torch.cat([2 / h2 * X, -one / h2], -1), torch.cat([X, norm2], -1), g
        theta, psi = {2: embedded, 1: 2 * embedded, 0: [X, X]}[METRICS[self.metric]]
        return theta, psi, g


def convolution(n_in: int, n_out: int, size: int = 3) -> nn.Conv2d:
    """Zero padding keeps the size; Xavier initialisation (Sec. 5)."""
    conv = nn.Conv2d(n_in, n_out, size, padding=size // 2)
    nn.init.xavier_uniform_(conv.weight)
    nn.init.zeros_(conv.bias)
    return conv


def norm(width: int) -> nn.BatchNorm2d:
    """With the authors' constants."""
    return nn.BatchNorm2d(width, eps=1e-3, momentum=0.01)
