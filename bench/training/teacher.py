"""A teacher: a restorer whose answers a training strives for in place of the clean crops."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.level import Level
from bench.task import Observation
from bench.tasks import Setting
from bench.training.others import with_weights

__all__ = ["Teacher"]


class Teacher:
    """The network called `name`, with its weights for `setting`, on `device`.

    weights_sha256  of the file that its weights were read from

    Why it helps: the error against the clean crop is mostly what no restorer can know, and the gradient of that is
    noise. A better restorer's answer is nearer to the mean of all that the crop may have been, which is what the
    squared error asks for.

    Raises TrainingError if there is no such network for the setting, or its weights cannot be had.
    """

    def __init__(self, name: str, setting: Setting, device: str | torch.device) -> None:
        self.restorer, weights = with_weights(f"teacher = '{name}'", name, setting)
        self.weights_sha256 = weights.sha256
        self.restorer.prepare(setting, str(device))

    @torch.no_grad()
    def __call__(self, y: Tensor, seen: Observation, level: Level) -> Tensor:
        """Its answers (N, C, H, W) to a batch of degraded crops; the arguments of `TorchRestorer.estimate`."""
        return self.restorer.estimate(self.restorer.plain, y, seen, level)
