"""What a run would do, without doing it."""

from __future__ import annotations

from bench.escape import terminal
from bench.records.store import Store
from bench.report.drawing import draw, in_words
from bench.report.remarks import of_plan, set_aside
from bench.runner.estimate import estimate
from bench.runner.plan import Plan
from bench.runner.run import Split

__all__ = ["in_hours", "preview"]


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
    expected = estimate(split.missing, plan.request.readings, store)
    doubt = f", and {expected.n_unknown} cells of which no time is known yet" if expected.n_unknown else ""
    lasts = in_hours(expected.seconds)
    lines += ["", f"{len(missing)} of {len(plan.cells)} cells to measure: about {lasts} of restoring{doubt}."]
    if split.again:
        lines.append(f"{len(split.again)} of them are in the store, and lack a metric.")
    if expected.tried:
        lines.append(terminal(f"Tried on a small picture for that: {', '.join(expected.tried)}."))
    return "\n".join(lines)


def in_hours(seconds: float) -> str:
    """`45 s`, `12 min`, `3.5 h`"""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
