"""CSCNet: convolutional sparse coding with a stride, averaged over all shifts of the image.

Simon, Elad, "Rethinking the CSC Model for Natural Images", NeurIPS 2019. 63,700 parameters: 175 filters of 11x11,
stride 8, 12 steps of LISTA. The authors' weights are those of github.com/drorsimon/CSCNet, commit 699d085.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from bench.methods.fast import passes
from bench.methods.fast.bands import aligned
from bench.methods.fast.passes import add_patches, take_patches
from bench.methods.fast.threads import torch_in_parallel
from bench.methods.sparse.multiply import addmm, mm
from bench.methods.sparse.patches import reflect
from bench.methods.sparse.prox import soft_threshold
from torch import Tensor, nn

from bench.restorer import Level, Observation, Setting, TorchRestorer, WeightsFile

__all__ = ["CSCNet", "StridedCoding", "cscnet_denoise", "read_authors", "shifts"]

# shifted copies of the image coded together in training and on a GPU
COPIES = {"cpu": 4, "cuda": 64, "mps": 64}


class CSCNet(TorchRestorer):
    """CSCNet, for gray images with the authors' weights.

    In colour a filter has three channels; the paper's own network in colour is described nowhere that we know of.

    Options of its network: see `StridedCoding`.
    """

    name = "cscnet"
    tasks = {"denoise"}

    def network(self, setting: Setting) -> StridedCoding:
        return StridedCoding(setting.channels, **self.options)

    def load(self, network: nn.Module, weights: WeightsFile) -> None:
        if weights.loader == "cscnet-authors":
            network.load_state_dict(read_authors(weights.path))
        else:
            super().load(network, weights)

    def compile(self, network: nn.Module, setting: Setting) -> nn.Module:
        return network

    def forward(self, y: Tensor, seen: Observation) -> Tensor:
        return cscnet_denoise(self.net, y, COPIES[y.device.type])

    def estimate(self, network: nn.Module, y: Tensor, seen: Observation, level: Level) -> Tensor:
        return cscnet_denoise(network, y, network.stride**2)

    def loss(self, x_hat: Tensor, x: Tensor) -> Tensor:
        """The sum of squared errors, mean over crops (N, C, h, w), as in the authors' code."""
        return (x_hat - x).square().sum() / len(x)

    def macs_per_pixel(self, seen: Observation) -> float:
        """Computed from the sizes: 2 K products of every code with a filter, for the codes of all copies."""
        net, (H, W, _) = self.plain, seen.restored_shape
        rows, columns = ((padded(n, net) - net.kernel_size) // net.stride + 1 for n in (H, W))
        return net.stride**2 * rows * columns * 2 * net.n_steps * net.A.numel() / (H * W)


class StridedCoding(nn.Module):
    """K steps of LISTA for a convolutional dictionary whose filters sit on every q-th row and column (Sec. 4).

        Gamma <- S(Gamma + B (x - A Gamma)), starting from S(B x); the answer is C Gamma

    Parameters, in the paper's letters, with c channels:
    A, C       (c n^2, m)  m filters of n x n pixels, apart to the image (apply_A, apply_C)
    B          (m, c n^2)  from the image to codes (apply_B)
    threshold  (m, 1)      one for each filter, the same in all steps

    A threshold below 0 (2, 4, 10 and 18 of the authors' 175 at sigma 15, 25, 50 and 75 are) does not shrink:
    methods.sparse.prox.soft_threshold says what it does, and the authors' formula does the same.

    Options:
    kernel_size  n
    stride       q, from 1, where filters overlap everywhere, to n, where they are patches side by side. Whatever it
                 is, all q^2 shifts together cost about the same
    n_filters    m
    n_steps      K
    threshold    before training, for images in [0, 1]
    """

    def __init__(
        self,
        channels: int = 1,
        *,
        kernel_size: int = 11,
        stride: int = 8,
        n_filters: int = 175,
        n_steps: int = 12,
        threshold: float = 0.01,
    ) -> None:
        super().__init__()
        if not 1 <= stride <= kernel_size:
            raise ValueError(f"stride is {stride}, expected 1 to the {kernel_size} pixels of a filter")
        self.kernel_size, self.stride, self.n_steps = kernel_size, stride, n_steps
        A = torch.randn(channels * kernel_size**2, n_filters)
        # So many filters share a pixel along an axis. Divided so, the spectral norm of the convolution is at most 1,
        # and ISTA may take steps of 1. The bound is ours; it counts only where training begins from nothing.
        overlap = -(-kernel_size // stride)
        A /= overlap * torch.linalg.matrix_norm(A, 2)
        self.A, self.B, self.C = nn.Parameter(A.clone()), nn.Parameter(A.T.clone()), nn.Parameter(A.clone())
        self.threshold = nn.Parameter(torch.full((n_filters, 1), threshold))

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, c, h, w) to estimates of the same shape; h - n and w - n are multiples of q."""
        X = self.patches(x)
        Gamma = soft_threshold(self.B @ X, self.threshold)
        for _ in range(self.n_steps - 1):
            residual = X - self.patches(self.image(self.A @ Gamma, like=x))
            Gamma = soft_threshold(torch.baddbmm(Gamma, self.B.expand(len(x), -1, -1), residual), self.threshold)
        return self.image(self.C @ Gamma, like=x)

    def patches(self, x: Tensor) -> Tensor:
        """(N, c, h, w) to (N, c n^2, places): what lies under each place of the filters."""
        return F.unfold(x, self.kernel_size, stride=self.stride)

    def image(self, patches: Tensor, like: Tensor) -> Tensor:
        """Its transpose: patches (N, c n^2, places) summed into images."""
        return F.fold(patches, like.shape[2:], self.kernel_size, stride=self.stride)


def cscnet_denoise(network: StridedCoding, y: Tensor, n_copies: int) -> Tensor:
    """The mean of the estimates of all q^2 shifted copies of y (N, c, H, W), `n_copies` of them at a time (Sec. 4.1).

    Shifting the image by r rows and c columns moves the filters' places; the q^2 copies have them everywhere. Around
    it the image is reflected.
    """
    q, (H, W) = network.stride, y.shape[2:]
    h, w = padded(H, network), padded(W, network)
    x = reflect(y, q, h - H - 1, w - W - 1)
    total = torch.zeros_like(y)
    places = list(shifts(q))
    if y.device.type == "cpu" and y.dtype == torch.float32 and not torch.is_grad_enabled():
        for k, image in enumerate(x):
            for (r, c), x_hat in zip(places, each_copy(network, image, places, h, w), strict=True):
                total[k] += x_hat[:, q - r : q - r + H, q - c : q - c + W]
        return total / q**2
    for first in range(0, q * q, n_copies):
        some = places[first : first + n_copies]
        estimates = network(torch.cat([x[:, :, r : r + h, c : c + w] for r, c in some])).split(len(y))
        for (r, c), x_hat in zip(some, estimates, strict=True):
            total += x_hat[:, :, q - r : q - r + H, q - c : q - c + W]
    return total / q**2


def each_copy(network: StridedCoding, x: Tensor, places: list[tuple[int, int]], h: int, w: int) -> Iterator[Tensor]:
    """`network` of the copies (c, h, w) of x that begin at those places, one after the other; each core takes copies.

    A code is a row here and not a column, and what lies under each place of the filters likewise.
    """
    n, q, m = network.kernel_size, network.stride, len(network.A)
    down, across = (h - n) // q + 1, (w - n) // q + 1
    B_T, C_T, minus_A_T = network.B.T.contiguous(), network.C.T.contiguous(), aligned(-network.A.T)
    threshold, picture = network.threshold[:, 0].numpy(), np.ascontiguousarray(x)

    @torch.inference_mode()
    def one_copy(place: tuple[int, int]) -> Tensor:
        r, c = place
        own = picture[:, r : r + h, c : c + w]
        residual, rest = torch.zeros(down * across, minus_A_T.shape[1]), np.empty_like(own, order="C")
        take_patches(picture, n, r, c, down, across, q, residual.numpy())
        Gamma = mm(residual[:, :m], B_T)
        passes.soft_threshold(Gamma.numpy(), threshold)
        for _ in range(network.n_steps - 1):
            rest[:] = own
            add_patches(mm(Gamma, minus_A_T, out=residual).numpy(), n, 0, 0, down, across, q, rest)
            take_patches(rest, n, 0, 0, down, across, q, residual.numpy())
            addmm(Gamma, residual[:, :m], B_T, out=Gamma)
            passes.soft_threshold(Gamma.numpy(), threshold)
        x_hat = np.zeros_like(rest)
        add_patches(mm(Gamma, C_T).numpy(), n, 0, 0, down, across, q, x_hat)
        return torch.from_numpy(x_hat)

    with torch_in_parallel(x.device) as workers:
        yield from workers.map(one_copy, places)


def shifts(stride: int) -> Iterator[tuple[int, int]]:
    return product(range(stride), repeat=2)


def padded(n: int, network: StridedCoding) -> int:
    """Pixels along an axis of a copy of n pixels: q more on both sides, and what fills the last place of a filter."""
    return n + 2 * network.stride + (network.kernel_size - network.stride - n) % network.stride


def read_authors(path: Path) -> dict[str, Tensor]:
    """`StridedCoding`'s state dict from a file of the authors.

    theirs                     shape          ours
    apply_A.weight, apply_C.*  (m, 1, n, n)   A, C (n^2, m)
    apply_B.weight             (m, 1, n, n)   B (m, n^2)
    soft_threshold.threshold   (1, m, 1, 1)   threshold (m, 1)
    """
    state = torch.load(path, map_location="cpu", weights_only=True)
    A, B, C = (state[f"apply_{letter}.weight"].flatten(1) for letter in "ABC")
    return {"A": A.T, "B": B, "C": C.T, "threshold": state["soft_threshold.threshold"][0, :, :, 0]}
