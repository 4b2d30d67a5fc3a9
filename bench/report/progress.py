"""Progress of a run: a bar with an ETA on a terminal, a line per finished group elsewhere. On the error stream."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from bench.escape import terminal
from bench.runner.run import Watcher

if TYPE_CHECKING:
    from bench.records.record import Record
    from bench.runner.cell import Cell

__all__ = ["watch"]


def watch() -> LineProgress | BarProgress:
    """A Watcher to be used in a `with` statement, fit for where the error stream goes."""
    return BarProgress() if sys.stderr.isatty() else LineProgress()


class Progress(Watcher):
    """Keeps what a run leaves that is stopped: its records, of `n_cells` cells."""

    so_far: Sequence[Record] = ()
    n_cells = 0

    def stopped(self, so_far: Sequence[Record], n_cells: int) -> None:
        self.so_far, self.n_cells = so_far, n_cells


class LineProgress(Progress):
    """For log files: one line when the cells of a restorer, setting and data set are done."""

    def __enter__(self) -> LineProgress:
        self.left: Counter[tuple[str, str, str]] = Counter()
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def fetching(self, dataset: str, done: int, total: int) -> None:
        if done == total:
            print(f"{terminal(dataset)}: {total} files", file=sys.stderr, flush=True)

    def started(self, cells: list[Cell]) -> None:
        self.left = Counter(map(_group, cells))

    def measured(self, cell: Cell, record: Record) -> None:
        self.left[_group(cell)] -= 1
        if not self.left[_group(cell)]:
            done = "skipped" if record.status == "skipped" else "measured"
            print("{} {}, {}, {}".format(done, *_group(cell)), file=sys.stderr, flush=True)


class BarProgress(Progress):
    """For terminals: what is being measured, how far the run is, and when it will end."""

    def __enter__(self) -> BarProgress:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self.bar = RichProgress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left:"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self.bar.start()
        self.tasks: dict[str, Any] = {}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()

    def fetching(self, dataset: str, done: int, total: int) -> None:
        task = self.tasks.get(dataset)
        if task is None:
            task = self.tasks[dataset] = self.bar.add_task(f"fetching {terminal(dataset)}", total=total)
        self.bar.update(task, completed=done, visible=done < total)

    def started(self, cells: list[Cell]) -> None:
        self.cells = self.bar.add_task("starting", total=len(cells), visible=bool(cells))

    def measuring(self, cell: Cell) -> None:
        self.bar.update(self.cells, description="{}, {}, {}".format(*_group(cell)))

    def measured(self, cell: Cell, record: Record) -> None:
        self.bar.advance(self.cells)


def _group(cell: Cell) -> tuple[str, str, str]:
    return terminal(cell.label), str(cell.setting), terminal(cell.dataset.label)
