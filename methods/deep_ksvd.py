"""Deep K-SVD: K-SVD denoising unrolled, its dictionary and thresholds trained.

Scetbon, Elad, Milanfar, "Deep K-SVD Denoising", IEEE TIP 30, 2021 (arXiv:1909.13164). Every patch chooses its own
threshold by a small network, is coded by T steps of ISTA, and enters a weighted mean over the patches of a pixel.
35,138 parameters for 8x8 patches and 256 atoms; a second and a third stage, which denoise the first one's answer
again with the same dictionary, add 18,753 each. The authors (github.com/meyerscetbon/Deep-K-SVD, commit 37eb658)
publish no weights; where their code says more than the paper, or something else, we follow the code.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from bench.methods.fast.bands import aligned, sum_of_estimates
from bench.methods.fast.passes import soft_threshold_rows
from bench.methods.sparse.dictionary import overcomplete_dct
from bench.methods.sparse.multiply import addmm, mm
from bench.methods.sparse.patches import extract, reflect
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from bench.restorer import Observation, Setting, TorchRestorer

__all__ = ["DeepKSVD", "Unrolled"]

BAND = {"cpu": 2048, "cuda": 2**17, "mps": 2**17}  # patches coded together on a GPU or in bfloat16


class DeepKSVD(TorchRestorer):
    """K-SVD for gray images as a trained network of one to three stages.

    Options of its network: see `Unrolled`.
    """

    name = "deep-ksvd"
    tasks = {"denoise"}

    def why_not(self, setting: Setting) -> str | None:
        return super().why_not(setting) or ("deep-ksvd is for gray images" if setting.channels != 1 else None)

    def network(self, setting: Setting) -> Unrolled:
        return Unrolled(**self.options)

    def compile(self, network: nn.Module, setting: Setting) -> nn.Module:
        return network

    def forward(self, y: Tensor, seen: Observation) -> Tensor:
        """The image is reflected by s - 1 pixels, so that s * s patches cover every pixel; the authors do not."""
        s, (H, W) = self.net.patch_size, y.shape[2:]
        x_hat = self.net(reflect(y, s - 1))
        return x_hat[:, :, s - 1 : s - 1 + H, s - 1 : s - 1 + W]

    def macs_per_pixel(self, seen: Observation) -> float:
        """Computed from the sizes: for each patch 2 T + 2 products with D, and the layers that give its threshold."""
        net, (H, W, _) = self.plain, seen.restored_shape
        patches = (H + net.patch_size - 1) * (W + net.patch_size - 1)
        layers = sum(layer.weight.numel() for layer in net.stages[0].lmbda if isinstance(layer, nn.Linear))
        return net.n_stages * patches * ((2 * net.n_steps + 2) * net.D.numel() + layers) / (H * W)


class Unrolled(nn.Module):
    """Noisy gray images to estimates.

    Parameters, in the paper's letters:
    D             (m, p)  dictionary of every stage; it starts as the overcomplete DCT
    c             (1,)    1 / step size of ISTA; it starts as the squared spectral norm of D. Not constrained
    stages[k].w   (m,)    weight of each pixel of a patch in the mean; starts as a Gaussian of mean 1, deviation 0.1
    stages[k].lmbda       the layers that give each patch its threshold: m -> 2 m -> m -> m / 2 -> 1, ReLU between

    Options:
    patch_size   s; m = s * s
    atoms_side   p = atoms_side^2
    n_steps      T. The paper says 7, as does the authors' evaluation; their training script has 5
    n_stages     times that an image is denoised, one to three in the paper
    shared       all stages have the weights and layers of the first, which the authors' code has for each
    lmbda_init   threshold lambda before training, for images in [-1, 1]; None: what PyTorch's default makes of it,
                 as the authors' code (about 0)
    """

    def __init__(
        self,
        *,
        patch_size: int = 8,
        atoms_side: int = 16,
        n_steps: int = 7,
        n_stages: int = 1,
        shared: bool = False,
        lmbda_init: float | None = None,
    ) -> None:
        super().__init__()
        self.patch_size, self.n_steps, self.n_stages = patch_size, n_steps, n_stages
        D = torch.from_numpy(overcomplete_dct(patch_size, atoms_side)).float()
        self.D = nn.Parameter(D)
        self.c = nn.Parameter(torch.linalg.matrix_norm(D, 2).square().reshape(1))
        self.stages = nn.ModuleList(Stage(patch_size**2, lmbda_init) for _ in range(1 if shared else n_stages))

    def forward(self, image: Tensor) -> Tensor:
        """Images (B, 1, h, w) in [0, 1] to estimates of the same shape; h, w >= patch_size.

        Under autocast codes and products are of its dtype; sums over patches are float32.
        """
        kind = image.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else image.dtype
        with torch.autocast(kind, enabled=False):
            x = 2 * image - 1
            for k in range(self.n_stages):
                x = self.denoised(x, self.stages[k % len(self.stages)], dtype)
            return (x + 1) / 2

    def denoised(self, x: Tensor, stage: nn.Module, dtype: torch.dtype) -> Tensor:
        """One stage: the mean of the patch estimates, weighted by w, for images (B, 1, h, w) in [-1, 1].

        Without gradients a few rows at a time, so that memory does not grow with the image.
        """
        s, (h, w) = self.patch_size, x.shape[2:]
        weights = covers(h, s, x) @ stage.w.view(s, s) @ covers(w, s, x).T
        if torch.is_grad_enabled():
            return self.total(x, stage, dtype) / weights
        if x.device.type == "cpu" and dtype == torch.float32:
            coding = Coding(self, stage)
            return torch.stack([sum_of_estimates([image], s, coding) for image in x]) / weights
        gh, rows = h - s + 1, max(1, BAND[x.device.type] // ((w - s + 1) * len(x)))
        total = torch.zeros_like(x)
        for top in range(0, gh, rows):
            band = slice(top, min(top + rows, gh) + s - 1)
            total[:, :, band] += self.total(x[:, :, band], stage, dtype)
        return total / weights

    def total(self, x: Tensor, stage: nn.Module, dtype: torch.dtype) -> Tensor:
        """The sum over patches of w times their estimates, as images of the shape of x."""
        y = extract(x.to(dtype), self.patch_size).flatten(0, 2)
        z = self.codes(y, stage.threshold(y) / self.c.to(dtype))
        estimates = stage.w * (z @ self.D.to(dtype).T).clamp(-1, 1).to(x.dtype)
        columns = estimates.view(len(x), -1, y.shape[1]).transpose(1, 2)
        return F.fold(columns, x.shape[2:], self.patch_size)

    def codes(self, y: Tensor, threshold: Tensor) -> Tensor:
        """T steps of ISTA, z <- S(z + D^T (y - D z) / c), after z = S(D^T y).

        From z = 0 the first would be S(D^T y / c); the authors' code leaves the division out.

        y          patches (n, m)
        threshold  lambda / c of each patch (n, 1)
        returns    codes (n, p)
        """
        D = self.D.to(y.dtype)
        D_c = D / self.c.to(y.dtype)
        z = SoftThreshold.apply(y @ D, threshold)
        for _ in range(self.n_steps):
            residual = torch.addmm(y, z, D.T, alpha=-1)
            z = SoftThreshold.apply(torch.addmm(z, residual, D_c), threshold)
        return z


class Coding:
    """`Unrolled.total` from patches to their estimates times w, for `sum_of_estimates`."""

    def __init__(self, network: Unrolled, stage: nn.Module) -> None:
        self.stage, self.c, self.n_steps, self.m = stage, network.c, network.n_steps, len(network.D)
        self.D, self.D_c = network.D, network.D / network.c
        self.D_T = aligned(network.D.T)

    def __call__(self, y: Tensor) -> Tensor:
        inside = y[:, : self.m]
        threshold = (self.stage.threshold(inside) / self.c)[:, 0].numpy()
        z = mm(inside, self.D)
        soft_threshold_rows(z.numpy(), threshold)
        residual = torch.empty_like(y)
        for _ in range(self.n_steps):
            addmm(y, z, self.D_T, alpha=-1, out=residual)
            addmm(z, residual[:, : self.m], self.D_c, out=z)
            soft_threshold_rows(z.numpy(), threshold)
        return mm(z, self.D.T).clamp_(-1, 1).mul_(self.stage.w)


class Stage(nn.Module):
    """What a stage does not share with the others: w and the layers of lambda."""

    def __init__(self, m: int, lmbda_init: float | None) -> None:
        super().__init__()
        self.w = nn.Parameter(1 + 0.1 * torch.randn(m))
        layers: list[nn.Module] = []
        for n_in, n_out in pairwise([m, 2 * m, m, m // 2, 1]):
            layers += [nn.Linear(n_in, n_out), nn.ReLU()]
        self.lmbda = nn.Sequential(*layers[:-1])
        if lmbda_init is not None:
            nn.init.constant_(self.lmbda[-1].bias, lmbda_init)

    def threshold(self, y: Tensor) -> Tensor:
        """lambda of each patch: (n, m) to (n, 1). It may be negative."""
        for layer in self.lmbda:
            linear = isinstance(layer, nn.Linear)
            y = F.linear(y, layer.weight.to(y.dtype), layer.bias.to(y.dtype)) if linear else layer(y)
        return y


class SoftThreshold(torch.autograd.Function):
    """S(b) = sign(b) max(|b| - l, 0) with a threshold l per row: b (n, p), l (n, 1).

    Where l < 0, as the authors' code, it adds |l| to the size of every entry; S(0) is |l| then, where their sign(0)
    gives 0; a code is rarely 0 to the last bit. Its gradient needs S(b) alone, which
    the next product keeps anyway; autograd would keep a tensor for each factor of the formula.
    """

    @staticmethod
    def forward(ctx: Any, b: Tensor, l: Tensor) -> Tensor:  # noqa: E741  the paper's letter is lambda / c
        z = b.abs().sub_(l).clamp_min_(0).copysign_(b)
        ctx.save_for_backward(z)
        return z

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor]:
        (z,) = ctx.saved_tensors
        sign = z.sign()
        slope = g * sign
        return sign.mul_(slope), -slope.sum(1, keepdim=True)


def covers(n: int, size: int, like: Tensor) -> Tensor:
    """(n, size): 1 where a patch among n pixels in a row has its a-th pixel at pixel i, else 0."""
    first = torch.arange(n, device=like.device)[:, None] - torch.arange(size, device=like.device)
    return ((first >= 0) & (first <= n - size)).to(like.dtype)
