"""Restorers in this process, for finding out what is wrong with one: breakpoints stop, prints are seen."""

from __future__ import annotations

import bdb
import pdb
import sys
from collections.abc import Sequence
from dataclasses import replace

from bench.records.record import Record
from bench.runner.host import Session, print_traceback, reason_of
from bench.runner.messages import Bring, Failure, Load, Message, Reply
from bench.runner.plan import Plan
from bench.runner.run import Watcher
from bench.runner.slot import Slot
from bench.runner.worker import Limits, Worker

__all__ = ["HereWorker", "debug"]


def debug(plan: Plan, watcher: Watcher | None = None) -> list[Record]:
    """Measure the cells one after the other in this process, up to the first that fails.

    Each is restored once, so that a breakpoint stops once. Nothing is timed, limited or stored: what a restorer does
    to this process may change its answers.
    """
    watcher = watcher or Watcher()
    cells = [replace(cell, timed=False) for cell in plan.cells]
    watcher.started(cells)
    slot, records = Slot(Limits(), None, kind=HereWorker), []
    try:
        for cell in cells:
            watcher.measuring(cell)
            record = replace(slot.measure(cell), peak_mib=None)  # which would be this process's
            records.append(record)
            watcher.measured(cell, record)
            if record.status == "failed":
                break
    finally:
        slot.close()
    return records


class HereWorker(Worker):
    """Holds a restorer as `Worker` does, in this process. A failure's traceback is printed; on a terminal the
    debugger opens where it was raised."""

    nursery = None

    def __init__(
        self,
        load: Load | Bring,
        threads: int,
        limits: Limits,
        *,
        shares: bool = False,
        modules: Sequence[str] | None = (),
    ) -> None:
        self.alive, self.died = True, False
        self._session = Session()
        self._load = replace(load, code=(), folder="", watch=False)  # sources are imported as Python does
        self._loaded: Reply | None = None

    def loaded(self) -> Reply:
        if self._loaded is None:
            self._loaded = self.ask(self._load)
        return self._loaded

    def ask(self, message: Message) -> Reply:
        try:
            return self._session.handle(message)
        except bdb.BdbQuit:
            return Failure("the debugger was left")
        except (Exception, SystemExit) as error:
            print_traceback(error)
            if error.__traceback__ is not None and sys.stdin.isatty() and sys.stderr.isatty():
                pdb.post_mortem(error.__traceback__)
            return Failure(reason_of(error))

    def said(self) -> str:
        return ""

    def cut(self) -> None:
        """Nothing: who debugs ends it."""

    def close(self) -> None:
        self.alive = False
