"""What a paper's file may hold, and the words in it that pick figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.errors import PaperError, unknown

__all__ = ["PICKERS", "WORDS", "check", "picks"]

WORDS = {"task": str, "channels": int, "dataset": str, "image": str, "level": (int, float, str), "variant": str}
"""What a figure is of: the words that a table, a row or a column may set."""

PICKERS = dict.fromkeys(("table", "part", "method", "id", "restorer", "metric", *WORDS), (str, int, float, list))
"""Words that pick: fields of `bench.judge.entries.Entry`."""


def check(raw: Any, required: Mapping[str, Any], optional: Mapping[str, Any], where: str) -> None:
    """That `raw` is a table with the required keys, no unknown ones, and values of the types named."""
    if not isinstance(raw, dict):
        raise PaperError(f"{where}: should be a table of keys, but is {raw!r}.")
    known = {**required, **optional}
    for key, value in raw.items():
        if key not in known:
            raise PaperError(f"{where}: {unknown('key', key, known)}")
        if not isinstance(value, known[key]) or isinstance(value, bool):
            raise PaperError(f"{where}: '{key}' cannot be {value!r}.")
    if missing := required.keys() - raw.keys():
        raise PaperError(f"{where}: '{min(missing)}' is missing.")


def picks(entries: Sequence[object], rule: Mapping[str, Any], where: str) -> list[bool]:
    """Which entries the rule picks, by their fields. Raises PaperError if none: a rule for nothing is a slip."""
    wanted = {word: rule[word] for word in PICKERS if word in rule}
    found = [all(_fits(getattr(entry, word), value) for word, value in wanted.items()) for entry in entries]
    if not any(found):
        raise PaperError(f"{where}: nothing is picked by {wanted}.")
    return found


def _fits(found: object, wanted: object) -> bool:
    if wanted == "*":
        return found not in ("", None)
    return found in wanted if isinstance(wanted, list) else found == wanted
