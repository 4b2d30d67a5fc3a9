"""Plan → cells → records: what is in the store already is not measured again, what is measured is stored at once."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from functools import partial
from itertools import islice
from queue import Empty, SimpleQueue
from typing import NamedTuple

from bench.data.datasets import fetch_all
from bench.errors import DataError
from bench.measure.machine import Machine
from bench.plugins.unchanged import CHANGED
from bench.records.current import card_in
from bench.records.layouts import Drawer
from bench.records.logs import Logs
from bench.records.pictures import Pictures
from bench.records.record import Record, quality_part
from bench.records.store import Store
from bench.runner.cell import Cell
from bench.runner.completing import lacking, merged, of_pictures
from bench.runner.executors.executor import Executor, Outcome
from bench.runner.executors.local import Local
from bench.runner.job import Job, job_of
from bench.runner.lookup import ELSEWHERE
from bench.runner.outsiders import Outsiders
from bench.runner.plan import Plan
from bench.runner.slot import Seen, record_of
from bench.runner.worker import Limits

__all__ = ["Measured", "Split", "Watcher", "look_up", "run"]

TOGETHER_SECONDS = 0.01
"""between two commits, in which records wait for the second: a commit takes as long as a small cell"""


class Watcher:
    """What a run tells whoever watches it; the methods do nothing here."""

    def fetching(self, dataset: str, done: int, total: int) -> None:
        """`done` of `total` image files of a data set are here."""

    def started(self, cells: list[Cell]) -> None:
        """`cells` will be measured."""

    def told(self, line: str) -> None:
        """Something to be known now: which workers a cluster has, and what becomes of them."""

    def measuring(self, cell: Cell) -> None:
        """A cell begins."""

    def printed(self, cell: Cell, text: str) -> None:
        """What the restorer printed for a cell, its traceback included; `measured` follows."""

    def measured(self, cell: Cell, record: Record) -> None:
        """A cell is measured, or failed, and its record stored."""

    def stopped(self, so_far: Sequence[Record], n_cells: int) -> None:
        """The run is interrupted, of `n_cells` cells with these records: in the plan's order, known ones included."""


@dataclass
class Split:
    """Which cells of a plan the store knows, and the cells still to be measured.

    known      the record of each as it is in the store
    again      of those still to be measured the ones that are known but for a metric that was asked for
    set_aside  (label, why it may not answer) -> how many of the missing cells have such a record
    """

    known: dict[Cell, Record]
    missing: list[Cell]
    set_aside: Mapping[tuple[str, str], int]
    again: Mapping[Cell, Record] = field(default_factory=dict)


class Measured(NamedTuple):
    """A record per cell, in the plan's order, those found in the store included; how many were not found there, and
    of how many of those the store has a record that may not answer: see `Split`.

    n_again          how many of those were measured for a metric that their record lacked
    n_from_pictures  how many records got their metrics from saved pictures
    """

    records: list[Record]
    n_measured: int
    set_aside: Mapping[tuple[str, str], int]
    n_again: int = 0
    n_from_pictures: int = 0


def look_up(plan: Plan, store: Store, *, force: bool = False, retry_failed: bool = False) -> Split:
    """Split the cells into those that the store knows and those to be measured.

    A cell that is not to be timed is known by any record of its quality; a failure counts as known unless
    `retry_failed`, or unless it is for files that changed in mid-run or that a machine of a cluster lacked. A record
    of a store of layout 3 answers if it is certain which code made it.
    """
    if force:
        return Split({}, list(plan.cells), {})
    machines = plan.request.machines
    found = store.find(key for cell in plan.cells for key in _keys(cell, machines))
    parts = (part for cell in plan.cells for part in _quality_keys(cell, machines))
    by_quality = {} if plan.request.timed else store.find_quality(parts)
    known, missing, again = {}, [], {}
    for cell in plan.cells:
        candidates = [found.get(key) for key in _keys(cell, machines)]
        if not cell.timed:
            candidates += [by_quality.get(part) for part in _quality_keys(cell, machines)]
        record = next((record for record in candidates if record is not None and _may_answer(record, cell)), None)
        if record is None or (record.status == "failed" and (retry_failed or _is_of_then(record))):
            missing.append(cell)
        elif lacking(record, cell.metrics, retry_failed=retry_failed):
            missing.append(cell)
            again[cell] = record
        else:
            known[cell] = record
    return Split(known, missing, set_aside([cell for cell in missing if cell not in again], store), again)


