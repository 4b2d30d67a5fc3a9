"""NLRN: a recurrent network in which every state compares each pixel's features with those around it.

Liu, Wen, Fan, Loy, Huang, "Non-Local Recurrent Network for Image Restoration", NeurIPS 2018. 330,625 parameters by
the paper's count, which is that of the convolutions (its Table 3 says 330k); the scales and offsets of the batch
normalisations, which each state has for itself as in the authors' code, are 9,474 more.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.restorer import Observation, Setting, TorchRestorer
from methods._attention import Attend, Neighbourhoods, everywhere

__all__ = ["METRICS", "NLRN", "NonLocal", "NonLocalRecurrent"]

Q = 45  # side of the neighbourhood S_i in pixels (Sec. 5.1)

METRICS = {  # Table 1: phi(X_i, X_j), and which of the embeddings theta and psi it has
    "embedded-gaussian": 2,
    "symmetric-gaussian": 1,
    "gaussian": 0,
    "embedded-dot": 2,
    "dot": 0,
    "euclidean": 0,
}


class NLRN(TorchRestorer):
    """NLRN: every pixel attends to the 45x45 pixels around it.

    Options of its network: see NonLocalRecurrent.
    """

    name = "nlrn"
    tasks = {"denoise"}

    def network(self, setting: Setting) -> NonLocalRecurrent:
        return NonLocalRecurrent(setting.channels, **self.options)

    def forward(self, y: Tensor, seen: Observation) -> Tensor:
        return self.net(y, Neighbourhoods(*y.shape[2:], Q, y.device))

    def loss(self, x_hat: Tensor, x: Tensor) -> Tensor:
        """1/2 ||x_hat - x||^2, mean over crops (N, C, h, w): Sec. 4."""
        return (x_hat - x).square().sum() / (2 * len(x))


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
    ) -> None:
        super().__init__()
        if metric not in METRICS:
            raise ValueError(f"metric is '{metric}', expected one of {', '.join(METRICS)}")
        self.n_steps, self.propagate, self.every = n_steps, propagate, every
        n_sets = 1 if tied else n_steps
        self.input = nn.Sequential(norm(channels), convolution(channels, width))
        self.non_local = nn.ModuleList(NonLocal(width, embedding, metric) for _ in range(n_sets if every else 0))
        self.conv_a = nn.ModuleList(convolution(width, width) for _ in range(n_sets))
        self.conv_b = nn.ModuleList(convolution(width, width) for _ in range(n_sets))
        self.norms = nn.ModuleList(nn.ModuleList(norm(width) for _ in range(3)) for _ in range(n_steps))
        self.output = nn.Sequential(norm(width), nn.ReLU(), convolution(width, channels))
        nn.init.zeros_(self.output[-1].weight)  # training starts from x = y; the paper's from Xavier's weights
        self.to(memory_format=torch.channels_last)

    def forward(self, y: Tensor, attend: Attend = everywhere) -> Tensor:
        """Degraded images (B, C, H, W) in [0, 1] to estimates.

        attend  over which pixels each of them looks: without it, over all of its crop
        """
        s0 = s = self.input(y.contiguous(memory_format=torch.channels_last))
        S = None
        for t in range(self.n_steps):
            shared = min(t, len(self.conv_a) - 1)
            norm_1, norm_2, norm_3 = self.norms[t]
            x = F.relu(norm_1(s))
            if self.every and t % self.every == 0:
                x, S = self.non_local[shared](x, S if self.propagate else None, attend)
            x = self.conv_a[shared](norm_2(x))
            x = self.conv_b[shared](F.relu(norm_3(x)))
            s = x + s0
        return y + self.output(s)


class NonLocal(nn.Module):
    """Z_i = 1/delta_i sum_(j in S_i) phi(X_i, X_j) G(X)_j + X_i (Eq. 6 and Fig. 1, a skip connection around it).

    (Eq. 6 prints X_i W_g; Eq. 1 and 2 have G(X)_j = X_j W_g.) theta, psi and g are the 1x1 convolutions of one
    module, their outputs side by side; g starts at zero, so the module starts as the identity (Sec. 3.3).
    """

    def __init__(self, width: int, embedding: int, metric: str) -> None:
        super().__init__()
        self.metric, self.width, self.embedding = metric, width, embedding
        self.theta_psi_g = convolution(width, METRICS[metric] * embedding + width, size=1)
        nn.init.zeros_(self.theta_psi_g.weight[-width:].detach())

    def forward(self, X: Tensor, S: Tensor | None, attend: Attend) -> tuple[Tensor, Tensor]:
        """Features (B, m, H, W) and the correlations so far to Z + X, of their shape, and new correlations."""
        theta, psi, g = self.embed(X)
        Z, S = attend(theta, psi, g, S, not self.metric.endswith("dot"))
        return X + Z.permute(0, 3, 1, 2), S

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
