"""The values of a photo as its file has them: 8 or 16 bits, alpha, profile and rotation kept.

The file may be a stranger's: `bench.data.decoder` calls this in a process of its own.
"""

from __future__ import annotations

import contextlib
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from bench.data.errors import DataError, in_a_line
from bench.data.picture import MOST_ICC_BYTES, Values, jpeg_quality, open_picture, read_values
from numpy.typing import NDArray
from PIL import Image

__all__ = ["read_photo_values"]

_ALPHA_MODES = ("LA", "La", "PA", "RGBA", "RGBa")
_GRAY_MODES = ("1", "L", "LA", "La")

_WIDTH, _HEIGHT, _BITS, _ORIENTATION, _PLANAR = 256, 257, 258, 274, 284  # tags of TIFF; of EXIF too the fourth
_LAYOUTS = {"LA;16B": 2} | {f"{mode};16{order}": len(mode) for mode in ("RGB", "RGBA") for order in "BLN"}
"""Pillow's words for 16 bits a channel -> channels"""


def read_photo_values(path: Path) -> Values:
    """The values of a file, as stored. Raises DataError, naming the file, as `bench.data.picture.read_values` does.

    Transparency is no fault here: alpha is a last channel.
    """
    with open_picture(path) as image:
        icc, quality = image.info.get("icc_profile") or b"", jpeg_quality(image)
        word = _layout(image)  # a PNG is loaded for its rotation, and has no such word then
        orientation = _taken_orientation(image)
        notes: tuple[str, ...] = ()
        stored: NDArray[Any] | None = None
        if not getattr(image, "is_animated", False):
            stored = _16_bit(image, path, word)
            if stored is None and _has_alpha(image):
                stored = _with_alpha(image)
                notes = ("palette expanded to RGB",) if image.mode.startswith("P") else ()
    if stored is None:
        values = read_values(path)
    else:
        height, width, channels = stored.shape
        values = Values(width, height, channels, stored.tobytes(), notes, 8 * stored.itemsize)
    if len(icc) > MOST_ICC_BYTES:
        too_large = f"its colour profile, of {len(icc) >> 20} MiB, was left out"
        icc, values = b"", values._replace(notes=(*values.notes, too_large))
    return values._replace(orientation=orientation, quality=quality, icc=icc)


def _has_alpha(image: Image.Image) -> bool:
    return image.mode in _ALPHA_MODES or "transparency" in image.info


def _with_alpha(image: Image.Image) -> NDArray[np.uint8]:
    """Gray and alpha, or RGBA."""
    is_gray = image.mode in _GRAY_MODES
    return np.asarray(image.convert("RGBA"))[..., [0, 3] if is_gray else [0, 1, 2, 3]]


def _taken_orientation(image: Image.Image) -> int:
    """The tag of rotation, which Pillow then knows no more: it would turn a TIFF on loading, and no other kind."""
    with warnings.catch_warnings(), contextlib.suppress(Exception):  # damaged metadata is no damaged picture
        warnings.simplefilter("ignore")
        turn = image.getexif().pop(_ORIENTATION, 1)
        tags = getattr(image, "tag_v2", {})
        image._size = tags.get(_WIDTH, image.width), tags.get(_HEIGHT, image.height)
        return turn if turn in range(1, 9) else 1
    return 1


def _16_bit(image: Image.Image, path: Path, word: str) -> NDArray[np.uint16] | None:
    """Pixels uint16 (H, W, 1 to 4) of a PNG or TIFF of 16 bits a channel, alpha last; None for any other file.

    Pillow has no such colours: it reads the upper byte of each value, by a word for the order of the two. Read once
    more by the word for the other order, it gives the lower bytes.
    """
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        return _with_transparent_value(np.asarray(image)[..., np.newaxis].astype(np.uint16), image)
    tags = getattr(image, "tag_v2", {})
    if tags.get(_PLANAR) == 2 and 16 in tags[_BITS]:
        why = "keeps its channels of 16 bits apart, which Pillow reads wrongly. Save it with the channels interleaved"
        raise DataError(f"{in_a_line(path)} {why}.")
    if word not in _LAYOUTS:
        return None
    if word == "LA;16B":  # the four bytes of each pixel, as those of another layout
        bytes_of = _loaded(path, "RGBA")
        high, low = bytes_of[..., [0, 2]], bytes_of[..., [1, 3]]
    else:
        channels = _LAYOUTS[word]
        low, high = (_loaded(path, order)[..., :channels] for order in (_swapped(word), word))
    both: NDArray[np.uint16] = 256 * high.astype(np.uint16) + low
    return _with_transparent_value(both, image)


def _with_transparent_value(pixels: NDArray[np.uint16], image: Image.Image) -> NDArray[np.uint16]:
    """uint16 (H, W, C), and alpha as a last channel if a PNG says that one gray or one colour is transparent."""
    if "transparency" not in image.info:
        return pixels
    is_opaque = (pixels != np.asarray(image.info["transparency"])).any(axis=2, keepdims=True)
    return np.concatenate([pixels, np.uint16(65535) * is_opaque], axis=2, dtype=np.uint16)


def _layout(image: Image.Image) -> str:
    """Pillow's word for how the values lie in the file; empty if it has none, or the picture was loaded."""
    for tile in getattr(image, "tile", ()):
        return str(tile.args[0] if isinstance(tile.args, tuple) else tile.args)
    return ""


def _swapped(word: str) -> str:
    """The word for the other order of bytes; N is this machine's own."""
    kind, _, order = word.partition(";16")
    is_little = order == "L" or (order == "N" and sys.byteorder == "little")
    return f"{kind};16{'B' if is_little else 'L'}"


def _loaded(path: Path, word: str) -> NDArray[np.uint8]:
    """The bytes of the picture under another word."""
    with open_picture(path) as image:
        opened: Any = image
        opened.tile = [_renamed(tile, word) for tile in opened.tile]
        _taken_orientation(image)
        return np.array(image)


def _renamed(tile: Any, word: str) -> Any:
    return tile._replace(args=(word, *tile.args[1:]) if isinstance(tile.args, tuple) else word)
