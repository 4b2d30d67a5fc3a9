"""What a run gave, as a person in Python handles it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.escape import html
from bench.records.record import Record, frame_of
from bench.report.layout import Layout
from bench.report.remarks import of_plan, of_records, set_aside
from bench.report.table import render
from bench.runner.plan import Plan, Skip
from bench.tasks import TASKS

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["RunResult"]


@dataclass
class RunResult:
    """What a run gave: a record per cell, in the plan's order, those found in the store included.

    saved_in   the folder of the pictures that were saved
    set_aside  (restorer, why) -> how many of the cells were measured though the store has a record of their name
    n_again, n_from_pictures  how many records lacked a metric, and got it by being measured again, or from a picture
    """

    plan: Plan
    records: list[Record]
    n_measured: int
    set_aside: Mapping[tuple[str, str], int] = field(default_factory=dict)
    n_again: int = 0
    n_from_pictures: int = 0
    saved_in: Path | None = None

    def __repr__(self) -> str:
        """The table, and what is to be known beside it."""
        return "\n".join([self.table(), *self.remarks()])

    def _repr_html_(self) -> str:
        """The same for a notebook."""
        lines = "".join(f"<li>{html(line)}</li>" for line in self.remarks())
        return f"{self.table('html')}\n<ul>{lines}</ul>" if lines else self.table("html")

    def frame(self) -> pd.DataFrame:
        """One row per cell, and one per combination that was skipped (without an image)."""
        return frame_of([*self.records, *map(_skipped, self.plan.skips)])

    def table(self, format: str = "text", **layout: Any) -> str:
        """The table that `bench run` and then `bench table` print; format: text, markdown, latex, csv or html.

        layout  metrics, columns, rows, digits, mean, significance, caption, label, as for `bench.table`
        """
        return render(frame_of(self.records), format, Layout(**layout))

    def remarks(self) -> Iterator[str]:
        """What is to be known beside the table, a line each: what was skipped, notes, doubts, what the store knew."""
        yield from of_plan(self.plan)
        yield from of_records(self.records)
        yield from set_aside(self.set_aside)
        if self.n_again:
            yield f"{self.n_again} of the store's records lacked a metric, and were measured again for it."
        if self.n_from_pictures:
            yield f"{self.n_from_pictures} of the store's records lacked a metric, and got it from the saved picture."
        known = len(self.records) - self.n_measured
        if known:
            yield f"{known} of {len(self.records)} cells were in the store already (--force measures again)."
        if known and self.saved_in:
            yield f"Of those, no pictures were saved in {self.saved_in}: --force restores them again."
        if known and self.failures:
            yield "Failures are not tried again unless asked for with --retry-failed."

    @property
    def failures(self) -> list[Record]:
        return [record for record in self.records if record.status == "failed"]


def _skipped(skip: Skip) -> Record:
    task = TASKS.get(skip.task)
    return Record(
        restorer=skip.spec.name,
        weights="",
        task=skip.task,
        level=skip.level,
        channels=(task and task.channels) or 0,
        dataset=skip.dataset,
        image="",
        protocol="",
        repeat=0,
        status="skipped",
        reason=skip.reason,
        restorer_version=skip.spec.info.version,
    )
