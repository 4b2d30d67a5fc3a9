"""Progress of a run, on the error stream: a bar with an ETA on a terminal, elsewhere a line for a finished group."""

from __future__ import annotations

import os
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from bench.escape import terminal
from bench.measure.environment import overload
from bench.runner.run import Watcher

if TYPE_CHECKING:
    from bench.records.record import Record
    from bench.runner.cell import Cell

__all__ = ["Progress", "printed_lines", "watch"]


def watch(*, quiet: bool = False, verbose: bool = False) -> Progress:
    """A Watcher to be used in a `with` statement, fit for where the error stream goes.

    quiet    it prints nothing
    verbose  it prints a line for each cell, and what restorers print
    """
    if quiet:
        return Progress()
    if verbose:
        return CellProgress()
    return BarProgress() if sys.stderr.isatty() else LineProgress()


class Progress(Watcher):
    """Prints nothing. Keeps what a run leaves that is stopped: its records, of `n_cells` cells.

    load  the greatest of the machine while a time was taken, if that was above its cores
    """

    so_far: Sequence[Record] = ()
    n_cells = 0
    load = 0.0

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def measured(self, cell: Cell, record: Record) -> None:
        if record.seconds is not None:
            self.load = max(self.load, overload())

    def stopped(self, so_far: Sequence[Record], n_cells: int) -> None:
        self.so_far, self.n_cells = so_far, n_cells

    def doubts(self) -> Iterator[str]:
        """What is to be known of the times that were taken, a line each."""
        if self.load:
            yield (
                f"warning: other programs were at work while times were taken (a load of {self.load:.1f} on"
                f" {os.cpu_count()} cores): they may be too long. --force measures again."
            )


class LineProgress(Progress):
    """For log files: one line when the cells of a restorer, setting and data set are done."""

    def __enter__(self) -> LineProgress:
        self.left: Counter[tuple[str, str, str]] = Counter()
        self.statuses: dict[tuple[str, str, str], Counter[str]] = defaultdict(Counter)
        return self

    def told(self, line: str) -> None:
        _print(line)

    def fetching(self, dataset: str, done: int, total: int) -> None:
        if done == total:
            _print(f"{dataset}: {total} files")

    def started(self, cells: list[Cell]) -> None:
        self.left = Counter(map(_group, cells))

    def measured(self, cell: Cell, record: Record) -> None:
        super().measured(cell, record)
        group = _group(cell)
        self.left[group] -= 1
        self.statuses[group][record.status] += 1
        if not self.left[group]:
            _print(_of_group(group, self.statuses.pop(group)))


def _of_group(group: tuple[str, str, str], statuses: Counter[str]) -> str:
    """`measured bm3d, denoise sigma 25 gray, set12`, and how many of its cells failed or were skipped."""
    word, *others = (status for status in ("ok", "failed", "skipped") if statuses[status])
    told = ", ".join(f"{statuses[status]} of {statuses.total()} {status}" for status in others)
    done = "measured" if word == "ok" else word
    return f"{done} {', '.join(group)}" + (f": {told}" if told else "")


class CellProgress(Progress):
    """For `--verbose`: a line for each cell, and above it what the restorer printed."""

    def told(self, line: str) -> None:
        _print(line)

    def fetching(self, dataset: str, done: int, total: int) -> None:
        _print(f"{dataset}: {done} of {total} files")

    def printed(self, cell: Cell, text: str) -> None:
        for line in printed_lines(text):
            print(f"  {line}", file=sys.stderr, flush=True)

    def measured(self, cell: Cell, record: Record) -> None:
        super().measured(cell, record)
        label, setting, dataset = _group(cell)
        _print(f"{label}, {setting}, {dataset}/{cell.entry.name}: {_outcome(record)}")


def _outcome(record: Record) -> str:
    """`29.10 dB, 0.25 s`, or `failed: ValueError: …`"""
    if record.status != "ok" or record.psnr_db is None:
        return f"{record.status}: {record.reason}"
    seconds = "" if record.seconds is None else f", {record.seconds:.3g} s"
    return f"{record.psnr_db:.2f} dB{seconds}"


def printed_lines(text: str) -> Iterator[str]:
    """What a program printed, line by line, fit for a terminal: of what it wrote over what it wrote, the last."""
    for line in text.expandtabs().rstrip().split("\n"):
        yield terminal(line.rstrip("\r").rpartition("\r")[2])


def _print(line: str) -> None:
    print(terminal(line), file=sys.stderr, flush=True)


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

    def told(self, line: str) -> None:
        self.bar.console.print(terminal(line), markup=False, highlight=False)

    def fetching(self, dataset: str, done: int, total: int) -> None:
        task = self.tasks.get(dataset)
        if task is None:
            task = self.tasks[dataset] = self.bar.add_task(f"fetching {terminal(dataset)}", total=total)
        self.bar.update(task, completed=done, visible=done < total)

    def started(self, cells: list[Cell]) -> None:
        self.n_failed = 0
        self.cells = self.bar.add_task("starting", total=len(cells), visible=bool(cells))

    def measuring(self, cell: Cell) -> None:
        failed = f" ({self.n_failed} failed)" if self.n_failed else ""
        self.bar.update(self.cells, description=", ".join(_group(cell)) + failed)

    def measured(self, cell: Cell, record: Record) -> None:
        super().measured(cell, record)
        self.n_failed += record.status == "failed"
        self.bar.advance(self.cells)


def _group(cell: Cell) -> tuple[str, str, str]:
    return terminal(cell.label), str(cell.setting), terminal(cell.dataset.label)
