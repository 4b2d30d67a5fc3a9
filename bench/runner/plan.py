"""From a request to cells: every restorer × task × level × image, less what is out of reach, with the reasons."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from bench.data.datasets import Dataset, ImageEntry, overlap, read
from bench.errors import DataError, OutOfReachError, RequestError, WeightsError
from bench.measure.devices import card
from bench.measure.environment import environment
from bench.plugins.registry import RestorerSpec
from bench.plugins.weights import Declaration, check_origin, pick
from bench.protocol import Protocol
from bench.records.store import quality_part
from bench.task import Level, Setting, Task, format_level

if TYPE_CHECKING:
    from bench.restorer import WeightsFile

__all__ = ["Cell", "Plan", "Request", "Skip", "make_plan"]


@dataclass(frozen=True)
class Request:
    """What a user asked for, names already looked up.

    tasks    with the levels to measure each at
    repeats  noise realisations per image
    timed    whether calls are timed; readings: how many per cell, None for the usual (see bench.measure.clocks)
    threads  per restorer
    """

    specs: tuple[RestorerSpec, ...]
    tasks: Mapping[str, tuple[Task, tuple[Level, ...]]]
    datasets: tuple[Dataset, ...]
    protocol: Protocol
    repeats: int
    device: str
    threads: int
    timed: bool
    readings: int | None


@dataclass(frozen=True, eq=False)
class Cell:
    """One measurement to be made: this restorer, on this image, degraded so."""

    spec: RestorerSpec
    weights: WeightsFile | None
    setting: Setting
    dataset: Dataset
    entry: ImageEntry
    image_sha256: str
    protocol: Protocol
    repeat: int
    device: str
    threads: int
    timed: bool

    @cached_property
    def seed(self) -> tuple[int, ...]:
        return self.protocol.seed(self.setting, self.dataset.name, self.entry.name, self.repeat)

    @cached_property
    def key(self) -> str:
        """Hash of what could change the quality, a dash, and that of what could change the timing (or `untimed`)."""
        accelerator = () if self.device == "cpu" else (self.device, card(self.device))
        quality = _digest(
            self.spec.name,
            self.spec.info.version,
            self.weights.sha256 if self.weights else "",
            self.setting.task,
            format_level(self.setting.level),
            self.setting.channels,
            self.dataset.name,
            self.entry.name,
            self.image_sha256,
            self.seed,
            self.protocol.name,
            *accelerator,
        )
        timing = _digest(self.device, self.threads, environment()) if self.timed else "untimed"
        return f"{quality}-{timing}"

    @property
    def quality_key(self) -> str:
        return quality_part(self.key)


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]


@dataclass(frozen=True)
class Skip:
    """What was asked for and will not be measured, and why."""

    spec: RestorerSpec
    task: str
    level: Level
    dataset: str
    reason: str


@dataclass
class Plan:
    """cells: in the order in which they are measured; broken: (data set, image, what is wrong with it)."""

    request: Request
    cells: list[Cell] = field(default_factory=list)
    skips: list[Skip] = field(default_factory=list)
    broken: list[tuple[str, str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    stand_ins: dict[str, list[tuple[str, str]]] = field(default_factory=dict)  # by restorer: (label, why not others)

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


@dataclass(frozen=True)
class _Picture:
    """An image of the plan: where it is, the hash of its pixels, its channel count."""

    dataset: Dataset
    entry: ImageEntry
    sha256: str
    channels: int


def make_plan(request: Request, *, fetch_weights: bool = True) -> Plan:
    """Expand the request.

    fetch_weights  False (a dry run): take the weights preferred as declared, without having them
    Raises RequestError if nothing is left to measure.
    """
    plan = Plan(request)
    for spec in request.specs:
        check_origin(spec)
    pictures = {dataset.name: list(_pictures(dataset, plan)) for dataset in request.datasets}
    for spec in request.specs:
        for task, levels in request.tasks.values():
            for level in levels:
                for dataset in request.datasets:
                    _add(plan, spec, task, level, pictures[dataset.name], dataset, fetch_weights)
    for name, stand_ins in plan.stand_ins.items():
        labels = ", ".join(dict.fromkeys(label for label, _ in stand_ins))
        plan.note(f"{name}: weights of ours stand in for published ones ({labels}). {stand_ins[0][1]}")
    if not plan.cells:
        reasons = [skip.reason for skip in plan.skips] + [f"{image}: {reason}" for _, image, reason in plan.broken]
        reasons = [reason.removesuffix(".") for reason in dict.fromkeys(reasons)] or ["no images"]
        raise RequestError(f"Nothing to measure: {'; '.join(reasons)}.")
    return plan


def _pictures(dataset: Dataset, plan: Plan) -> Iterator[_Picture]:
    """The images of a set. Those of a declared set need not be read: their hashes are known."""
    converted: dict[str, list[str]] = {}
    for entry in dataset.entries:
        if entry.pixels_sha256 and entry.channels:
            yield _Picture(dataset, entry, entry.pixels_sha256, entry.channels)
            continue
        try:
            image = read(dataset, entry)
        except DataError as error:
            plan.broken.append((dataset.name, entry.name, str(error)))
            continue
        if image.note:
            converted.setdefault(image.note, []).append(entry.name)
        yield _Picture(dataset, entry, image.sha256, image.pixels.shape[2])
    for note, names in converted.items():
        others = f" and {len(names) - 1} more" if len(names) > 1 else ""
        plan.note(f"{dataset.name}/{names[0]}{others}: {note}")


def _add(
    plan: Plan,
    spec: RestorerSpec,
    task: Task,
    level: Level,
    pictures: Sequence[_Picture],
    dataset: Dataset,
    fetch_weights: bool,
) -> None:
    """The cells of one restorer at one level on one data set, or the reason why there are none."""
    for channels in dict.fromkeys(task.channels or picture.channels for picture in pictures):
        setting = Setting(task.name, level, channels)
        these = [p for p in pictures if (task.channels or p.channels) == channels]
        if task.channels == 3:
            these = [p for p in these if p.channels == 3]
        reason = _why_not(spec, task, these, dataset)
        if reason is not None:
            plan.skips.append(Skip(spec, task.name, level, dataset.name, reason))
            continue
        try:
            weights, declaration, instead_of = pick(spec, setting, download=fetch_weights)
        except OutOfReachError as error:
            plan.skips.append(Skip(spec, task.name, level, dataset.name, str(error)))
            continue
        except (DataError, WeightsError) as error:
            plan.skips.append(Skip(spec, task.name, level, dataset.name, f"{spec.name}: {error}"))
            continue
        if weights and instead_of:
            plan.stand_ins.setdefault(spec.name, []).append((weights.label, instead_of))
        _note_overlap(plan, spec, declaration, dataset)
        plan.cells += _cells(plan.request, spec, setting, weights, these)


def _why_not(spec: RestorerSpec, task: Task, pictures: Sequence[_Picture], dataset: Dataset) -> str | None:
    info = spec.info
    if info.unavailable:
        return f"{info.name} {info.unavailable}"
    if task.name not in info.tasks:
        return f"{info.name} does not {task.name} (it does {', '.join(sorted(info.tasks))})"
    if not pictures:
        return f"{task.name} needs colour images, {dataset.name} has none"
    return None


def _note_overlap(plan: Plan, spec: RestorerSpec, declaration: Declaration | None, dataset: Dataset) -> None:
    for training_set in declaration.trained_on if declaration else ():
        shared = overlap(dataset.name, training_set)
        if shared:
            plan.note(f"{spec.info.name}'s weights were trained on {training_set}: {shared}")


def _cells(
    request: Request, spec: RestorerSpec, setting: Setting, weights: WeightsFile | None, pictures: Iterable[_Picture]
) -> list[Cell]:
    return [
        Cell(
            spec=spec,
            weights=weights,
            setting=setting,
            dataset=picture.dataset,
            entry=picture.entry,
            image_sha256=picture.sha256,
            protocol=request.protocol,
            repeat=repeat,
            device=request.device,
            threads=request.threads,
            timed=request.timed,
        )
        for repeat in range(request.repeats)
        for picture in pictures
    ]
