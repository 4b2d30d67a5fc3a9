"""Jobs on this machine: each slot is a thread here, with the process of a restorer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import NamedTuple

from bench.runner.cell import Cell
from bench.runner.executors.executor import Outcome
from bench.runner.job import Job
from bench.runner.slot import Slot
from bench.runner.worker import Limits

__all__ = ["Local"]

PER_SLOT = 16
"""jobs that wait or run for each slot: so many cells of a millisecond are measured while others are committed"""

STOPPING_SECONDS = 0.5
"""that `close` waits for what the threads are still at"""


class _Task(NamedTuple):
    job: Job
    cell: Cell
    began: Callable[[], None]
    outcome: Future[Outcome]


class Local:
    """Slots of this machine; each takes the next job when it is free.

    cell_of   the cell of a job: what it names was looked up when the run was planned
    n_slots   more than one share the cores
    readings  timed calls per cell, None for the usual
    """

    def __init__(self, cell_of: Callable[[Job], Cell], n_slots: int, limits: Limits, readings: int | None) -> None:
        self._cell_of = cell_of
        self._waiting: SimpleQueue[_Task | None] = SimpleQueue()
        self._stop = threading.Event()
        self._slots = [Slot(limits, readings, shares=n_slots > 1) for _ in range(n_slots)]
        self._threads = [threading.Thread(target=self._work, args=(slot,), daemon=True) for slot in self._slots]
        for thread in self._threads:
            thread.start()

    @property
    def window(self) -> int:
        return PER_SLOT * len(self._slots)

    def submit(self, job: Job, began: Callable[[], None]) -> Future[Outcome]:
        outcome: Future[Outcome] = Future()
        self._waiting.put(_Task(job, self._cell_of(job), began, outcome))
        return outcome

    def close(self) -> None:
        self._stop.set()
        for slot in self._slots:
            slot.stop()
            self._waiting.put(None)
        deadline = time.monotonic() + STOPPING_SECONDS
        for slot, thread in zip(self._slots, self._threads, strict=True):
            thread.join(max(0.0, deadline - time.monotonic()))
            if not thread.is_alive():  # it may still be scoring, and will find its process gone
                slot.close()

    def _work(self, slot: Slot) -> None:
        task: _Task | None = None
        while not self._stop.is_set():
            task = task or self._waiting.get()
            if task is None:
                return
            task.began()
            upcoming = self._next()
            try:
                record = slot.measure(task.cell, upcoming.cell if upcoming else None)
            except BaseException as error:
                task.outcome.set_exception(error)
                return
            task.outcome.set_result(Outcome(record, slot.said, slot.seen if task.job.keep else None))
            task = upcoming

    def _next(self) -> _Task | None:
        """The one that is waiting, if there is one."""
        try:
            return self._waiting.get_nowait()
        except Empty:
            return None
