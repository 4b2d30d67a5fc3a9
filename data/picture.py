"""A picture file, opened with every limit, and its 8-bit values: by Pillow alone, without NumPy, to start fast.

What is decoded here may be a stranger's: `bench.data.decoder` does it in a process of its own.
"""

from __future__ import annotations

import contextlib
import io
import os
import struct
import sys
import threading
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import BinaryIO, NamedTuple

from bench.data.errors import DataError, in_a_line
from bench.data.kinds import COUNTS_AS_CLEAN, EXTENSIONS, FORMATS, foreign_kind
from bench.data.limits import most_pixels
from bench.data.regular import open_regular

# those of FORMATS; one that is not loaded here makes Pillow load all of its own
from PIL import (  # noqa: F401
    BmpImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

__all__ = ["MOST_ICC_BYTES", "Values", "jpeg_quality", "open_picture", "read_header", "read_values"]

MOST_ICC_BYTES = 16 << 20
"""of a colour profile: as many as the segments of a JPEG hold"""

_GRAY_MODES = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N")
_ALPHA_MODES = ("LA", "La", "PA", "RGBA", "RGBa")
_REFUSED = {
    "CMYK": "is in CMYK, which has no one conversion to RGB",
    "F": "has floating-point values of unknown range",
    "LAB": "is in Lab colours",
    "HSV": "is in HSV colours",
    "YCbCr": "is in YCbCr colours",
}
_WIDTH, _HEIGHT, _BITS, _ORIENTATION, _PLANAR = 256, 257, 258, 274, 284  # tags of TIFF; of EXIF the last but one
_MOST_WORDS = 200
_BYTES_A_PIXEL = 16
_SPARE_BYTES = 64 << 20
_opening = threading.Lock()


class Values(NamedTuple):
    """The values of a picture; and of a photo, see `bench.data.photo`, what is to be kept beside them.

    width, height, channels  channels: 1 or 3; of a photo 2 or 4 too, where the last is alpha
    content                  rows first, channels last, each value in this machine's order of bytes
    notes                    what was converted or lost, see `bench.data.decode.decode`
    bits                     of a value: 8; of a photo 16 too
    orientation              EXIF's tag, 1 to 8; 1: as stored
    quality                  see `jpeg_quality`
    icc                      colour profile; empty: none
    """

    width: int
    height: int
    channels: int
    content: bytes | bytearray
    notes: tuple[str, ...]
    bits: int = 8
    orientation: int = 1
    quality: str = ""
    icc: bytes | bytearray = b""


def read_header(path: Path) -> tuple[int, int, int]:
    """(width, height, channels) as `read_values` will give them. Raises DataError."""
    with open_picture(path) as image:
        return *_stored_size(image), 1 if image.mode in _GRAY_MODES else 3


def read_values(path: Path) -> Values:
    """The values of a file, as stored. Raises DataError, see `bench.data.decode.decode`."""
    with open_picture(path) as image:
        content, notes = _to_8bit(image, path)
        channels = len(content) // (image.width * image.height)
        return Values(image.width, image.height, channels, content, notes)


@contextlib.contextmanager
def open_picture(path: Path) -> Iterator[Image.Image]:
    """A picture whose header has been read, and no more.

    Raises DataError, naming the file, for what is no regular file, none of the formats that are decoded, larger than
    BENCH_MAX_PIXELS, or damaged; also for whatever Pillow raises in the body.
    """
    try:
        with open_regular(path) as file, _identified(file) as image:
            yield image
    except DataError as error:
        raise error from None
    except Exception as error:  # Pillow's plugins raise many kinds
        reason = in_a_line(_reason(error, path), _MOST_WORDS)
        raise DataError(f"{in_a_line(path)} cannot be read as an image: {reason}. Replace or remove it.") from error


def _identified(file: BinaryIO) -> Image.Image:
    most = most_pixels()
    n_bytes = os.fstat(file.fileno()).st_size
    if n_bytes > _SPARE_BYTES + _BYTES_A_PIXEL * most:  # Pillow may search all of it for a header
        raise ValueError(f"it has {n_bytes} bytes, more than a picture of {most} pixels (BENCH_MAX_PIXELS) takes")
    with warnings.catch_warnings(), _opening:
        warnings.simplefilter("ignore")  # of size and odd metadata; what cannot be decoded raises
        of_pillow, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, most // 2  # it raises above twice that
        try:
            image = Image.open(file, formats=FORMATS)
        finally:
            Image.MAX_IMAGE_PIXELS = of_pillow
    width, height = _stored_size(image)
    if width * height > most:
        raise Image.DecompressionBombError(f"{width}x{height}")
    if not width * height:
        raise ValueError("it has no pixels")
    return image


def _reason(error: Exception, path: Path) -> str:
    if isinstance(error, Image.DecompressionBombError):
        return f"it has more than {most_pixels()} pixels, which are all that BENCH_MAX_PIXELS allows"
    if isinstance(error, UnidentifiedImageError):
        kinds = ", ".join(extension[1:] for extension in EXTENSIONS)
        kind = _foreign_kind(path)
        return f"it is {kind}, and what is read is {kinds}" if kind else "its format is unknown or damaged"
    if isinstance(error, MemoryError):
        return "it takes more memory than a picture of that size needs"
    strerror = error.strerror if isinstance(error, OSError) else None
    return strerror or str(error) or type(error).__name__


def _foreign_kind(path: Path) -> str:
    with contextlib.suppress(OSError), open_regular(path) as file:
        return foreign_kind(file.read(64))
    return ""


def _to_8bit(image: Image.Image, path: Path) -> tuple[bytes, tuple[str, ...]]:
    named, notes = in_a_line(path), []
    if _holds_several(image):
        if image.format != "MPO":  # what cameras save as .jpg: the picture, then previews of it
            raise DataError(f"{named} holds several pictures. Save the one that is meant to a file of its own.")
        notes.append("first of several pictures")
    if losses := _losses(image):
        notes.append(losses)
    if reason := _unfit(image):
        raise DataError(f"{named} {reason}. Save it as 8-bit RGB or gray.")
    if _is_16bit(image):  # asked before the pixels are loaded, which forgets it
        notes.append("16 bits a channel reduced to the upper 8")
    if _is_turned(image):
        notes.append("its EXIF tag says that it is to be rotated: ignored, measured as stored")
    if image.mode.startswith("I"):
        return _upper_8(image), tuple(notes)
    if image.mode == "1":
        notes.append("black and white as 0 and 255")
    if image.mode.startswith("P"):
        notes.append("palette expanded to RGB")
    if image.mode in _ALPHA_MODES or "transparency" in image.info:
        if image.convert("RGBA").getchannel("A").getextrema() != (255, 255):
            raise DataError(f"{named} has transparent pixels. Save it without, over the background that is meant.")
        notes.append("alpha channel dropped (opaque)")
    wanted = "L" if image.mode in _GRAY_MODES else "RGB"
    return (image if image.mode == wanted else image.convert(wanted)).tobytes(), tuple(notes)


def _upper_8(image: Image.Image) -> bytes:
    """The upper byte of values of 16 bits, in Pillow's modes `I;16*`, and `I` where it keeps them in four bytes."""
    content = image.tobytes()
    n_bytes = len(content) // (image.width * image.height)
    is_big = image.mode == "I;16B" or (image.mode in ("I", "I;16N") and sys.byteorder == "big")
    return content[n_bytes - 2 if is_big else 1 :: n_bytes]


def _holds_several(image: Image.Image) -> bool:
    """Whether there is more than one page or frame. They are not counted: a small file may have millions."""
    return bool(getattr(image, "is_animated", False))


def _stored_size(image: Image.Image) -> tuple[int, int]:
    """(width, height); of a TIFF that has a rotation tag Pillow tells those after rotation."""
    tags = getattr(image, "tag_v2", {})
    return tags.get(_WIDTH, image.width), tags.get(_HEIGHT, image.height)


def _is_turned(image: Image.Image) -> bool:
    """Whether a tag says that the picture is to be rotated or mirrored. From here on Pillow does not know it.

    It would rotate a TIFF on loading, and no other kind.
    """
    with warnings.catch_warnings(), contextlib.suppress(Exception):  # damaged metadata is no damaged picture
        warnings.simplefilter("ignore")
        turn = image.getexif().pop(_ORIENTATION, 1)
        image._size = _stored_size(image)
        return turn in range(2, 9)
    return False


def _losses(image: Image.Image) -> str:
    """The remark on how the file was compressed, by its content; empty if nothing was lost by that."""
    if quality := jpeg_quality(image):
        return f"a JPEG of quality {quality}, {COUNTS_AS_CLEAN}"
    compression = str(image.info.get("compression", ""))
    if image.format == "TIFF" and ("jpeg" in compression or compression == "webp"):
        return f"a TIFF compressed as {compression.removeprefix('tiff_').upper()}, {COUNTS_AS_CLEAN}"
    if image.format == "WEBP" and not _webp_is_lossless(image):
        return f"a lossy WebP, {COUNTS_AS_CLEAN}"
    return ""


def _webp_is_lossless(image: Image.Image) -> bool:
    """Whether the picture's chunk is VP8L; in an extended file others come before it. Pillow has read the file."""
    file = getattr(image, "fp", None)
    if file is None:
        return False
    file.seek(12)
    while len(head := file.read(8)) == 8:
        kind, size = struct.unpack("<4sI", head)
        if kind in (b"VP8 ", b"VP8L"):
            return bool(kind == b"VP8L")
        file.seek(16 if kind == b"ANMF" else size + size % 2, os.SEEK_CUR)  # a frame holds chunks of its own
    return False


def jpeg_quality(image: Image.Image) -> str:
    """The IJG quality whose luma quantisation table an opened JPEG has: "75", "about 90" if none is quite its own.

    Empty for any other kind of file.
    """
    table = getattr(image, "quantization", {}).get(0)
    if not table:
        return ""
    tables = _ijg_tables()
    nearest = min(tables, key=lambda quality: _distance(tables[quality], table))
    return f"{nearest}" if tables[nearest] == [*table] else f"about {nearest}"


def _distance(one: list[int], other: list[int]) -> int:
    return sum(abs(a - b) for a, b in zip(one, other, strict=True))


@cache
def _ijg_tables() -> dict[int, list[int]]:
    """libjpeg's luma table at each quality, as it writes them itself."""
    tables = {}
    for quality in range(1, 101):
        coded = io.BytesIO()
        Image.new("L", (8, 8)).save(coded, "JPEG", quality=quality)
        tables[quality] = [*Image.open(coded, formats=("JPEG",)).quantization[0]]  # type: ignore[attr-defined]
    return tables


def _unfit(image: Image.Image) -> str | None:
    """Why the values have no one conversion to 8-bit gray or RGB, or None."""
    if image.mode == "I" and image.format == "TIFF":
        return "has 32-bit values of unknown range"
    tags = getattr(image, "tag_v2", {})
    if tags.get(_PLANAR) == 2 and 16 in tags.get(_BITS, ()) and image.info.get("compression") == "raw":
        return "keeps its channels of 16 bits apart, which Pillow reads wrongly"
    return _REFUSED.get(image.mode)


def _is_16bit(image: Image.Image) -> bool:
    """Whether a channel of the file has 16 bits: Pillow opens 16-bit colours as 8-bit ones without a word."""
    if image.mode.startswith("I"):
        return True
    coding = [tile[3] for tile in getattr(image, "tile", ())]  # e.g. "RGB;16B", ("RGB;16L", 0, 1), ("RGB", 65535)
    return any(";16" in str(args) for args in coding) or (
        image.format == "PPM" and any(isinstance(args, tuple) and int(args[-1]) > 255 for args in coding)
    )
