"""What passes between the engine and a restorer: a copy of the observation out, plain arrays, numbers and words back.

A plugin may write to what it is given, keep it, and answer in memory that it uses again; its figures may be of any
library. None of that may reach another call, another restorer or the store.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Collection, Mapping
from dataclasses import fields, replace
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.task import Observation

__all__ = [
    "MOST_COUNTED",
    "BadAnswerError",
    "check_answer",
    "check_untouched",
    "count",
    "flag",
    "handed",
    "in_a_line",
    "maps_of",
    "number",
    "printable",
    "shown",
    "text",
    "words",
]

MOST_COUNTED = 2**63 - 1
"""the largest whole number that SQLite holds"""

MOST_CHARACTERS = 500
"""of a reason: a plugin's exception may hold a whole array in words"""


class BadAnswerError(Exception):
    """The restorer answered, but not with what it should have, or it changed what it was given. Says what."""


# --- observations out, images back ---------------------------------------------------------------


def handed(seen: Observation) -> Observation:
    """A copy of an observation for one call.

    Its arrays can be written to: Numba, Cython and torch treat read-only memory as another kind, or refuse it.
    `check_untouched` finds what was written.
    """
    return replace(
        seen,
        image=np.array(seen.image, order="C"),
        mask=None if seen.mask is None else np.array(seen.mask, order="C"),
        known={name: np.array(one, order="C") if _is_array(one) else one for name, one in seen.known.items()},
    )


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray)


def check_untouched(given: Observation, seen: Observation) -> None:
    """Raise BadAnswerError if `given`, a copy of `seen`, is no longer equal to it."""
    names = [field.name for field in fields(seen)]
    changed = [name for name in names if not _same(getattr(given, name), getattr(seen, name))]
    if changed:
        raise BadAnswerError(f"changed the observation it was given ({', '.join(changed)}): it is to work on a copy")


def _same(given: Any, seen: Any) -> bool:
    if type(given) is not type(seen):
        return False
    if isinstance(seen, dict):
        return [*given] == [*seen] and all(_same(given[name], seen[name]) for name in seen)
    if isinstance(seen, np.ndarray):
        return given.dtype == seen.dtype and np.array_equal(given, seen)
    return bool(given == seen)


def check_answer(x_hat: Any, given: Observation, seen: Observation) -> None:
    """Raise BadAnswerError if an answer will not do, or if `given`, the call's copy of `seen`, was changed."""
    check_untouched(given, seen)
    problem = _problem_with(x_hat, seen)
    if problem:
        raise BadAnswerError(problem)


def _problem_with(x_hat: Any, seen: Observation) -> str:
    """What is wrong with an answer: its type, dtype, shape or values. Empty if nothing is.

    A subclass of ndarray is refused: what it computes is its own, and a mask would be lost.
    """
    if type(x_hat) is not np.ndarray:
        return f"answered with {type(x_hat).__module__}.{type(x_hat).__name__}, expected a plain NumPy array"
    if x_hat.dtype != np.float32:
        return f"answered with {x_hat.dtype}, expected float32"
    if x_hat.shape != seen.restored_shape:
        return f"answered with shape {x_hat.shape}, expected {seen.restored_shape}"
    n_bad = x_hat.size - int(np.isfinite(x_hat).sum())
    return f"{n_bad} of {x_hat.size} values of the answer are not finite" if n_bad else ""


MOST_MAPS = 20


def maps_of(told: Any, seen: Observation) -> tuple[tuple[str, ...], NDArray[np.float32]]:
    """The titles and the maps (n, H, W) that `Restorer.maps` gave. Raises BadAnswerError for what will not do."""
    shape = seen.restored_shape[:2]
    if not isinstance(told, Mapping) or len(told) > MOST_MAPS:
        raise BadAnswerError(f"maps() gave {shown(told)}, expected {MOST_MAPS} arrays at most, by their titles")
    for title, array in told.items():
        is_map = type(array) is np.ndarray and array.dtype == np.float32 and array.shape == shape
        if type(title) is not str or not is_map:
            raise BadAnswerError(f"maps() gave {shown(title)}: {shown(array)}, expected float32 of shape {shape}")
        if not ((array >= 0) & (array <= 1)).all():
            raise BadAnswerError(f"maps() gave '{in_a_line(title)}' values that are not from 0 to 1")
    stacked = np.stack([*told.values()]) if told else np.empty((0, *shape), np.float32)
    return tuple(in_a_line(title) for title in told), stacked


