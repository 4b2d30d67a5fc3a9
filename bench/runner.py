"""Plan → cells → records: what is in the store already is not measured again, what is measured is stored at once."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import TYPE_CHECKING

from bench.plan import Cell, Plan, Skip
from bench.station import Station
from bench.store import Record, Store, frame_of
from bench.task import get_task
from bench.workers import Limits
from bench.data.datasets import fetch_all

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Outcome", "Progress", "Standing", "estimate_seconds", "look_up", "run"]


class Progress:
    """What a run tells whoever watches it; the methods do nothing here."""

    def fetching(self, dataset: str, done: int, total: int, n_bytes: int) -> None:
        """`done` of `total` image files of a data set are here, `n_bytes` in all."""

    def started(self, cells: list[Cell], n_known: int) -> None:
        """`cells` will be measured; `n_known` more are in the store already."""

    def measuring(self, cell: Cell) -> None:
        """A cell begins."""

    def measured(self, cell: Cell, record: Record) -> None:
        """A cell is measured and its record stored."""


@dataclass
class Standing:
    """Which cells of a plan the store knows: their records by cell, and the cells still to be measured."""

    known: dict[Cell, Record]
    missing: list[Cell]


@dataclass
class Outcome:
    """What a run gave: a record per cell, in the plan's order, those found in the store included."""

    plan: Plan
    records: list[Record]
    n_measured: int

    def frame(self) -> pd.DataFrame:
        """One row per cell, and one per combination that was skipped (without an image)."""
        return frame_of([*self.records, *map(_skipped, self.plan.skips)])

    def table(self, format: str = "text") -> str:
        """The table that `bench run` prints; format: text, markdown, latex, csv or html."""
        from bench.report.table import render

        return render(self.frame(), format)

    @property
    def failures(self) -> list[Record]:
        return [record for record in self.records if record.status == "failed"]


def _skipped(skip: Skip) -> Record:
    task = get_task(skip.task)
    return Record(
        restorer=skip.choice.name,
        weights="",
        task=task.name,
        level=skip.level,
        channels=task.channels or 0,
        dataset=skip.dataset,
        image="",
        protocol="",
        repeat=0,
        status="skipped",
        reason=skip.reason,
        restorer_version=skip.choice.card.version,
    )


def look_up(plan: Plan, store: Store, *, force: bool = False, retry_failed: bool = False) -> Standing:
    """Split the cells into those that the store knows and those to be measured.

    A cell that is not to be timed is known by any record of its quality; a failure counts as known unless
    `retry_failed`.
    """
    if force:
        return Standing({}, list(plan.cells))
    timed = store.find(cell.key for cell in plan.cells if cell.timed)
    by_quality = store.find_quality(cell.quality_key for cell in plan.cells if not cell.timed)
    standing = Standing({}, [])
    for cell in plan.cells:
        record = timed.get(cell.key) if cell.timed else by_quality.get(cell.quality_key)
        if record is None or (retry_failed and record.status == "failed"):
            standing.missing.append(cell)
        else:
            standing.known[cell] = record
    return standing


def estimate_seconds(cells: Iterable[Cell], store: Store) -> tuple[float, int]:
    """Expected seconds of restoring `cells`, from earlier timings of the same restorer and task per pixel.

    Returns the seconds and the number of cells for which nothing is known.
    """
    speeds: dict[tuple[str, str, str], list[float]] = {}
    sizes = {(c.dataset.name, c.entry.name): _n_pixels(c) for c in cells}
    for r in store.records():
        size = sizes.get((r.dataset, r.image))
        if r.seconds is not None and size:
            speeds.setdefault((r.restorer, r.task, r.device), []).append(r.seconds / size)
    seconds, n_unknown = 0.0, 0
    for cell in cells:
        known = speeds.get((cell.choice.name, cell.setting.task, cell.device))
        if known:
            seconds += median(known) * _n_pixels(cell)
        else:
            n_unknown += 1
    return seconds, n_unknown


def _n_pixels(cell: Cell) -> int:
    return (cell.entry.width or 0) * (cell.entry.height or 0)


def run(
    plan: Plan,
    store: Store,
    *,
    force: bool = False,
    retry_failed: bool = False,
    jobs: int = 1,
    limits: Limits | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Measure what the store does not know yet.

    jobs  cells measured side by side; more than one only for a plan that is not timed
    """
    progress = progress or Progress()
    standing = look_up(plan, store, force=force, retry_failed=retry_failed)
    for dataset in {cell.dataset.name: cell.dataset for cell in standing.missing}.values():
        fetch_all(dataset, partial(progress.fetching, dataset.name))
    progress.started(standing.missing, len(standing.known))
    records = dict(standing.known)
    for cell, record in _measure_all(standing.missing, jobs, limits or Limits(), plan.request.readings, progress):
        store.add(record)
        records[cell] = record
        progress.measured(cell, record)
    return Outcome(plan, [records[cell] for cell in plan.cells], len(standing.missing))


def _measure_all(
    cells: Sequence[Cell], jobs: int, limits: Limits, readings: int | None, progress: Progress
) -> Iterator[tuple[Cell, Record]]:
    """Measure `cells` at `jobs` stations; each takes the next cell when it is free."""
    waiting = deque(cells)
    done: queue.Queue[tuple[Cell, Record] | BaseException] = queue.Queue()
    stop = threading.Event()
    n_stations = min(jobs, len(cells))
    stations = [Station(limits, readings, shares=n_stations > 1) for _ in range(n_stations)]

    def take() -> Cell | None:
        try:
            return None if stop.is_set() else waiting.popleft()
        except IndexError:
            return None

    def work(station: Station) -> None:
        try:
            cell = take()
            while cell is not None and not stop.is_set():
                progress.measuring(cell)
                upcoming = take()
                done.put((cell, station.measure(cell, upcoming)))
                cell = upcoming
        except BaseException as error:
            done.put(error)

    threads = [threading.Thread(target=work, args=(station,), daemon=True) for station in stations]
    for thread in threads:
        thread.start()
    try:
        for _ in cells:
            result = done.get()
            if isinstance(result, BaseException):
                raise result
            yield result
    finally:  # also when interrupted: no worker outlives the run
        stop.set()
        for station, thread in zip(stations, threads, strict=True):
            station.close()
            thread.join()
            station.close()  # it may have been starting a worker just then
