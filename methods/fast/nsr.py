"""NSR on a whole image: patch by patch the kernels are mixed, then they convolve (Eq. 9, 10) as a dense network's do.

The pooling is to be over patches of the size trained on rather than over the image (Sec. 3.1). The authors cut the
image into overlapping patches of 48x48 and restore each alone: 2.25 times as many pixels as the image has. Here every
layer has its patches, of about 48x48 and without overlap: each mixes kernels by the mean of its own features, and
with them convolves what the layer before gave it and its surroundings.

On a CPU a patch's features stay in the caches, and threads take whole patches.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from bench.methods.fast.threads import Workers, torch_in_parallel
from bench.methods.networks.nsr import SparseConv2d, SparseResidual
from torch import Tensor, nn

__all__ = ["PATCH", "Mixed", "cut"]

PATCH = 48  # pixels, the side of the crops in training
AT_ONCE = 4  # patches that a thread takes: one by one, handing them out costs nsr:sparse- 5 % of its time


def cut(n: int) -> list[slice]:
    """n pixels in a row, in parts of about PATCH."""
    parts = max(1, round(n / PATCH))
    return [slice(a, b) for a, b in pairwise(round(k * n / parts) for k in range(parts + 1))]


class Mixed(nn.Module):
    """See the module's text. Dense layers are run likewise; all their patches have one kernel."""

    def __init__(self, net: SparseResidual) -> None:
        super().__init__()
        self.net = net
        self.body = [
            (Kernels(conv_1), Kernels(conv_2, conv_1 if net.shared else conv_2)) for conv_1, conv_2 in net.body
        ]

    def forward(self, y: Tensor) -> Tensor:
        """Degraded image (1, C, H, W), float32 in [0, 1], to the estimate (1, C, H * scale, W * scale)."""
        features = self.net.begin(y.contiguous(memory_format=torch.channels_last))
        H, W = y.shape[2:]
        patches = [(rows, columns) for rows in cut(H) for columns in cut(W)]
        x, hidden = (Features(n, H, W, patches, features) for n in (features.shape[1], self.body[0][0].n_out))
        x.inside.copy_(features)
        x.means = torch.cat([part.mean((2, 3)) for part in x.parts])
        with torch_in_parallel(y.device) as workers:
            for conv_1, conv_2 in self.body:
                hidden.become(x, conv_1, workers)
                x.add(hidden, conv_2, workers, x.means if self.net.shared else hidden.means)
        return self.net.end(x.inside, y)


class Kernels:
    """All kernels W^(j, i) and biases of one layer, (n_out, k, 9 n_in) and (k, n_out).

    choosing  the convolution that weighs its groups; None: itself
    """

    def __init__(self, conv: SparseConv2d, choosing: SparseConv2d | None = None) -> None:
        self.conv, self.choosing = conv, choosing or conv
        self.n_out = len(conv.bias) // conv.k
        W = conv.kernels().permute(0, 2, 3, 1).unflatten(0, (conv.k, self.n_out)).transpose(0, 1)
        self.shape, self.W = W.shape[2:], W.flatten(2).contiguous()
        self.b = conv.bias.view(conv.k, self.n_out)

    def gates(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """Of N patches with the means (N, n_in): the gammas of their kernels (N, n_out, 1, k), biases (N, n_out)."""
        if not self.conv.mixes:
            return self.b.new_ones(len(pooled), self.n_out, 1, 1), self.b.expand(len(pooled), -1)
        gamma = self.conv.gamma(self.choosing.weights(pooled))
        return gamma.transpose(1, 2)[:, :, None].contiguous(), torch.einsum("nko,ko->no", gamma, self.b)

    def mixed(self, gamma: Tensor) -> Tensor:
        """W^ (n_out, n_in, 3, 3) for the gamma (n_out, 1, k) of a patch: Eq. 10."""
        W = torch.bmm(gamma, self.W) if self.conv.mixes else self.W
        return W.view(self.n_out, *self.shape).permute(0, 3, 1, 2)


class Features:
    """n features of H x W pixels, with a margin of zeros one pixel wide, and their means in each patch.

    inside  (1, n, H, W)
    means   (n_patches, n)
    parts   (1, n, h, w) of each patch; `around`: with one pixel more on each side
    """

    def __init__(self, n: int, H: int, W: int, patches: list[tuple[slice, slice]], like: Tensor) -> None:
        padded = like.new_zeros(1, H + 2, W + 2, n).permute(0, 3, 1, 2)
        self.inside = padded[:, :, 1:-1, 1:-1]
        self.means = like.new_zeros(len(patches), n)
        self.parts = [self.inside[:, :, rows, columns] for rows, columns in patches]
        self.around = [padded[:, :, i.start : i.stop + 2, j.start : j.stop + 2] for i, j in patches]

    def become(self, x: Features, kernels: Kernels, workers: Workers) -> None:
        """ReLU(W^ * x), patch by patch."""
        self.means = self._convolved(x, kernels, workers, x.means, lambda part, answer: part.copy_(answer.relu_()))

    def add(self, x: Features, kernels: Kernels, workers: Workers, pooled: Tensor) -> None:
        """These and W^ * x, patch by patch; W^ by the means `pooled`."""
        self.means += self._convolved(x, kernels, workers, pooled, Tensor.add_)

    def _convolved(
        self, x: Features, kernels: Kernels, workers: Workers, pooled: Tensor, put: Callable[[Tensor, Tensor], object]
    ) -> Tensor:
        """`put` W^ * x into these features; the means (n_patches, n) of what was put, which the next gates want."""
        gammas, biases = kernels.gates(pooled)
        means = torch.empty_like(self.means)

        def some_patches(these: slice) -> None:
            # Every call here takes the interpreter's lock again, from all threads: few, and none to find a part.
            for around, gamma, bias, part, mean in zip(*(some[these] for some in patches), strict=True):
                answer = F.conv2d(around, kernels.mixed(gamma), bias)
                put(part, answer)
                torch.mean(answer, (2, 3), out=mean)

        patches = x.around, gammas.unbind(), biases.unbind(), self.parts, means.split(1)
        workers.do(some_patches, [slice(n, n + AT_ONCE) for n in range(0, len(means), AT_ONCE)])
        return means
