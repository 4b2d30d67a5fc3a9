"""What `bench restore` says on the error stream: what became of each file, and how long the rest will take."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from bench.data.errors import in_a_line
from bench.restoring.photos import PhotoWatcher

if TYPE_CHECKING:
    from bench.restoring.photos import Done, Errand

__all__ = ["RestoreProgress"]


EVERY_SECONDS = 60.0
"""how often a large picture is told of where there is no terminal"""


class RestoreProgress(PhotoWatcher):
    """A bar on a terminal, elsewhere a line a minute; and a line per file. To be used in a `with` statement.

    How far it is goes by pixels, a file's number of them by its header.
    """

    def __enter__(self) -> RestoreProgress:
        self.bar: Any = _bar() if sys.stderr.isatty() else None
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.stop()

    def started(self, errands: Sequence[Errand]) -> None:
        self.n_files, self.n_told, self.begun = len(errands), 0, time.monotonic()
        self.said = self.begun
        self.total, self.done = sum(map(_weight, errands)), 0.0
        if self.bar is not None:
            self.bar.start()
            self.task = self.bar.add_task("", total=self.total)

    def restored(self, errand: Errand, share: float) -> None:
        self.done += share * _weight(errand)
        if self.bar is not None:
            self.bar.update(self.task, completed=self.done, description=in_a_line(errand.source.name))
        elif time.monotonic() - self.said > EVERY_SECONDS and 0 < self.done < self.total:
            self.said = time.monotonic()
            share = 100 * self.done / self.total
            print(f"{in_a_line(errand.source)}: {share:.0f} % of all, {self._left()}", file=sys.stderr, flush=True)

    def tell(self, done: Done) -> None:
        """Print what became of a file: what was written or why not, and what is to be known of it."""
        self.n_told += 1
        for line in self._lines(done):
            if self.bar is not None:
                self.bar.console.print(line, markup=False, highlight=False, soft_wrap=True)
            else:
                print(line, file=sys.stderr, flush=True)

    def _lines(self, done: Done) -> Iterator[str]:
        source, target = in_a_line(done.errand.source), in_a_line(done.errand.target)
        if done.failure:
            yield done.failure if done.failure.startswith(source) else f"{source}: {done.failure}"
            return
        has_more = self.n_told < self.n_files and self.done > 0
        left = f"; {self.n_told} of {self.n_files}, {self._left()}" if has_more else ""
        yield f"{source} -> {target} ({done.seconds:.1f} s{left})"
        for remark in done.remarks:
            yield f"  {remark}"

    def _left(self) -> str:
        """`about 80 s left`, by how long what is done took."""
        seconds = (time.monotonic() - self.begun) * (self.total / self.done - 1)
        return f"about {seconds:.0f} s left"


def _weight(errand: Errand) -> int:
    return max(1, errand.n_pixels)


def _bar() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
    from rich.progress import TimeRemainingColumn as Left

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    return Progress(
        *columns,
        TextColumn("left:"),
        Left(),
        console=Console(stderr=True),
        transient=True,
        speed_estimate_period=3600,  # of seconds that are looked back: a tile may take minutes
    )
