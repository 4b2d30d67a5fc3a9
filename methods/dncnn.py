"""DnCNN: one convolutional network that predicts what is to be subtracted.

Zhang, Zuo, Chen, Meng, Zhang, "Beyond a Gaussian Denoiser: Residual Learning of Deep CNN for Image Denoising",
IEEE TIP 26(7), 2017. The authors' weights (github.com/cszn/DnCNN) have batch normalisation merged into the
convolutions, so the network here is convolutions and ReLU alone.

| model     | setting                                | layers | parameters |
|-----------|----------------------------------------|--------|------------|
| DnCNN-S   | denoise, gray, one model per sigma     | 17     | 555,137    |
| DnCNN-B   | denoise-blind, gray, sigma 0 to 55     | 20     | 665,921    |
| CDnCNN-S  | denoise, colour, one model per sigma   | 20     | 668,227    |
| CDnCNN-B  | denoise-blind, colour, sigma 0 to 55   | 20     | 668,227    |
| DnCNN-3   | deblock quality 5 to 99; superres 2-4; | 20     | 665,921    |
|           | `:three`: denoise-blind, gray, 0 to 55 |        |            |

(The paper's Sec. IV-A gives DnCNN-S 17 layers and the others 20, without naming CDnCNN-S; the published
colour files all have 20.)
"""

from __future__ import annotations

import copy
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from bench.methods.fast.banded import BandedConvolutions
from bench.methods.networks.enlarging import enlarged
from torch import Tensor, nn

from bench.restorer import Level, Observation, Setting, TorchRestorer, WeightsFile

if TYPE_CHECKING:
    import h5py

__all__ = ["DnCNN", "Residual", "convolutions", "read_matconvnet"]


class DnCNN(TorchRestorer):
    """DnCNN with the authors' weights.

    `dncnn:bf16` computes in bfloat16, which has 8 significant bits. At sigma 15, 25 and 50 it costs 0.007, 0.013
    and 0.011 dB on set12 (0.003 to 0.008 dB on 24 images of bsd68), its answers lie 0.2 to 0.5 grey levels rms
    from float32's, and on a CPU with AVX512-BF16 it takes half the time (tests/asv/dncnn_speed.py). On a GPU a sum is
    rounded once before its bias is added and once after: 0.011 dB on bsd68 at sigma 25, on an NVIDIA H200.

    `dncnn:three` is DnCNN-3, one network for three tasks, in blind denoising too (Table V).
    """

    name = "dncnn"
    tasks = {"denoise", "denoise-blind", "deblock", "superres"}
    variants = ("bf16", "three")

    def why_not(self, setting: Setting) -> str | None:
        if self.variant == "three" and (setting.channels == 3 or setting.task == "denoise"):
            return "dncnn:three is for gray images and is not told sigma (denoise-blind)"
        return super().why_not(setting)

    def network(self, setting: Setting) -> Residual:
        one_gray_sigma = setting.task == "denoise" and setting.channels == 1
        return Residual(convolutions(setting.channels, depth=17 if one_gray_sigma else 20))

    def load(self, network: nn.Module, weights: WeightsFile) -> None:
        if weights.loader == "matconvnet":
            network.load_state_dict(read_matconvnet(weights.path))
        else:
            super().load(network, weights)

    def compile(self, network: nn.Module, setting: Setting) -> nn.Module:
        dtype = torch.bfloat16 if self.variant == "bf16" else torch.float32
        if self.device.type == "cpu":
            return Residual(BandedConvolutions(network.body, dtype), dtype)
        return super().compile(Residual(copy.deepcopy(network.body).to(dtype), dtype), setting)

    def forward(self, y: Tensor, seen: Observation) -> Tensor:
        if seen.task == "superres":  # the network sharpens the bicubic enlargement (paper, Sec. III-E)
            y = self.to_tensor(seen.upscaled())
        return super().forward(y, seen)

    def estimate(self, network: nn.Module, y: Tensor, seen: Observation, level: Level) -> Tensor:
        return super().estimate(network, y if seen.scale is None else enlarged(y, seen.scale), seen, level)


class Residual(nn.Module):
    """x = y - body(y): the body learns the noise, eq. (1) of the paper.

    dtype  the body's. Where it is short, y is rounded before the subtraction too: the rounding error is one
           more noise, which the body takes out again (in bf16 on set12 this saves 0.002 to 0.005 dB)
    """

    def __init__(self, body: nn.Module, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.body = body
        self.dtype = dtype

    def forward(self, y: Tensor) -> Tensor:
        y = y.to(self.dtype)
        return y.float() - self.body(y).float()


def convolutions(channels: int, depth: int, width: int = 64, *, n_in: int | None = None) -> nn.Sequential:
    """`depth` 3x3 convolutions with bias, ReLU between them; zero padding keeps the size (paper, Sec. III-A).

    Initialised as He et al. (ICCV 2015), like the authors' (Sec. IV-A).

    channels  out of the last and, unless `n_in` says otherwise, into the first
    """
    widths = [n_in or channels, *[width] * (depth - 1), channels]
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(widths):
        convolution = nn.Conv2d(n_in, n_out, 3, padding=1)
        nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
        nn.init.zeros_(convolution.bias)
        layers += [convolution, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def read_matconvnet(path: Path, before: int = 0) -> dict[str, Tensor]:
    """The state dict of `Residual(convolutions(...))` from a MatConvNet network saved by MATLAB (v7.3, HDF5).

    before  layers of the file that precede the first convolution and have no weights

    HDF5 shows MATLAB's arrays with their axes reversed: a kernel of (H, W, in, out) arrives as (out, in, W, H),
    and as (in, W, H) where MATLAB dropped a last axis of size 1. MatConvNet correlates, as torch does: no flip.
    """
    import h5py

    state: dict[str, Tensor] = {}
    with h5py.File(path) as file:
        layers = [file[reference] for reference in file["net/layers"][:, 0]]
        for index, layer in enumerate(layers):
            if _text(layer["type"]) != "conv":
                continue
            kernel, bias = (file[reference][()] for reference in layer["weights"][:, 0])
            kernel = kernel.reshape(-1, *kernel.shape[-3:]).swapaxes(2, 3)
            state[f"body.{index - before}.weight"] = torch.from_numpy(kernel.copy())
            state[f"body.{index - before}.bias"] = torch.from_numpy(bias.ravel())
    return state


def _text(characters: h5py.Dataset) -> str:
    return "".join(map(chr, characters[()].ravel()))
