"""Which figures of a column are the best and the second best."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import TypeVar

from bench.report.drawing import BEST, SECOND

__all__ = ["ranks"]

Row = TypeVar("Row", bound=Hashable)


def ranks(figures: Mapping[Row, float], *, smaller: bool = False) -> dict[Row, str]:
    """The rows that hold the best figure, and those that hold the second best: equal figures share a mark.

    figures  of the rows that compete, rounded as they are shown; NaN: none
    smaller  whether smaller figures are better

    No row is the best of one, and none the second of two.
    """
    known = {row: figure for row, figure in figures.items() if not math.isnan(figure)}
    places = sorted(set(known.values()), reverse=not smaller)
    marks = (BEST, SECOND) if len(known) > 2 else (BEST,) if len(known) == 2 else ()
    mark_of = dict(zip(places, marks, strict=False))
    return {row: mark_of[figure] for row, figure in known.items() if figure in mark_of}
