"""Tasks: how a clean image becomes an observation, and what the result is judged against.

A task is degradation and reference; how the figures are taken (noise stream, rounding, border) is the
protocol's business, in `bench.protocol`, and so is a task that a paper sets otherwise than most.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from bench.data import BAYER_PATTERNS, MOST_PHOTONS
from bench.data.kinds import EXTENSIONS
from bench.errors import RequestError, unknown

if (
    TYPE_CHECKING
):  # listings show tasks and need no numerics: importing NumPy would take them longer than all the rest
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "BLIND",
    "DECLARED",
    "ESTIMATED",
    "LEVEL_OPTIONS",
    "SUPERRES_OF_8_BIT_RGB",
    "TASKS",
    "UNTOLD",
    "Image",
    "Known",
    "Level",
    "LevelKind",
    "Observation",
    "Part",
    "Setting",
    "Task",
    "colour_word",
    "format_level",
    "get_task",
    "level_name_of",
    "level_of",
    "level_order",
    "nearest_level",
    "parse_levels",
    "parts_of",
    "title_of",
]

Image: TypeAlias = "NDArray[np.float32]"
"""float32 (H, W, C) with C = 1 or 3, nominally in [0, 1]; a noisy one may leave that range."""

Level = float | str
"""sigma on the 0-255 scale, JPEG quality, scale factor: numbers; Bayer pattern, several numbers: text."""

Known: TypeAlias = "Mapping[str, float | str | bool | NDArray[Any]]"
"""What a restorer is told, by name: numbers, words and arrays."""

LEVEL_OPTIONS = ("sigma", "quality", "scale", "pattern")
"""The kinds of level that have an option of their own; all others are asked for with --level."""


@dataclass(frozen=True)
class Setting:
    """What weights belong to: a task at one level and channel count, e.g. denoise, 25, gray.

    channels    of the image to be restored (1 or 3); a mosaic is observed with 1 and restored to 3
    level_name  what the level is called, of a task that is not one of TASKS
    """

    task: str
    level: Level
    channels: int
    level_name: str = field(default="", compare=False)

    def __str__(self) -> str:
        level = self.level_name or get_task(self.task).level.name
        return f"{self.task} {level} {format_level(self.level)} {colour_word(self.channels)}"


@dataclass(frozen=True)
class Observation:
    """The degraded image and what a restorer may know of how it came about. Never the clean image.

    image    float32 (H, W, C): noisy, decoded from JPEG, mosaicked (C = 1) or low-resolution
    task     the task's name
    sigma    noise level on the 0-255 scale; None where there is no noise or the task is blind
    quality  JPEG quality factor, 1-100
    scale    super-resolution factor; the answer has shape (H * scale, W * scale, C)
    pattern  Bayer pattern, e.g. "RGGB": the colours of the top-left 2x2 pixels, row by row
    mask     demosaick: bool (H, W, 3), True where that colour was measured
    uint8    superres: whether the image is to be enlarged as uint8, see `upscaled`
    known    what else is known, by name: `peak`, `kernel`, …; sigma, quality, scale and mask are the above as well
    """

    image: Image
    task: str
    sigma: float | None = None
    quality: int | None = None
    scale: int | None = None
    pattern: str | None = None
    mask: NDArray[np.bool_] | None = None
    uint8: bool = False
    known: Known = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("sigma", "quality", "scale", "mask"):
            if name in self.known:
                object.__setattr__(self, name, self.known[name])

    @property
    def restored_shape(self) -> tuple[int, int, int]:
        """(H, W, C) that the restored image must have."""
        height, width, channels = self.image.shape
        if self.task == "demosaick":
            return height, width, 3
        factor = self.scale or 1
        return height * factor, width * factor, channels

    def upscaled(self) -> Image:
        """The low-resolution image after MATLAB's bicubic `imresize`, which many networks start from.

        Neither rounded nor clipped, unless `uint8`, which MATLAB rounds after the columns and after the rows.
        """
        from bench.data.degrade import bicubic

        if self.scale is None:
            raise ValueError(f"an observation of task '{self.task}' has no scale")
        return bicubic(self.image, self.scale, rounded=self.uint8)


@dataclass(frozen=True)
class Task:
    """One restoration task.

    name       what users type after --task
    level      what its level is: sigma, quality, scale or pattern (also the option's name)
    levels     the levels measured when none is asked for
    reference  (data set's image, level) -> the clean image that the answer is compared with
    observe    (data set's image, level, noise stream) -> Observation; of the reference it is the same for TASKS
    channels   of every reference (1: luma; 3: only colour images can be measured), or None: the image's own
    like       other tasks, the best first: a restorer that does not name this one, and does one of these, is shown
               this one's pictures as that one's. At the same level if it is of one kind, else at its middle one
    files      level -> the files that it names, whose content is part of what the task is
    """

    name: str
    title: str
    level: LevelKind
    levels: tuple[Level, ...]
    reference: Callable[[Image, Level], Image]
    observe: Callable[[Image, Level, np.random.RandomState], Observation]
    channels: int | None = None
    like: tuple[str, ...] = ()
    files: Callable[[Level], Sequence[Path]] = lambda level: ()


# --- levels --------------------------------------------------------------------------------------


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


def parse_levels(task: Task, text: str) -> tuple[Level, ...]:
    """Levels from a comma-separated option, e.g. "15,25,50".

    Raises RequestError naming the option, the offending part and what was expected.
    """
    levels: list[Level] = []
    for part in text.split(","):
        level = task.level.parse(part)
        if level is None:
            raise RequestError(f"--{task.level.option} {part.strip()}: {task.name} takes {task.level.expected}.")
        levels.append(level)
    return tuple(dict.fromkeys(levels))


def colour_word(channels: int) -> str:
    """What images of so many channels are called."""
    return "gray" if channels == 1 else "colour"


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


# --- degradations ----------------------------------------------------------------------------------


def _as_it_is(image: Image, level: Level) -> Image:
    return image


def _luma(image: Image, level: Level) -> Image:
    """The 8-bit BT.601 studio-swing luma that JPEG papers compress and score."""
    from bench.data.colour import luma

    return luma(image)


def _multiple_of_scale(image: Image, level: Level) -> Image:
    scale = int(level)
    height, width = (n - n % scale for n in image.shape[:2])
    return image[:height, :width]


def _luma_multiple_of_scale(image: Image, level: Level) -> Image:
    return _luma(_multiple_of_scale(image, level), level)


def _unrounded_luma_multiple_of_scale(image: Image, level: Level) -> Image:
    from bench.data.colour import luma

    return luma(_multiple_of_scale(image, level), rounded=False)


def _awgn(image: Image, level: Level, stream: np.random.RandomState) -> Observation:
    from bench.data.degrade import awgn

    sigma = float(level)
    return Observation(awgn(image, sigma, stream), "denoise", sigma=sigma)


def _awgn_blind(image: Image, level: Level, stream: np.random.RandomState) -> Observation:
    from bench.data.degrade import awgn

    return Observation(awgn(image, float(level), stream), "denoise-blind")


def _jpeg(image: Image, level: Level, stream: np.random.RandomState) -> Observation:
    from bench.data.degrade import jpeg

    return Observation(jpeg(_luma(image, level), int(level)), "deblock", quality=int(level))


def _bayer(image: Image, level: Level, stream: np.random.RandomState) -> Observation:
    from bench.data.degrade import bayer

    mosaic, mask = bayer(image, str(level))
    return Observation(mosaic, "demosaick", pattern=str(level), mask=mask)


def _downscale(image: Image, level: Level, stream: np.random.RandomState) -> Observation:
    from bench.data.degrade import bicubic

    scale = int(level)
    return Observation(bicubic(_luma_multiple_of_scale(image, level), 1 / scale), "superres", scale=scale)


def _downscale_in_8_bit_rgb(image: Image, level: Level, stream: np.random.RandomState) -> Observation:
    """The small picture as MATLAB makes it of uint8; only then its luma is taken. Gray ones stay uint8."""
    from bench.data.colour import luma
    from bench.data.degrade import bicubic

    scale = int(level)
    small = bicubic(_multiple_of_scale(image, level), 1 / scale, rounded=True)
    return Observation(luma(small, rounded=False), "superres", scale=scale, uint8=small.shape[2] == 1)


def _awgn_in_8_bits(image: Image, level: Level, stream: np.random.RandomState) -> Observation:
    from bench.data.noise import awgn_in_8_bits

    return Observation(awgn_in_8_bits(image, float(level), stream), "denoise8", sigma=float(level))


def _poisson(image: Image, level: Level, stream: np.random.RandomState) -> Observation:
    from bench.data.noise import poisson

    peak = float(level)
    return Observation(poisson(image, peak, stream), "poisson", known={"peak": peak, "a": 1 / peak, "b": 0.0})


def _poisson_gaussian(image: Image, level: Level, stream: np.random.RandomState) -> Observation:
    from bench.data.noise import poisson_gaussian

    a, b = map(float, parts_of(level, 2))
    return Observation(poisson_gaussian(image, a, b, stream), "poisson-gaussian", known={"a": a, "b": b})


def _salt_pepper(image: Image, level: Level, stream: np.random.RandomState) -> Observation:
    from bench.data.noise import salt_pepper

    share = float(level)
    return Observation(salt_pepper(image, share, stream), "salt-pepper", known={"share": share})


def _speckle(image: Image, level: Level, stream: np.random.RandomState) -> Observation:
    from bench.data.noise import speckle

    looks = float(level)
    return Observation(speckle(image, looks, stream), "speckle", known={"looks": looks})


def _holes(image: Image, level: Level, stream: np.random.RandomState) -> Observation:
    from bench.data.holes import mask_for, pierced

    mask = mask_for(level, image.shape, stream)
    return Observation(pierced(image, mask), "inpaint", known={"mask": mask})


def _blurred(image: Image, level: Level, stream: np.random.RandomState) -> Observation:
    from bench.data.blur import blurred, kernel_named
    from bench.data.degrade import awgn

    name, sigma = parts_of(level, 2)
    kernel = kernel_named(str(name))
    seen = awgn(blurred(image, kernel), float(sigma), stream)
    return Observation(seen, "deblur", known={"kernel": kernel, "sigma": float(sigma)})


def _mask_file(level: Level) -> tuple[Path, ...]:
    from bench.data.given_file import place_of

    return (place_of(level),) if isinstance(level, str) else ()


def _kernel_file(level: Level) -> tuple[Path, ...]:
    from bench.data.blur import file_of

    path = file_of(str(parts_of(level, 2)[0]))
    return () if path is None else (path,)


def _as_if_real(image: Image, level: Level, stream: np.random.RandomState) -> Observation:
    """Of a clean picture alone, as `bench check` has it: what pairs hold is read with them."""
    from bench.data.degrade import awgn

    sigma = float(level) if not isinstance(level, str) else 25.0
    return Observation(awgn(image, sigma, stream), "real", known={} if level == UNTOLD else {"sigma": sigma})


BLIND = ("denoise-blind",)
"""`like` of tasks that restorers of unknown noise may do: the picture keeps its size."""

TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task("denoise", "Gaussian denoising", SIGMA, (15.0, 25.0, 50.0), _as_it_is, _awgn),
        Task("denoise-blind", "blind Gaussian denoising", SIGMA, (15.0, 25.0, 50.0), _as_it_is, _awgn_blind),
        Task("deblock", "JPEG deblocking of luma", QUALITY, (10.0, 20.0, 30.0, 40.0), _luma, _jpeg, channels=1),
        Task("demosaick", "demosaicking", PATTERN, ("RGGB",), _as_it_is, _bayer, channels=3),
        Task(
            "superres",
            "super-resolution of luma",
            SCALE,
            (2.0, 3.0, 4.0),
            _luma_multiple_of_scale,
            _downscale,
            channels=1,
        ),
        Task(
            "denoise8",
            "Gaussian denoising, the noisy picture clipped and rounded to 8 bits",
            SIGMA,
            (15.0, 25.0, 50.0),
            _as_it_is,
            _awgn_in_8_bits,
            like=("denoise", *BLIND),
        ),
        Task("poisson", "Poisson denoising", PEAK, (10.0, 30.0, 120.0), _as_it_is, _poisson, like=BLIND),
        Task(
            "poisson-gaussian",
            "Poisson-Gaussian denoising",
            GAIN_AND_VARIANCE,
            ("0.01/0.0004", "0.1/0.01"),
            _as_it_is,
            _poisson_gaussian,
            like=BLIND,
        ),
        Task("salt-pepper", "removal of salt and pepper", SHARE, (0.1, 0.3), _as_it_is, _salt_pepper, like=BLIND),
        Task("speckle", "despeckling of intensities", LOOKS, (1.0, 4.0, 16.0), _as_it_is, _speckle, like=BLIND),
        Task("inpaint", "inpainting", HOLES, (0.5, 0.8), _as_it_is, _holes, like=BLIND, files=_mask_file),
        Task(
            "deblur",
            "deblurring",
            BLUR,
            ("gaussian-1.6/2", "motion-15-45/2.55"),
            _as_it_is,
            _blurred,
            like=BLIND,
            files=_kernel_file,
        ),
        Task(
            "real",
            "denoising of the noisy pictures that pairs hold",
            TOLD,
            (UNTOLD,),
            _as_it_is,
            _as_if_real,
            like=("denoise", *BLIND),
        ),
    )
}

SUPERRES_OF_8_BIT_RGB = replace(
    TASKS["superres"], reference=_unrounded_luma_multiple_of_scale, observe=_downscale_in_8_bit_rgb
)
"""`superres` as the DnCNN authors' program sets it."""


def get_task(name: str) -> Task:
    """The task of that name. Raises RequestError with the nearest name."""
    try:
        return TASKS[name]
    except KeyError:
        raise RequestError(unknown("task", name, TASKS)) from None


def level_name_of(task: str, told: str = "") -> str:
    """What a task's level is called; of one that is not in TASKS, as a record tells."""
    return TASKS[task].level.name if task in TASKS else told or "level"


def title_of(task: str, level_name: str = "") -> str:
    """What stands above a task's figures; of one that is not in TASKS its name, and what its level is called."""
    if task in TASKS:
        return TASKS[task].title
    return f"{task} ({level_name})" if level_name else task
