"""A record as a row of the store: held to its columns' types, and sealed by a checksum over all of its values."""

from __future__ import annotations

import json
import math
import reprlib
from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from hashlib import blake2b
from operator import attrgetter, index, ne
from typing import Any

from bench.records.record import COLUMNS, Record

__all__ = ["UnsoundError", "Values", "checksum", "hold_to_sound", "is_time", "record_of", "values_of"]

Values = tuple[Any, ...]
"""Of a record, in the order of COLUMNS: texts, whole numbers, floats (never nan, which SQLite has not) and None."""

TYPES: Mapping[str, tuple[type, ...]] = {
    "str": (str,),
    "float | str": (float, str),
    "int": (int,),
    "int | None": (int, type(None)),
    "float | None": (float, type(None)),
}
ALLOWED = tuple(TYPES[str(field.type)] for field in fields(Record))
LARGEST = 2**63 - 1
INFINITE = frozenset({math.inf, -math.inf})
MAY_BE_INFINITE = COLUMNS.index("psnr_db")  # of a picture that came back as it was
WORDS = {str: "a text", int: "a whole number", float: "a number", type(None): "nothing"}

_values = attrgetter(*COLUMNS)
_sound: set[tuple[type, ...]] = set()  # the rows seen so far had types of few kinds


class UnsoundError(Exception):
    """What no store of ours holds: what, and what was expected."""


def checksum(row: tuple[Any, ...]) -> int:
    """63 bits of BLAKE2b over a row, its place and its values, as JSON: floats exact, 25 and 25.0 apart."""
    text = json.dumps(row)
    return int.from_bytes(blake2b(text.encode("ascii"), digest_size=8).digest(), "big") >> 1


def record_of(values: Values) -> Record:
    """The record that has these values. Raises UnsoundError if one is of the wrong type, or infinite."""
    hold_to_sound(values)
    return _made_of(values)


def hold_to_sound(values: Values) -> None:
    """Raises UnsoundError if a value is of the wrong type, or infinite."""
    types = tuple(map(type, values))
    if types not in _sound:
        _hold_to_types(values)
        _sound.add(types)
    if not INFINITE.isdisjoint(values):
        _hold_to_finite(values)


def values_of(record: Record) -> Values:
    """A record's values as the store holds them: a nan is None, as SQLite has it; a number of NumPy's is Python's.

    Raises UnsoundError if one is of the wrong type, or not finite.
    """
    values: Values = _values(record)
    if tuple(map(type, values)) not in _sound or any(map(ne, values, values)):  # only a nan is unequal to itself
        values = tuple(map(_plain, values, ALLOWED))
        _hold_to_types(values)
        _hold_to_finite(values)
    elif not INFINITE.isdisjoint(values):
        _hold_to_finite(values)
    return values


def _made_of(values: Values) -> Record:
    """As Record(*values), in a third of its time."""
    record = object.__new__(Record)
    vars(record).update(zip(COLUMNS, values))  # noqa: B905  their number has been looked at
    return record


def _plain(value: Any, allowed: tuple[type, ...]) -> Any:
    if isinstance(value, str):
        return str(value)
    if float in allowed and hasattr(value, "__float__"):
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            return value
        return None if math.isnan(number) and type(None) in allowed else number
    return index(value) if int in allowed and hasattr(value, "__index__") else value


def _hold_to_types(values: Values) -> None:
    if len(values) != len(COLUMNS):
        raise UnsoundError(f"{len(values)} values, expected {len(COLUMNS)}")
    for name, value, allowed in zip(COLUMNS, values, ALLOWED, strict=True):
        if type(value) not in allowed:
            expected = " or ".join(WORDS[kind] for kind in allowed)
            raise UnsoundError(f"{name} is {reprlib.repr(value)}, expected {expected}")


def _hold_to_finite(values: Values) -> None:
    for i, value in enumerate(values):
        if type(value) is float and not math.isfinite(value) and not (i == MAY_BE_INFINITE and value > 0):
            raise UnsoundError(f"{COLUMNS[i]} is {value}")
        if type(value) is int and not -LARGEST - 1 <= value <= LARGEST:
            raise UnsoundError(f"{COLUMNS[i]} is too large: {reprlib.repr(value)}")


def is_time(text: str) -> bool:
    """Whether later times can be told from it."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return False
    return time.tzinfo is not None and time.year < 9000
