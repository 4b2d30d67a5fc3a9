"""The rows and columns of a table, the mean in each cell, and which of a column's means are the best."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from bench.data import datasets
from bench.level import Level, level_order
from bench.report.ranks import ranks

if TYPE_CHECKING:
    import pandas as pd

    from bench.report.measures import Measure

__all__ = ["Column", "Grid", "Marks", "Row", "columns_of", "means_by_level", "rows_of"]

Marks = Mapping[tuple[int, "Column", str], str]
"""by row, column and measure: BEST or SECOND"""

MEAN = "mean"
"""what a column of means over data sets is called"""


class Column(NamedTuple):
    """A data set at a level, or a mean over data sets.

    whole  how many records are all of it
    name   what the data set is shown as
    of     of a mean, the columns that it is over
    """

    dataset: str
    level: Level
    whole: int
    name: str
    of: tuple[Column, ...] = ()


class Row(NamedTuple):
    """The records of one restorer with weights of one origin (`published`, `ours`, `file`, "") on one device."""

    label: str
    origin: str
    device: str
    records: pd.DataFrame

    @property
    def good(self) -> pd.DataFrame:
        return self.records[self.records["status"] == "ok"]


def columns_of(records: pd.DataFrame) -> list[Column]:
    """Data sets in the order of the records (by their column `column`), the levels of each from small to large.

    A whole is every image of the set as often as any of them was degraded anew; of a folder, every image that any of
    the restorers has.
    """
    columns = []
    for label, of_set in records.groupby("column", sort=False):
        for level in sorted(set(of_set["level"]), key=level_order):
            cells = of_set[of_set["level"] == level]
            n_images = datasets.size(str(cells["dataset"].iloc[0])) or cells["image"].nunique()
            columns.append(Column(str(label), level, n_images * cells["repeat"].nunique(), str(label)))
    return columns


def means_by_level(columns: Sequence[Column]) -> Iterator[Column]:
    """A column for each level that several data sets have, in the order of the columns."""
    for level in dict.fromkeys(column.level for column in columns):
        of = tuple(column for column in columns if column.level == level)
        if len(of) > 1:
            yield Column(MEAN, level, 0, MEAN, of)


def rows_of(records: pd.DataFrame, order: Sequence[str]) -> list[Row]:
    """The rows, those of the first label in `order` first; without an order as the records come."""
    origins = records["weights"].str.partition(":")[0]
    groups = records.groupby([records["label"], origins, records["made_on"]], sort=False)
    rows = [Row(str(label), str(origin), str(device), these) for (label, origin, device), these in groups]
    return sorted(rows, key=lambda row: order.index(row.label)) if order else rows


@dataclass
class Grid:
    """Rows and columns of records of one task and protocol.

    measures  the figures that are shown; digits: decimals of those that are not to have their usual ones
    """

    rows: Sequence[Row]
    columns: Sequence[Column]
    measures: Sequence[Measure]
    digits: Mapping[str, int]
    _cells: dict[tuple[int, Column], pd.DataFrame] = field(default_factory=dict, repr=False)
    _good: dict[tuple[int, Column], pd.DataFrame] = field(default_factory=dict, repr=False)

    def all_records(self) -> pd.DataFrame:
        import pandas as pd

        return pd.concat([row.records for row in self.rows])

    def records(self, row: int, column: Column) -> pd.DataFrame:
        """Those behind a cell; of a mean, those behind the means that it is over."""
        import pandas as pd

        if (row, column) not in self._cells:
            these = self.rows[row].records
            of = column.of or (column,)
            parts = [these[(these["column"] == one.dataset) & (these["level"] == one.level)] for one in of]
            self._cells[row, column] = parts[0] if len(parts) == 1 else pd.concat(parts)
        return self._cells[row, column]

    def good(self, row: int, column: Column) -> pd.DataFrame:
        """Those of them that did not fail."""
        if (row, column) not in self._good:
            cell = self.records(row, column)
            self._good[row, column] = cell[cell["status"] == "ok"]
        return self._good[row, column]

    def mean(self, row: int, column: Column, measure: Measure) -> float:
        """Over the images that have it; over data sets only where each of their means is of all images. NaN: none."""
        if column.of:
            means = [self.mean(row, one, measure) for one in column.of]
            whole = all(self.is_whole(row, one, measure) for one in column.of)
            return sum(means) / len(means) if whole else math.nan
        return float(self.good(row, column)[measure.column].mean())

    def is_whole(self, row: int, column: Column, measure: Measure) -> bool:
        """Whether the mean is of every image of the data set."""
        if column.of:
            return all(self.is_whole(row, one, measure) for one in column.of)
        return int(self.good(row, column)[measure.column].count()) == column.whole

    def decimals(self, measure: Measure) -> int:
        return self.digits.get(measure.name, measure.digits)

    # --- ranks ---

    def competes(self, row: int) -> bool:
        """Weights of ours do not rank where there are published ones: a reader would take them for the authors'."""
        return self.rows[row].origin != "ours" or all(other.origin != "published" for other in self.rows)

    def marks(self) -> Marks:
        """By row, column and measure: BEST or SECOND of what is of all images, and competes."""
        marks: dict[tuple[int, Column, str], str] = {}
        for column in self.columns:
            for measure in self.measures:
                figures = {
                    row: round(self.mean(row, column, measure), self.decimals(measure))
                    for row in range(len(self.rows))
                    if self.competes(row) and self.is_whole(row, column, measure)
                }
                placed = ranks(figures, smaller=measure.better == "smaller")
                marks.update({(row, column, measure.name): mark for row, mark in placed.items()})
        return marks
