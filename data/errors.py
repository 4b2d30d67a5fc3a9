"""Errors of the data room, and the root that all expected failures share."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["BenchError", "DataError", "in_a_line", "near_miss"]


class BenchError(Exception):
    """An expected failure: its message says what was asked, what was found, what to do next."""


class DataError(BenchError):
    """A data set, file or image that cannot be had or read."""


def near_miss(asked: str, known: Iterable[str]) -> str:
    """The tail of an error on an unknown name: the nearest right one, and the whole list.

    `near_miss("gruopsc", ["groupsc", "bm3d"])` is ` Did you mean 'groupsc'? Known: bm3d, groupsc.`
    """
    names = sorted(known)
    close = difflib.get_close_matches(asked, names, n=1)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    return f"{hint} Known: {', '.join(names)}."


def in_a_line(text: object, most: int | None = None) -> str:
    r"""A path, or words from outside, as one line: what cannot be printed, or is no UTF-8, is written `\n`, `\xff`.

    most  characters; what is longer is cut and ends in an ellipsis
    """
    line = "".join(letter if letter.isprintable() else _escaped(letter) for letter in str(text))
    return line if most is None or len(line) <= most else f"{line[:most]}…"


def _escaped(letter: str) -> str:
    if "\udc80" <= letter <= "\udcff":  # a byte of a file's name
        return f"\\x{ord(letter) - 0xDC00:02x}"
    return letter.encode("unicode_escape").decode("ascii")
