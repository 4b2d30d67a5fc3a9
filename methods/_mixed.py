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
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.sparse.sliding import Map, in_parallel

if TYPE_CHECKING:
    from methods.nsr import SparseConv2d, SparseResidual

__all__ = ["PATCH", "Mixed", "cut"]

PATCH = 48  # pixels, the side of the crops in training


def cut(n: int) -> list[slice]:
    """n pixels in a row, in parts of about PATCH."""
    parts = max(1, round(n / PATCH))
    return [slice(a, b) for a, b in pairwise(round(k * n / parts) for k in range(parts + 1))]


class Mixed(nn.Module):
    """See the module's text. Dense layers are run likewise; all their patches have one kernel."""

    def __init__(self, net: SparseResidual) -> None:
        super().__init__()
        self.net = net
        self.body = [(Kernels(conv_1), Kernels(conv_2)) for conv_1, conv_2 in net.body]

    def forward(self, y: Tensor) -> Tensor:
        """Degraded image (1, C, H, W), float32 in [0, 1], to the estimate (1, C, H * scale, W * scale)."""
        features = self.net.begin(y.contiguous(memory_format=torch.channels_last))
        H, W = y.shape[2:]
        patches = [(rows, columns) for rows in cut(H) for columns in cut(W)]
        x, hidden = (Features(n, H, W, patches, features) for n in (features.shape[1], self.body[0][0].n_out))
        x.inside.copy_(features)
        x.means.copy_(torch.stack([x.inside[0, :, rows, columns].mean((1, 2)) for rows, columns in patches]))
        with in_parallel(y.device) as each:
            for conv_1, conv_2 in self.body:
                hidden.become(x, conv_1, each)
                x.add(hidden, conv_2, each)
        return self.net.end(x.inside, y)


class Kernels:
    """All kernels W^(j, i) and biases of one layer, (k, n_out, 9 n_in) and (k, n_out)."""

    def __init__(self, conv: SparseConv2d) -> None:
        self.conv = conv
        self.n_out, self.n_in = len(conv.bias) // conv.k, conv.v.shape[1]
        self.W = conv.kernels().permute(0, 2, 3, 1).reshape(conv.k, self.n_out, -1)
        self.b = conv.bias.view(conv.k, self.n_out)

    def mixed(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """W^ (N, n_out, n_in, 3, 3) and its bias (N, n_out) for the means (N, n_in) of N patches: Eq. 10."""
        if self.conv.k == 1:
            W, b = (x.expand(len(pooled), -1, -1) for x in (self.W, self.b[..., None]))
        else:
            gamma = self.conv.gamma(pooled)
            W, b = (torch.einsum("nio,iof->nof", gamma, x).contiguous() for x in (self.W, self.b[..., None]))
        return W.unflatten(2, (3, 3, self.n_in)).permute(0, 1, 4, 2, 3), b[..., 0]


class Features:
    """n features of H x W pixels, with a margin of zeros one pixel wide, and their means in each patch.

    inside  (1, n, H, W)
    means   (n_patches, n)
    """

    def __init__(self, n: int, H: int, W: int, patches: list[tuple[slice, slice]], like: Tensor) -> None:
        self.patches = patches
        self.padded = like.new_zeros(1, H + 2, W + 2, n).permute(0, 3, 1, 2)
        self.inside = self.padded[:, :, 1:-1, 1:-1]
        self.means = like.new_zeros(len(patches), n)

    def become(self, x: Features, kernels: Kernels, each: Map) -> None:
        """ReLU(W^ * x), patch by patch."""
        self.means.zero_()
        self._convolve(x, kernels, each, lambda part, answer: part.copy_(answer.relu_()))

    def add(self, x: Features, kernels: Kernels, each: Map) -> None:
        """These and W^ * x, patch by patch."""
        self._convolve(x, kernels, each, Tensor.add_)

    def _convolve(self, x: Features, kernels: Kernels, each: Map, put: Callable[[Tensor, Tensor], object]) -> None:
        W, b = kernels.mixed(x.means)

        @torch.inference_mode()
        def one_patch(k: int) -> None:
            rows, columns = self.patches[k]
            around = x.padded[:, :, rows.start : rows.stop + 2, columns.start : columns.stop + 2]
            answer = F.conv2d(around, W[k], b[k])
            put(self.inside[:, :, rows, columns], answer)
            if kernels.conv.k > 1:  # the next layer's gates want them; the mean of a sum is the sum of the means
                self.means[k] += answer.mean((2, 3))[0]

        for _ in each(one_patch, range(len(self.patches))):  # errors come out here
            pass
