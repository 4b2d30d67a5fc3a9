"""NSR as its paper writes it: a residual network of convolutions with soft sparsity between groups of kernels.

Fan, Yu, Mei, Zhang, Fu, Liu, Huang, "Neural Sparse Representation for Image Restoration", NeurIPS 2020, Sec. 3.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["GATES", "SparseConv2d", "SparseResidual"]

MEAN = 0.5  # of an image, by the authors' code


def softmax_gate(logits: Tensor, temperature: float, training: bool) -> Tensor:
    """Soft sparsity (Eq. 7). Like the others: logits (N, k, d) to the weights of the k groups."""
    return torch.softmax(logits / temperature, 1)


def sigmoid_gate(logits: Tensor, temperature: float, training: bool) -> Tensor:
    """No sparsity: each weight by itself, as in CondConv and in Squeeze-and-Excitation."""
    return torch.sigmoid(logits)


def hard_gate(logits: Tensor, temperature: float, training: bool) -> Tensor:
    """The largest logit's group alone (Eq. 6); straight through, the gradient is that of soft sparsity."""
    soft = softmax_gate(logits, temperature, training)
    one = torch.zeros_like(soft).scatter_(1, soft.argmax(1, keepdim=True), 1)
    return one + (soft - soft.detach())


def gumbel_gate(logits: Tensor, temperature: float, training: bool) -> Tensor:
    """In training a group is drawn with the probabilities softmax(logits), by the Gumbel trick; else `hard_gate`."""
    if training:
        exponential = torch.empty_like(logits, dtype=torch.float32).exponential_()
        logits = logits - exponential.clamp_min(torch.finfo(torch.float32).tiny).log()
    return hard_gate(logits, temperature, training)


GATES: dict[str, Callable[[Tensor, float, bool], Tensor]] = {
    "softmax": softmax_gate,
    "sigmoid": sigmoid_gate,
    "hard": hard_gate,
    "gumbel": gumbel_gate,
}


