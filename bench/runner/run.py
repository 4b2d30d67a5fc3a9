"""Plan → cells → records: what is in the store already is not measured again, what is measured is stored at once."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from bench.data.datasets import fetch_all
from bench.records.store import Record, Store
from bench.runner.plan import Cell, Plan
from bench.runner.slot import Slot
from bench.runner.worker import Limits

if TYPE_CHECKING:
    pass

__all__ = ["Measured", "Split", "Watcher", "estimate_seconds", "look_up", "run"]


class Watcher:
    """What a run tells whoever watches it; the methods do nothing here."""

    def fetching(self, dataset: str, done: int, total: int) -> None:
        """`done` of `total` image files of a data set are here."""

    def started(self, cells: list[Cell]) -> None:
        """`cells` will be measured."""

    def measuring(self, cell: Cell) -> None:
        """A cell begins."""

    def measured(self, cell: Cell, record: Record) -> None:
        """A cell is measured and its record stored."""


@dataclass
class Split:
    """Which cells of a plan the store knows: their records by cell, and the cells still to be measured."""

    known: dict[Cell, Record]
    missing: list[Cell]


class Measured(NamedTuple):
    """A record per cell, in the plan's order, those found in the store included; how many were not found there."""

    records: list[Record]
    n_measured: int


def look_up(plan: Plan, store: Store, *, force: bool = False, retry_failed: bool = False) -> Split:
    """Split the cells into those that the store knows and those to be measured.

    A cell that is not to be timed is known by any record of its quality; a failure counts as known unless
    `retry_failed`.
    """
    if force:
        return Split({}, list(plan.cells))
    timed = store.find(cell.key for cell in plan.cells if cell.timed)
    by_quality = store.find_quality(cell.quality_key for cell in plan.cells if not cell.timed)
    split = Split({}, [])
    for cell in plan.cells:
        record = timed.get(cell.key) if cell.timed else by_quality.get(cell.quality_key)
        if record is None or (retry_failed and record.status == "failed"):
            split.missing.append(cell)
        else:
            split.known[cell] = record
    return split


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
        known = speeds.get((cell.spec.name, cell.setting.task, cell.device))
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
    watcher: Watcher | None = None,
) -> Measured:
    """Measure what the store does not know yet.

    jobs  cells measured side by side; more than one only for a plan that is not timed
    """
    watcher = watcher or Watcher()
    split = look_up(plan, store, force=force, retry_failed=retry_failed)
    for dataset in {cell.dataset.name: cell.dataset for cell in split.missing}.values():
        fetch_all(dataset, partial(watcher.fetching, dataset.name))
    watcher.started(split.missing)
    records = dict(split.known)
    for cell, record in _measure_all(split.missing, jobs, limits or Limits(), plan.request.readings, watcher):
        store.add(record)
        records[cell] = record
        watcher.measured(cell, record)
    return Measured([records[cell] for cell in plan.cells], len(split.missing))


def _measure_all(
    cells: Sequence[Cell], jobs: int, limits: Limits, readings: int | None, watcher: Watcher
) -> Iterator[tuple[Cell, Record]]:
    """Measure `cells` at `jobs` slots; each takes the next cell when it is free."""
    waiting = deque(cells)
    done: queue.Queue[tuple[Cell, Record] | BaseException] = queue.Queue()
    stop = threading.Event()
    n_stations = min(jobs, len(cells))
    slots = [Slot(limits, readings, shares=n_stations > 1) for _ in range(n_stations)]

    def take() -> Cell | None:
        try:
            return None if stop.is_set() else waiting.popleft()
        except IndexError:
            return None

    def work(slot: Slot) -> None:
        try:
            cell = take()
            while cell is not None and not stop.is_set():
                watcher.measuring(cell)
                upcoming = take()
                done.put((cell, slot.measure(cell, upcoming)))
                cell = upcoming
        except BaseException as error:
            done.put(error)

    threads = [threading.Thread(target=work, args=(slot,), daemon=True) for slot in slots]
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
        for slot, thread in zip(slots, threads, strict=True):
            slot.close()
            thread.join()
            slot.close()  # it may have been starting a worker just then