def _is_of_then(record: Record) -> bool:
    """Whether a failure is of files that have changed, or of a machine that lacked something: it may be none now."""
    return CHANGED in record.reason or ELSEWHERE in record.reason


def _keys(cell: Cell, machines: Sequence[Machine]) -> Iterator[str]:
    """What a record of the cell may be known by, if it is to be timed."""
    for one in _on(cell, machines) if cell.timed else ():
        yield one.key
        yield f"{one.quality_key_of_layout_3}-{one.machine.timing_key_of_layout_3}"


def _quality_keys(cell: Cell, machines: Sequence[Machine]) -> Iterator[str]:
    """What a record of the cell's quality may be known by."""
    for one in _on(cell, machines):
        yield one.quality_key
        yield one.quality_key_of_layout_3


def _on(cell: Cell, machines: Sequence[Machine]) -> Iterator[Cell]:
    """The cell as each of the machines measures it."""
    yield cell
    yield from (replace(cell, machine=machine) for machine in machines if machine != cell.machine)


def _may_answer(record: Record, cell: Cell) -> bool:
    """Whether the record is certain to be of the cell's code: its key says so, unless it is of layout 3."""
    if quality_part(record.key) != cell.quality_key_of_layout_3:
        return True
    if record.weights != cell.maker.weights:
        return False
    if cell.spec.info.is_file:  # what a version of layout 3 held was the content of one file
        return len(cell.spec.info.code.files) == 1
    return record.code_sha256 == cell.spec.code_sha256


def set_aside(cells: Sequence[Cell], store: Store) -> Counter[tuple[str, str]]:
    """(label, why) -> of how many of the cells the store has a record that may not answer for them."""
    if not cells:
        return Counter()
    named = {(Drawer(cell.setting.task, cell.dataset.name, cell.spec.name), cell.entry.name) for cell in cells}
    last = {_called(record): record for record in store.of_pictures(named)}
    found = ((cell, last.get(_name_of(cell))) for cell in cells)
    return Counter((cell.label, why) for cell, record in found if record and (why := _why_not(record, cell)))


def _called(record: Record) -> tuple[object, ...]:
    setting = (record.task, record.level, record.channels, record.protocol, record.repeat)
    return record.restorer, record.weights, *setting, record.dataset, record.image, record.device


def _name_of(cell: Cell) -> tuple[object, ...]:
    setting = (cell.setting.task, cell.setting.level, cell.setting.channels, cell.protocol.name, cell.repeat)
    return cell.spec.name, cell.maker.weights, *setting, cell.dataset.name, cell.entry.name, cell.device


def _why_not(record: Record, cell: Cell) -> str:
    """Why a record of the cell's name may not answer for it; "" if it is of other things of that name."""
    if cell.spec.info.value is not None and cell.spec.info.value.why_not:  # the plan has said so
        return ""
    if (record.plugin and record.plugin != cell.maker.plugin) or record.folder not in ("", cell.dataset.location):
        return ""
    if not record.code_sha256:
        return "an earlier bench did not write down which code made them"
    if record.code_sha256 != cell.spec.code_sha256:
        return "its code has changed"
    if cell.weights and record.weights_sha256 != cell.weights.sha256:
        return "its weights have changed"
    if cell.timed and quality_part(record.key) == cell.quality_key:
        if record.seconds is None:
            return "they were not timed"
        return "they were timed on another machine, on another number of threads or with other libraries"
    return "" if quality_part(record.key) == cell.quality_key else "the pictures, or how they are read, have changed"


