"""From a request to cells: every restorer × task × level × image, less what is out of reach, with the reasons."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING

from bench.data.datasets import Dataset, ImageEntry, overlap, read
from bench.data.noise_level import estimated_sigma
from bench.errors import DataError, OutOfReachError, RequestError, WeightsError, unknown
from bench.level import DECLARED, ESTIMATED, UNTOLD, Level, format_level
from bench.measure.machine import Machine
from bench.metric import Metric
from bench.plugins.cards import remarks
from bench.plugins.registry import RestorerSpec
from bench.plugins.tasks import OwnTask
from bench.plugins.weights import Declaration, check_origin, pick
from bench.protocol import Protocol
from bench.records.alike import alike
from bench.records.labels import labels_of
from bench.runner.cell import Cell
from bench.runner.pace import expected_seconds
from bench.runner.shard import Shard, fingerprint
from bench.task import Task
from bench.tasks import BLIND, TASKS, Setting

if TYPE_CHECKING:
    from bench.restorer import WeightsFile

__all__ = ["Plan", "Request", "Skip", "make_plan"]


@dataclass(frozen=True)
class Request:
    """What a user asked for, names already looked up.

    tasks    with the levels to measure each at
    repeats  noise realisations per image
    machines  that may measure, one of each kind; the plan is made for the first
    timed    whether calls are timed; readings: how many per cell, None for the usual (see bench.measure.clocks)
    metrics  to be measured beside PSNR and SSIM
    shard    the part of the cells to measure; None: all
    """

    specs: tuple[RestorerSpec, ...]
    tasks: Mapping[str, tuple[Task, tuple[Level, ...]]]
    datasets: tuple[Dataset, ...]
    protocol: Protocol
    repeats: int
    machines: tuple[Machine, ...]
    timed: bool
    readings: int | None
    metrics: tuple[Metric, ...] = ()
    shard: Shard | None = None


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
    """An image of the plan: where it is, the hash of its pixels, its channel count.

    noise  of the noisy picture of a pair: the estimate of its sigma
    """

    dataset: Dataset
    entry: ImageEntry
    sha256: str
    channels: int
    noise: float | None = None

    def told(self, level: Level) -> float | None:
        """The sigma that a restorer is told of a real picture at a level of `real`."""
        if level == ESTIMATED:
            return self.noise
        if level == DECLARED:
            return self.entry.pair.sigma if self.entry.pair else None
        return None if isinstance(level, str) else level


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
    for dataset in request.datasets:
        if dataset.part:
            plan.note(f"{dataset.label}: {dataset.part}")
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
    if request.shard is not None:
        _keep_part(plan, request.shard)
    return plan


def _keep_part(plan: Plan, shard: Shard) -> None:
    seconds = expected_seconds(plan.cells, plan.request.readings)
    part = shard.of([*zip(plan.cells, seconds, strict=True)], seconds, [cell.label for cell in plan.cells])
    share = sum(of_cell for _, of_cell in part) / sum(seconds)
    plan.note(
        f"shard {shard}: {len(part)} of {len(plan.cells)} cells, about {share:.0%} of the time; the shards of one run"
        f" all say plan {fingerprint(plan.cells)}"
    )
    plan.cells = [cell for cell, _ in part]


MOST_CELLS = 200_000
"""of a plan, which has 2.5 kB of each; at a second a cell it is measured for days"""


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
    return [cell.called(labels[cell.maker]) for cell in cells.values()]


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
        noise = None if image.noisy is None else estimated_sigma(image.noisy)
        yield _Picture(dataset, entry, image.sha256, image.pixels.shape[2], noise)
    for note, notes in alike(converted).items():
        images = [image for one in notes for image in converted[one]]
        plan.note(f"{dataset.label}/{_listed(images)}: {note}")


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
    if task.name == "real":
        if all(picture.noise is None for picture in pictures):
            no_pairs = f"real needs pairs of a clean and a noisy picture, {dataset.name} has none"
            plan.skips.append(Skip(spec, task.name, level, dataset.name, no_pairs))
        pictures = [*_pairs(plan, level, pictures)]
    groups = dict.fromkeys((task.channels or p.channels, _told(task, level, p)) for p in pictures)
    for channels, told in groups:
        setting = Setting(task.name, level, channels, task.level.name if isinstance(task, OwnTask) else "")
        shown = _shown(spec, task, setting, told)
        these = [p for p in pictures if ((task.channels or p.channels), _told(task, level, p)) == (channels, told)]
        if task.channels == 3:
            these = [p for p in these if p.channels == 3]
        reason = _why_not(spec, task, level, these, dataset)
        if reason is not None:
            plan.skips.append(Skip(spec, task.name, level, dataset.name, reason))
            continue
        try:
            weights, declaration, instead_of = pick(spec, shown or setting, download=fetch_weights)
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
        if shown is not None:
            plan.note(f"{spec.info.name} is shown pictures of {task.name} as those of {shown.task}")
        cells = _cells(plan.request, spec, setting, weights, [*_large_enough(plan, setting, these)])
        plan.cells += [replace(cell, task=task, shown=shown, told=told) for cell in cells]


def _why_not(
    spec: RestorerSpec, task: Task, level: Level, pictures: Sequence[_Picture], dataset: Dataset
) -> str | None:
    info = spec.info
    if info.unavailable:
        return f"{info.name} {info.unavailable}"
    if task.name not in info.tasks and _like(spec, task, level) is None:
        if task.name == "real" and "denoise" in info.tasks:
            return f"{info.name} must be told sigma: ask for --level estimate, known, or a number"
        does = f"{info.name} does not {task.name} (it does {', '.join(sorted(info.tasks))})"
        meant = [name for name in sorted(info.tasks - {*TASKS}) if get_close_matches(name, TASKS)]
        return f"{does}. {unknown('task', meant[0], TASKS)}" if meant else does
    if not pictures:
        return f"{task.name} needs colour images, {dataset.name} has none"
    return None


def _like(spec: RestorerSpec, task: Task, level: Level) -> str | None:
    """The task as which a restorer that does not name this one may be shown it; None if there is none."""
    if task.name in spec.info.tasks:
        return None
    likes = BLIND if level == UNTOLD else task.like
    return next((like for like in likes if like in spec.info.tasks), None)


def _shown(spec: RestorerSpec, task: Task, setting: Setting, told: float | None) -> Setting | None:
    """The setting of `_like`: at the same level if it is of one kind, else at the middle one that is usual.

    told  the level of a real picture's noise
    """
    like = _like(spec, task, setting.level)
    if like is None:
        return None
    other = TASKS[like]
    level = other.levels[len(other.levels) // 2]
    if task.name == "real":
        level = told if told is not None and like not in BLIND else level
    elif other.level.name == task.level.name:
        level = setting.level
    return Setting(like, level, setting.channels)


def _pairs(plan: Plan, level: Level, pictures: Sequence[_Picture]) -> Iterator[_Picture]:
    """Those that are a clean and a noisy picture, and whose noise is known if it is to be; others are broken."""
    for picture in pictures:
        if picture.noise is None:
            continue
        if level == DECLARED and picture.told(level) is None:
            why = "no sigma is declared for it: write `sigma = ...` in its .toml, or ask for --level estimate"
            plan.broken.append((picture.dataset.label, picture.entry.name, why))
            continue
        yield picture


def _told(task: Task, level: Level, picture: _Picture) -> float | None:
    return picture.told(level) if task.name == "real" else None


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
            machine=request.machines[0],
            timed=request.timed,
            metrics=request.metrics,
        )
        for repeat in range(request.repeats)
        for picture in pictures
    ]
