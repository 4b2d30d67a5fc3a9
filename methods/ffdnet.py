"""FFDNet: one convolutional network for every noise level, told which one it has before it.

Zhang, Zuo, Zhang, "FFDNet: Toward a Fast and Flexible Solution for CNN-Based Image Denoising", IEEE TIP 27(9), 2018.
The authors' weights (github.com/cszn/FFDNet) have batch normalisation merged into the convolutions.

| channels | layers | width | parameters |
|----------|--------|-------|------------|
| 1        | 15     | 64    | 485,316    |
| 3        | 12     | 96    | 852,108    |
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from bench.methods.dncnn import convolutions, read_matconvnet
from bench.methods.fast.banded import BandedConvolutions
from torch import Tensor, nn

from bench.restorer import Level, Observation, Setting, TorchRestorer, WeightsFile

__all__ = ["FFDNet", "SubImages", "column_order"]

DEPTH, WIDTH = {1: 15, 3: 12}, {1: 64, 3: 96}  # by channels; the paper's Table I
FIRST = 2  # layers of the authors' files before the first convolution: sub-images, noise map


class FFDNet(TorchRestorer):
    """FFDNet with the authors' weights."""

    name = "ffdnet"
    tasks = {"denoise"}

    def network(self, setting: Setting) -> SubImages:
        C = setting.channels
        return SubImages(convolutions(4 * C, DEPTH[C], WIDTH[C], n_in=4 * C + 1))

    def load(self, network: nn.Module, weights: WeightsFile) -> None:
        if weights.loader == "matconvnet":
            network.load_state_dict(column_order(read_matconvnet(weights.path, before=FIRST)))
        else:
            super().load(network, weights)

    def compile(self, network: nn.Module, setting: Setting) -> nn.Module:
        if self.device.type == "cpu":
            return SubImages(BandedConvolutions(network.body))
        return super().compile(network, setting)

    def forward(self, y: Tensor, seen: Observation) -> Tensor:
        x_hat: Tensor = self.net(y, seen.sigma / 255)
        return x_hat

    def estimate(self, network: nn.Module, y: Tensor, seen: Observation, level: Level) -> Tensor:
        x_hat: Tensor = network(y, seen.sigma / 255)
        return x_hat


class SubImages(nn.Module):
    """The four sub-images of every channel, and a map of the noise level, through `body` (paper, Sec. III-B).

    body  (N, 4 C + 1, h, w) to (N, 4 C, h, w): the sub-images of channel 0 by rows, then of channel 1, ...
    """

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, y: Tensor, sigma: float) -> Tensor:
        """y (N, C, H, W) and the deviation of its noise, as y in [0, 1]. An odd side gets its last pixels twice."""
        H, W = y.shape[2:]
        parts = F.pixel_unshuffle(F.pad(y, (0, W % 2, 0, H % 2), mode="replicate"), 2)
        level = torch.full_like(parts[:, :1], sigma)
        x_hat = F.pixel_shuffle(self.body(torch.cat([parts, level], 1)), 2)
        return x_hat[:, :, :H, :W]


def column_order(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state of a network whose sub-images are numbered by columns, for one that numbers them by rows.

    MatConvNet's vl_nnSubP numbers the pixels of a 2x2 square down its columns, as MATLAB does; pixel_unshuffle goes
    along its rows. The middle two of every four channels change places, in the first layer's input and the last
    layer's weights and biases; the noise level comes after them all.
    """
    last = max(int(name.split(".")[1]) for name in state)
    state = dict(state)
    n = len(state[f"body.{last}.bias"])
    by_rows = [i + swap for i in range(0, n, 4) for swap in (0, 2, 1, 3)]
    state["body.0.weight"] = state["body.0.weight"][:, [*by_rows, n]]
    for kind in ("weight", "bias"):
        state[f"body.{last}.{kind}"] = state[f"body.{last}.{kind}"][by_rows]
    return state