def run(
    plan: Plan,
    store: Store,
    *,
    force: bool = False,
    retry_failed: bool = False,
    jobs: int = 1,
    limits: Limits | None = None,
    pictures: Pictures | None = None,
    watcher: Watcher | None = None,
    executor: Executor | None = None,
) -> Measured:
    """Measure what the store does not know yet.

    jobs      cells measured side by side; more than one only for a plan that is not timed
    pictures  takes what is restored
    executor  runs the jobs, and is closed at the end; None: slots of this machine
    Raises DataError if a picture cannot be written; the record of its cell is stored all the same.
    """
    watcher = watcher or Watcher()
    limits = limits or Limits()
    split = look_up(plan, store, force=force, retry_failed=retry_failed)
    completed = _from_pictures(split, pictures, limits)
    if completed:
        store.add(*completed.values())
    split.known.update(completed)
    split.missing = [cell for cell in split.missing if cell not in completed]
    if executor is None:  # else each machine has its own
        for dataset in {cell.dataset.name: cell.dataset for cell in split.missing}.values():
            fetch_all(dataset, partial(watcher.fetching, dataset.name))
    watcher.started(split.missing)
    records, logs = dict(split.known), Logs(store.path)
    if executor is None:
        n_slots = min(jobs, len(split.missing))
        executor = Local(lambda job: split.missing[job.number], n_slots, limits, plan.request.readings)
    jobs_of = (
        job_of(cell, number, limits, plan.request.readings, keep=pictures is not None)
        for number, cell in enumerate(split.missing)
    )
    try:
        with closing(executor):  # before anything else is done
            for batch in _measured(jobs_of, split.missing, executor, pictures, watcher):
                for done in batch:
                    if done.cell in split.again:
                        done.record = merged(split.again[done.cell], done.record, done.cell.metrics)
                    records[done.cell] = done.record
                    logs.keep(done.record, done.said)
                store.add(*(done.record for done in batch))
                for done in batch:
                    if done.said:
                        watcher.printed(done.cell, done.said)
                    watcher.measured(done.cell, done.record)
    except BaseException as error:
        if not isinstance(error, Exception):  # Ctrl-C, a signal
            watcher.stopped(_so_far(plan.cells, records, store), len(plan.cells))
        raise
    asked_for = {records[cell].key: _asked_for(cell, records[cell], at) for cell, at in _times(plan.cells, store)}
    store.renew(asked_for)
    n_again = len(split.again) - len(completed)
    return Measured([*asked_for.values()], len(split.missing), split.set_aside, n_again, len(completed))


def _from_pictures(split: Split, pictures: Pictures | None, limits: Limits) -> dict[Cell, Record]:
    """The records that lack nothing but metrics which saved pictures tell, with these."""
    if pictures is None or not split.again:
        return {}
    with Outsiders(limits) as outsiders:
        return of_pictures(split.again, pictures.folder, outsiders)


def _so_far(cells: Sequence[Cell], records: Mapping[Cell, Record], store: Store) -> list[Record]:
    """Those of the records that are stored: a signal may have come between the two."""
    now = datetime.now(timezone.utc).isoformat(timespec="microseconds")
    stored = store.find(record.key for record in records.values())
    there = (cell for cell in cells if cell in records and records[cell] == stored.get(records[cell].key))
    return [_asked_for(cell, records[cell], now) for cell in there]


def _times(cells: Sequence[Cell], store: Store) -> Iterator[tuple[Cell, str]]:
    """A time for each cell, one after the other and later than all in the store: their order is the plan's."""
    now, last = datetime.now(timezone.utc), store.last_asked()
    if last:
        now = max(now, datetime.fromisoformat(last))
    for i, cell in enumerate(cells, start=1):
        yield cell, (now + timedelta(microseconds=i)).isoformat(timespec="microseconds")


