"""Remarks that differ in numbers alone, told as one: `a JPEG of quality 70 to 95`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

__all__ = ["alike"]

_NUMBER = re.compile(r"\d+(?:\.\d+)?")


def alike(texts: Iterable[str]) -> dict[str, list[str]]:
    """One text for those that differ in a number alone -> those texts, in the order in which each kind came first."""
    kinds: dict[str, list[str]] = {}
    for text in texts:
        kinds.setdefault(_NUMBER.sub("\0", text), []).append(text)
    return {_in_one(same): same for same in kinds.values()}


def _in_one(texts: Sequence[str]) -> str:
    """One text for several whose numbers differ: each number, or from the least to the greatest."""
    columns = zip(*(_NUMBER.findall(text) for text in texts), strict=True)
    ranges = iter(
        [" to ".join(dict.fromkeys((min(column, key=float), max(column, key=float)))) for column in columns]
    )
    return _NUMBER.sub(lambda _: next(ranges), texts[0])
