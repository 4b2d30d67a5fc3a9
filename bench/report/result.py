"""What a run gave, as a person in Python handles it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.records.record import Record, frame_of
from bench.report.table import render
from bench.runner.plan import Plan, Skip
from bench.task import get_task

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["RunResult"]


@dataclass
class RunResult:
    """What a run gave: a record per cell, in the plan's order, those found in the store included.

    set_aside  (restorer, why) -> how many of the cells were measured though the store has a record of their name
    """

    plan: Plan
    records: list[Record]
    n_measured: int
    set_aside: Mapping[tuple[str, str], int] = field(default_factory=dict)

    def frame(self) -> pd.DataFrame:
        """One row per cell, and one per combination that was skipped (without an image)."""
        return frame_of([*self.records, *map(_skipped, self.plan.skips)])

    def table(self, format: str = "text") -> str:
        """The table that `bench run` prints; format: text, markdown, latex, csv or html."""
        return render(self.frame(), format)

    @property
    def failures(self) -> list[Record]:
        return [record for record in self.records if record.status == "failed"]


def _skipped(skip: Skip) -> Record:
    task = get_task(skip.task)
    return Record(
        restorer=skip.spec.name,
        weights="",
        task=task.name,
        level=skip.level,
        channels=task.channels or 0,
        dataset=skip.dataset,
        image="",
        protocol="",
        repeat=0,
        status="skipped",
        reason=skip.reason,
        restorer_version=skip.spec.info.version,
    )
