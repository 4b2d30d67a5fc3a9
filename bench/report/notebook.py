"""A run in Python: which watcher fits where it runs, and the progress in a notebook."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from bench import escape
from bench.report.progress import BarProgress, Progress

if TYPE_CHECKING:
    from types import TracebackType

    from bench.records.record import Record
    from bench.runner.cell import Cell

__all__ = ["NotebookProgress", "watch_in_python"]


def watch_in_python(progress: bool | None) -> Progress:
    """A Watcher to be used in a `with` statement.

    progress  whether it shows any; None: where somebody looks, in a terminal or a notebook
    """
    in_notebook = _is_notebook()
    if progress is None:
        progress = in_notebook or sys.stderr.isatty()
    if not progress:
        return Progress()
    return NotebookProgress() if in_notebook else BarProgress()


def _is_notebook() -> bool:
    """Whether what is displayed goes to a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


UPDATE_SECONDS = 0.2


class NotebookProgress(Progress):
    """A bar in the cell's output, which says at the end how many cells were measured, and in what time."""

    def __enter__(self) -> NotebookProgress:
        self.began = time.monotonic()
        self.shown = 0.0
        self.handle: Any = None
        self.n_done = self.n_failed = self.n_all = 0
        return self

    def told(self, line: str) -> None:
        print(escape.terminal(line))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.handle is not None:
            failed = f", {self.n_failed} failed" if self.n_failed else ""
            told = f"{self.n_done} of {self.n_all} cells measured in {time.monotonic() - self.began:.1f} s{failed}"
            self._show(told, told)

    def fetching(self, dataset: str, done: int, total: int) -> None:
        self._bar(f"fetching {escape.terminal(dataset)}", done, total)

    def started(self, cells: list[Cell]) -> None:
        self.n_all = len(cells)
        if cells:
            self._bar(_called(cells[0]), 0, self.n_all, now=True)

    def measured(self, cell: Cell, record: Record) -> None:
        self.n_done += 1
        self.n_failed += record.status == "failed"
        self._bar(_called(cell), self.n_done, self.n_all)

    def _bar(self, what: str, done: int, total: int, *, now: bool = False) -> None:
        if not now and time.monotonic() - self.shown < UPDATE_SECONDS and self.handle is not None:
            return
        told = f"{what}: {done} of {total}"
        self._show(told, f'<progress value="{done}" max="{total}"></progress> {escape.html(told)}')

    def _show(self, text: str, html: str) -> None:
        from IPython.display import display  # type: ignore[import-not-found,unused-ignore]

        self.shown = time.monotonic()
        bundle = {"text/plain": text, "text/html": html}
        if self.handle is None:
            self.handle = display(bundle, raw=True, display_id=True)  # type: ignore[no-untyped-call,unused-ignore]
        else:
            self.handle.update(bundle, raw=True)


def _called(cell: Cell) -> str:
    return f"{escape.terminal(cell.label)}, {cell.setting}, {escape.terminal(cell.dataset.label)}"
