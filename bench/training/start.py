"""`--start`: weights of another training, or from elsewhere, into a network that is to be trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from bench.errors import TrainingError, WeightsError
from bench.level import Level, nearest_level
from bench.state_dicts import named_alike, options_in

__all__ = ["read_weights"]


def read_weights(network: nn.Module, path: Path, level: Level, of_level: Sequence[str] = ()) -> None:
    """Start from other weights, at `level`: take the tensors whose names the network has.

    path      safetensors, or a state dict that `torch.save` wrote
    of_level  first words of the names of tensors that another level may give another shape: left out if it does

    A tensor that lacks the network's first axis serves all along it: thresholds trained for one level start those of
    every level. Of thresholds for several levels, a network for one takes those of the nearest.

    Raises TrainingError if no tensor fits, or one of a name that the network has is of another shape.
    """
    own = network.state_dict()
    try:
        options = options_in(path)
        common = dict(named_alike(own, path))
    except WeightsError as error:
        raise TrainingError(f"--start {error}") from None
    if not common:
        raise TrainingError(f"--start {path}: has no tensor of this network ({', '.join(list(own)[:3])}, …).")
    levels = _levels_in(options)
    for name, tensor in common.items():
        if tensor.shape == own[name].shape[1:]:
            common[name] = tensor.expand_as(own[name])
        elif levels and tensor.shape[1:] == own[name].shape and len(tensor) == len(levels):
            common[name] = tensor[nearest_level(levels, level)]
        elif tensor.shape != own[name].shape and name.split(".")[0] in of_level:
            common[name] = own[name]
        elif tensor.shape != own[name].shape:
            raise TrainingError(
                f"--start {path}: {name} has shape {tuple(tensor.shape)}, expected {tuple(own[name].shape)}:"
                " weights of another architecture."
            )
    network.load_state_dict(common, strict=False)


def _levels_in(options: Mapping[str, Any]) -> list[float]:
    """The levels that a network learned together; none if its options name no such."""
    levels = options.get("levels")
    if not (isinstance(levels, list) and all(isinstance(level, int | float) for level in levels)):
        return []
    return levels
