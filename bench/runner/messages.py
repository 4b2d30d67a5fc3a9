"""What the runner and a restorer's process say to each other, and how each is written as fields and arrays.

Questions go to the process and are the runner's own. Answers come from a process in which a plugin runs, and it can
write to the pipe too: each field of theirs is checked for its type and range.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bench.level import Level
from bench.measure.clocks import Timing
from bench.plugins.boundary import MOST_CHARACTERS, MOST_COUNTED, in_a_line, shown
from bench.plugins.identity import Held
from bench.restorer import Image, Observation, Served, Setting, SeveralWeights, WeightsFile
from bench.runner.wire import BadMessageError
from bench.task import Known

__all__ = [
    "Answer",
    "Bring",
    "Degrade",
    "Degraded",
    "Failure",
    "Judge",
    "Judged",
    "Load",
    "Message",
    "Prepare",
    "Ready",
    "Reply",
    "Restore",
    "Show",
    "Shown",
    "Unable",
    "arrays_of",
    "known_as_fields",
    "known_of",
    "question_of",
    "reply_of",
    "written",
]

Array: TypeAlias = NDArray[Any]
MOST_WORDS = 20
"""that an answer may list"""


@dataclass(frozen=True)
class Load:
    """Make the restorer: import its class (`bench.plugins.registry.RestorerInfo.target`).

    parameters     keywords that it is made with, as `bench.plugins.names.spelled` writes them
    inside         class and variant of the denoiser inside it; "" where there is none
    ensemble       average it over flips and rotations
    name, version  what its source says of itself
    folder         where its code is: see bench.runner.unseen
    code           the files that its hash knows, as they were planned: see bench.plugins.unchanged
    watch          note what it opens
    visible        which accelerator it is to see, as CUDA_VISIBLE_DEVICES says it; "": all that the runner does
    value          pickle of a thing of the user's: see bench.plugins.value. Empty for what is imported
    """

    target: str
    variant: str
    parameters: str
    inside: tuple[str, str]
    ensemble: bool
    device: str
    name: str
    version: str
    folder: str
    code: tuple[Held, ...]
    watch: bool
    visible: str = ""
    value: bytes = b""


@dataclass(frozen=True)
class Prepare:
    setting: Setting
    weights: WeightsFile | None


@dataclass(frozen=True)
class Restore:
    """timed: whether to take readings; readings: how many, None for the usual; seed: of the global generators."""

    seen: Observation
    timed: bool
    readings: int | None
    seed: int = 0


@dataclass(frozen=True)
class Show:
    """What it decides at each pixel (`Restorer.maps`), or of this one: row, column."""

    seen: Observation
    pixel: tuple[int, int]


@dataclass(frozen=True)
class Ready:
    """Loaded or prepared. needs_weights, devices: what the loaded class says."""

    needs_weights: bool = False
    devices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Unable:
    """The restorer says that a setting is out of its reach."""

    reason: str


@dataclass(frozen=True)
class Failure:
    """An exception of the restorer's, in a line."""

    reason: str


@dataclass(frozen=True)
class Answer:
    """The restored image, and the figures taken with it: plain arrays and numbers, see `bench.plugins.boundary`.

    estimated_level    what the restorer took the level for, if it had to find out
    unseen             files of its own folder that it uses and that its code's hash does not know of
    seconds_restoring  spent in all calls of `restore` for this message, the warm-up included
    """

    x_hat: Image
    timing: Timing | None
    peak_mib: float | None
    params: int
    macs_per_pixel: float | None
    estimated_level: float | None
    seconds_restoring: float
    unseen: tuple[str, ...] = ()


@dataclass(frozen=True)
class Shown:
    """maps: (n, H, W), from 0 to 1; a title for each"""

    titles: tuple[str, ...]
    maps: NDArray[np.float32]


# --- tasks and metrics of one's own ----------------------------------------------------------------


@dataclass(frozen=True)
class Bring:
    """Import a task or a metric (`bench.plugins.own.Place.target`); the others as of `Load`."""

    what: Literal["task", "metric"]
    target: str
    name: str
    folder: str
    code: tuple[Held, ...]
    watch: bool = False


@dataclass(frozen=True)
class Degrade:
    """seed: of the task's stream; disturbed: of the global generators, which must not matter."""

    image: Image
    level: Level
    seed: tuple[int, ...]
    disturbed: int = 0


@dataclass(frozen=True)
class Degraded:
    """clean: the reference; image, known: what is seen and told."""

    clean: Image
    image: Image
    known: dict[str, Any]
    unseen: tuple[str, ...] = ()


