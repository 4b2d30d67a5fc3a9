"""Records of stores and files as DataFrames: all that a condition holds for, or those of a task at a time.

Whatever is read is looked at. A store is read by drawers (see `bench.records.layouts`), and those that a condition
cannot hold for stay shut. A row's number is the record's place among all of the files, in the order in which runs
asked for them; files one after the other.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from bench.errors import StoreError
from bench.records.counted import along
from bench.records.exported import SUFFIXES, exported
from bench.records.figures import with_figures
from bench.records.files import read_records
from bench.records.layouts import Drawer
from bench.records.record import COLUMNS, KINDS, frame_of, frame_of_columns
from bench.records.sealed import Values
from bench.records.select import columns_in, may_hold, select
from bench.records.store import Store

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["Reading", "reading"]

BATCH = 10_000
"""records that are held beside those that are kept"""

EACH_ITS_OWN = frozenset(["key", "measured_at", "asked_at"])
"""Texts that no two records share."""


@contextmanager
def reading(files: Sequence[Path], condition: str | None = None) -> Iterator[Reading]:
    """The records of stores, and of files that `export` wrote, for which a condition holds, all of one moment.

    Raises StoreError for a file that is none of these or is damaged, RequestError for a condition that is none.
    """
    with ExitStack() as ends:
        sources: list[_Source] = []
        for file in files:
            if not os.path.exists(file):  # noqa: PTH110  Path's raises for a name that is too long
                raise StoreError(f"There is no store {file}. `bench run` makes one; --store FILE names another.")
            if file.suffix == ".csv":
                sources.append(_OfFrame(file, read_records(file)))
            elif file.suffix in SUFFIXES:
                sources.append(_OfFrame(file, frame_of(exported(file))))
            else:
                store = ends.enter_context(Store(file, reading=True))
                ends.enter_context(store.moment())
                sources.append(_OfStore(store))
        yield Reading(sources, condition)


class Reading:
    """Records that can be had in several ways."""

    def __init__(self, sources: Sequence[_Source], condition: str | None) -> None:
        self._sources = sources
        self._condition = condition
        self._asked = columns_in(condition) if condition is not None else set()
        self._whole: pd.DataFrame | None = None
        if not self._asked <= {*COLUMNS}:  # of a metric, whose columns are those that any of the records has
            self._whole = select(with_figures(self._read(None, None, None)), condition or "")
        elif condition is not None:
            select(frame_of([]), condition)  # if it is none that is told before anything is read

    def frame(self) -> pd.DataFrame:
        """All of them, in their order: the columns of a record, those that only a file has, one for each metric."""
        return with_figures(self._read(None, None, self._condition)) if self._whole is None else self._whole

    def by_task(self, columns: Iterable[str] = COLUMNS) -> Iterator[pd.DataFrame]:
        """Those of one task, then those of the next, each in their order; of these columns of a record alone.

        An empty one if there are none.
        """
        columns = [name for name in COLUMNS if name in {*columns}]
        if self._whole is not None:
            parts = (records[columns] for _, records in self._whole.groupby("task", sort=False))
        else:
            tasks = dict.fromkeys(drawer.task for source in self._sources for drawer in source.drawers)
            parts = (self._read(task, columns, self._condition) for task in tasks)
        n = 0
        for records in parts:
            n += len(records)
            if len(records):
                yield records
        if not n:
            yield frame_of([])[columns]

    @property
    def columns(self) -> list[str]:
        """Of records, and those that only a file has."""
        return [*dict.fromkeys(name for source in self._sources for name in source.columns)]

    def at(self, places: NDArray[np.int64]) -> Iterator[pd.DataFrame]:
        """The records at these places, in ascending order, with all of `columns`, some thousands at a time."""
        start = 0
        for source in self._sources:
            there = places[(places >= start) & (places < start + source.n)] - start
            batches = range(0, len(there), BATCH)
            for first in along(batches, f"reading {source.name} in full", len(there), each=BATCH):
                frame = source.at(there[first : first + BATCH])
                yield frame.reindex(columns=self.columns).set_axis(frame.index + start)
            start += source.n

    def _read(self, task: str | None, columns: Sequence[str] | None, condition: str | None) -> pd.DataFrame:
        import pandas as pd

        parts, start = [], 0
        for source in self._sources:
            for records in source.read(task, columns, condition):
                parts.append(records.set_axis(records.index + start))
            start += source.n
        if not parts:
            return frame_of([])[[*(columns or COLUMNS)]]
        return pd.concat(parts).sort_index()


class _Source(Protocol):
    """A file's records: how many, what drawers they lie in, and those of a task, or all, for which a condition
    holds, in parts; or those at some places. columns: None for all that it has."""

    @property
    def name(self) -> str: ...
    @property
    def n(self) -> int: ...
    @property
    def columns(self) -> Sequence[str]: ...
    @property
    def drawers(self) -> Sequence[Drawer]: ...

    def read(
        self, task: str | None, columns: Sequence[str] | None, condition: str | None
    ) -> Iterator[pd.DataFrame]: ...
    def at(self, places: NDArray[np.int64]) -> pd.DataFrame: ...


class _OfFrame:
    """Records of a file that is read at once."""

    def __init__(self, file: Path, frame: pd.DataFrame) -> None:
        self.name = str(file)
        self.frame = frame.reset_index(drop=True)
        self.n = len(frame)
        self.columns = [*COLUMNS, *(name for name in frame.columns if name not in COLUMNS)]
        told = frame[[*Drawer._fields]].drop_duplicates()
        self.drawers = [Drawer(*map(str, row)) for row in told.itertuples(index=False)]

    def read(self, task: str | None, columns: Sequence[str] | None, condition: str | None) -> Iterator[pd.DataFrame]:
        records = self.frame if task is None else self.frame[self.frame["task"] == task]
        chosen = records if condition is None else select(records, condition)
        yield chosen if columns is None else chosen[[*columns]]

    def at(self, places: NDArray[np.int64]) -> pd.DataFrame:
        return self.frame.iloc[places]


class _OfStore:
    def __init__(self, store: Store) -> None:
        import numpy as np

        self.store = store
        self.name = str(store.path)
        self.columns = COLUMNS
        self.drawers = [*store.drawers()]
        self.n = store.count()
        self.places = np.fromiter(store.places(), np.int64)
        self.number = np.empty(self.places.max(initial=0) + 1, np.int64)
        self.number[self.places] = np.arange(len(self.places))

    def read(self, task: str | None, columns: Sequence[str] | None, condition: str | None) -> Iterator[pd.DataFrame]:
        chosen = [drawer for drawer in self.drawers if task in (None, drawer.task)]
        if condition is not None and chosen:
            told = frame_of_columns({name: [getattr(one, name) for one in chosen] for name in Drawer._fields})
            chosen = [drawer for drawer, may in zip(chosen, may_hold(told, condition), strict=True) if may]
        columns = COLUMNS if columns is None else columns
        asked = columns_in(condition) if condition is not None else set()
        needed = [name for name in COLUMNS if name in {*columns} | asked]
        rows, known = self.store.in_drawers(chosen), dict[str, str]()
        while batch := [*islice(rows, BATCH)]:
            frame = _frame([row for _, row in batch], needed, known)
            frame.index = self.number[[place for place, _ in batch]]
            yield (frame if condition is None else select(frame, condition))[[*columns]]

    def at(self, places: NDArray[np.int64]) -> pd.DataFrame:
        at = self.places[places].tolist()
        found = self.store.at(at)
        return _frame([found[place] for place in at], COLUMNS, {}).set_axis(places)


def _frame(rows: Sequence[Values], columns: Sequence[str], known: dict[str, str]) -> pd.DataFrame:
    """Rows of a store. known: the texts so far, each of which is held once."""
    all_columns: dict[str, Sequence[Any]] = dict(zip(COLUMNS, zip(*rows, strict=True), strict=True))
    values = {name: all_columns[name] for name in columns}
    for name in columns:
        if KINDS[name] == "str" and name not in EACH_ITS_OWN:
            values[name] = [known.setdefault(text, text) for text in values[name]]
    return frame_of_columns(values)
