"""The records of several stores and exports in one store, and what of them contradicts.

A record is known by its key: a hash of all that could change its result. The rule, where there is a record already:

1. Of two of one key a good one stays before a failed one, else the one that was measured last. Metrics that it lacks
   it gets from the other.
2. Two good ones of one cell whose figures differ are a conflict. Of one key that which was there first stays. If they
   were timed on two machines, or one was not timed, their keys differ, and both stay.

So nothing changes if the same files are merged again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from bench.escape import terminal
from bench.level import format_level
from bench.records.exported import SUFFIXES, exported, hold_to_store_name
from bench.records.figures import as_text, figures_in
from bench.records.labels import Maker
from bench.records.logs import Logs
from bench.records.record import Record, quality_part
from bench.records.store import Store

__all__ = ["Merged", "Source", "merge", "records_in"]

PSNR_DB = {True: 0.005, False: 0.02}
"""How far apart two PSNR of one cell may be: on one machine, and on two, which add numbers up in other orders."""
SSIM = 0.0005
METRIC, TINY = 1e-3, 1e-6
"""of another metric: relative, and at zero"""

BATCH = 1000
SHOWN = 20
"""of the conflicts"""


@dataclass
class Source:
    """A file that was merged.

    n           records that it has
    n_new       of which there was none
    n_replaced  of which there was a failed one, one measured earlier, or one that lacked a metric
    """

    path: Path
    n: int = 0
    n_new: int = 0
    n_replaced: int = 0

    def __str__(self) -> str:
        told = f"{self.path}: {self.n:,} record{'s' * (self.n != 1)}, {self.n_new:,} new"
        if self.n_replaced:
            told += f", {self.n_replaced:,} in place of failed, earlier or less complete ones"
        return terminal(told)


@dataclass
class Merged:
    """What came of a merge.

    n          records in the store now
    conflicts  the first of them, a line each; n_conflicts: all
    """

    into: Path
    sources: list[Source] = field(default_factory=list)
    n: int = 0
    conflicts: list[str] = field(default_factory=list)
    n_conflicts: int = 0

    @property
    def ok(self) -> bool:
        return not self.n_conflicts

    def __str__(self) -> str:
        lines = [*map(str, self.sources), *(f"conflict: {line}" for line in self.conflicts)]
        if more := self.n_conflicts - len(self.conflicts):
            lines.append(f"and {more:,} more conflicts")
        return "\n".join([*lines, terminal(f"{self.into}: {self.n:,} records")])

    def note(self, conflict: str) -> None:
        self.n_conflicts += 1
        if self.n_conflicts <= SHOWN:
            self.conflicts.append(terminal(conflict))


def records_in(path: Path) -> Iterator[Record]:
    """The records of a store or an export, one after the other. Raises StoreError for what is neither, or damaged."""
    if path.suffix in SUFFIXES:
        yield from exported(path)
        return
    with Store(path, reading=True) as store:
        yield from store.stream()


def merge(paths: Sequence[Path], into: Path) -> Merged:
    """Add the records of stores and exports to a store, which is made if it is not there; all of them or none.

    Raises StoreError that names the file for one that is damaged or none of ours: the store is as it was then. Raises
    RequestError for an `into` that is named as an export.
    """
    hold_to_store_name(into, "--into")
    was_there = into.exists()
    try:
        with Store(into) as store:
            merged = Merged(into)
            with store.together():
                for path in paths:
                    if not path.exists() or not path.samefile(into):  # what it has itself is there already
                        merged.sources.append(_add(path, store, merged))
            merged.n = store.count()
            return merged
    except BaseException:
        if not was_there:
            into.unlink(missing_ok=True)
        raise


def _add(path: Path, store: Store, merged: Merged) -> Source:
    source, logs, its_logs = Source(path), Logs(store.path), Logs(path)
    for batch in _batches(records_in(path)):
        cells: dict[str, dict[str, Record]] = defaultdict(dict)  # what there is, by quality part and by key
        for known in store.of_quality({quality_part(record.key) for record in batch}):
            cells[quality_part(known.key)][known.key] = known
        changed: dict[str, Record] = {}
        for record in batch:
            of_cell = cells[quality_part(record.key)]
            there = of_cell.get(record.key)
            stays = _staying(record, of_cell, path, merged)
            source.n_new += there is None
            source.n_replaced += there is not None and _content(stays) != _content(there)
            if stays != there:
                of_cell[record.key] = changed[record.key] = stays
                if "failed" in (stays.status, there and there.status):
                    logs.keep(stays, its_logs.of(stays.key) or logs.of(stays.key))
        store.add(*changed.values())
        source.n += len(batch)
    return source


def _batches(records: Iterator[Record]) -> Iterator[list[Record]]:
    while batch := [*islice(records, BATCH)]:
        yield batch


def _staying(record: Record, of_cell: Mapping[str, Record], path: Path, merged: Merged) -> Record:
    """Which record there shall be of this one's key; conflicts are noted.

    of_cell  what there is of its cell, by key
    """
    there = of_cell.get(record.key)
    in_conflict = False
    for known in of_cell.values():
        if difference := _difference(known, record):
            in_conflict = in_conflict or known is there
            which = "the first stays" if known is there else "both stay, for their keys differ"
            merged.note(f"{_name(record)}: {difference} in {path}; {which}")
    if there is None or in_conflict:
        return there or record
    return _better(there, record)


def _better(there: Record, record: Record) -> Record:
    """Of two records of one key that agree the better, with the metrics of both and the names last asked for."""
    best = max(there, record, key=lambda one: (one.status == "ok", one.measured_at))
    last = max(there, record, key=lambda one: one.asked_at)
    figures = figures_in(best.metrics)
    lacking = {
        name: figure
        for name, figure in figures_in((record if best is there else there).metrics).items()
        if name not in figures
    }
    return replace(
        best,
        **{name: getattr(last, name) for name in ("asked_at", "label", *Maker._fields, "folder")},
        metrics=as_text({**figures, **lacking}) if lacking else best.metrics,
    )


def _content(record: Record) -> tuple[str, ...]:
    """What tells that a record is another's, and not the same asked for again."""
    return record.status, record.measured_at, record.metrics


# --- conflicts ---------------------------------------------------------------------------------------------


def _difference(known: Record, record: Record) -> str:
    """The first figure in which two good records of one cell differ, as `psnr_db is 30.4312, and 30.5127`; or ""."""
    if not known.status == record.status == "ok":
        return ""
    if known.input_sha256 and record.input_sha256 and known.input_sha256 != record.input_sha256:
        return f"input_sha256 is {known.input_sha256[:12]}…, and {record.input_sha256[:12]}…"
    psnr_db = PSNR_DB[known.environment == record.environment]
    figures = [("psnr_db", known.psnr_db, record.psnr_db, psnr_db), ("ssim", known.ssim, record.ssim, SSIM)]
    its = figures_in(record.metrics)
    for name, figure in figures_in(known.metrics).items():
        if name in its and its[name].identity == figure.identity and None not in (figure.value, its[name].value):
            figures.append((name, figure.value, its[name].value, METRIC * abs(figure.value or 0) + TINY))
    for name, one, other, limit in figures:
        if one != other and (one is None or other is None or not abs(one - other) <= limit):
            return f"{name} is {_shown(one)}, and {_shown(other)}"
    return ""


def _shown(figure: float | None) -> str:
    return "none" if figure is None else f"{figure:.4f}"


def _name(record: Record) -> str:
    setting = f"{record.task} {format_level(record.level)}"
    return f"{record.label or record.restorer}, {setting}, {record.dataset}/{record.image}"
