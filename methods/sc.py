"""SC: trainable sparse coding of all overlapping patches, the local baseline of GroupSC.

Lecouat, Ponce, Mairal, "Fully Trainable and Interpretable Non-Local Sparse Models for Image Restoration", ECCV 2020,
Sec. 3.1. 68,352 parameters for gray images (9x9 patches, 256 atoms, 24 steps), 119,040 for colour (7x7).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from bench.methods.fast.bands import aligned, sum_of_estimates
from bench.methods.fast.passes import soft_threshold
from bench.methods.networks.sparse_coding import FIRST_GUESSES, SparseCoding
from bench.methods.noise import estimate_sigma
from bench.methods.sparse.dictionary import learn_dictionary, sample_patches
from bench.methods.sparse.multiply import addmm, mm
from bench.methods.sparse.patches import centre, coverage, extract, reflect
from torch import Tensor, nn

from bench.restorer import Level, Observation, Setting, TorchRestorer

__all__ = ["SC", "observed", "sc_restore"]

BAND = {"cpu": 2048, "cuda": 2**17, "mps": 2**17}  # patches coded together on a GPU or in bfloat16


class SC(TorchRestorer):
    """Sparse coding of patches, unrolled and trained: GroupSC without groups.

    Options of its network: see methods.networks.sparse_coding.SparseCoding.

    Demosaicking, ours start from Menon's answer: means, first codes and first similarities are those of its patches,
    all later codes see measured values alone. The authors start from zeros where nothing was measured.

    `sc:bf16` forms products in bfloat16, codes and sums in float32: less than 0.0005 dB from float32 at sigma 15, 25
    and 50 on parts of set12. It is faster on a GPU, and on a processor that multiplies bfloat16 faster than float32.
    """

    name = "sc"
    tasks = {"denoise", "denoise-blind", "deblock", "demosaick"}
    version = "2"  # 1 was in bfloat16 where the processor had it
    variants = ("bf16",)

    def network(self, setting: Setting) -> SparseCoding:
        return SparseCoding(setting.channels, **self.options)

    def compile(self, network: nn.Module, setting: Setting) -> nn.Module:
        return network

    def forward(self, y: Tensor, seen: Observation) -> Tensor:
        y, mask = observed(y, seen, self.net.first_guess)
        return self.restored(y, mask, self.level(seen))

    def restored(self, y: Tensor, mask: Tensor | None, level: float | None) -> Tensor:
        """From the observed values (1, C, H, W), 0 where there are none, to the estimate of the image."""
        return sc_restore(self.net, y, mask, level, self.dtype)

    @property
    def dtype(self) -> torch.dtype:
        """Of the products."""
        return torch.bfloat16 if self.variant == "bf16" else torch.float32

    def level(self, seen: Observation) -> float | None:
        """By what thresholds are chosen: the noise level, measured where it is not told, or the JPEG quality."""
        if seen.task == "denoise-blind":
            self.estimated_level = estimate_sigma(seen.image)
            return self.estimated_level
        return seen.sigma if seen.quality is None else seen.quality

    def macs_per_pixel(self, seen: Observation) -> float:
        """Computed from the sizes: for each patch 2 K products with a matrix of m x p, W's included."""
        net, (H, W, _) = self.plain, seen.restored_shape
        patches = (H + net.patch_size - 1) * (W + net.patch_size - 1)
        return patches * net.D.numel() * 2 * net.n_steps / (H * W)

    # --- training ---

    def estimate(self, network: nn.Module, y: Tensor, seen: Observation, level: Level) -> Tensor:
        y, mask = observed(y, seen, network.first_guess)
        x_hat: Tensor = network(y, mask, None if isinstance(level, str) else level)
        return x_hat

    def initialise(self, network: nn.Module, crops: Tensor) -> None:
        """D = C = W = a dictionary learned from the crops, divided by its spectral norm (Sec. 3.6)."""
        Y = sample_patches(crops, network.patch_size, 50_000)
        network.set_dictionary(learn_dictionary(Y, network.D.shape[1]))

    def loss(self, x_hat: Tensor, x: Tensor) -> Tensor:
        """Sum over pixels of (w (x_hat - x))^2, mean over crops (N, C, h, w); w is the coverage over its maximum.

        Pixels near the border of a crop lie in fewer patches and count less (Sec. 3.6 ii); as in the authors' code w
        is squared too.
        """
        size = self.options.get("patch_size") or (9 if x.shape[1] == 1 else 7)
        n = coverage(*x.shape[-2:], size, like=x_hat)
        return (n / n.max() * (x_hat - x)).square().sum() / len(x)


