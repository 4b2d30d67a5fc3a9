"""MMNet: demosaicking by majorisation and minimisation, the same denoiser at every step.

Kokkinos, Lefkimmiatis, "Iterative Residual Network for Deep Joint Image Demosaicking and Denoising", IEEE TIP 28(8),
2019; first "Deep Image Demosaicking using a Cascade of Convolutional Residual Denoising Networks", ECCV 2018. Where
the authors' code (github.com/cig-skoltech/deep_demosaick, MIT) says more than the papers, we follow the code.

The published weights without noise were trained on linear pictures of Microsoft's demosaicking set. The figures that
GroupSC's Table 5 prints are of others, trained on sRGB pictures, which were not published.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
import torch.nn.functional as F
from bench.methods.sparse.patches import reflect
from torch import Tensor, nn

from bench.restorer import Observation, Setting, TorchRestorer, WeightsFile

__all__ = ["MMNet", "Majorised", "ResDNet", "read_authors"]

STEPS, BLOCKS, WIDTH = 20, 5, 64
LEAST = 3
"""pixels of a side: the first convolution reflects two"""


class MMNet(TorchRestorer):
    """MMNet with the authors' weights for mosaics without noise."""

    name = "mmnet"
    tasks = {"demosaick"}

    def network(self, setting: Setting) -> Majorised:
        return Majorised(ResDNet(BLOCKS, WIDTH), STEPS)

    def load(self, network: nn.Module, weights: WeightsFile) -> None:
        if weights.loader == "mmnet-authors":
            network.load_state_dict(read_authors(weights.path))
        else:
            super().load(network, weights)

    def forward(self, y: Tensor, seen: Observation) -> Tensor:
        """The network knows RGGB alone: another pattern becomes it when a row or a column is put in front."""
        assert seen.mask is not None
        assert seen.pattern is not None
        top, left = divmod(seen.pattern.index("R"), 2)
        mask = torch.from_numpy(seen.mask).permute(2, 0, 1)[None].to(y)
        H, W, _ = seen.image.shape
        y, mask = (reflect(one, 0, max(0, LEAST - H), max(0, LEAST - W)) for one in (y * mask, mask))
        y, mask = (F.pad(one, (left, 0, top, 0), mode="reflect") for one in (y, mask))
        x_hat: Tensor = self.net(y, mask)
        return x_hat[:, :, top : top + H, left : left + W]


class Majorised(nn.Module):
    """Steps of x = D(z - M (M z - y)) with z = x + e^w (x - x'), x' being the step before (TIP paper, Algorithm 1).

    denoiser  D, see `ResDNet`
    alpha     (steps,) the logarithm of what D removes at most
    w         (steps,) the logarithm of how far a step is extrapolated; that of the first is not used
    """

    def __init__(self, denoiser: ResDNet, steps: int) -> None:
        super().__init__()
        self.denoiser = denoiser
        self.alpha = nn.Parameter(torch.linspace(math.log(15), 0.0, steps))
        k = torch.arange(steps).clamp(min=1)
        self.w = nn.Parameter(torch.log(k / (k + 3)))

    def forward(self, y: Tensor, mask: Tensor) -> Tensor:
        """The mosaic y with zeros where nothing was measured, and the mask, (N, 3, H, W) each."""
        before = x = bilinear(y)
        for k, (alpha, w) in enumerate(zip(self.alpha, self.w, strict=True)):
            z = x + torch.exp(w) * (x - before) if k else x
            z = z - (mask * z - y)
            before, x = x, (z - self.denoiser(z, alpha)).clamp(0, 1)
        return x


def bilinear(y: Tensor) -> Tensor:
    """The mean of the neighbours that were measured; around the picture there are zeros, as in the authors' code."""
    red = torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]]) / 4
    green = torch.tensor([[0.0, 1, 0], [1, 4, 1], [0, 1, 0]]) / 4
    return F.conv2d(y, torch.stack([red, green, red])[:, None].to(y), padding=1, groups=3)


class ResDNet(nn.Module):
    """What is to be taken away from a picture: residual blocks, and a projection onto a ball (ECCV paper, Sec. 4).

    The ball's radius is e^alpha grey levels rms, so that the later steps change little.
    """

    def __init__(self, blocks: int, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, width, 5, padding=2, padding_mode="reflect")
        self.blocks = nn.ModuleList(Block(width) for _ in range(blocks))
        self.last = nn.ConvTranspose2d(width, 3, 5, padding=2)

    def forward(self, x: Tensor, alpha: Tensor) -> Tensor:
        """(N, 3, H, W), values in [0, 1], to the same."""
        f = self.first(255 * x)
        for i, block in enumerate(self.blocks):
            f = f + block(f) if i else block(f)
        r = self.last(f)
        radius = torch.exp(alpha) * math.sqrt(r[0].numel() - 1)
        norm = r.flatten(1).norm(dim=1)[:, None, None, None]
        return r * (radius / torch.maximum(norm, radius)) / 255


class Block(nn.Module):
    """Twice PReLU and a 3x3 convolution, the border reflected."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.relu1, self.relu2 = (nn.PReLU(width, init=0.1) for _ in range(2))
        self.conv1, self.conv2 = (nn.Conv2d(width, width, 3, padding=1, padding_mode="reflect") for _ in range(2))

    def forward(self, f: Tensor) -> Tensor:
        g: Tensor = self.conv2(self.relu2(self.conv1(self.relu1(f))))
        return g


def read_authors(path: Path) -> dict[str, Tensor]:
    """The state dict of `Majorised` from a file of the authors': [state dict, steps, blocks], weight-normalised.

    A kernel is g v / |v|, the norm over all axes but the first.
    """
    ours = {"conv1": "first", "conv_out": "last", **{f"layer1.{i}": f"blocks.{i}" for i in range(BLOCKS)}}
    state: dict[str, Tensor] = {}
    theirs: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)[0]
    for name, value in theirs.items():
        place = name.removeprefix("model.")
        for old, new in ours.items():
            if place.startswith(f"{old}."):
                place = f"denoiser.{new}{place.removeprefix(old)}"
        if name.endswith("weight_g"):
            v = theirs[name.removesuffix("g") + "v"]
            state[place.removesuffix("_g")] = value * v / v.flatten(1).norm(dim=1)[:, None, None, None]
        elif not name.endswith("weight_v"):
            state[place] = value
    return state
