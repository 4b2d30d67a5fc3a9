"""What `bench compare` and `bench reference` print."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench.errors import RequestError
from bench.escape import terminal
from bench.judge.holding import compare_with_reference
from bench.judge.papers import load, names
from bench.judge.reference import (
    complaints,
    folder,
    read_reference,
    read_verdicts,
    renewed,
    write,
    write_verdicts,
)
from bench.judge.significance import contests
from bench.judge.verdict import Comparison, compare
from bench.level import format_level
from bench.records.current import current, left_out, of_each
from bench.records.figures import with_figures
from bench.records.labels import Maker
from bench.records.record import COLUMNS as RECORD
from bench.report.drawing import draw, in_words

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "COLUMNS",
    "Report",
    "against_each_other",
    "against_papers",
    "against_reference",
    "summary_table",
    "write_reference",
]

COLUMNS = frozenset(RECORD) - {"bench_version", "label", "measured_at", "reason", "revision"}
"""The columns of records that comparisons are made of."""


class Report(NamedTuple):
    """What a comparison says, and whether that will do: the exit status of `bench compare`."""

    text: str
    ok: bool

    def __str__(self) -> str:
        return self.text


def against_papers(
    paper: str,
    records: pd.DataFrame | Iterable[pd.DataFrame],
    *,
    protocol: str | None = None,
    tolerance: float | None = None,
    at_least: int = 1,
    everything: bool = False,
) -> Report:
    """The verdicts on one paper, or on `all`, and whether they will do.

    They will not if a figure that the reference run reproduced no longer is, if another is off without a known cause
    and was not so there, or if fewer than `at_least` figures were compared in all.
    """
    papers = [load(name) for name in (names() if paper == "all" else [paper])]
    datasets = {entry.dataset for one in papers for entry in one.entries}
    last = with_figures(of_each(records, lambda these: _of_papers(current(these), datasets)))
    comparisons = [compare(one, last, tolerance=tolerance, protocol=protocol) for one in papers]
    recorded = read_verdicts(folder() / "verdicts.csv")
    failures = [line for comparison in comparisons for line in complaints(comparison, recorded)]
    blocks = []
    for comparison in comparisons:
        headers, rows = comparison.rows(everything=everything)
        drawn = f"{draw(in_words(headers, rows))}\n\n" if rows else ""
        why = "".join(f"\n  {n} not measured: {terminal(reason)}" for reason, n in comparison.reasons().items())
        blocks.append(f"{drawn}{terminal(comparison.summary())}{why if paper == 'all' else ''}")
    if paper == "all":
        blocks.append(summary_table(comparisons))
    n_compared = sum(comparison.compared for comparison in comparisons)
    if n_compared < at_least:
        failures.append(f"{n_compared} figures compared, expected at least {at_least}")
    return Report("\n\n".join([*blocks, *map(_failed, failures)]), not failures)


WHO = [*Maker._fields, "task", "channels", "protocol", "status", "params", "macs_per_pixel"]
"""What a paper's figures of sizes are of."""


def _of_papers(records: pd.DataFrame, datasets: set[str]) -> pd.DataFrame:
    """Those of these data sets, and of what is on others one of each restorer and size."""
    return records[records["dataset"].isin(datasets) | ~records.duplicated(WHO)]


def against_reference(
    records: pd.DataFrame | Iterable[pd.DataFrame], *, time_band: float | None = None, at_least: int = 1
) -> Report:
    """What is not as in the committed reference run, and whether all is, in at least so many cells."""
    held = compare_with_reference(records, read_reference(folder()), time_band=time_band)
    failures = list(held.complaints)
    if held.n_compared < at_least:
        failures.append(f"{held.n_compared} cells compared, expected at least {at_least}")
    drawn = draw(in_words(held.HEADERS, held.rows))
    return Report("\n".join([drawn, "", terminal(held.summary), *map(_failed, failures)]), not failures)


def _failed(why: str) -> str:
    return f"FAILED: {terminal(why)}"


def against_each_other(records: pd.DataFrame | Iterable[pd.DataFrame]) -> Report:
    """Every pair of restorers on every data set and level. Raises RequestError if there is no pair."""
    blocks = []
    for contest in contests(records):
        headers, rows = contest.rows()
        given = contest.letters()
        equal = ", ".join(
            f"{label} {psnr_db:.2f} {given[label]}".rstrip() for label, psnr_db in contest.psnr_db.items()
        )
        groups = f"warning: {contest.doubt}" if contest.doubt else f"PSNR in dB, and groups of equals: {equal}"
        blocks.append(f"{terminal(contest.name)}\n\n{draw(in_words(headers, rows))}\n\n{terminal(groups)}")
    if not blocks:
        raise RequestError(
            "No two restorers were measured on one data set at one level: there is nothing to compare."
        )
    return Report("\n\n".join(blocks), ok=True)


def write_reference(records: pd.DataFrame, at: Path | None = None) -> str:
    """Take the records into the committed reference, or the one in the folder `at`; says what it holds.

    It says too whose records are of several versions now. One of them alone counts: the figures of the others are not
    among the verdicts until they are measured anew.
    """
    at = at or folder()
    before = read_reference(at)
    write(renewed(before, records), at)
    reference = read_reference(at)  # as committed, without what a store tells two codes of one restorer apart by
    comparisons = [compare(load(name), reference) for name in names()]
    write_verdicts(comparisons, at)
    held = f"{terminal(at)}: {len(reference)} cells, {len(before)} before"
    lines = [*_of_other_versions(reference), *(comparison.summary() for comparison in comparisons)]
    return "\n".join([held, *map(terminal, lines)])


def _of_other_versions(reference: pd.DataFrame) -> Iterator[str]:
    """A line for each restorer and task that have cells which do not count, as others are of another version."""
    for (name, task), cells in left_out(reference).groupby(["restorer", "task"], sort=False):
        places = zip(cells["dataset"], cells["level"].map(format_level), strict=True)
        where = ", ".join(dict.fromkeys(map(" ".join, places)))
        yield (
            f"{name}, {task}: {len(cells)} cells do not count beside those of another version ({where})."
            f" Measure them anew: bench reference --only {name}"
        )


def summary_table(comparisons: Sequence[Comparison]) -> str:
    """Markdown for the README: a row a paper."""
    rows = []
    for comparison in comparisons:
        counts = comparison.counts()
        off = f"{counts['off']} ({comparison.explained} explained)" if comparison.explained else str(counts["off"])
        rows.append(
            [comparison.paper, str(counts["reproduced"]), off, str(counts["ours"]), str(counts["not measured"])]
        )
    headers = ["paper", "reproduced", "off", "measured with our weights", "not measured"]
    return draw(in_words(headers, rows), "markdown")
