"""Protocols: the choices that move a PSNR by more than the methods differ, as objects with names.

| protocol    | noise                                             | answer before scoring          | superres     |
|-------------|---------------------------------------------------|--------------------------------|--------------|
| standard-v1 | seeded by task, level, data set, image and repeat | clipped and rounded to 8 bits  | of luma      |
| groupsc-v1  | as standard-v1 (the authors' is unseeded)         | clipped to [0, 1], not rounded | of luma      |
| kair-v1     | NumPy seed 0 for every image                      | clipped and rounded to 8 bits  | of luma      |
| dncnn-v1    | as standard-v1 (the authors' is MATLAB's)         | superres: as in groupsc-v1,    | of 8-bit RGB |
|             |                                                   | all else: as in standard-v1    |              |

Super-resolution of luma: MATLAB's `imresize` makes the 8-bit luma small, and what comes out is neither clipped nor
rounded. Of 8-bit RGB: `imresize` makes the picture small in RGB, clipping and rounding after the columns and after
the rows, as it does with uint8; luma is taken after, of the small picture and of the large, and not rounded. Gray
pictures stay uint8, which networks that start from the enlarged picture meet there too.

Common to all: noise is added in float and neither clipped nor rounded; PSNR has peak 255 over all pixels, one
mean squared error over the channels; SSIM is Wang et al.'s on the valid region, per channel then averaged;
both per image, then averaged over images; `superres` removes a border of `scale` pixels.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from bench.errors import RequestError, unknown
from bench.level import format_level
from bench.task import Image, Observation, Task
from bench.tasks import SUPERRES_OF_8_BIT_RGB, TASKS, Setting

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bench.measure.quality import Quality

__all__ = ["PROTOCOLS", "Protocol", "get_protocol", "stream_of"]


@dataclass(frozen=True)
class Protocol:
    """How images are degraded and answers scored. The name carries the version: a change of either is a new name.

    noise        where its seed comes from
    rounds       whether answers are rounded to 8 bits before they are scored
    not_rounded  tasks whose answers are not, if others' are
    tasks        what each task is under this protocol
    """

    name: str
    words: str
    noise: Literal["hashed", "seed-0"] = "hashed"
    rounds: bool = True
    not_rounded: frozenset[str] = frozenset()
    tasks: Mapping[str, Task] = field(default_factory=lambda: TASKS, hash=False, repr=False)

    def seed(self, setting: Setting, dataset: str, image: str, repeat: int) -> tuple[int, ...]:
        """Seed of the noise of one cell, as 32-bit words: a pure function of what it is named after."""
        if self.noise == "seed-0":
            return (repeat,)
        level = format_level(setting.level)
        identity = "\0".join((setting.task, level, dataset, image, str(repeat)))
        digest = hashlib.sha256(identity.encode()).digest()
        return struct.unpack("<8I", digest)

    def degrade(self, image: Image, setting: Setting, seed: tuple[int, ...]) -> tuple[Image, Observation]:
        """The reference that answers to a data set's image are compared with, and what restorers are shown of it."""
        task = self.tasks[setting.task]
        return task.reference(image, setting.level), task.observe(image, setting.level, stream_of(seed))

    def scored_size(self, height: int, width: int, setting: Setting) -> tuple[int, int]:
        """How many rows and columns of a picture are scored: 0 where the border leaves none."""
        border = self._border(setting)
        factor = int(setting.level) if setting.task == "superres" else 1
        rows, columns = (max(0, n - n % factor - 2 * border) for n in (height, width))
        return rows, columns

    def _border(self, setting: Setting) -> int:
        """Pixels at each side that are not scored."""
        return int(setting.level) if setting.task == "superres" else 0

    def score(self, x_hat: Image, clean: Image, setting: Setting) -> Quality:
        """PSNR in dB and SSIM of the answer `x_hat` against the reference, both (H, W, C) in [0, 1].

        Raises DataError for what has no PSNR: no pixel is left inside the border.
        """
        from bench.measure.quality import Quality, psnr_db, ssim

        x, y = (self.as_scored(image, setting) for image in (x_hat, clean))
        return Quality(psnr_db(x, y, peak=255), ssim(x, y, peak=255))

    def as_scored(self, image: Image, setting: Setting) -> NDArray[np.float64]:
        """A picture (H, W, C) as every metric is given it: 0-255, clipped, rounded if that is due, without border."""
        import numpy as np

        border = self._border(setting)
        x = 255 * np.clip(image.astype(np.float64), 0, 1)
        if self.rounds_answers_of(setting.task):
            x = np.rint(x)
        return x[border : -border or None, border : -border or None]

    def rounds_answers_of(self, task: str) -> bool:
        """Whether answers are rounded to 8 bits before they are scored: then a saved picture says all of them."""
        return self.rounds and task not in self.not_rounded


PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            "standard-v1",
            "noise seeded by task, level, data set, image and repeat; answer clipped and rounded to 8 bits",
        ),
        Protocol(
            "groupsc-v1",
            "noise as in standard-v1; answer clipped to [0, 1] and not rounded, as the GroupSC authors score",
            rounds=False,
        ),
        Protocol(
            "kair-v1",
            "noise from NumPy seed 0 for every image, as in KAIR's scripts; answer clipped and rounded to 8 bits",
            noise="seed-0",
        ),
        Protocol(
            "dncnn-v1",
            "as standard-v1 but for superres, set as in the DnCNN authors' program: the small picture is 8-bit RGB,"
            " its luma and the answer are not rounded",
            not_rounded=frozenset({"superres"}),
            tasks={**TASKS, "superres": SUPERRES_OF_8_BIT_RGB},
        ),
    )
}


def stream_of(seed: tuple[int, ...]) -> np.random.RandomState:
    """The stream of a seed. RandomState, not Generator: NumPy promises that its streams never change (NEP 19)."""
    import numpy as np

    return np.random.RandomState(seed if len(seed) > 1 else seed[0])


def get_protocol(name: str) -> Protocol:
    """The protocol of that name. Raises RequestError with the nearest name."""
    try:
        return PROTOCOLS[name]
    except KeyError:
        raise RequestError(unknown("protocol", name, PROTOCOLS)) from None
