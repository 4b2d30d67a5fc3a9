"""Some of a data set's pictures: by name, each n-th, the first few; and whether a folder's folders are searched.

    Selection(images="*.png", limit=4, subset="every-10th", recursive=True)

A picture is degraded by its own name, so that it is the same one in a part of a set as in the whole.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TypeVar

from bench.data.errors import DataError, in_a_line

__all__ = ["ALL", "Selection"]

T = TypeVar("T")

_EVERY = re.compile(r"every-([1-9][0-9]{0,5})(st|nd|rd|th)?")


@dataclass(frozen=True)
class Selection:
    """Which pictures: those whose names fit, of them each n-th, of them the first.

    images     patterns of names, separated by commas, e.g. "*.png,night/*"; "" for all
    subset     e.g. "every-10th": the first, the eleventh, ...; "" for all
    limit      how many at most; None for all
    recursive  whether a folder's folders are searched; declared sets have none
    Raises DataError for a limit below 1 and for another subset.
    """

    images: str = ""
    subset: str = ""
    limit: int | None = None
    recursive: bool = False

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise DataError(f"--limit {self.limit}: expected a whole number of at least 1.")
        if self.subset and not _EVERY.fullmatch(self.subset):
            raise DataError(f"--subset {in_a_line(self.subset, 60)}: expected every-Nth, e.g. every-10th.")

    def __str__(self) -> str:
        """As options: `--images '*.png' --limit 4`."""
        parts = [f"--images '{in_a_line(self.images, 200)}'"] if self.images else []
        parts += [f"--subset {self.subset}"] if self.subset else []
        parts += [f"--limit {self.limit}"] if self.limit is not None else []
        return " ".join(parts)

    def of(self, names: Sequence[str], dataset: str) -> list[int]:
        """The places of those that are selected, in their order. Raises DataError if none is."""
        patterns = [pattern.strip() for pattern in self.images.split(",") if pattern.strip()]
        places = [i for i, name in enumerate(names) if not patterns or _fits(name, patterns)]
        if not places:
            raise DataError(
                f"--images '{in_a_line(self.images, 200)}': none of the {len(names)} pictures of"
                f" {in_a_line(dataset, 200)} has such a name, e.g. {in_a_line(names[0], 60)}."
            )
        found = _EVERY.fullmatch(self.subset)
        return places[:: int(found[1]) if found else 1][: self.limit]


def _fits(name: str, patterns: Sequence[str]) -> bool:
    """Whether a pattern fits all of a name, or its last part."""
    last = name.rpartition("/")[2]
    return any(fnmatchcase(name, pattern) or fnmatchcase(last, pattern) for pattern in patterns)


ALL = Selection()
