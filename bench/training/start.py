"""`--start`: weights of another training, of a restorer, or from elsewhere, into a network that is to be trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from bench.errors import TrainingError, WeightsError
from bench.level import Level, nearest_level
from bench.state_dicts import named_alike, options_in
from bench.tasks import Setting
from bench.training.files import sha256_of
from bench.training.others import with_weights

__all__ = ["begin_with", "read_weights"]


def begin_with(network: nn.Module, start: Path | str, setting: Setting, of_level: Sequence[str] = ()) -> str:
    """Start from a file, see `read_weights`, or from what a restorer has for the setting; the sha256 of the file.

    start  a path, or a name: "lidia@published", whose weights are read as the restorer reads them
    """
    if isinstance(start, Path):
        read_weights(network, start, setting.level, of_level)
        return sha256_of(start)
    restorer, weights = with_weights(f"--start {start}", start, setting)
    restorer.prepare(setting, "cpu")
    own, given = network.state_dict(), restorer.plain.state_dict()
    common = {name: tensor for name, tensor in given.items() if name in own}
    _take(network, common, restorer.options, f"--start {start}", setting.level, of_level)
    return weights.sha256


def read_weights(network: nn.Module, path: Path, level: Level, of_level: Sequence[str] = ()) -> None:
    """Start from the weights of a file, at `level`: take the tensors whose names the network has.

    path      safetensors, or a state dict that `torch.save` wrote
    of_level  first words of the names of tensors that another level may give another shape: left out if it does

    A tensor that lacks the network's first axis serves all along it: thresholds trained for one level start those of
    every level. Of thresholds for several levels, a network for one takes those of the nearest.

    Raises TrainingError if no tensor fits, or one of a name that the network has is of another shape.
    """
    try:
        options = options_in(path)
        common = dict(named_alike(network.state_dict(), path))
    except WeightsError as error:
        raise TrainingError(f"--start {error}") from None
    _take(network, common, options, f"--start {path}", level, of_level)


def _take(
    network: nn.Module,
    common: dict[str, Tensor],
    options: Mapping[str, Any],
    asked: str,
    level: Level,
    of_level: Sequence[str],
) -> None:
    """Copy tensors of names that the network has into it; `options` are of the network that they come from."""
    own = network.state_dict()
    if not common:
        raise TrainingError(f"{asked}: has no tensor of this network ({', '.join(list(own)[:3])}, …).")
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
                f"{asked}: {name} has shape {tuple(tensor.shape)}, expected {tuple(own[name].shape)}:"
                " weights of another architecture."
            )
    network.load_state_dict(common, strict=False)


def _levels_in(options: Mapping[str, Any]) -> list[float]:
    """The levels that a network learned together; none if its options name no such."""
    levels = options.get("levels")
    if not (isinstance(levels, list) and all(isinstance(level, int | float) for level in levels)):
        return []
    return levels
