"""A network that goes on learning on the one picture that it is to restore.

Vaksman, Elad, Milanfar, "LIDIA: Lightweight Learned Image Denoising with Instance Adaptation", CVPR Workshops 2020:
internal adaptation. It helps where a picture repeats itself, or is unlike those that the network has learned from.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

__all__ = ["Adaptation", "adapted"]


@dataclass(frozen=True)
class Adaptation:
    """How long a network learns on a picture, and on what: `steps` of so many crops of side x side pixels."""

    steps: int
    crops: int
    side: int
    lr: float


def adapted(
    network: nn.Module, estimate: Callable[[nn.Module, Tensor], Tensor], x: Tensor, sigma: float, how: Adaptation
) -> nn.Module:
    """A copy of a denoising network that has learned on x (1, C, H, W), what it made of the noisy picture.

    estimate  (network, noisy crops (N, C, h, w)) -> what the network makes of them, or of their inner part
    sigma     of the noise, on the scale of 0 to 255

    x stands for the clean picture: each step adds fresh noise to crops of it, flipped and transposed at random, and
    Adam lowers the logarithm of the mean squared error, as in the authors' scripts. Crops and noise are the same
    whenever, and wherever, it runs. It may be called under `torch.inference_mode`.
    """
    random = torch.Generator().manual_seed(0)
    with torch.inference_mode(False), torch.enable_grad():
        x = x.detach().clone()
        learning = copy.deepcopy(network).train().requires_grad_(True)
        optimizer = torch.optim.Adam(learning.parameters(), lr=how.lr)
        for _ in range(how.steps):
            clean = torch.cat([_crop(x, how.side, random) for _ in range(how.crops)])
            noise = torch.randn(clean.shape, generator=random).to(x)
            x_hat = estimate(learning, clean + sigma / 255 * noise)
            error = x_hat - _inner(clean, x_hat.shape)
            optimizer.zero_grad()
            error.square().mean().log10().backward()
            optimizer.step()
    return learning.eval().requires_grad_(False)


def _inner(crops: Tensor, shape: torch.Size) -> Tensor:
    """The middle of crops (N, C, h, w)."""
    top, left = ((n - m) // 2 for n, m in zip(crops.shape[2:], shape[2:], strict=True))
    return crops[:, :, top : top + shape[2], left : left + shape[3]]


def _crop(x: Tensor, side: int, random: torch.Generator) -> Tensor:
    """A square of x (1, C, H, W), or as much as there is of it, at random, flipped and transposed at random."""

    def below(n: int) -> int:
        return int(torch.randint(n, (), generator=random))

    side = min(side, *x.shape[2:])
    top, left = (below(n - side + 1) for n in x.shape[2:])
    crop = x[:, :, top : top + side, left : left + side]
    flipped = [axis for axis in (2, 3) if below(2)]
    crop = crop.flip(flipped) if flipped else crop
    return crop.mT if below(2) else crop
