"""A bar on the terminal for what takes more than a second, with the time that is left."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bench.escape import terminal
from bench.records.counted import watched

__all__ = ["counting"]

SECONDS = 1.0
"""that it takes before a bar is shown"""


@contextmanager
def counting(*, quiet: bool = False) -> Iterator[None]:
    """Show how far it is with whatever records are read inside. Shows nothing where the error stream is no terminal.

    quiet  show nothing at all
    """
    if quiet or not sys.stderr.isatty():
        yield
        return
    bars = _Bars()
    try:
        with watched(bars.show):
            yield
    finally:
        bars.stop()


class _Bars:
    """A bar for each thing that is being done."""

    def __init__(self) -> None:
        self._begun: dict[str, float] = {}
        self._tasks: dict[str, Any] = {}
        self._progress: Any = None

    def show(self, doing: str, done: int, total: int) -> None:
        begun = self._begun.setdefault(doing, time.monotonic())
        if done >= total:
            self._end(doing)
        elif doing in self._tasks:
            self._progress.update(self._tasks[doing], completed=done)
        elif time.monotonic() - begun > SECONDS:
            self._tasks[doing] = self._shown().add_task(terminal(doing), total=total, completed=done)

    def stop(self) -> None:
        if self._progress is not None:
            self._progress.stop()

    def _end(self, doing: str) -> None:
        del self._begun[doing]
        if doing in self._tasks:
            self._progress.remove_task(self._tasks.pop(doing))

    def _shown(self) -> Any:
        if self._progress is None:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("left:"),
                TimeRemainingColumn(),
            )
            self._progress = Progress(*columns, console=Console(stderr=True), transient=True)
            self._progress.start()
        return self._progress
