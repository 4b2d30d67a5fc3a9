"""What the runner and a restorer's process say to each other, and how each is written as fields and arrays.

Questions go to the process and are the runner's own. Answers come from a process in which a plugin runs, and it can
write to the pipe too: each field of theirs is checked for its type and range.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bench.measure.clocks import Timing
from bench.plugins.boundary import MOST_COUNTED, in_a_line, shown
from bench.plugins.identity import Held
from bench.restorer import Image, Observation, Served, Setting, SeveralWeights, WeightsFile
from bench.runner.wire import BadMessageError
from bench.task import Known

__all__ = [
    "Answer",
    "Failure",
    "Load",
    "Message",
    "Prepare",
    "Ready",
    "Reply",
    "Restore",
    "Unable",
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


Message: TypeAlias = "Load | Prepare | Restore"
Reply: TypeAlias = "Ready | Unable | Failure | Answer"
MAY_FOLLOW = {Load: (Ready, Failure), Prepare: (Ready, Unable, Failure), Restore: (Answer, Failure)}


# --- as fields and arrays ------------------------------------------------------------------------


def written(message: Message | Reply) -> tuple[dict[str, Any], list[Array]]:
    """A message as fields that JSON can hold, and arrays."""
    kind = type(message).__name__
    if isinstance(message, Restore):
        seen, arrays = message.seen, [np.asarray(message.seen.image, np.float32)]
        has_mask = seen.mask is not None and "mask" not in seen.known
        if has_mask:
            arrays.append(np.asarray(seen.mask, np.bool_))
        known, of_known = known_as_fields(seen.known)
        told = {"seen": _flat(seen, "image", "mask", "known"), "has_mask": has_mask, "known": known}
        return {"kind": kind, **_flat(message, "seen"), **told}, [*arrays, *of_known]
    if isinstance(message, Answer):
        return {"kind": kind, **_flat(message, "x_hat")}, [message.x_hat]
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
        return Load(**{**given, "code": code, "inside": inside})
    if told["kind"] == "Prepare":
        return Prepare(Setting(**given["setting"]), _weights_of(given["weights"]))
    image, *others = arrays
    mask = others.pop(0) if given.pop("has_mask") else None
    known = known_of(given.pop("known"), others)
    return Restore(**{**given, "seen": Observation(image, mask=mask, known=known, **given["seen"])})


def _weights_as_fields(file: WeightsFile | None) -> dict[str, Any] | None:
    if file is None:
        return None
    told = {**_flat(file), "path": str(file.path)}
    if isinstance(file, SeveralWeights):
        told["served"] = [(*one[:3], _weights_as_fields(one.file)) for one in file.served]
    return told


def _weights_of(told: Mapping[str, Any] | None) -> WeightsFile | None:
    if told is None:
        return None
    path, served = Path(told["path"]), told.get("served")
    if served is None:
        return WeightsFile(**{**told, "path": path})
    of_levels = (Served(least, most, n, _weights_of(file)) for least, most, n, file in served)
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
    """The answer to question `number`; its image has the right shape and is still to be filled.

    Raises BadMessageError for what is no answer to it, and names the field.
    """
    if type(told.get("number")) is not int or told["number"] != number:
        raise BadMessageError("it answered twice, or to no question")
    kind = {reply.__name__: reply for reply in MAY_FOLLOW[type(to)]}.get(_text(told, "kind"))
    if kind is None:
        raise BadMessageError(f"'{in_a_line(told['kind'], 30)}' is no answer to {type(to).__name__}")
    if {*told} - {"number"} != {"kind", *(field.name for field in fields(kind))} - {"x_hat"}:
        raise BadMessageError(f"it has not the fields of {kind.__name__}")
    if kind is Ready:
        return Ready(_flag(told, "needs_weights"), _words(told, "devices"))
    if kind is Answer:
        assert isinstance(to, Restore)
        return _answer(told, np.empty(to.seen.restored_shape, np.float32))
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
