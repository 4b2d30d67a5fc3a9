"""What a task is: how a clean image becomes an observation, and what the result is judged against.

A task is degradation and reference; how the figures are taken (noise stream, rounding, border) is the
protocol's business, in `bench.protocol`, and so is a task that a paper sets otherwise than most. Those that there
are stand in `bench.tasks`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from bench.errors import RequestError
from bench.level import Level, LevelKind

if (
    TYPE_CHECKING
):  # listings show tasks and need no numerics: importing NumPy would take them longer than all the rest
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Image", "Known", "Observation", "Task", "parse_levels"]

Image: TypeAlias = "NDArray[np.float32]"
"""float32 (H, W, C) with C = 1 or 3, nominally in [0, 1]; a noisy one may leave that range."""

Known: TypeAlias = "Mapping[str, float | str | bool | NDArray[Any]]"
"""What a restorer is told, by name: numbers, words and arrays."""


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
