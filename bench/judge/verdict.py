"""Our figures beside a paper's: reproduced, off, ours, or not measured and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING

from bench.data import datasets
from bench.errors import PaperError
from bench.judge.entries import QUALITY, SIZES, TIMES, Entry
from bench.judge.papers import Paper
from bench.level import Level
from bench.protocol import get_protocol
from bench.records.current import on_one_device
from bench.records.labels import row_labels

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["NOT_MEASURED", "OFF", "OURS", "REPRODUCED", "Comparison", "Verdict", "compare"]

REPRODUCED, OFF, OURS, NOT_MEASURED = "reproduced", "off", "ours", "not measured"
HEADERS = (
    *("table", "method", "setting", "protocol", "metric", "measured", "published", "difference", "verdict"),
    *("weights", "why"),
)
RECORD_COLUMNS = {
    "restorer",
    "weights",
    "task",
    "level",
    "channels",
    "dataset",
    "image",
    "protocol",
    "repeat",
    "status",
    "psnr_db",
    "ssim",
}


@dataclass(frozen=True)
class Verdict:
    """One figure of the paper beside ours.

    verdict   reproduced (within tolerance), off, ours (measured with weights that this project trained: never a
              reproduction of the authors' figure, whatever the difference), or not measured
    protocol  under which ours was taken, or would have been
    measured  unrounded, None where not measured; `why` then says why
    """

    entry: Entry
    verdict: str
    protocol: str
    measured: float | None = None
    weights: str = ""
    why: str = ""

    @property
    def difference(self) -> float | None:
        """Measured, rounded as the paper prints, minus published."""
        return None if self.measured is None else _difference(self.measured, self.entry)


@dataclass(frozen=True)
class Comparison:
    """The verdict on every figure of a paper."""

    paper: str
    verdicts: tuple[Verdict, ...]

    def counts(self) -> dict[str, int]:
        """How many figures got each verdict."""
        found = Counter(verdict.verdict for verdict in self.verdicts)
        return {verdict: found[verdict] for verdict in (REPRODUCED, OFF, OURS, NOT_MEASURED)}

    def reasons(self) -> dict[str, int]:
        """Why figures were not measured, the commonest reason first."""
        return dict(Counter(v.why for v in self.verdicts if v.verdict == NOT_MEASURED).most_common())

    @property
    def compared(self) -> int:
        """How many figures were held against the authors': ours-weights do not count."""
        counts = self.counts()
        return counts[REPRODUCED] + counts[OFF]

    @property
    def explained(self) -> int:
        """How many of the figures that are off have a known cause."""
        return sum(v.verdict == OFF and bool(v.entry.cause) for v in self.verdicts)

    def summary(self) -> str:
        """`dncnn-2017: 12 compared, 11 reproduced, 1 off (1 explained), 0 ours, 9 not measured`"""
        counts = self.counts()
        off = f" ({self.explained} explained)" if self.explained else ""
        told = ", ".join(f"{counts[verdict]} {verdict}{off if verdict == OFF else ''}" for verdict in counts)
        failure = "" if self.compared else "; nothing was compared, which counts as failure"
        return f"{self.paper}: {self.compared} compared, {told}{failure}"

    def rows(self, *, everything: bool = False) -> tuple[list[str], list[list[str]]]:
        """Headers, and one line a figure: the measured ones, or `everything`."""
        shown = (v for v in self.verdicts if everything or v.verdict != NOT_MEASURED)
        return list(HEADERS), [_row(verdict) for verdict in shown]


def _row(verdict: Verdict) -> list[str]:
    entry, measured, difference = verdict.entry, verdict.measured, verdict.difference
    digits = _decimals(entry)
    table = f"{entry.table} ({entry.part})" if entry.part else entry.table
    figures = ("", entry.printed, "")
    if measured is not None and difference is not None:
        figures = (f"{measured:.{digits}f}", entry.printed, f"{difference:+.{digits}f}")
    reason = {REPRODUCED: entry.because if difference else "", OFF: entry.cause}.get(verdict.verdict, "")
    why = verdict.why or reason or entry.note
    taken = (entry.setting, verdict.protocol, entry.metric)
    return [table, entry.method, *taken, *figures, verdict.verdict, verdict.weights, why]


def _decimals(entry: Entry) -> int:
    """How many decimals the paper prints."""
    return max(0, -int(Decimal(str(entry.unit)).normalize().as_tuple().exponent))


def _difference(measured: float, entry: Entry) -> float:
    digits = _decimals(entry)
    return round(round(measured, digits) - entry.value, digits)


def compare(
    paper: Paper,
    records: pd.DataFrame,
    tolerance: float | None = None,
    protocol: str | None = None,
    images_in: Callable[[str], int | None] | None = None,
) -> Comparison:
    """Hold the records (one row per measured image, the columns of DESIGN.md) against the paper.

    What was measured on several devices counts once (`bench.records.current.on_one_device`).

    tolerance  of PSNR in dB, instead of the paper file's
    protocol   which records count, for every figure; None: those under the protocol that its table names
    images_in  data set's name -> how many images it has, None if we have no such set; default: the data room's
    """
    if missing := RECORD_COLUMNS - set(records.columns):
        raise PaperError(f"The records have no column '{min(missing)}', which comparing needs.")
    if protocol is not None:
        get_protocol(protocol)  # raises RequestError with the nearest name
    bench = _Bench(on_one_device(records), images_in or datasets.size)
    entries = paper.entries
    if tolerance is not None:
        entries = tuple(replace(e, tolerance=tolerance) if e.metric == "psnr_db" else e for e in entries)
    return Comparison(paper.name, tuple(bench.verdict(entry, protocol or entry.under) for entry in entries))


def _level_text(level: Level | None) -> str:
    """One spelling for 25, 25.0 and "25" (records may come from a text file)."""
    try:
        return f"{float('nan' if level is None else level):g}"
    except ValueError:
        return str(level)


class _Bench:
    """Our records, by what the papers' figures are of."""

    def __init__(self, records: pd.DataFrame, images_in: Callable[[str], int | None]) -> None:
        records = records.assign(
            level=records["level"].map(_level_text),
            weights=records["weights"].fillna(""),
            made_by=row_labels(records),
        )
        self.images_in = images_in
        self.restorers = set(records["restorer"])
        whole = ["restorer", "task", "channels", "protocol"]
        self.networks = dict(iter(records.groupby(whole)))
        self.cells = dict(iter(records.groupby([*whole, "dataset", "level"])))

    def verdict(self, entry: Entry, protocol: str) -> Verdict:
        why = self._why_not(entry)
        if why:
            return Verdict(entry, NOT_MEASURED, protocol, why=why)
        rows = self._rows(entry, protocol)
        if rows is None:
            where = f" at this setting under {protocol}" if entry.restorer in self.restorers else ""
            return Verdict(entry, NOT_MEASURED, protocol, why=f"no records of {entry.restorer}{where}")
        figure = self._size if entry.metric in SIZES else self._quality
        whys = []
        several = [*rows.groupby(["weights", "made_by"], sort=False)]  # two files of one name are two restorers
        for (weights, _), made in sorted(several, key=lambda one: _preference(one[0][0])):
            measured, why = figure(entry, made)
            if measured is not None:
                return Verdict(entry, _judge(entry, measured, weights), protocol, measured, weights)
            whys.append(why)
        return Verdict(entry, NOT_MEASURED, protocol, why=whys[0])

    def _why_not(self, entry: Entry) -> str:
        """Why this figure is out of reach whatever was measured, or ""."""
        if not entry.restorer:
            return "not one of our restorers"
        if entry.incomparable:
            return entry.incomparable
        if entry.metric in TIMES:
            return "a run time of another machine"
        if entry.metric not in QUALITY + SIZES:
            return f"we do not measure {entry.metric}"
        if entry.metric in QUALITY and self.images_in(entry.dataset) is None:
            return f"we have no data set {entry.dataset}"
        return ""

    def _rows(self, entry: Entry, protocol: str) -> pd.DataFrame | None:
        whole = (entry.restorer, entry.task, entry.channels, protocol)
        if entry.metric in SIZES:
            return self.networks.get(whole)
        return self.cells.get((*whole, entry.dataset, _level_text(entry.level)))

    def _quality(self, entry: Entry, rows: pd.DataFrame) -> tuple[float | None, str]:
        """Mean over repeats, then over the images: all of them, or the one asked for."""
        if entry.metric not in rows:
            return None, f"the records have no {entry.metric}"
        good = rows[rows["status"] == "ok"].dropna(subset=[entry.metric])
        images = good.groupby("image")[entry.metric].mean()
        if entry.image:
            found = entry.image in images.index
            return (float(images[entry.image]), "") if found else (None, f"incomplete: not {entry.image}")
        whole = self.images_in(entry.dataset)
        if len(images) != whole:
            return None, f"incomplete: {len(images)} of {whole} images"
        return float(images.mean()), ""

    def _size(self, entry: Entry, rows: pd.DataFrame) -> tuple[float | None, str]:
        """What all records say; several networks behind one name have no one size."""
        if entry.metric not in rows:
            return None, f"the records have no {entry.metric}"
        sizes = rows[rows["status"] == "ok"][entry.metric].dropna()
        if not len(sizes):
            return None, f"the records have no {entry.metric}"
        if sizes.max() - sizes.min() > entry.unit:
            return None, f"the records have several {entry.metric}"
        return float(sizes.mean()), ""


def _preference(weights: str) -> tuple[bool, bool, str]:
    """Published weights first, then none needed, then ours."""
    return weights.startswith("ours:"), not weights.startswith("published:"), weights


def _judge(entry: Entry, measured: float, weights: str) -> str:
    if weights.startswith("ours:"):
        return OURS
    limit = 0 if entry.tolerance is None else entry.tolerance
    gap = abs(_difference(measured, entry))
    return REPRODUCED if gap <= limit + 1e-9 else OFF
