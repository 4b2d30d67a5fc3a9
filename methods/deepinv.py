"""Denoisers of DeepInverse by their names: `deepinv:DRUNet@drunet.pth`.

Tachella et al., "DeepInverse: A Python package for solving imaging inverse problems with deep learning", 2025
(github.com/deepinv/deepinv, BSD 3-clause). Its denoisers take images in [0, 1], and the noise level on that scale.

The library would download weights while it makes a network, and check nothing of what comes. Here a record answers
for each file: so the file is named, and read as that of any other network.
"""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

from bench.methods.networks.foreign import continued
from torch import Tensor, nn

from bench.restorer import Observation, RestorerError, Setting, TorchRestorer

__all__ = ["DeepInverse"]

KEYWORDS = {
    "DRUNet": lambda C: {"in_channels": C, "out_channels": C},
    "DnCNN": lambda C: {"in_channels": C, "out_channels": C},
    "FFDNet": lambda C: {"img_channels": C, "n_conv_layers": 15 if C == 1 else 12, "nf": 64 if C == 1 else 96},
    "Restormer": lambda C: {"in_channels": C, "out_channels": C},
    "SCUNet": lambda C: {"in_nc": C},
    "SwinIR": lambda C: {"in_chans": C},
}
"""what makes a network for C channels as its published weights have it"""
TOLD_SIGMA = ("DRUNet", "FFDNet")
MULTIPLES = {"FFDNet": 2, "Restormer": 8}
"""of which the sides must be; the others see to that themselves"""


class DeepInverse(TorchRestorer):
    """A denoiser of DeepInverse with weights in a file: `deepinv:DRUNet@drunet.pth`."""

    name = "deepinv"
    tasks = {"denoise", "denoise-blind"}
    requires = {"deepinv": ""}
    variants = ("DRUNet", "DnCNN", "FFDNet", "Restormer", "SCUNet", "SwinIR")

    def why_not(self, setting: Setting) -> str | None:
        if not self.variant:
            return f"deepinv is asked for by a network's name: {', '.join(f'deepinv:{one}' for one in self.variants)}"
        if self.variant in TOLD_SIGMA and setting.task != "denoise":
            return f"deepinv:{self.variant} is told the noise level, which {setting.task} does not give"
        return super().why_not(setting)

    def network(self, setting: Setting) -> nn.Module:
        try:
            from deepinv import models
        except Exception as error:  # of a torchvision made for another torch: ImportError, RuntimeError, …
            raise RestorerError(f"deepinv cannot be imported ({type(error).__name__}: {error}).") from error
        options: dict[str, Any] = KEYWORDS[self.variant](setting.channels)
        with patch.object(nn.init, "orthogonal_", _as_it_is):  # DRUNet's takes half a minute, and is overwritten
            return getattr(models, self.variant)(**options, pretrained=None)

    def compile(self, network: nn.Module, setting: Setting) -> nn.Module:
        return network

    def forward(self, y: Tensor, seen: Observation) -> Tensor:
        H, W = y.shape[2:]
        multiple = MULTIPLES.get(self.variant, 1)
        y = continued(y, -(-H // multiple) * multiple, -(-W // multiple) * multiple)
        return self.net(y, None if seen.sigma is None else seen.sigma / 255)[:, :, :H, :W]


def _as_it_is(tensor: Tensor, gain: float = 1.0) -> Tensor:
    return tensor