def observed(y: Tensor, seen: Observation, first_guess: str = "") -> tuple[Tensor, Tensor | None]:
    """The images that SC and GroupSC start from, and the mask M of Eq. 13-14, None where all was observed.

    A mosaic (N, 1, H, W) becomes three channels, with zeros where a colour was not measured or with what one of
    FIRST_GUESSES makes of it. Reflection about the border's pixels keeps the Bayer pattern, and patches lie at all
    places of it, so that one network serves all four patterns.
    """
    if seen.mask is None:
        return y, None
    mask = torch.from_numpy(seen.mask).permute(2, 0, 1)[None].to(y).expand(len(y), -1, -1, -1)
    if not first_guess:
        return y * mask, mask
    demosaicker = FIRST_GUESSES[first_guess]()
    mosaics = y.permute(0, 2, 3, 1).cpu().numpy()
    guesses = [demosaicker.restore(replace(seen, image=mosaic)) for mosaic in mosaics]
    return torch.from_numpy(np.stack(guesses)).permute(0, 3, 1, 2).to(y), mask


@torch.no_grad()
def sc_restore(
    network: SparseCoding,
    y: Tensor,
    mask: Tensor | None = None,
    level: float | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """SC of a whole image (1, C, H, W), reflected by s - 1 pixels so that s * s patches cover every pixel (Eq. 6).

    mask, level  see SparseCoding.forward
    dtype        of the products

    The authors' 56x56 blocks give the same image: every patch that touches it lies in the same number of blocks
    wherever their stride divides 48. The patches are coded a few rows at a time.
    """
    s, (H, W), lmbda = network.patch_size, y.shape[2:], network.thresholds(level)
    y = reflect(y, s - 1)
    mask = None if mask is None else reflect(mask, s - 1)
    if y.device.type == "cpu" and dtype == torch.float32:
        images = [y[0]] if mask is None else [y[0], mask[0].to(y.dtype)]
        total = sum_of_estimates(images, s, Coding(network, lmbda))[None]
    else:
        total = torch.zeros_like(y)
        gh, gw = y.shape[2] - s + 1, y.shape[3] - s + 1
        rows = max(1, BAND[y.device.type] // gw)
        for top in range(0, gh, rows):
            band = slice(top, min(top + rows, gh) + s - 1)
            patches, mu = centre(extract(y[:, :, band], s))
            M = None if mask is None else extract(mask[:, :, band], s)
            alpha = network.steps(None, patches, lmbda, M, dtype=dtype)
            estimates = network.patches(alpha, mu, dtype).flatten(1, 2).transpose(1, 2)
            total[:, :, band] += F.fold(estimates, total[:, :, band].shape[2:], s)
    return total[:, :, s - 1 : s - 1 + H, s - 1 : s - 1 + W] / s**2


class Coding:
    """`SparseCoding.forward` without similarities, from patches to their estimates, for `sum_of_estimates`."""

    def __init__(self, network: SparseCoding, lmbda: Tensor) -> None:
        self.m, self.guessed = len(network.D), bool(network.first_guess)
        self.C, self.D_T, self.W_T = network.C.detach(), aligned(network.D.T), network.W.detach().T.contiguous()
        self.lmbda = lmbda.detach().contiguous().numpy()

    def __call__(self, y: Tensor, M: Tensor | None = None) -> Tensor:
        inside = y[:, : self.m]
        mu = inside.mean(1, keepdim=True)
        inside -= mu
        alpha = mm(inside if M is None or self.guessed else (y * M)[:, : self.m], self.C)
        soft_threshold(alpha.numpy(), self.lmbda[0])
        residual = torch.empty_like(y)
        for lmbda in self.lmbda[1:]:
            addmm(y, alpha, self.D_T, alpha=-1, out=residual)
            if M is not None:
                residual *= M
            addmm(alpha, residual[:, : self.m], self.C, out=alpha)
            soft_threshold(alpha.numpy(), lmbda)
        return addmm(mu, alpha, self.W_T)
