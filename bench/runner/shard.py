"""A part of a plan, for one of several machines that know nothing of each other: `--shard 3/8`.

All make the same plan and cut it in the same way. Cells stay in the plan's order, which has those of a restorer
together, and each part is a stretch of them.
"""

from __future__ import annotations

import hashlib
import json
import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TypeVar

from bench.errors import RequestError
from bench.level import format_level
from bench.runner.cell import Cell

__all__ = ["Shard", "cuts", "fingerprint", "parse_shard"]

T = TypeVar("T")

MOST = 10_000
SLACK = 0.02
"""of a part's share: so much longer or shorter it may be for a cut between two restorers"""


@dataclass(frozen=True)
class Shard:
    """Part `number` of `count`, counted from 1."""

    number: int
    count: int

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def of(self, cells: Sequence[T], seconds: Sequence[float], makers: Sequence[object]) -> Sequence[T]:
        """This part of the cells. Raises RequestError if there are fewer cells than parts. See `cuts`."""
        if len(cells) < self.count:
            raise RequestError(f"--shard {self}: there are {len(cells)} cells, which make no {self.count} parts.")
        places = cuts(seconds, makers, self.count)
        return cells[places[self.number - 1] : places[self.number]]


def parse_shard(text: str) -> Shard:
    """Raises RequestError for what is no `3/8`."""
    found = re.fullmatch(r"\s*(\d{1,9})\s*/\s*(\d{1,9})\s*", text, re.ASCII)
    number, count = map(int, found.groups()) if found else (0, 0)
    if not 1 <= count <= MOST:
        raise RequestError(f"--shard {text}: expected a part of a number of parts up to {MOST}, e.g. 3/8.")
    if not 1 <= number <= count:
        raise RequestError(f"--shard {text}: expected 1/{count} to {count}/{count}; parts are counted from 1.")
    return Shard(number, count)


def cuts(seconds: Sequence[float], makers: Sequence[object], count: int) -> list[int]:
    """Where to cut cells into `count` stretches that take equally long: count + 1 places, none between two the same.

    seconds  that each cell is expected to take, > 0
    makers   the restorer of each: a cut between two is preferred to one within as far as SLACK allows

    Each cut leaves to the part before it its share of what is left, to half a cell. So a cell that takes longer than
    a share is a part of its own, and the others are shared by the rest.
    """
    n = len(seconds)
    before = [0.0, *accumulate(seconds)]
    places = [0]
    for left in range(count, 1, -1):
        start = places[-1]
        share = (before[n] - before[start]) / left
        allowed = range(start + 1, n - left + 2)  # the parts behind need a cell each
        places.append(_cut(before, before[start] + share, SLACK * share, allowed, makers))
    return [*places, n]


def _cut(before: Sequence[float], wanted: float, slack: float, allowed: range, makers: Sequence[object]) -> int:
    """Of the allowed places the nearest to the wanted seconds; of those within the slack one between restorers."""

    def distance(place: int) -> float:
        return abs(before[place] - wanted)

    behind = bisect_left(before, wanted)
    nearest = min((max(allowed[0], min(place, allowed[-1])) for place in (behind - 1, behind)), key=distance)
    close = range(bisect_left(before, wanted - slack), bisect_right(before, wanted + slack))
    between = [place for place in close if place in allowed and makers[place - 1] != makers[place]]
    return min(between, key=distance, default=nearest)


def fingerprint(cells: Sequence[Cell]) -> str:
    """Eight letters of a hash of a plan, the same on every machine that makes the same plan, whatever it has."""
    told = hashlib.sha256()
    for cell in cells:
        restorer = (cell.spec.name, cell.spec.code_sha256, cell.weights.sha256 if cell.weights else "")
        setting = (cell.setting.task, format_level(cell.setting.level), cell.setting.channels, cell.task_sha256)
        picture = (cell.dataset.name, cell.entry.name, cell.image_sha256, cell.repeat)
        told.update(json.dumps([*restorer, *setting, *picture, cell.protocol.name]).encode())
    return told.hexdigest()[:8]