@dataclass(frozen=True)
class Judge:
    """The restored picture and the reference, as scored."""

    restored: NDArray[np.float64]
    clean: NDArray[np.float64]


@dataclass(frozen=True)
class Judged:
    """A metric's figure, which may be infinite."""

    value: float
    unseen: tuple[str, ...] = ()


Message: TypeAlias = "Load | Prepare | Restore | Show | Bring | Degrade | Judge"
Reply: TypeAlias = "Ready | Unable | Failure | Answer | Shown | Degraded | Judged"
MAY_FOLLOW: dict[type, tuple[type, ...]] = {
    Load: (Ready, Failure),
    Prepare: (Ready, Unable, Failure),
    Restore: (Answer, Failure),
    Show: (Shown, Failure),
    Bring: (Ready, Failure),
    Degrade: (Degraded, Failure),
    Judge: (Judged, Failure),
}


# --- as fields and arrays ------------------------------------------------------------------------


def written(message: Message | Reply) -> tuple[dict[str, Any], list[Array]]:
    """A message as fields that JSON can hold, and arrays."""
    kind = type(message).__name__
    if isinstance(message, (Restore, Show)):
        seen, arrays = message.seen, [np.asarray(message.seen.image, np.float32)]
        has_mask = seen.mask is not None and "mask" not in seen.known
        if has_mask:
            arrays.append(np.asarray(seen.mask, np.bool_))
        known, of_known = known_as_fields(seen.known)
        told = {"seen": _flat(seen, "image", "mask", "known"), "has_mask": has_mask, "known": known}
        return {"kind": kind, **_flat(message, "seen"), **told}, [*arrays, *of_known]
    if isinstance(message, Answer):
        return {"kind": kind, **_flat(message, "x_hat")}, [message.x_hat]
    if isinstance(message, Shown):
        return {"kind": kind, **_flat(message, "maps")}, [message.maps]
    if isinstance(message, Degrade):
        return {"kind": kind, **_flat(message, "image")}, [np.asarray(message.image, np.float32)]
    if isinstance(message, Degraded):
        known, of_known = known_as_fields(message.known)
        shapes = [(array.dtype.name, array.shape) for array in of_known]
        told = {"clean": message.clean.shape, "image": message.image.shape, "known": known, "told": shapes}
        return {"kind": kind, **told, "unseen": message.unseen}, [message.clean, message.image, *of_known]
    if isinstance(message, Judge):
        return {"kind": kind}, [np.asarray(message.restored, np.float64), np.asarray(message.clean, np.float64)]
    if isinstance(message, Judged):
        value = message.value if math.isfinite(message.value) else str(message.value)
        return {"kind": kind, "value": value, "unseen": message.unseen}, []
    if isinstance(message, Load):
        pickled = [np.frombuffer(message.value, np.uint8)] if message.value else []
        return {"kind": kind, **_flat(message, "value")}, [*pickled]
    if isinstance(message, Prepare):
        return {"kind": kind, "setting": _flat(message.setting), "weights": _weights_as_fields(message.weights)}, []
    return {"kind": kind, **_flat(message)}, []


def _flat(message: Any, *but: str) -> dict[str, Any]:
    return {field.name: getattr(message, field.name) for field in fields(message) if field.name not in but}


def question_of(told: Mapping[str, Any], arrays: list[Array]) -> Message:
    """The question that `written` wrote."""
    given = {name: value for name, value in told.items() if name != "kind"}
    if told["kind"] == "Load":
        code, inside = tuple(Held(*held) for held in given["code"]), tuple(given["inside"])
        value = arrays[0].tobytes() if arrays else b""
        return Load(**{**given, "code": code, "inside": inside}, value=value)
    if told["kind"] == "Prepare":
        return Prepare(Setting(**given["setting"]), _weights_of(given["weights"]))
    if told["kind"] == "Bring":
        return Bring(**{**given, "code": tuple(Held(*held) for held in given["code"])})
    if told["kind"] == "Degrade":
        return Degrade(arrays[0], given["level"], tuple(given["seed"]), given["disturbed"])
    if told["kind"] == "Judge":
        return Judge(*arrays)
    image, *others = arrays
    mask = others.pop(0) if given.pop("has_mask") else None
    known = known_of(given.pop("known"), others)
    seen = Observation(image, mask=mask, known=known, **given["seen"])
    if told["kind"] == "Show":
        return Show(seen, tuple(given["pixel"]))
    return Restore(**{**given, "seen": seen})


