"""N3Net: a DnCNN in three parts, which between them is shown the nearest neighbours of every patch.

Plötz, Roth, "Neural Nearest Neighbors Networks", NeurIPS 2018. 705,511 parameters; the authors' files have 384 more,
of a batch normalisation in each block that their network never used.

The authors' weights (github.com/visinf/n3net) are for research and education without profit, and not to be passed on:
they are fetched from where the authors publish them, and are part of nothing here.
"""

from __future__ import annotations

import copy
import re
from pathlib import Path

import torch
from bench.methods.fast.banded import BandedConvolutions
from bench.methods.networks.n3net import LEAST, N3Network, merged, products
from bench.methods.sparse.patches import reflect
from torch import Tensor, nn

from bench.restorer import Observation, RestorerError, Setting, TorchRestorer, WeightsFile

__all__ = ["N3Net", "read_authors"]


class N3Net(TorchRestorer):
    """N3Net with the authors' weights, for gray images at sigma 25, 50 and 70."""

    name = "n3net"
    tasks = {"denoise"}

    def why_not(self, setting: Setting) -> str | None:
        return super().why_not(setting) or ("n3net is for gray images" if setting.channels == 3 else None)

    def network(self, setting: Setting) -> N3Network:
        return N3Network()

    def load(self, network: nn.Module, weights: WeightsFile) -> None:
        if weights.loader == "n3net-authors":
            network.load_state_dict(read_authors(weights.path))
        else:
            super().load(network, weights)

    def compile(self, network: nn.Module, setting: Setting) -> nn.Module:
        """With batch normalisation merged into the convolutions."""
        assert isinstance(network, N3Network)
        faster = copy.deepcopy(network)
        chains = [(block, "body") for block in faster.blocks]
        chains += [(n3, name) for n3 in faster.n3 for name in ("embedding", "temperature")]
        for part, name in chains:
            chain = merged(getattr(part, name))
            setattr(part, name, BandedConvolutions(chain) if self.device.type == "cpu" else chain)
        return faster if self.device.type == "cpu" else super().compile(faster, setting)

    def forward(self, y: Tensor, seen: Observation) -> Tensor:
        H, W = y.shape[2:]
        x_hat: Tensor = self.net(reflect(y, 0, max(0, LEAST - H), max(0, LEAST - W)))
        return x_hat[:, :, :H, :W]

    def macs_per_pixel(self, seen: Observation) -> float:
        """Computed from the sizes, for an inner patch has more candidates than one of a small image."""
        H, W, _ = seen.restored_shape
        h, w = max(H, LEAST), max(W, LEAST)
        convolutions = sum(layer.weight.numel() for layer in self.plain.modules() if isinstance(layer, nn.Conv2d))
        return (h * w * convolutions + len(self.plain.n3) * products(h, w)) / (H * W)

    def initialise(self, network: nn.Module, crops: Tensor) -> None:
        raise RestorerError("n3net cannot be trained: its network is for evaluation alone.")


RENAMED = (
    (r"conv1\.", "body.0."),
    (r"layer1\.(\d+)\.", lambda m: f"body.{int(m[1]) + 2}."),
    (r"conv2\.", "body.14."),
    (r"^nls\.", "n3."),
    ("embedcnn", "embedding"),
    ("tempcnn", "temperature"),
    (r"n3aggregation\.aggregation\.nnn\.bn", "norm"),
)
"""The authors' names of tensors, and what they become in `N3Network`."""


def read_authors(path: Path) -> dict[str, Tensor]:
    """`N3Network`'s state dict from a checkpoint of the authors."""
    state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)["net"]
    ours = {}
    for name, tensor in state.items():
        if re.match(r"blocks\.\d\.bn1\.", name):  # not used
            continue
        for theirs, becomes in RENAMED:
            name = re.sub(theirs, becomes, name)
        ours[name] = tensor
    return ours
