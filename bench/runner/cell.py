"""A cell: one measurement to be made, and the key that its record is known by."""

from __future__ import annotations

import hashlib
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from bench.data.datasets import Dataset, ImageEntry
from bench.level import format_level
from bench.measure.machine import Machine, digest
from bench.metric import Metric
from bench.plugins.boundary import printable
from bench.plugins.registry import RestorerSpec
from bench.plugins.tasks import identity
from bench.protocol import Protocol
from bench.records.labels import Maker
from bench.task import Task
from bench.tasks import Setting

if TYPE_CHECKING:
    from bench.restorer import WeightsFile

__all__ = ["Cell"]


@dataclass(frozen=True, eq=False)
class Cell:
    """One measurement to be made: this restorer, on this image, degraded so.

    label    what tables call the restorer, with what tells it from the others of the plan
    task     of the setting; None: one of TASKS
    shown    the setting as which the restorer is prepared, and shown the picture, if it does not name this task
    machine  that measures
    told     the sigma that a restorer of real pictures is told, on the 0-255 scale
    metrics  what is measured of the answer beside PSNR and SSIM; not part of the key
    """

    spec: RestorerSpec
    weights: WeightsFile | None
    setting: Setting
    dataset: Dataset
    entry: ImageEntry
    image_sha256: str
    protocol: Protocol
    repeat: int
    machine: Machine
    timed: bool
    label: str = ""
    task: Task | None = None
    shown: Setting | None = None
    told: float | None = None
    metrics: tuple[Metric, ...] = ()

    @property
    def device(self) -> str:
        return self.machine.device

    @property
    def threads(self) -> int:
        return self.machine.threads

    @property
    def prepared_for(self) -> Setting:
        """What the restorer is told that it is about to do."""
        return self.shown or self.setting

    @cached_property
    def task_sha256(self) -> str:
        """Of the code of a task of one's own, and of files that the level names: see `bench.plugins.tasks`."""
        return identity(self.task, self.setting.level) if self.task else ""

    def called(self, label: str) -> Cell:
        """The cell under this label. What was computed of it stays: no key depends on what it is called."""
        cell = copy(self)
        object.__setattr__(cell, "label", label)
        return cell

    @cached_property
    def maker(self) -> Maker:
        weights, own = self.weights, self.weights is not None and self.weights.label.startswith("file:")
        file = str(weights.path.resolve()) if weights and own else ""
        plugin = " ".join(one.info.target for one in (self.spec, self.spec.inside) if one)
        told = (plugin, weights.label if weights else "", file)
        return Maker(self.spec.name, *map(printable, told))  # names of files need not be UTF-8

    @cached_property
    def seed(self) -> tuple[int, ...]:
        return self.protocol.seed(self.setting, self.dataset.name, self.entry.name, self.repeat)

    @property
    def key(self) -> str:
        """Hash of what could change the quality, a dash, and that of what could change the timing (or `untimed`)."""
        return f"{self.quality_key}-{self.machine.timing_key if self.timed else 'untimed'}"

    @cached_property
    def quality_key(self) -> str:
        info, w = self.spec.info, self.weights
        weights = (w.sha256, w.loader, w.label.partition(":")[0]) if w else ()
        return digest(
            self.spec.name, info.version, self.spec.code_sha256, weights, *self._input, self.dataset.location
        )

    @cached_property
    def quality_key_of_layout_3(self) -> str:
        """The key that earlier stores know the cell by: of the restorer's version, not of its code."""
        info = self.spec.info
        content = f"+{hashlib.sha256(info.source.read_bytes()).hexdigest()[:12]}" if info.is_file else ""
        return digest(
            self.spec.name, f"{info.version}{content}", self.weights.sha256 if self.weights else "", *self._input
        )

    @property
    def _input(self) -> tuple[object, ...]:
        """What the restorer is shown, how its answer is judged, and what computes it."""
        return (
            self.setting.task,
            format_level(self.setting.level),
            self.setting.channels,
            self.dataset.name,
            self.entry.name,
            self.image_sha256,
            self.seed,
            self.protocol.name,
            *(() if self.device == "cpu" else (self.device, self.machine.card)),
            *((("task", self.task_sha256),) if self.task_sha256 else ()),
            *((("told", self.told),) if self.told is not None else ()),
        )
