"""From a request to cells: every restorer × task × level × image, less what is out of reach, with the reasons."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from bench.data.datasets import Dataset, ImageEntry, overlap, read
from bench.errors import DataError, OutOfReachError, RequestError, WeightsError
from bench.plugins.cards import remarks
from bench.plugins.registry import RestorerSpec
from bench.plugins.weights import Declaration, check_origin, pick
from bench.protocol import Protocol
from bench.records.labels import labels_of
from bench.runner.cell import Cell
from bench.task import Level, Setting, Task, format_level

if TYPE_CHECKING:
    from bench.restorer import WeightsFile

__all__ = ["Plan", "Request", "Skip", "make_plan"]


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
    Raises RequestError if nothing is left to measure, or for more than MOST_CELLS, before any is made.
    """
    _check_size(request)
    plan = Plan(request)
    for spec in request.specs:
        check_origin(spec)
        if spec.info.value is not None and spec.info.value.why_not:
            why_not = spec.info.value.why_not
            plan.note(f"{spec.name}: {why_not}. No record may answer for it: it is measured each time")
    for task, levels in request.tasks.values():
        _note_sigma(plan, task, levels)
    pictures = [list(_pictures(dataset, plan)) for dataset in request.datasets]
    for spec in request.specs:
        for task, levels in request.tasks.values():
            for level in levels:
                for dataset, of_set in zip(request.datasets, pictures, strict=True):
                    _add(plan, spec, task, level, of_set, dataset, fetch_weights)
    plan.cells = _told_apart(plan)
    for name, stand_ins in plan.stand_ins.items():
        labels = ", ".join(dict.fromkeys(label for label, _ in stand_ins))
        plan.note(f"{name}: weights of ours stand in for published ones ({labels}). {stand_ins[0][1]}")
    if not plan.cells:
        reasons = [skip.reason for skip in plan.skips] + [f"{image}: {reason}" for _, image, reason in plan.broken]
        reasons = [reason.removesuffix(".") for reason in dict.fromkeys(reasons)] or ["no images"]
        raise RequestError(f"Nothing to measure: {'; '.join(reasons)}.")
    return plan


MOST_CELLS = 200_000
"""of a plan, which has 2 kB of each; at a second a cell it is measured for days"""


def _check_size(request: Request) -> None:
    n_levels = sum(len(levels) for _, levels in request.tasks.values())
    n_images = sum(len(dataset) for dataset in request.datasets)
    n = len(request.specs) * n_levels * n_images * request.repeats
    if n > MOST_CELLS:
        raise RequestError(
            f"{len(request.specs)} restorers x {n_levels} levels x {n_images} images x {request.repeats} repeats are"
            f" {n:,} cells; a plan has at most {MOST_CELLS:,}. Ask for less at a time."
        )


def _told_apart(plan: Plan) -> list[Cell]:
    """The cells with labels that tell their restorers apart, less those that are asked for twice in other words."""
    cells: dict[str, Cell] = {}
    for cell in plan.cells:
        first = cells.setdefault(cell.key, cell)
        if first is not cell and first.maker != cell.maker:
            here, there = (one.maker.weights_file or one.maker.plugin for one in (cell, first))
            plan.note(f"{cell.spec.name}: {here} holds what {there} holds, and is not measured a second time")
    labels = labels_of(cell.maker for cell in cells.values())
    return [replace(cell, label=labels[cell.maker]) for cell in cells.values()]


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
        for note in filter(None, image.note.split("; ")):
            converted.setdefault(note, []).append(entry.name)
        yield _Picture(dataset, entry, image.sha256, image.pixels.shape[2])
    for note, images in _by_kind(converted).items():
        plan.note(f"{dataset.label}/{_listed(images)}: {note}")


_NUMBER = re.compile(r"\d+")


def _by_kind(notes: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Notes that differ in a number alone become one, `a JPEG of quality 70 to 95`; note -> its images."""
    kinds: dict[str, list[str]] = {}
    for note in notes:
        kinds.setdefault(_NUMBER.sub("#", note), []).append(note)
    return {_in_one(alike): [image for note in alike for image in notes[note]] for alike in kinds.values()}


def _in_one(notes: Sequence[str]) -> str:
    """One text for notes whose numbers differ: each number, or from the least to the greatest."""
    columns = zip(*(map(int, _NUMBER.findall(note)) for note in notes), strict=True)
    ranges = iter([" to ".join(map(str, sorted({min(column), max(column)}))) for column in columns])
    return _NUMBER.sub(lambda _: next(ranges), notes[0])


def _listed(images: Sequence[str]) -> str:
    """`1.png`, or `1.png and 2 more`."""
    return images[0] + (f" and {len(images) - 1} more" if len(images) > 1 else "")


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
        for remark in remarks(spec, weights, setting):
            plan.note(remark)
        _note_gray(plan, task, pictures, dataset)
        plan.cells += _cells(plan.request, spec, setting, weights, [*_large_enough(plan, setting, these)])


def _why_not(spec: RestorerSpec, task: Task, pictures: Sequence[_Picture], dataset: Dataset) -> str | None:
    info = spec.info
    if info.unavailable:
        return f"{info.name} {info.unavailable}"
    if task.name not in info.tasks:
        return f"{info.name} does not {task.name} (it does {', '.join(sorted(info.tasks))})"
    if not pictures:
        return f"{task.name} needs colour images, {dataset.name} has none"
    return None


def _large_enough(plan: Plan, setting: Setting, pictures: Sequence[_Picture]) -> Iterator[_Picture]:
    """Those of which something is scored; the others are put with what is broken."""
    for picture in pictures:
        width, height = picture.entry.width, picture.entry.height
        if width is None or height is None or all(plan.request.protocol.scored_size(height, width, setting)):
            yield picture
            continue
        why = f"{setting} scores none of its {width}x{height} pixels: a border of {setting.level:.0f} is left out"
        told = (picture.dataset.label, picture.entry.name, why)
        if told not in plan.broken:
            plan.broken.append(told)


def _note_gray(plan: Plan, task: Task, pictures: Sequence[_Picture], dataset: Dataset) -> None:
    gray = [picture.entry.name for picture in pictures if picture.channels == 1]
    if task.channels == 3 and gray:
        plan.note(f"{dataset.label}/{_listed(gray)}: left out of {task.name}, which needs colour")


def _note_sigma(plan: Plan, task: Task, levels: Iterable[Level]) -> None:
    for level in levels:
        if task.level.name == "sigma" and 0 < float(level) < 1:
            text = format_level(level)
            plan.note(f"sigma {text} is on the 0-255 scale; {text} on a 0-1 scale would be {255 * float(level):g}")


def _note_overlap(plan: Plan, spec: RestorerSpec, declaration: Declaration | None, dataset: Dataset) -> None:
    for training_set in declaration.trained_on if declaration else ():
        shared = overlap(dataset.name, training_set)
        if shared:
            plan.note(f"{spec.info.name}'s weights were trained on {training_set}: {shared}")


def _cells(
    request: Request, spec: RestorerSpec, setting: Setting, weights: WeightsFile | None, pictures: Sequence[_Picture]
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