# --- figures and words ---------------------------------------------------------------------------


def count(what: str, value: Any) -> int:
    """A whole number as Python has it, from any library's. Raises BadAnswerError, which names `what`."""
    plain = _as_python(value)
    if plain is None or plain % 1 or not 0 <= plain <= MOST_COUNTED:  # nan and inf have a remainder: nan
        raise BadAnswerError(f"{what} gave {shown(value)}, expected a whole number from 0 to {MOST_COUNTED}")
    return int(plain)


def number(what: str, value: Any, least: float = -math.inf) -> float | None:
    """A finite number from `least` as Python has it, or None for None. Raises BadAnswerError, which names `what`."""
    if value is None:
        return None
    plain = _as_python(value)
    try:
        figure = math.nan if plain is None else float(plain)
    except OverflowError:
        figure = math.inf
    if not math.isfinite(figure) or figure < least:
        allowed = "a finite number" if least < 0 else f"a finite number from {least:g}"
        raise BadAnswerError(f"{what} gave {shown(value)}, expected {allowed} or None")
    return figure


def _as_python(value: Any) -> Any:
    """The number in a scalar, or in an array or tensor of one element; None if it is not a real number."""
    try:
        plain = value.item() if hasattr(value, "item") else value
    except Exception:  # several elements, or no values at all, as on torch's "meta"
        return None
    return plain if isinstance(plain, Real) and not isinstance(plain, bool) else None


def flag(what: str, value: Any) -> bool:
    """True or False. Raises BadAnswerError, which names `what`, for anything that is only taken for one."""
    if not isinstance(value, (bool, np.bool_)):
        raise BadAnswerError(f"{what} is {shown(value)}, expected True or False")
    return bool(value)


def words(what: str, value: Any) -> tuple[str, ...]:
    """Several words, as plain text. Raises BadAnswerError, which names `what`."""
    listed = isinstance(value, Collection) and not isinstance(value, (str, bytes))
    if not listed or not all(isinstance(word, str) for word in value):
        raise BadAnswerError(f"{what} is {shown(value)}, expected words, as in ('cpu', 'cuda')")
    return tuple(str.__str__(word) for word in value)  # of a subclass the text, whatever it prints as


def text(what: str, value: Any) -> str | None:
    """Text in a line, or None for None. Raises BadAnswerError, which names `what`."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise BadAnswerError(f"{what} gave {shown(value)}, expected text or None")
    return in_a_line(str.__str__(value))


def in_a_line(said: str, most: int = MOST_CHARACTERS) -> str:
    r"""What a plugin says, for a record: without line breaks, not endless; of what cannot be printed the code
    (`\x1b`)."""
    line = _cut(" ".join(said.split()), most)  # before each character is looked at
    return _cut("".join(c if c.isprintable() else ascii(c)[1:-1] for c in line), most)


def _cut(line: str, most: int) -> str:
    return line if len(line) <= most else line[: most - 1] + "…"


def printable(said: str) -> str:
    r"""Text that can be encoded: of surrogates, as in file names that are not UTF-8, the code (`\udce9`)."""
    return said.encode("utf-8", "backslashreplace").decode("utf-8")


def shown(value: Any) -> str:
    """Any value in few words, whatever its `__repr__` does."""
    try:
        return reprlib.repr(value)
    except Exception:  # a __repr__ of the plugin's, or more digits than Python prints
        return f"a {type(value).__name__}"
