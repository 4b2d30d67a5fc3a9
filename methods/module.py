"""A network that is alive in Python, `bench.wrap(network, range=1)`: told of it is what is told of a file."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import torch
from bench.methods.exported import Exported
from bench.methods.networks.programs import Program
from torch import Tensor, nn

from bench.restorer import RestorerError, WeightsFile

__all__ = ["Module"]


class Module(Exported):
    """A torch.nn.Module of one's own. `network` is the engine's to give; the options are those of `Exported`."""

    name = "module"
    tasks = {"denoise", "denoise-blind", "deblock", "superres"}
    needs_weights = False

    def __init__(
        self, variant: str = "", weights: WeightsFile | None = None, *, network: nn.Module, **options: Any
    ) -> None:
        name = type(network).__name__
        super().__init__(variant, WeightsFile(Path(name), "", ""), **options)
        self.asked, self.own = name, network

    def open(self, device: torch.device) -> Program:
        return Alive(self.own.to(device))


class Alive(Program):
    """What `forward` takes says whether there is a second input. Of several answers the first is taken."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        taken = [one for one in inspect.signature(network.forward).parameters.values() if one.kind in BY_PLACE]
        required = [one.name for one in taken if one.default is one.empty]
        if len(required) > 2:
            raise RestorerError(
                f"{type(network).__name__} takes {', '.join(required)}; expected an image and perhaps a noise level."
            )
        self.has_sigma = len(required) == 2

    def forward(self, y: Tensor, sigma: Tensor | None) -> Tensor:
        x = self.network(y, sigma) if self.has_sigma else self.network(y)
        while isinstance(x, (tuple, list)) and x:
            x = x[0]
        return x


BY_PLACE = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
