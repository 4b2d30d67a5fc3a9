"""A picture of one's own, to be restored: read with all that is to be kept, and written so that nothing is lost.

Data sets are read by `bench.data.decode`, which knows 8 bits and refuses transparency. Here 16 bits stay 16 bits,
and an alpha channel, an ICC profile and the tag of rotation go from the file that is read to the one that is written.
"""

from __future__ import annotations

import contextlib
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from bench.data.decode import decode
from bench.data.errors import DataError, in_a_line
from bench.data.picture import jpeg_quality, open_picture
from numpy.typing import NDArray
from PIL import Image

__all__ = ["Photo", "read_photo"]

Stored = NDArray[Any]
"""uint8 or uint16"""

_ALPHA_MODES = ("LA", "La", "PA", "RGBA", "RGBa")
_GRAY_MODES = ("1", "L", "LA", "La")
_OF_MEASURING = ("measured", "count as clean")
"""words of remarks that concern who measures a picture, and not who restores it"""

_WIDTH, _HEIGHT, _BITS, _ORIENTATION, _PLANAR = 256, 257, 258, 274, 284  # tags of TIFF; of EXIF too the fourth
_LAYOUTS = {"LA;16B": 2} | {f"{mode};16{order}": len(mode) for mode in ("RGB", "RGBA") for order in "BLN"}
"""Pillow's words for 16 bits a channel -> channels"""


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
    """The picture of a file. Raises DataError, naming the file, as `bench.data.decode.decode` does.

    Transparency is no fault here: the alpha channel is kept beside the picture.
    """
    with open_picture(path) as image:
        return _photo(image, path)


def _photo(image: Image.Image, path: Path) -> Photo:
    icc, quality = image.info.get("icc_profile") or b"", jpeg_quality(image)
    orientation = _taken_orientation(image)
    several = bool(getattr(image, "is_animated", False))
    stored: Stored | None = None if several else _16_bit(image, path)
    note = ""
    if stored is None and not several and _has_alpha(image):
        is_gray = image.mode in _GRAY_MODES
        stored = np.asarray(image.convert("RGBA"))[..., [0, 3] if is_gray else [0, 1, 2, 3]]
        note = "palette expanded to RGB" if image.mode.startswith("P") else ""
    if stored is None:
        stored, note = decode(path)
    pixels = _to_unit(stored)
    channels = 3 if pixels.shape[2] > 2 else 1
    return Photo(
        pixels[..., :channels],
        pixels[..., channels:] if pixels.shape[2] > channels else None,
        8 * stored.dtype.itemsize,
        icc,
        orientation,
        quality,
        _for_restoring(note),
    )


def _has_alpha(image: Image.Image) -> bool:
    return image.mode in _ALPHA_MODES or "transparency" in image.info


def _taken_orientation(image: Image.Image) -> int:
    """The tag of rotation, which Pillow then knows no more: it would turn a TIFF on loading, and no other kind."""
    with warnings.catch_warnings(), contextlib.suppress(Exception):  # damaged metadata is no damaged picture
        warnings.simplefilter("ignore")
        turn = image.getexif().pop(_ORIENTATION, 1)
        tags = getattr(image, "tag_v2", {})
        image._size = tags.get(_WIDTH, image.width), tags.get(_HEIGHT, image.height)
        return turn if turn in range(1, 9) else 1
    return 1


def _16_bit(image: Image.Image, path: Path) -> NDArray[np.uint16] | None:
    """Pixels uint16 (H, W, 1 to 4) of a PNG or TIFF of 16 bits a channel, alpha last; None for any other file.

    Pillow has no such colours: it reads the upper byte of each value, by a word for the order of the two. Read once
    more by the word for the other order, it gives the lower bytes.
    """
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        gray = np.asarray(image)[..., np.newaxis]
        return None if "transparency" in image.info else gray.astype(np.uint16)
    tags = getattr(image, "tag_v2", {})
    if tags.get(_PLANAR) == 2 and 16 in tags[_BITS]:
        why = "keeps its channels of 16 bits apart, which Pillow reads wrongly. Save it with the channels interleaved"
        raise DataError(f"{in_a_line(path)} {why}.")
    coding = getattr(image, "tile", None)
    word = _layout(coding[0]) if coding else ""
    if word not in _LAYOUTS:
        return None
    if word == "LA;16B":  # the four bytes of each pixel, as those of another layout
        bytes_of = _loaded(path, "RGBA")
        high, low = bytes_of[..., [0, 2]], bytes_of[..., [1, 3]]
    else:
        channels = _LAYOUTS[word]
        low, high = (_loaded(path, order)[..., :channels] for order in (_swapped(word), word))
    both: NDArray[np.uint16] = 256 * high.astype(np.uint16) + low
    return both


def _layout(tile: Any) -> str:
    return str(tile.args[0] if isinstance(tile.args, tuple) else tile.args)


def _swapped(word: str) -> str:
    """The word for the other order of bytes; N is this machine's own."""
    kind, _, order = word.partition(";16")
    is_little = order == "L" or (order == "N" and sys.byteorder == "little")
    return f"{kind};16{'B' if is_little else 'L'}"


def _loaded(path: Path, word: str) -> NDArray[np.uint8]:
    """The bytes of the picture under another word."""
    with open_picture(path) as image:
        _taken_orientation(image)
        opened: Any = image
        opened.tile = [_renamed(tile, word) for tile in opened.tile]
        return np.array(image)


def _renamed(tile: Any, word: str) -> Any:
    return tile._replace(args=(word, *tile.args[1:]) if isinstance(tile.args, tuple) else word)


def _to_unit(stored: Stored) -> NDArray[np.float32]:
    """Whole numbers to float32 in [0, 1]."""
    most = np.float32(np.iinfo(stored.dtype).max)
    unit: NDArray[np.float32] = stored.astype(np.float32) / most
    return unit


def _for_restoring(note: str) -> str:
    kept = [part for part in note.split("; ") if part and not any(word in part for word in _OF_MEASURING)]
    return "; ".join(kept)