def _weights_as_fields(file: WeightsFile | None) -> dict[str, Any] | None:
    if file is None:
        return None
    told = {**_flat(file), "path": str(file.path)}
    if isinstance(file, SeveralWeights):
        told["served"] = [(*one[:3], _weights_as_fields(one.file)) for one in file.served]
    return told


def _weights_of(told: Mapping[str, Any] | None) -> WeightsFile | None:
    return None if told is None else _file_of(told)


def _file_of(told: Mapping[str, Any]) -> WeightsFile:
    path, served = Path(told["path"]), told.get("served")
    if served is None:
        return WeightsFile(**{**told, "path": path})
    of_levels = (Served(least, most, n, _file_of(file)) for least, most, n, file in served)
    return SeveralWeights(**{**told, "path": path, "served": tuple(of_levels)})


def known_as_fields(known: Known) -> tuple[dict[str, Any], list[Array]]:
    """What an observation tells, as fields and arrays; in place of an array stands None."""
    arrays = [value for value in known.values() if isinstance(value, np.ndarray)]
    return {name: None if isinstance(value, np.ndarray) else value for name, value in known.items()}, arrays


def known_of(fields: Mapping[str, Any], arrays: Sequence[Array]) -> dict[str, Any]:
    """What `known_as_fields` took apart."""
    left = iter(arrays)
    return {name: next(left) if value is None else value for name, value in fields.items()}


# --- answers, checked ------------------------------------------------------------------------------


def reply_of(told: Mapping[str, Any], number: int, to: Message) -> Reply:
    """The answer to question `number`; its arrays have the right shapes and are still to be filled.

    Raises BadMessageError for what is no answer to it, and names the field.
    """
    if type(told.get("number")) is not int or told["number"] != number:
        raise BadMessageError("it answered twice, or to no question")
    kind = {reply.__name__: reply for reply in MAY_FOLLOW[type(to)]}.get(_text(told, "kind"))
    if kind is None:
        raise BadMessageError(f"'{in_a_line(told['kind'], 30)}' is no answer to {type(to).__name__}")
    named = {"kind", *(field.name for field in fields(kind)), *(["told"] if kind is Degraded else [])}
    named -= {"x_hat", "maps"}
    if {*told} - {"number"} != named:
        raise BadMessageError(f"it has not the fields of {kind.__name__}")
    if kind is Ready:
        return Ready(_flag(told, "needs_weights"), _words(told, "devices"))
    if kind is Answer:
        assert isinstance(to, Restore)
        return _answer(told, np.empty(to.seen.restored_shape, np.float32))
    if kind is Shown:
        assert isinstance(to, Show)
        titles = _words(told, "titles")
        return Shown(titles, np.empty((len(titles), *to.seen.restored_shape[:2]), np.float32))
    if kind is Degraded:
        assert isinstance(to, Degrade)
        return _degraded(told, to.image)
    if kind is Judged:
        return Judged(_infinite_too(told, "value"), _words(told, "unseen"))
    reason = in_a_line(_text(told, "reason"))
    return Unable(reason) if kind is Unable else Failure(reason)


def _answer(told: Mapping[str, Any], image: Image) -> Answer:
    seconds = _figure(told, "seconds_restoring")
    params = told["params"]
    if type(params) is not int or not 0 <= params <= MOST_COUNTED:
        raise _wrong(told, "params", f"a whole number from 0 to {MOST_COUNTED}")
    if seconds is None:
        raise _wrong(told, "seconds_restoring", "a number from 0")
    return Answer(
        image,
        timing=_timing(told),
        peak_mib=_figure(told, "peak_mib"),
        params=params,
        macs_per_pixel=_figure(told, "macs_per_pixel"),
        estimated_level=_figure(told, "estimated_level", least=-math.inf),
        seconds_restoring=seconds,
        unseen=_words(told, "unseen"),
    )


MOST_KNOWN_BYTES = 1 << 26
"""of the arrays that a task tells, beyond 32 for each value of the picture"""
KNOWN_TYPES = ("bool", "float32", "float64", "int64")
MOST_LETTERS = 100
"""of the name of what a task tells"""


