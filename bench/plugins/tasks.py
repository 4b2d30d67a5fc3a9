"""Finds tasks: the built-in ones, the entry-point group `bench.tasks`, or a class in a file (`./poisson.py:Poisson`).

What a plan needs to know of a task of one's own is read from its source as literals. Its code runs in a process of
its own: see `bench.runner.outsiders`.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

from bench.errors import DataError, RestorerError
from bench.level import Level, LevelKind, Part, format_level, level_of
from bench.plugins.own import NOWHERE, Place, check_name, find, installed
from bench.plugins.source import COMPUTED, Literal, attributes, check_literals, classes_in, is_words
from bench.task import Task
from bench.tasks import BLIND, TASKS

__all__ = ["OwnTask", "choose_task", "identity", "installed_tasks"]

GROUP = "bench.tasks"


@dataclass(frozen=True)
class OwnTask(Task):
    """A task of one's own, as its source declares it. What it does, only a process of its own can tell."""

    place: Place = NOWHERE


@cache
def installed_tasks() -> Mapping[str, OwnTask | RestorerError]:
    """The tasks that packages brought, by name, or why one cannot be used."""
    return installed(GROUP, lambda task: task.name, _read)


def choose_task(asked: str) -> Task:
    """The task that a user asked for: its name, or `./file.py:Class`.

    Raises RequestError for an unknown name, with the nearest right one, RestorerError for a class that will not do.
    """
    if asked in TASKS:
        return TASKS[asked]
    return find("task", asked, TASKS, installed_tasks(), _read)


def identity(task: Task, level: Level) -> str:
    """What the task is, beyond its name: the hash of its code, a dot and one of the files that the level names.

    "" for a built-in task at a level that names none. Raises DataError for a file that cannot be read.
    """
    code = task.place.code.sha256 if isinstance(task, OwnTask) else ""
    files = task.files(level)
    if not files:
        return code
    digest = hashlib.sha256()
    for file in files:
        try:
            digest.update(hashlib.sha256(Path(file).read_bytes()).digest())
        except OSError as error:
            raise DataError(f"{file}: {error.strerror}.") from None
    return f"{code}.{digest.hexdigest()}"


# --- what a source says --------------------------------------------------------------------------


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_pair(value: Any) -> bool:
    return (
        isinstance(value, (tuple, list)) and len(value) == 2 and all(map(_is_number, value)) and value[0] <= value[1]
    )


def _is_span(value: Any) -> bool:
    several = isinstance(value, (tuple, list)) and bool(value) and all(one is None or _is_pair(one) for one in value)
    return value is None or _is_pair(value) or several


def _is_several(value: Any) -> bool:
    return isinstance(value, (tuple, list)) and bool(value)


LITERALS = {
    "name": Literal('name = "photons"', lambda value: isinstance(value, str) and bool(value)),
    "level": Literal('level = "peak"', lambda value: is_words([value]) or (is_words(value) and _is_several(value))),
    "levels": Literal("levels = (4, 30)", _is_several),
    "span": Literal("span = (0.1, 1000)", _is_span),
    "channels": Literal("channels = 1", lambda value: value in (None, 1, 3) and not isinstance(value, bool)),
    "like": Literal('like = ("denoise-blind",)', is_words),
    "reads": Literal('reads = ["kernel.npy"]', is_words),
}
"""The attributes of a class that are read from its source: one that is computed would be another one unseen."""


def _read(path: Path, class_name: str, place: Place) -> OwnTask:
    classes = classes_in(path, class_name)
    known = attributes(path, class_name, classes)
    where = f"{path}: class {class_name}"
    if "observe" not in known:
        raise RestorerError(f"{where} has no method `observe(self, clean, level, stream)`, which a task needs.")
    check_literals(path, class_name, known, LITERALS, ("name", "level", "levels"))
    check_name(where, known["name"], TASKS, "task")
    kind = _kind(where, known)
    like = tuple(known.get("like", BLIND))
    if strange := [name for name in like if name not in TASKS]:
        raise RestorerError(f"{where}: `like` names '{strange[0]}', which is no built-in task.")
    summary = (ast.get_docstring(classes[class_name]) or "").partition("\n")[0].rstrip(".")
    return OwnTask(
        name=known["name"],
        title=summary or known["name"],
        level=kind,
        levels=tuple(_level(where, kind, one) for one in known["levels"]),
        reference=_elsewhere,
        observe=_elsewhere,
        channels=known.get("channels"),
        like=like,
        place=Place(place.source, place.target, tuple(known.get("reads", ())), place.distribution),
    )


def _kind(where: str, known: Mapping[str, Any]) -> LevelKind:
    names = [known["level"]] if isinstance(known["level"], str) else [*known["level"]]
    span = known.get("span")
    spans = [span] if span is None or _is_pair(span) else [*span]
    if len(spans) != len(names):
        raise RestorerError(f"{where}: `span` has {len(spans)} parts, and `level` names {len(names)}.")
    if None in spans[1:]:
        raise RestorerError(f"{where}: only the first value of a level may be a word, which has no span.")
    parts = [Part(name) if one is None else Part(name, *one) for name, one in zip(names, spans, strict=True)]
    return level_of(*parts)


def _level(where: str, kind: LevelKind, given: Any) -> Level:
    values = given if isinstance(given, (tuple, list)) else [given]
    plain = [value for value in values if value is not COMPUTED and (_is_number(value) or isinstance(value, str))]
    level = kind.parse("/".join(map(format_level, plain))) if len(plain) == len(values) else None
    if level is None:
        raise RestorerError(f"{where}: `levels` has {given!r}; expected {kind.expected}.")
    return level


def _elsewhere(*_: object) -> NoReturn:
    raise AssertionError("a task of one's own runs in a process of its own: see bench.runner.outsiders")
