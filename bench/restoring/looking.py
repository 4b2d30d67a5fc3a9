"""One picture and what several restorers make of it, as a run would have them: for looking, not for records."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bench.data.datasets import Dataset
from bench.errors import RequestError, RestorerError, unknown
from bench.level import format_level
from bench.runner.messages import Answer
from bench.runner.outsiders import Outsiders
from bench.runner.plan import make_plan
from bench.runner.process import RestorerProcess
from bench.runner.request import Words, make_request
from bench.runner.slot import degrade
from bench.runner.worker import Limits

if TYPE_CHECKING:
    from bench.runner.cell import Cell
    from bench.task import Image, Observation

__all__ = ["Look", "look_at"]


@dataclass(frozen=True)
class Look:
    """The reference that answers are scored against, and the answers by their restorers' labels, the PSNR with each.

    All are float32 (H, W, C), nominally in [0, 1]. PSNR in dB is of the whole picture, by the protocol.
    """

    clean: Image
    answers: dict[str, tuple[Image, float]]
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
    words: dict[str, Any] = {"protocol": protocol, "device": device, "threads": threads}
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
    limits = limits or Limits()
    answers = {}
    with Outsiders(limits) as outsiders:
        for cell in plan.cells:
            clean, seen = degrade(cell, outsiders)  # each is shown it as it may be
            answers[cell.label] = _answer(cell, clean, seen, limits)
    return Look(clean, answers, tuple(plan.notes))


def _of_one_image(dataset: Dataset, image: str | None) -> Dataset:
    entries = {entry.name: entry for entry in dataset.entries}
    if image is not None and image not in entries:
        raise RequestError(unknown(f"picture in {dataset.label}", image, entries))
    one = entries[image] if image is not None else next(iter(entries.values()))
    return replace(dataset, found=(one,), images=1)


def _answer(cell: Cell, clean: Image, seen: Observation, limits: Limits) -> tuple[Image, float]:
    process = RestorerProcess(cell.spec, cell.device, cell.threads, limits)
    try:
        answer = process.ready(cell.prepared_for, cell.weights) or process.restore(seen)
    finally:
        process.close()
    if not isinstance(answer, Answer):
        raise RestorerError(f"{cell.label}: {answer.reason}.")
    return answer.x_hat, cell.protocol.score(answer.x_hat, clean, cell.setting).psnr_db
