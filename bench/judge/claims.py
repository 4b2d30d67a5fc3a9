"""What a paper's text says of its figures: "eight times fewer parameters", "0.3 dB above AR-CNN".

A claim of a file `results/papers/*.toml` holds

    place      where it is said, e.g. "Section 4"
    says       the claim, in words of ours
    printed    the number, as printed
    how        "ratio" or "difference"
    of, to     words that pick the figures: each of `of` over, or less, that of `to` of the same setting. Both left
               out: the paper prints no figures for it, and only a run of ours could tell
    note       why the two do not agree, where they do not

`bench.judge.audit` holds each claim against its figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any

from bench.errors import PaperError
from bench.judge.entries import Entry, figure
from bench.judge.picking import PICKERS, check, picks

__all__ = ["Claim", "read_claim"]

SETTING = ("table", "part", "metric", "dataset", "image", "level", "channels", "variant")
HOW = ("ratio", "difference")


@dataclass(frozen=True)
class Claim:
    """A number of a paper's text, and the pairs of printed figures that should give it.

    value, unit  of the number that is `printed`, and of its last digit
    """

    paper: str
    place: str
    says: str
    printed: str
    value: float
    unit: float
    how: str
    pairs: tuple[tuple[Entry, Entry], ...]
    note: str = ""

    def found(self) -> list[float]:
        """What each pair of figures gives."""
        return [a.value / b.value if self.how == "ratio" else a.value - b.value for a, b in self.pairs]

    @property
    def holds(self) -> bool:
        """Whether every pair can round to what is printed: the figures are rounded themselves."""
        return all(abs(got - self.value) <= self.unit / 2 + self._slack(*pair) + 1e-9 for got, pair in self._given())

    def _given(self) -> list[tuple[float, tuple[Entry, Entry]]]:
        return list(zip(self.found(), self.pairs, strict=True))

    def _slack(self, a: Entry, b: Entry) -> float:
        """By how much half a unit of each figure moves the result."""
        if self.how == "difference":
            return (a.unit + b.unit) / 2
        return a.value / b.value * (a.unit / a.value + b.unit / b.value) / 2


def read_claim(raw: Any, paper: str, entries: Sequence[Entry], where: str) -> Claim:
    """A claim of a paper's file, with the figures that it is about. Raises PaperError."""
    check(raw, dict.fromkeys(("place", "says", "printed", "how"), str), {"of": dict, "to": dict, "note": str}, where)
    where = f"{where} '{raw['says']}'"
    if raw["how"] not in HOW:
        raise PaperError(f"{where}: 'how' is {raw['how']!r}, and should be one of {', '.join(HOW)}.")
    if ("of" in raw) != ("to" in raw):
        raise PaperError(f"{where}: give both 'of' and 'to', or neither.")
    pairs = _pairs(raw["of"], raw["to"], entries, where) if "of" in raw else []
    value, unit = figure(raw["printed"], where)
    said = (paper, raw["place"], raw["says"], raw["printed"], value, unit, raw["how"])
    return Claim(*said, tuple(pairs), raw.get("note", ""))


def _pairs(of: dict[str, Any], to: dict[str, Any], entries: Sequence[Entry], where: str) -> list[tuple[Entry, Entry]]:
    for words in (of, to):
        check(words, {}, PICKERS, where)
    ours, theirs = (list(compress(entries, picks(entries, words, where))) for words in (of, to))
    pairs = [(a, b) for a in ours for b in theirs if all(getattr(a, word) == getattr(b, word) for word in SETTING)]
    if not pairs:
        raise PaperError(f"{where}: no figure of 'of' has the setting of one of 'to'.")
    return pairs
