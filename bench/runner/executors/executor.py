"""What runs jobs: a job goes in, an outcome comes out, at some time and in any order."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import NamedTuple, Protocol

from bench.records.record import Record
from bench.runner.job import Job
from bench.runner.slot import Seen

__all__ = ["Executor", "Outcome"]


class Outcome(NamedTuple):
    """What became of a job.

    record  under the key of the machine that measured; None if no restorer was asked
    said    what the restorer printed, its traceback included
    seen    the pictures, if the job asks for them and there are some
    reason  why there is no record
    """

    record: Record | None
    said: str
    seen: Seen | None = None
    reason: str = ""


class Executor(Protocol):
    """Runs jobs. `close` it, whatever happens: then nothing that it has started is left."""

    @property
    def window(self) -> int:
        """How many jobs it is well to have submitted at a time: enough that no slot waits. At least 1."""

    def submit(self, job: Job, began: Callable[[], None]) -> Future[Outcome]:
        """Have a job measured. What goes wrong with the restorer is in the record; another error is a fault of ours.

        began  is called when a slot begins with it, in whatever thread
        The callbacks of the answer are called before the slot goes on to its next job.
        """

    def close(self) -> None:
        """End all that was begun, finished or not."""
