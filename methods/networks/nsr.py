"""NSR as its paper writes it: a residual network of convolutions with soft sparsity between groups of kernels.

Fan, Yu, Mei, Zhang, Fu, Liu, Huang, "Neural Sparse Representation for Image Restoration", NeurIPS 2020, Sec. 3.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["SparseConv2d", "SparseResidual"]

MEAN = 0.5  # of an image, by the authors' code


class SparseResidual(nn.Module):
    """A convolution, residual blocks x + conv2(ReLU(conv1(x))) of sparse convolutions, a convolution; added to y.

    For super-resolution the last convolution has scale^2 answers per channel; a 5x5 convolution of y is added to
    them, and they become pixels.

    Options:
    scale        super-resolution factor; 1: none
    n_blocks     B
    n_features   R, neurons between blocks
    width        neurons inside a block over R
    groups       k, sparsity groups; 1: a dense network
    cardinality  d, parts of a kernel's output channels that choose their group independently (Sec. 3.3)
    temperature  tau of the softmax (Table 1)
    """

    def __init__(
        self,
        channels: int = 1,
        *,
        scale: int = 1,
        n_blocks: int = 16,
        n_features: int = 32,
        width: int = 2,
        groups: int = 2,
        cardinality: int = 16,
        temperature: float = 1.0,
    ) -> None:
        super().__init__()
        R, sparsity = n_features, {"groups": groups, "cardinality": cardinality, "temperature": temperature}
        self.head = SparseConv2d(channels, R)
        self.body = nn.ModuleList(
            nn.ModuleList(
                [
                    SparseConv2d(R, R * width, gain=2.0, **sparsity),
                    SparseConv2d(R * width, R, gain=n_blocks**-0.5, **sparsity),
                ]
            )
            for _ in range(n_blocks)
        )
        self.tail = SparseConv2d(R, channels * scale**2)
        self.skip = SparseConv2d(channels, channels * scale**2, size=5) if scale > 1 else nn.Identity()
        self.scale = scale

    def forward(self, y: Tensor) -> Tensor:
        """Degraded images (N, C, H, W) in [0, 1] to estimates (N, C, H * scale, W * scale)."""
        y = y.contiguous(memory_format=torch.channels_last)
        x = self.begin(y)
        for conv_1, conv_2 in self.body:
            x = x + conv_2(F.relu(conv_1(x)))
        return self.end(x, y)

    def begin(self, y: Tensor) -> Tensor:
        """The features (N, R, H, W) that the residual blocks are given."""
        return self.head(y - MEAN)

    def end(self, x: Tensor, y: Tensor) -> Tensor:
        """The estimates, from the features (N, R, H, W) that the residual blocks have made."""
        return F.pixel_shuffle(self.tail(x) + self.skip(y - MEAN), self.scale) + MEAN


class SparseConv2d(nn.Module):
    """A convolution with soft sparsity between groups of kernels (Sec. 3.2, 3.3); an ordinary one has one group.

        W^ = concat_(j = 1 ... d) sum_(i = 1 ... k) gamma_(j, i) W^(j, i)                             (Eq. 10)
        gamma_j = softmax over i of MLP_j(Pool(X)) / tau

    v, g  kernels as directions (k n_out, n_in, size, size) and lengths (k n_out, 1, 1, 1): weight normalisation.
          Group after group, in each of them cardinal group after cardinal group
    bias  (k n_out,), mixed like the kernels
    mlp   from the mean of X, n_in values, to the k d logits: one linear layer in the authors' code
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        *,
        size: int = 3,
        gain: float = 1.0,
        groups: int = 1,
        cardinality: int = 1,
        temperature: float = 1.0,
    ) -> None:
        super().__init__()
        if groups > 1 and n_out % cardinality:
            raise ValueError(f"cardinality is {cardinality}, expected a divisor of the {n_out} output channels")
        self.k, self.d, self.tau = groups, cardinality, temperature
        initial = nn.Conv2d(n_in, groups * n_out, size).weight.detach()  # directions as PyTorch's convolutions begin
        self.v = nn.Parameter(initial)
        self.g = nn.Parameter(torch.full((groups * n_out, 1, 1, 1), gain))
        self.bias = nn.Parameter(torch.zeros(groups * n_out))
        self.mlp = nn.Linear(n_in, groups * cardinality) if groups > 1 else None

    def kernels(self) -> Tensor:
        """All W^(j, i), (k n_out, n_in, size, size)."""
        return torch._weight_norm(self.v, self.g, 0)  # g v / ||v||; torch's own weight_norm calls it too

    def gamma(self, pooled: Tensor) -> Tensor:
        """Weights (N, k, n_out) of the kernels for the means of features, Pool(X) (N, n_in); they sum to 1 over k."""
        logits = self.mlp(pooled).unflatten(1, (self.k, self.d))
        n_out = len(self.bias) // self.k
        return torch.softmax(logits / self.tau, 1)[..., None].expand(-1, -1, -1, n_out // self.d).flatten(2)

    def macs(self, pixels: int, patches: int) -> int:
        """Multiply-accumulates for so many pixels in so many patches, their kernels mixed first."""
        gates = 0 if self.mlp is None else self.v.numel() + len(self.bias) + self.mlp.weight.numel()
        return pixels * self.v.numel() // self.k + patches * gates

    def forward(self, X: Tensor) -> Tensor:
        """(N, n_in, H, W) to (N, n_out, H, W); each image of the batch has its own gamma."""
        if self.k == 1:
            return F.conv2d(X, self.kernels(), self.bias, padding="same")
        mixed = self.by_mixed_kernels if X.device.type == "cpu" else self.by_mixed_answers
        return mixed(X, self.gamma(X.mean((2, 3))))

    def by_mixed_kernels(self, X: Tensor, gamma: Tensor) -> Tensor:
        """Eq. 10, image by image."""
        kernels = (gamma[..., None, None, None] * self.kernels().unflatten(0, (self.k, -1))).sum(1)
        bias = (gamma * self.bias.unflatten(0, (self.k, -1))).sum(1)
        images = [F.conv2d(x, W, b, padding="same") for x, W, b in zip(X.split(1), kernels, bias, strict=True)]
        return torch.cat(images)

    def by_mixed_answers(self, X: Tensor, gamma: Tensor) -> Tensor:
        """The same, convolution being linear: k times the work, but in one product for a batch of many images."""
        answers = F.conv2d(X, self.kernels(), self.bias, padding="same").unflatten(1, (self.k, -1))
        return (answers * gamma[..., None, None].to(answers.dtype)).sum(1)
