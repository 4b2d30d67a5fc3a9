"""NSR: a residual network whose kernels are mixtures of several, chosen by what the image shows.

Fan, Yu, Mei, Zhang, Fu, Liu, Huang, "Neural Sparse Representation for Image Restoration", NeurIPS 2020. The body is
WDSR's (convolutions with weight normalisation, ReLU between the two of a residual block); a sparse convolution has
k times the kernels of a dense one and mixes them before it convolves, so it costs what the dense one costs.

| task             | network     | the paper's | blocks | neurons | width | k | parameters | MACs per pixel |
|------------------|-------------|-------------|--------|---------|-------|---|------------|----------------|
| denoise, deblock | nsr:dense   | Baseline    | 16     | 32      | 2     | 1 | 593,538    | 0.59M          |
| (Tables 5 and 6) | nsr:sparse- | Sparse -    | 16     | 32      | 1     | 2 | 628,354    | 0.30M          |
|                  | nsr         | Sparse +    | 16     | 32      | 2     | 2 | 1,236,610  | 0.59M          |
| superres         | nsr:dense   | EDSR (S)    | 16     | 64      | 1     | 1 | 1,186,868  | 1.18M          |
| (Table 4, x2)    | nsr         | Sparse +    | 16     | 64      | 1     | 4 | 4,871,220  | 1.18M          |
|                  | nsr:sparse- | Sparse -    | 32     | 128     | 1     | 4 | 38,348,788 | 9.46M          |

Width multiplies the neurons inside a block, k is the number of sparsity groups, MACs are the paper's FLOPs; for
super-resolution they are those of a low-resolution pixel (the paper's 1.4M has EDSR's larger upsampler).

Options of the network say the other kinds of sparsity in Table 1: `gate = "sigmoid"`, `"gumbel"` or `"hard"`, and
`temperature` 10, 1 or 0.1. Without sparsity it is nsr:dense. `gate = "sigmoid"` with one group and `cardinality = 0`
is Squeeze-and-Excitation; `shared = true` has one choice for both convolutions of a block.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from bench.methods.fast.nsr import Mixed, cut
from bench.methods.networks.nsr import SparseConv2d, SparseResidual
from numpy.typing import NDArray
from torch import Tensor, nn

from bench.restorer import Observation, Setting, TorchRestorer

__all__ = ["NSR"]

SIZES = {
    "": {"width": 2, "groups": 2},
    "sparse-": {"width": 1, "groups": 2},
    "dense": {"width": 2, "groups": 1},
}
SUPERRES_SIZES = {
    "": {"n_features": 64, "width": 1, "groups": 4},
    "sparse-": {"n_blocks": 32, "n_features": 128, "width": 1, "groups": 4},
    "dense": {"n_features": 64, "width": 1, "groups": 1},
}


MOST_MAPS = 16


class NSR(TorchRestorer):
    """NSR, the paper's Sparse +. `nsr:sparse-` is its Sparse -, `nsr:dense` the baseline of both without sparsity.

    Options of its network: see SparseResidual.
    """

    name = "nsr"
    tasks = {"denoise", "deblock", "superres"}
    variants = ("sparse-", "dense")
    of_level = ("skip", "tail")  # as many answers as pixels: scale^2

    def network(self, setting: Setting) -> SparseResidual:
        options = {name: value for name, value in self.options.items() if name != "levels"}  # one network for all
        if setting.task == "superres":
            sizes = {**SUPERRES_SIZES[self.variant], "scale": int(setting.level)}
        else:
            sizes = SIZES[self.variant]
        return SparseResidual(setting.channels, **{**sizes, **options})

    def compile(self, network: nn.Module, setting: Setting) -> nn.Module:
        return Mixed(network)

    def macs_per_pixel(self, seen: Observation) -> float:
        """Computed from the sizes: each patch's kernels are mixed, then each pixel is convolved with one of them."""
        H, W, _ = seen.image.shape
        n_patches = len(cut(H)) * len(cut(W))
        macs = sum(conv.macs(H * W, n_patches) for conv in self.plain.modules() if isinstance(conv, SparseConv2d))
        return macs / (seen.restored_shape[0] * seen.restored_shape[1])

    def maps(self, seen: Observation, pixel: tuple[int, int]) -> dict[str, NDArray[np.float32]]:
        """Which kernels the second convolution of a block would choose, were all around a pixel as it is: Fig. 6.

        From 0, the first of the k kernels alone, to 1, the last alone. Of the parts of the output channels, which
        choose for themselves, the one is shown whose choice differs most from pixel to pixel. What the network mixes
        by are the means of 48 x 48 pixels or so.
        """
        net = self.plain
        if not any(conv_2.mixes for _, conv_2 in net.body):
            return {}
        found = {}
        with torch.inference_mode():
            y = self.to_tensor(seen.image)
            x = net.begin(y)
            for n, (conv_1, conv_2) in enumerate(net.body, start=1):
                chosen = conv_1.chosen(x) if net.shared else None
                hidden = F.relu(conv_1(x, chosen))
                choosing, features = (conv_1, x) if net.shared else (conv_2, hidden)
                weights = choosing.weights(features[0].flatten(1).T)  # (H W, k, d)
                between = torch.linspace(0, 1, conv_2.k, device=weights.device)
                places = torch.einsum("nkd,k->dn", weights, between) / weights.sum(1).T
                place = places[places.var(1).argmax()]
                found[f"block {n}"] = place.clamp(0, 1).view(1, 1, *y.shape[2:])
                x = x + conv_2(hidden, chosen)
        size = seen.restored_shape[:2]
        every = -(-len(found) // MOST_MAPS)
        return {title: F.interpolate(one, size)[0, 0].cpu().numpy() for title, one in [*found.items()][::every]}

    def loss(self, x_hat: Tensor, x: Tensor) -> Tensor:
        """The mean absolute error (Sec. 4.1)."""
        return (x_hat - x).abs().mean()
