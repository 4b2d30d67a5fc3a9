"""What a run would do, without doing it."""

from __future__ import annotations

from bench.records.store import Store
from bench.report.remarks import of_plan, set_aside
from bench.report.table import draw, in_words
from bench.runner.plan import Plan
from bench.runner.run import Split, estimate_seconds

__all__ = ["preview"]


def preview(plan: Plan, split: Split, store: Store) -> str:
    """The cells of a plan in groups, what is skipped and broken, and how long the missing ones should take."""
    missing = set(split.missing)
    groups: dict[tuple[str, str, str], list[int]] = {}
    for cell in plan.cells:
        counts = groups.setdefault((cell.label, str(cell.setting), cell.dataset.label), [0, 0])
        counts[0] += 1
        counts[1] += cell not in missing
    rows = [[*group, *counts] for group, counts in groups.items()]
    headers = ["restorer", "setting", "data set", "cells", "in the store"]
    lines = [draw(in_words(headers, rows))]
    lines += of_plan(plan)
    lines += set_aside(split.set_aside)
    seconds, n_unknown = estimate_seconds(split.missing, store)
    doubt = f", and {n_unknown} cells of which no timing is known yet" if n_unknown else ""
    lines += ["", f"{len(missing)} of {len(plan.cells)} cells to measure: about {seconds:.0f} s of restoring{doubt}."]
    return "\n".join(lines)
