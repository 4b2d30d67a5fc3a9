"""VDSR: one convolutional network that sharpens the bicubic enlargement, for every scale.

Kim, Lee, Lee, "Accurate Image Super-Resolution Using Very Deep Convolutional Networks", CVPR 2016. 20 layers of 3x3,
64 wide, 664,704 weights and 1,217 biases. The authors' model, as github.com/huangzehao/caffe-vdsr converted it.
"""

from __future__ import annotations

from pathlib import Path

import torch
from bench.methods.dncnn import Residual, convolutions
from bench.methods.fast.banded import BandedConvolutions
from bench.methods.networks.enlarging import enlarged
from torch import Tensor, nn

from bench.restorer import Level, Observation, Setting, TorchRestorer, WeightsFile

__all__ = ["VDSR", "read_converted"]

DEPTH = 20


class VDSR(TorchRestorer):
    """VDSR with the authors' weights."""

    name = "vdsr"
    tasks = {"superres"}

    def why_not(self, setting: Setting) -> str | None:
        if setting.channels == 3:
            return "vdsr enlarges luma"
        return super().why_not(setting)

    def network(self, setting: Setting) -> Residual:
        return Residual(convolutions(setting.channels, DEPTH))

    def load(self, network: nn.Module, weights: WeightsFile) -> None:
        if weights.loader == "vdsr-converted":
            network.load_state_dict(read_converted(weights.path))
        else:
            super().load(network, weights)

    def compile(self, network: nn.Module, setting: Setting) -> nn.Module:
        if self.device.type == "cpu":
            return Residual(BandedConvolutions(network.body))
        return super().compile(network, setting)

    def forward(self, y: Tensor, seen: Observation) -> Tensor:
        return super().forward(self.to_tensor(seen.upscaled()), seen)

    def estimate(self, network: nn.Module, y: Tensor, seen: Observation, level: Level) -> Tensor:
        assert seen.scale is not None
        return super().estimate(network, enlarged(y, seen.scale), seen, level)


def read_converted(path: Path) -> dict[str, Tensor]:
    """The state dict of `Residual(convolutions(1, 20))` from cells `weight` and `bias` of `model` in a MAT-file.

    A kernel is (H, W, in, out); MATLAB drops a last axis of size 1. The file's network gives what is to be added
    (paper, Sec. 3.2), `Residual` subtracts: the sign goes into the last layer.
    """
    from scipy.io import loadmat

    model = loadmat(path, variable_names=["model"])["model"][0, 0]
    kernels, biases = ([cell.astype("float32") for cell in model[name].ravel()] for name in ("weight", "bias"))
    state: dict[str, Tensor] = {}
    for index, (kernel, bias) in enumerate(zip(kernels, biases, strict=True)):
        sign = -1 if index == len(kernels) - 1 else 1
        kernel = sign * kernel.reshape(*kernel.shape[:3], -1).transpose(3, 2, 0, 1)
        state[f"body.{2 * index}.weight"] = torch.from_numpy(kernel.copy())
        state[f"body.{2 * index}.bias"] = torch.from_numpy(sign * bias.ravel())
    return state
