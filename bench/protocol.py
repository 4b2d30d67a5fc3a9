"""Protocols: the choices that move a PSNR by more than the methods differ, as objects with names.

| protocol    | noise                                             | answer before scoring          |
|-------------|---------------------------------------------------|--------------------------------|
| standard-v1 | seeded by task, level, data set, image and repeat | clipped and rounded to 8 bits  |
| groupsc-v1  | as standard-v1 (the authors' is unseeded)         | clipped to [0, 1], not rounded |
| kair-v1     | NumPy seed 0 for every image                      | clipped and rounded to 8 bits  |

Common to all: noise is added in float and neither clipped nor rounded; PSNR has peak 255 over all pixels, one
mean squared error over the channels; SSIM is Wang et al.'s on the valid region, per channel then averaged;
both per image, then averaged over images; `superres` removes a border of `scale` pixels.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from bench.errors import RequestError, unknown
from bench.task import Image, Observation, Setting, format_level, get_task

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bench.measure.quality import Quality

__all__ = ["PROTOCOLS", "Protocol", "get_protocol"]


@dataclass(frozen=True)
class Protocol:
    """How noise is drawn and the answer scored. The name carries the version: a change of either is a new name."""

    name: str
    words: str
    noise: Literal["hashed", "seed-0"]
    rounded: bool

    def seed(self, setting: Setting, dataset: str, image: str, repeat: int) -> tuple[int, ...]:
        """Seed of the noise of one cell, as 32-bit words: a pure function of what it is named after."""
        if self.noise == "seed-0":
            return (repeat,)
        level = format_level(setting.level)
        identity = "\0".join((setting.task, level, dataset, image, str(repeat)))
        digest = hashlib.sha256(identity.encode()).digest()
        return struct.unpack("<8I", digest)

    def observe(self, clean: Image, setting: Setting, seed: tuple[int, ...]) -> Observation:
        """Degrade `clean` (the task's reference image) as the setting says."""
        import numpy as np

        # RandomState, not Generator: NumPy promises that its streams never change (NEP 19).
        stream = np.random.RandomState(seed if len(seed) > 1 else seed[0])
        return get_task(setting.task).observe(clean, setting.level, stream)

    def score(self, x_hat: Image, clean: Image, setting: Setting) -> Quality:
        """PSNR in dB and SSIM of the answer `x_hat` against the reference, both (H, W, C) in [0, 1]."""
        from bench.measure.quality import Quality, psnr_db, ssim

        border = int(setting.level) if setting.task == "superres" else 0
        x, y = (
            self._grey_levels(image)[border : -border or None, border : -border or None] for image in (x_hat, clean)
        )
        return Quality(psnr_db(x, y, peak=255), ssim(x, y, peak=255))

    def _grey_levels(self, image: Image) -> NDArray[np.float64]:
        """[0, 1] to the 0-255 scale in float64; clipped, and rounded where the protocol rounds."""
        import numpy as np

        grey = 255 * np.clip(image.astype(np.float64), 0, 1)
        return np.rint(grey) if self.rounded else grey


PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            "standard-v1",
            "noise seeded by task, level, data set, image and repeat; answer clipped and rounded to 8 bits",
            noise="hashed",
            rounded=True,
        ),
        Protocol(
            "groupsc-v1",
            "noise as in standard-v1; answer clipped to [0, 1] and not rounded, as the GroupSC authors score",
            noise="hashed",
            rounded=False,
        ),
        Protocol(
            "kair-v1",
            "noise from NumPy seed 0 for every image, as in KAIR's scripts; answer clipped and rounded to 8 bits",
            noise="seed-0",
            rounded=True,
        ),
    )
}


def get_protocol(name: str) -> Protocol:
    """The protocol of that name. Raises RequestError with the nearest name."""
    try:
        return PROTOCOLS[name]
    except KeyError:
        raise RequestError(unknown("protocol", name, PROTOCOLS)) from None