class SparseResidual(nn.Module):
    """A convolution, residual blocks x + conv2(ReLU(conv1(x))) of sparse convolutions, a convolution; added to y.

    For super-resolution the last convolution has scale^2 answers per channel; a 5x5 convolution of y is added to
    them, and they become pixels.

    Options:
    scale        super-resolution factor; 1: none
    n_blocks     B
    n_features   R, neurons between blocks
    width        neurons inside a block over R
    groups       k, sparsity groups; 1: a dense network (but for the gate `sigmoid`)
    cardinality  d, parts of a kernel's output channels that choose their group independently (Sec. 3.3); 0: each
                 channel is one
    gate         how the groups are weighed, one of GATES (Table 1). With one group and cardinality 0, `sigmoid` is
                 Squeeze-and-Excitation, as Sec. 3.3 says
    temperature  tau of the softmax (Table 1); of `hard` and `gumbel`, of the softmax that gives the gradient
    shared       both convolutions of a block have the weights that the first one chooses (Sec. 4.2)
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
        gate: str = "softmax",
        temperature: float = 1.0,
        shared: bool = False,
    ) -> None:
        super().__init__()
        if shared and not cardinality:
            raise ValueError("shared weights need a cardinality: a block's two convolutions may differ in channels")
        R = n_features
        sparse = partial(SparseConv2d, groups=groups, cardinality=cardinality, gate=gate, temperature=temperature)
        self.head = SparseConv2d(channels, R)
        self.body = nn.ModuleList(
            nn.ModuleList(
                [sparse(R, R * width, gain=2.0), sparse(R * width, R, gain=n_blocks**-0.5, chooses=not shared)]
            )
            for _ in range(n_blocks)
        )
        self.shared = shared
        self.tail = SparseConv2d(R, channels * scale**2)
        self.skip = SparseConv2d(channels, channels * scale**2, size=5) if scale > 1 else nn.Identity()
        self.scale = scale

    def forward(self, y: Tensor) -> Tensor:
        """Degraded images (N, C, H, W) in [0, 1] to estimates (N, C, H * scale, W * scale)."""
        y = y.contiguous(memory_format=torch.channels_last)
        x = self.begin(y)
        for conv_1, conv_2 in self.body:
            chosen = conv_1.chosen(x) if self.shared else None
            x = x + conv_2(F.relu(conv_1(x, chosen)), chosen)
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
        gamma_j = softmax over i of MLP_j(Pool(X)) / tau, or another of GATES

    v, g  kernels as directions (k n_out, n_in, size, size) and lengths (k n_out, 1, 1, 1): weight normalisation.
          Group after group, in each of them cardinal group after cardinal group
    bias  (k n_out,), mixed like the kernels
    mlp   from the mean of X, n_in values, to the k d logits: one linear layer in the authors' code; none where
          nothing is mixed, or another convolution `chooses`
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
        gate: str = "softmax",
        temperature: float = 1.0,
        chooses: bool = True,
    ) -> None:
        super().__init__()
        if gate not in GATES:
            raise ValueError(f"gate is '{gate}', expected one of {', '.join(GATES)}")
        if temperature <= 0:
            raise ValueError(f"temperature is {temperature}, expected more than 0")
        cardinality = cardinality or n_out
        self.mixes = groups > 1 or gate == "sigmoid"
        if self.mixes and n_out % cardinality:
            raise ValueError(f"cardinality is {cardinality}, expected a divisor of the {n_out} output channels")
        self.k, self.d, self.gate, self.tau = groups, cardinality, gate, temperature
        initial = nn.Conv2d(n_in, groups * n_out, size).weight.detach()  # directions as PyTorch's convolutions begin
        self.v = nn.Parameter(initial)
        self.g = nn.Parameter(torch.full((groups * n_out, 1, 1, 1), gain))
        self.bias = nn.Parameter(torch.zeros(groups * n_out))
        self.mlp = nn.Linear(n_in, groups * cardinality) if self.mixes and chooses else None

    def kernels(self) -> Tensor:
        """All W^(j, i), (k n_out, n_in, size, size)."""
        return torch._weight_norm(self.v, self.g, 0)  # g v / ||v||; torch's own weight_norm calls it too

    def chosen(self, X: Tensor) -> Tensor | None:
        """The weights (N, k, d) of the groups for features (N, n_in, H, W); None where nothing is mixed."""
        return self.weights(X.mean((2, 3))) if self.mixes else None

    def weights(self, pooled: Tensor) -> Tensor:
        """The weights (N, k, d) of the groups for the means of features, Pool(X) (N, n_in)."""
        logits = self.mlp(pooled).unflatten(1, (self.k, self.d))
        return GATES[self.gate](logits, self.tau, self.training)

    def gamma(self, weights: Tensor) -> Tensor:
        """Weights (N, k, n_out) of the kernels, from those of the groups (N, k, d)."""
        n_out = len(self.bias) // self.k
        return weights[..., None].expand(-1, -1, -1, n_out // self.d).flatten(2)

    def macs(self, pixels: int, patches: int) -> int:
        """Multiply-accumulates for so many pixels in so many patches, their kernels mixed first."""
        mixing = self.v.numel() + len(self.bias) if self.mixes else 0
        choosing = 0 if self.mlp is None else self.mlp.weight.numel()
        return pixels * self.v.numel() // self.k + patches * (mixing + choosing)

    def forward(self, X: Tensor, chosen: Tensor | None = None) -> Tensor:
        """(N, n_in, H, W) to (N, n_out, H, W); each image of the batch has its own gamma.

        chosen  weights (N, k, d) of the groups that another convolution has chosen; None: its own
        """
        if not self.mixes:
            return F.conv2d(X, self.kernels(), self.bias, padding="same")
        weights = self.chosen(X) if chosen is None else chosen
        mixed = self.by_mixed_kernels if X.device.type == "cpu" else self.by_mixed_answers
        return mixed(X, self.gamma(weights))

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