def _degraded(told: Mapping[str, Any], image: Image) -> Degraded:
    """What a task made of a picture, which is never larger than it was."""
    known, arrays = told["known"], _told_arrays(told, MOST_KNOWN_BYTES + 32 * image.size)
    if type(known) is not dict or len(known) > MOST_WORDS or [*known.values()].count(None) != len(arrays):
        raise _wrong(told, "known", f"{MOST_WORDS} names at most")
    if not all(len(name) <= MOST_LETTERS and _may_be_known(value) for name, value in known.items()):
        raise _wrong(told, "known", "finite numbers, texts and arrays by name")
    clean, seen = (_picture(told, name, image) for name in ("clean", "image"))
    return Degraded(clean, seen, known_of(known, arrays), _words(told, "unseen"))


def _told_arrays(told: Mapping[str, Any], most_bytes: int) -> list[Array]:
    listed = told["told"]
    if type(listed) is not list or len(listed) > MOST_WORDS:
        raise _wrong(told, "told", f"{MOST_WORDS} arrays at most")
    arrays = list[Array]()
    for one in listed:
        if not (type(one) is list and len(one) == 2 and one[0] in KNOWN_TYPES and _is_shape(one[1], 4)):
            raise _wrong(told, "told", f"arrays of {', '.join(KNOWN_TYPES)}")
        kind, shape = one
        most_bytes -= math.prod(shape) * np.dtype(kind).itemsize
        if most_bytes < 0:
            raise BadMessageError("what it tells is too large")
        arrays.append(np.empty(shape, kind))
    return arrays


def _is_shape(value: Any, most_axes: int) -> bool:
    return (
        type(value) is list
        and 1 <= len(value) <= most_axes
        and all(type(n) is int and 0 < n < 1 << 31 for n in value)
    )


def _may_be_known(value: Any) -> bool:
    if type(value) is str:
        return len(value) <= MOST_CHARACTERS
    return value is None or type(value) is bool or (type(value) in (int, float) and abs(value) <= MOST_COUNTED)


def _picture(told: Mapping[str, Any], name: str, image: Image) -> Image:
    shape = told[name]
    if not (
        _is_shape(shape, 3)
        and len(shape) == 3
        and shape[0] <= image.shape[0]
        and shape[1] <= image.shape[1]
        and shape[2] in (1, 3)
    ):
        raise _wrong(told, name, "the shape of a picture no larger than the one that was given")
    return np.empty(shape, np.float32)


def arrays_of(reply: Reply) -> list[Array]:
    """The arrays of an answer, to be filled in this order."""
    if isinstance(reply, Answer):
        return [reply.x_hat]
    if isinstance(reply, Shown):
        return [reply.maps]
    if isinstance(reply, Degraded):
        return [reply.clean, reply.image, *(one for one in reply.known.values() if isinstance(one, np.ndarray))]
    return []


def _infinite_too(told: Mapping[str, Any], name: str) -> float:
    """A number, or "inf" or "-inf", which JSON has no word for."""
    if told[name] in ("inf", "-inf"):
        return float(told[name])
    figure = _figure(told, name, least=-math.inf)
    if figure is None:
        raise _wrong(told, name, "a number")
    return figure


def _timing(told: Mapping[str, Any]) -> Timing | None:
    listed = told["timing"]
    if listed is None:
        return None
    if type(listed) is not list or len(listed) != len(Timing._fields):
        raise _wrong(told, "timing", f"{len(Timing._fields)} numbers")
    seconds, spread, on_device = (_figure({"timing": one}, "timing") for one in listed)
    if seconds is None:
        raise _wrong(told, "timing", "seconds first")
    return Timing(seconds, spread, on_device)


def _figure(told: Mapping[str, Any], name: str, least: float = 0.0) -> float | None:
    value = told[name]
    if value is None:
        return None
    try:
        figure = float(value) if type(value) in (int, float) else math.nan
    except OverflowError:
        figure = math.inf
    if not (math.isfinite(figure) and figure >= least):
        raise _wrong(told, name, "a finite number" if least else "a finite number from 0")
    return figure


def _flag(told: Mapping[str, Any], name: str) -> bool:
    value = told[name]
    if type(value) is not bool:
        raise _wrong(told, name, "true or false")
    return value


def _text(told: Mapping[str, Any], name: str) -> str:
    value = told.get(name)
    if type(value) is not str:
        raise _wrong(told, name, "text")
    return value


def _words(told: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = told[name]
    if type(value) is not list or len(value) > MOST_WORDS or not all(type(word) is str for word in value):
        raise _wrong(told, name, f"{MOST_WORDS} words at most")
    return tuple(in_a_line(word) for word in value)


def _wrong(told: Mapping[str, Any], name: str, expected: str) -> BadMessageError:
    return BadMessageError(f"{name} is {in_a_line(shown(told.get(name)), 60)}, expected {expected}")
