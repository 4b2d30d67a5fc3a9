"""One picture and what several restorers make of it, as a run would have them: for looking, not for records."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bench.data.datasets import Dataset
from bench.errors import RequestError, RestorerError, unknown
from bench.level import format_level
from bench.runner.messages import Failure
from bench.runner.outsiders import Outsiders
from bench.runner.plan import make_plan
from bench.runner.process import RestorerProcess
from bench.runner.request import Words, make_request
from bench.runner.slot import degrade
from bench.runner.worker import Limits

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bench.runner.cell import Cell
    from bench.runner.plan import Plan
    from bench.task import Image, Observation

__all__ = ["Look", "Maps", "look_at", "maps_of"]


@dataclass(frozen=True)
class Look:
    """The reference that answers are scored against, and the answers by their restorers' labels, the PSNR with each.

    All are float32 (H, W, C), nominally in [0, 1]. PSNR in dB is of the whole picture, by the protocol.
    """

    clean: Image
    answers: dict[str, tuple[Image, float]]
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class Maps:
    """What was seen, enlarged if that is the task, float32 (H, W, C), and what a restorer decides at each pixel.

    maps   by title, float32 (H, W), from 0 to 1
    pixel  (row, column): of which there is a map where each pixel has one of its own
    """

    seen: Image
    maps: dict[str, NDArray[np.float32]]
    pixel: tuple[int, int]
    remarks: tuple[str, ...]


def look_at(
    methods: Words,
    task: str,
    dataset: str,
    image: str | None,
    levels: dict[str, Any],
    *,
    protocol: str = "standard-v1",
    device: str = "cpu",
    threads: int | None = None,
    limits: Limits | None = None,
) -> Look:
    """Have restorers restore one picture of a data set, each in a process of its own, one after the other.

    image   its name; None: the first
    levels  by kind, as for a run, one of them
    Raises a BenchError for what will not do, RestorerError if one of the restorers fails.
    """
    plan = _planned(methods, task, dataset, image, levels, protocol=protocol, device=device, threads=threads)
    limits = limits or Limits()
    answers = {}
    with Outsiders(limits) as outsiders:
        for cell in plan.cells:
            clean, seen = degrade(cell, outsiders)  # each is shown it as it may be
            answers[cell.label] = _answer(cell, clean, seen, limits)
    return Look(clean, answers, tuple(plan.notes))


def maps_of(
    method: str,
    task: str,
    dataset: str,
    image: str | None,
    levels: dict[str, Any],
    *,
    pixel: tuple[int, int] | None = None,
    device: str = "cpu",
    threads: int | None = None,
    limits: Limits | None = None,
) -> Maps:
    """What one restorer decides at each pixel of a picture of a data set; it has a process of its own.

    pixel  (row, column) of the restored picture; None: its middle. The others as of `look_at`
    Raises a BenchError for what will not do, RestorerError if the restorer fails or has nothing to show.
    """
    plan = _planned(method, task, dataset, image, levels, device=device, threads=threads)
    if len(plan.cells) != 1:
        raise RequestError(f"Maps are those of one restorer; {method} are {len(plan.cells)}.")
    [cell] = plan.cells
    limits = limits or Limits()
    with Outsiders(limits) as outsiders:
        _, seen = degrade(cell, outsiders)
    H, W, _ = seen.restored_shape
    i, j = pixel or (H // 2, W // 2)
    if i >= H or j >= W:
        raise RequestError(f"--pixel {j},{i}: the restored picture has {W}x{H} pixels.")
    with _at_work(cell, limits) as process:
        shown = process.show(seen, (i, j))
    if isinstance(shown, Failure):
        raise RestorerError(f"{cell.label}: {shown.reason}.")
    if not shown.titles:
        raise RestorerError(f"{cell.label} has no maps to draw: its class has no method `maps`, or it gives none.")
    as_seen = seen.image if seen.scale is None else seen.upscaled()
    return Maps(as_seen, dict(zip(shown.titles, shown.maps, strict=True)), (i, j), tuple(plan.notes))


def _planned(
    methods: Words, task: str, dataset: str, image: str | None, levels: dict[str, Any], **words: Any
) -> Plan:
    """The cells of one picture, one for each restorer. Raises RequestError for more than that."""
    request = make_request(methods, task, dataset, levels=levels, **words)
    if len(request.tasks) != 1 or len(request.datasets) != 1:
        raise RequestError("A picture is looked at in one data set and at one task: name one of each.")
    [(one, asked)] = request.tasks.values()
    if len(asked) != 1:
        raise RequestError(
            f"A picture is looked at at one level: --{one.level.option} {format_level(asked[0])}, e.g."
        )
    plan = make_plan(replace(request, datasets=(_of_one_image(request.datasets[0], image),), timed=False))
    if plan.skips:
        raise RequestError(plan.skips[0].reason + ".")
    return plan


def _of_one_image(dataset: Dataset, image: str | None) -> Dataset:
    entries = {entry.name: entry for entry in dataset.entries}
    if image is not None and image not in entries:
        raise RequestError(unknown(f"picture in {dataset.label}", image, entries))
    one = entries[image] if image is not None else next(iter(entries.values()))
    return replace(dataset, found=(one,), images=1)


def _answer(cell: Cell, clean: Image, seen: Observation, limits: Limits) -> tuple[Image, float]:
    with _at_work(cell, limits) as process:
        answer = process.restore(seen)
    if isinstance(answer, Failure):
        raise RestorerError(f"{cell.label}: {answer.reason}.")
    return answer.x_hat, cell.protocol.score(answer.x_hat, clean, cell.setting).psnr_db


@contextmanager
def _at_work(cell: Cell, limits: Limits) -> Iterator[RestorerProcess]:
    """The restorer, prepared."""
    process = RestorerProcess(cell.spec, cell.device, cell.threads, limits)
    try:
        if (problem := process.ready(cell.prepared_for, cell.weights)) is not None:
            raise RestorerError(f"{cell.label}: {problem.reason}.")
        yield process
    finally:
        process.close()
