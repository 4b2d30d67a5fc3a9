"""The tasks that there are: how each makes a clean image into what restorers are shown."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from bench.errors import RequestError, unknown
from bench.level import (
    BLUR,
    GAIN_AND_VARIANCE,
    HOLES,
    LOOKS,
    PATTERN,
    PEAK,
    QUALITY,
    SCALE,
    SHARE,
    SIGMA,
    TOLD,
    UNTOLD,
    Level,
    format_level,
    parts_of,
)
from bench.task import Image, Observation, Task

if (
    TYPE_CHECKING
):  # listings show tasks and need no numerics: importing NumPy would take them longer than all the rest
    from pathlib import Path

    import numpy as np

__all__ = [
    "BLIND",
    "SUPERRES_OF_8_BIT_RGB",
    "TASKS",
    "Setting",
    "colour_word",
    "get_task",
    "level_name_of",
    "title_of",
]


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


def colour_word(channels: int) -> str:
    """What images of so many channels are called."""
    return "gray" if channels == 1 else "colour"


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
