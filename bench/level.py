"""Levels of tasks: what they are called, which values they take, and how they are read and written."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.data import BAYER_PATTERNS, MOST_PHOTONS
from bench.data.kinds import EXTENSIONS

__all__ = [
    "BLUR",
    "DECLARED",
    "ESTIMATED",
    "GAIN_AND_VARIANCE",
    "HOLES",
    "LEVEL_OPTIONS",
    "LOOKS",
    "PATTERN",
    "PEAK",
    "QUALITY",
    "SCALE",
    "SHARE",
    "SIGMA",
    "TOLD",
    "UNTOLD",
    "Level",
    "LevelKind",
    "Part",
    "format_level",
    "level_of",
    "level_order",
    "nearest_level",
    "parts_of",
]

Level = float | str
"""sigma on the 0-255 scale, JPEG quality, scale factor: numbers; Bayer pattern, several numbers: text."""

LEVEL_OPTIONS = ("sigma", "quality", "scale", "pattern")
"""The kinds of level that have an option of their own; all others are asked for with --level."""


@dataclass(frozen=True)
class LevelKind:
    """What the level of a task is called, which values it takes, and how to read one."""

    name: str
    expected: str
    accept: Callable[[str], Level | None]

    @property
    def option(self) -> str:
        """What it is asked for with: `sigma`, ..., or `level`."""
        return self.name if self.name in LEVEL_OPTIONS else "level"

    def parse(self, text: str) -> Level | None:
        """The level that `text` spells, or None."""
        try:
            return self.accept(text.strip())
        except ValueError:
            return None


def _between(low: float, high: float, *, whole: bool = False) -> Callable[[str], Level | None]:
    def accept(text: str) -> Level | None:
        value = float(text) + 0.0  # nan fails the comparison below; -0 becomes 0
        return value if low <= value <= high and not (whole and value % 1) else None

    return accept


SIGMA = LevelKind("sigma", "a noise standard deviation from 0 to 255 (on the 0-255 scale)", _between(0, 255))
QUALITY = LevelKind("quality", "a JPEG quality factor, a whole number from 1 to 100", _between(1, 100, whole=True))
SCALE = LevelKind("scale", "a scale factor: 2, 3 or 4", _between(2, 4, whole=True))
PATTERN = LevelKind(
    "pattern",
    f"a Bayer pattern: {', '.join(BAYER_PATTERNS)}",
    lambda text: text.upper() if text.upper() in BAYER_PATTERNS else None,
)


@dataclass(frozen=True)
class Part:
    """One value of a level: a number from `least` to `most`, or a word where there are no such two.

    above  the number must be above `least`
    """

    name: str
    least: float | None = None
    most: float = math.inf
    above: bool = False

    @property
    def is_word(self) -> bool:
        return self.least is None

    def __str__(self) -> str:
        """`peak above 0`, `a from 0 to 1`."""
        if self.least is None:
            return self.name
        if self.most == math.inf:
            return f"{self.name} " + (f"above {self.least:g}" if self.above else f"of at least {self.least:g}")
        return f"{self.name} from {self.least:g} to {self.most:g}" + f" (not {self.least:g})" * self.above

    def read(self, text: str) -> Level | None:
        if self.least is None:
            return text or None
        value = float(text) + 0.0
        inside = self.least <= value <= self.most and math.isfinite(value)
        return value if inside and not (self.above and value == self.least) else None


def level_of(*parts: Part, expected: str = "", name: str = "") -> LevelKind:
    """The kind of level that has these parts, the first of which may be a word.

    A level of one number is a number. One of several parts is text, `0.01/0.0004`: see `parts_of`.
    """

    def accept(text: str) -> Level | None:
        given = text.rsplit("/", len(parts) - 1) if parts[0].is_word else text.split("/")
        if len(given) != len(parts):
            return None
        read = [part.read(word.strip()) for part, word in zip(parts, given, strict=True)]
        if None in read:
            return None
        return read[0] if len(read) == 1 else "/".join(format_level(one) for one in read if one is not None)

    spelled = "a level" if len(parts) == 1 else f"a level {'/'.join(part.name.upper() for part in parts)}"
    expected = expected or f"{spelled}: {', '.join(map(str, parts))}"
    return LevelKind(name or "/".join(part.name for part in parts), expected, accept)


def parts_of(level: Level, n: int) -> tuple[Level, ...]:
    """The `n` parts of a level, numbers as numbers; only the first may be a word."""
    words = level.rsplit("/", n - 1) if isinstance(level, str) else [level]
    return tuple(map(_number_or_word, words))


def _number_or_word(word: Level) -> Level:
    try:
        return float(word)
    except ValueError:
        return word


def _share_or_mask(text: str) -> Level | None:
    if text.lower().endswith((*EXTENSIONS, ".npy")):
        from bench.data.given_file import place_of
        from bench.data.holes import read_mask

        read_mask(place_of(text))  # raises
        return text
    return Part("missing", 0, 1).read(text)


def _kernel_and_sigma(text: str) -> Level | None:
    from bench.data.blur import kernel_named

    level = level_of(Part("kernel"), Part("sigma", 0, 255)).accept(text)
    if level is not None:
        kernel_named(str(parts_of(level, 2)[0]))  # raises
    return level


def _gain_and_variance(text: str) -> Level | None:
    level = level_of(Part("a", 0), Part("b", 0)).accept(text)
    a = 0.0 if level is None else float(parts_of(level, 2)[0])
    return None if 0 < a < 1 / MOST_PHOTONS else level


PEAK = level_of(
    Part("peak", 0, MOST_PHOTONS, above=True),
    expected=f"a peak above 0, at most {MOST_PHOTONS:g}: how many photons white is",
)
GAIN_AND_VARIANCE = LevelKind(
    "a/b",
    f"a gain and a variance A/B, both 0 or more, e.g. 0.01/0.0004; a gain above 0 is at least {1 / MOST_PHOTONS:g}",
    _gain_and_variance,
)
SHARE = level_of(Part("share", 0, 1), expected="a share of lost values from 0 to 1")
LOOKS = level_of(Part("looks", 0, above=True), expected="a number of looks above 0")
HOLES = LevelKind(
    "missing",
    "a share of missing pixels from 0 to 1, or the file of a mask, black where they are missing",
    _share_or_mask,
)
UNTOLD = "blind"
DECLARED = "known"
ESTIMATED = "estimate"


def _told(text: str) -> Level | None:
    return text if text in (UNTOLD, DECLARED, ESTIMATED) else SIGMA.accept(text)


TOLD = LevelKind(
    "told",
    "what restorers are told of the noise: blind, known (as the pairs declare it), estimate, or a sigma (0-255)",
    _told,
)
BLUR = LevelKind(
    "kernel/sigma",
    "a kernel and the noise after it, KERNEL/SIGMA, e.g. gaussian-1.6/2, motion-15-45/2.55, uniform-9/0 or ./k.npy/2",
    _kernel_and_sigma,
)


def format_level(level: Level) -> str:
    """`25` for 25.0, `2.5` for 2.5, `RGGB` for a pattern: text that is read back as the same level."""
    if isinstance(level, str):
        return level
    number = float(level) + 0.0  # NumPy's numbers are written otherwise, and -0 is 0
    short = f"{number:g}"
    return short if float(short) == number else repr(number)


def level_order(level: Level) -> tuple[bool, float, str]:
    """Sort key of levels: numbers from small to large, then words."""
    return (True, 0.0, level) if isinstance(level, str) else (False, level, "")


def nearest_level(levels: Sequence[float], level: Level) -> int:
    """The place of the level nearest to this one, the first of several; the first for one that is no number."""
    return 0 if isinstance(level, str) else min(range(len(levels)), key=lambda i: abs(levels[i] - level))
