"""A task or a metric of one's own, in its process: called on copies, and its answers held to what they must be."""

from __future__ import annotations

import importlib
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from bench.degradation import Degradation
from bench.level import Level, parts_of
from bench.plugins.boundary import BadAnswerError, in_a_line, shown
from bench.plugins.importing import import_file
from bench.plugins.unchanged import Unchanged, hold
from bench.protocol import stream_of
from bench.runner.messages import MOST_WORDS, Bring, Degrade, Degraded, Judge, Judged, Ready
from bench.runner.unseen import Unseen
from bench.task import Image

__all__ = ["Guest"]

Request: TypeAlias = "Bring | Degrade | Judge"


class Guest:
    """Its life in this process."""

    task: Degradation
    metric: Callable[..., Any]
    code: Unchanged
    unseen: Unseen

    def handle(self, message: Request) -> Ready | Degraded | Judged:
        if isinstance(message, Bring):
            return self.bring(message)
        self.code.check()
        answer = self.degrade(message) if isinstance(message, Degrade) else self.judge(message)
        self.code.check()
        return answer

    def bring(self, message: Bring) -> Ready:
        self.unseen = Unseen(message.folder, [held.path for held in message.code])
        if message.watch:
            self.unseen.watch()
        self.code = hold(message.code)
        place, _, name = message.target.rpartition(":")
        module = import_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
        found = getattr(module, name, None)
        if message.what == "metric":
            if not callable(found):
                raise BadAnswerError(f"{message.target} is no function")
            self.metric = found
            return Ready()
        if not (isinstance(found, type) and issubclass(found, Degradation)):
            raise BadAnswerError(f"{message.target} is not a class derived from bench.degradation.Degradation")
        if found.name != message.name:
            raise BadAnswerError(f"its name is {found.name!r} when it runs, and {message.name!r} in its source")
        self.task = found()
        return Ready()

    def degrade(self, message: Degrade) -> Degraded:
        random.seed(message.disturbed)
        np.random.seed(message.disturbed)
        level = self._level(message.level)
        clean = _picture("reference()", self.task.reference(message.image.copy(), level)).copy()
        given = clean.copy()
        answer = self.task.observe(given, level, stream_of(message.seed))
        if not np.array_equal(given, clean):
            raise BadAnswerError("changed the clean picture it was given: it is to work on a copy")
        image, known = answer if isinstance(answer, tuple) and len(answer) == 2 else (answer, {})
        seen, told = _picture("observe()", image), _known(known)
        height, width, channels = seen.shape
        scale = told.get("scale", 1)
        if (height * scale, width * scale, channels) != clean.shape:
            sizes = f"{_size(seen)} for a clean one of {_size(clean)}"
            raise BadAnswerError(f"shows {sizes}; expected the same size, or 1 / `scale` of it if it tells a scale")
        return Degraded(clean, seen, told, self._unseen())

    def judge(self, message: Judge) -> Judged:
        restored, clean = message.restored.copy(), message.clean.copy()
        value = self.metric(restored, clean)
        return Judged(_number(value), self._unseen())

    def _unseen(self) -> tuple[str, ...]:
        return self.unseen.names()[:MOST_WORDS]

    def _level(self, level: Level) -> Any:
        """As the task takes it: a number, a word, or a tuple of several."""
        if isinstance(self.task.level, str):
            return level
        return parts_of(level, len(self.task.level))


def _size(image: Image) -> str:
    return f"{image.shape[1]}x{image.shape[0]} with {image.shape[2]} channel{'s' * (image.shape[2] > 1)}"


def _picture(what: str, image: Any) -> Image:
    """Raises BadAnswerError for what is no picture, and names what gave it."""
    if type(image) is not np.ndarray:
        raise BadAnswerError(f"{what} gave {type(image).__module__}.{type(image).__name__}, expected a NumPy array")
    if image.dtype != np.float32:
        raise BadAnswerError(f"{what} gave {image.dtype}, expected float32")
    if image.ndim != 3 or image.shape[2] not in (1, 3) or not image.size:
        raise BadAnswerError(f"{what} gave the shape {image.shape}, expected (H, W, 1) or (H, W, 3)")
    n_bad = image.size - int(np.isfinite(image).sum())
    if n_bad:
        raise BadAnswerError(f"{what} gave {n_bad} values of {image.size} that are not finite")
    return np.ascontiguousarray(image)


MOST_LETTERS = 100


def _known(known: Any) -> dict[str, Any]:
    """What is told, as plain numbers, texts and arrays. Raises BadAnswerError, which names what will not do."""
    if not isinstance(known, Mapping) or len(known) > MOST_WORDS:
        said = in_a_line(shown(known), 60)
        raise BadAnswerError(f"tells {said}; expected a mapping of {MOST_WORDS} names at most, as {{'peak': 4.0}}")
    told = {}
    for name, value in known.items():
        if not isinstance(name, str) or not name.isidentifier() or len(name) > MOST_LETTERS:
            raise BadAnswerError(f"tells something by the name {shown(name)}, expected a word")
        told[name] = _plain(name, value)
    for name, (fits, expected) in OURS.items():
        if name in told and not fits(told[name]):
            raise BadAnswerError(f"tells `{name}` as {in_a_line(shown(told[name]), 60)}, expected {expected}")
    return told


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


OURS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "sigma": (lambda value: _is_number(value) and value >= 0, "a number of the 0-255 scale"),
    "quality": (lambda value: type(value) is int and 1 <= value <= 100, "a whole number from 1 to 100"),
    "scale": (lambda value: type(value) is int and value >= 1, "a whole number"),
    "mask": (lambda value: isinstance(value, np.ndarray) and value.dtype == np.bool_, "an array of bool"),
}
"""What an observation has fields for."""


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, str):
        return in_a_line(str.__str__(value))
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0):
        value = value.item()
    if isinstance(value, np.ndarray) and value.size and value.ndim <= 4:
        kind = {"b": np.bool_, "i": np.int64, "u": np.int64}.get(value.dtype.kind)
        kind = kind or (np.float32 if value.dtype == np.float32 else np.float64 if value.dtype.kind == "f" else None)
        if kind is not None and np.isfinite(value).all():
            return np.array(value, kind, order="C")
    elif isinstance(value, bool) or (isinstance(value, (int, float)) and abs(value) < 2**63):
        return value
    said = in_a_line(shown(value), 60)
    raise BadAnswerError(f"tells `{name}` as {said}, expected a finite number, a text or an array")


def _number(value: Any) -> float:
    """A metric's answer as Python has it. Raises BadAnswerError for what is no number."""
    plain = value.item() if isinstance(value, np.generic) else value
    if isinstance(plain, bool) or not isinstance(plain, (int, float)):
        said = in_a_line(shown(value), 60)
        raise BadAnswerError(f"answered with {said} ({type(value).__name__}), expected a number")
    if plain != plain:
        raise BadAnswerError("answered with nan, expected a number")
    return float(plain)
