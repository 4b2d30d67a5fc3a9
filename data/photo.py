"""A picture of one's own, to be restored: read with all that is to be kept, and written so that nothing is lost.

Data sets are read by `bench.data.decode`, which knows 8 bits and refuses transparency. Here 16 bits stay 16 bits,
and an alpha channel, an ICC profile and the tag of rotation go from the file that is read to the one that is written.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from bench.data.decoder import photo
from numpy.typing import NDArray

__all__ = ["Photo", "read_photo"]

_OF_MEASURING = ("measured", "count as clean")
"""words of remarks that concern who measures a picture, and not who restores it"""


@dataclass(frozen=True)
class Photo:
    """What a file holds.

    image        float32 (H, W, C) in [0, 1], C = 1 or 3, as stored: no rotation is applied
    alpha        float32 (H, W, 1) in [0, 1], or None if there is none
    bits         a channel: 8 or 16
    icc          the colour profile, empty if there is none
    orientation  EXIF's tag, 1 to 8; 1: as stored
    quality      of a JPEG file the IJG quality, in words: `75`, `about 90`; empty for others
    note         what was converted, in words; empty if nothing was
    """

    image: NDArray[np.float32]
    alpha: NDArray[np.float32] | None = None
    bits: int = 8
    icc: bytes = b""
    orientation: int = 1
    quality: str = ""
    note: str = ""


def read_photo(path: Path) -> Photo:
    """The picture of a file, decoded in the process that decodes pictures.

    Transparency is no fault here: the alpha channel is kept beside the picture. Raises DataError, naming the file, as
    `bench.data.decoder.decode` does.
    """
    values = photo(path)
    kind = np.uint8 if values.bits == 8 else np.uint16
    stored: NDArray[Any] = np.frombuffer(values.content, kind).reshape(values.height, values.width, values.channels)
    most = np.float32(2**values.bits - 1)
    unit: NDArray[np.float32] = stored.astype(np.float32) / most
    channels = 3 if values.channels > 2 else 1
    return Photo(
        unit[..., :channels],
        unit[..., channels:] if values.channels > channels else None,
        values.bits,
        bytes(values.icc),
        values.orientation,
        values.quality,
        _for_restoring(values.notes),
    )


def _for_restoring(notes: tuple[str, ...]) -> str:
    return "; ".join(note for note in notes if not any(word in note for word in _OF_MEASURING))
