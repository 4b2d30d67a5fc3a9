"""Short names for places: as much of the end of each path as tells it from the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import chain
from pathlib import PurePosixPath

__all__ = ["shortest_labels"]


def shortest_labels(paths: Sequence[str]) -> list[str]:
    """For each path its shortest ending, in whole components, that is no other path's ending.

    `/a/x/test, /b/x/test, /a/val` are `a/x/test, b/x/test, val`: only those that clash grow. A path that is itself
    an ending of another stays whole. What a path is called depends on which others there are, not on their order.

    paths  distinct, with slashes
    """
    endings = [_endings(path) for path in paths]
    times = Counter(chain.from_iterable(endings))
    return [next((ending for ending in of_path if times[ending] == 1), of_path[-1]) for of_path in endings]


def _endings(path: str) -> list[str]:
    """`/a/b`: `b`, `a/b`, `/a/b`."""
    parts = PurePosixPath(path).parts
    return [str(PurePosixPath(*parts[-n:])) for n in range(1, len(parts) + 1)] or [path]