def _asked_for(cell: Cell, record: Record, at: str) -> Record:
    """The record, whatever it was called before, as this plan calls it."""
    key = record.key
    if quality_part(key) == cell.quality_key_of_layout_3:
        timing = key.partition("-")[2]
        is_here = timing == cell.machine.timing_key_of_layout_3
        key = f"{cell.quality_key}-{cell.machine.timing_key if is_here else timing}"
    return replace(
        record,
        **cell.maker._asdict(),
        label=cell.label,
        folder=cell.dataset.location,
        code_sha256=cell.spec.code_sha256,
        asked_at=at,
        key=key,
    )


@dataclass
class _Done:
    """A cell that was measured; unsaved: why its pictures could not be saved."""

    cell: Cell
    record: Record
    said: str
    unsaved: DataError | None


def _measured(
    jobs: Iterator[Job], cells: Sequence[Cell], executor: Executor, pictures: Pictures | None, watcher: Watcher
) -> Iterator[list[_Done]]:
    """Have the jobs measured; what is done, in the order in which it is, as many as there are at a time.

    Pictures are saved where a job ends, before its slot goes on. Raises what the executor does, and DataError for
    pictures that cannot be saved, once what was done before it has been yielded.
    """
    done: SimpleQueue[_Done | BaseException] = SimpleQueue()
    n_submitted = n_done = 0
    due = time.monotonic()  # when the next commit may be

    def finish(cell: Cell, outcome: Future[Outcome]) -> None:
        try:
            record, said, seen, reason = outcome.result()
            record = _held(cell, record, reason)
            done.put(_Done(cell, record, said, _saved(pictures, record, seen)))
        except BaseException as error:
            done.put(error)

    while n_done < len(cells):
        for job in islice(jobs, max(0, executor.window - (n_submitted - n_done))):
            cell = cells[job.number]
            executor.submit(job, partial(watcher.measuring, cell)).add_done_callback(partial(finish, cell))
            n_submitted += 1
        batch: list[_Done | BaseException] = []
        try:
            for one in _finished(done, n_submitted - n_done, due):
                batch.append(one)
        except BaseException as error:  # a signal: what has been taken is stored first
            batch.append(error)
        n_done += len(batch)
        if measured := [one for one in batch if isinstance(one, _Done)]:
            yield measured
            due = time.monotonic() + TOGETHER_SECONDS
        faults = [one.unsaved if isinstance(one, _Done) else one for one in batch]
        for fault in filter(None, faults):
            raise fault


def _held(cell: Cell, record: Record | None, reason: str) -> Record:
    """The record as this plan calls it, if it is of what was planned; else one that failed, and says why."""
    if record is None:
        return _unmeasured(cell, reason)
    planned = cell
    if cell.device != "cpu":  # the card is that of the machine which measured
        machine = replace(cell.machine, card=card_in(record.environment))
        planned = replace(cell, machine=machine)
    if quality_part(record.key) != planned.quality_key:
        return _unmeasured(cell, f"something differs {ELSEWHERE} from what was planned: its key is another")
    return replace(record, **cell.maker._asdict(), label=cell.label, folder=cell.dataset.location)


def _unmeasured(cell: Cell, reason: str) -> Record:
    return record_of(cell, status="failed", reason=reason, environment=cell.machine.environment)


def _finished(
    done: SimpleQueue[_Done | BaseException], n_running: int, due: float
) -> Iterator[_Done | BaseException]:
    """The next that is done, and those of `n_running` that are done until a commit is due: it is for all of them."""
    yield done.get()
    with contextlib.suppress(Empty):
        for _ in range(n_running - 1):
            yield done.get(timeout=max(0.0, due - time.monotonic()))


def _saved(pictures: Pictures | None, record: Record, seen: Seen | None) -> DataError | None:
    """Why the pictures could not be saved: raised when the record is in the store."""
    try:
        if pictures is not None and seen is not None and record.status == "ok":
            pictures.add(record, *seen)
    except DataError as error:
        return error
    return None
