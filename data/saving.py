"""Writes a restored picture: PNG, TIFF or WebP, without loss, of 8 or 16 bits a channel. A whole file or none."""

from __future__ import annotations

import contextlib
import os
import struct
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from bench.data.errors import DataError, in_a_line
from numpy.typing import NDArray

__all__ = ["FORMATS", "Kept", "check_suffix", "save", "written_whole"]

FORMATS = (".png", ".tif", ".tiff", ".webp")
"""What a restored picture may be written as, by the suffix of its file: none of them loses anything."""

Pixels = NDArray[np.uint8] | NDArray[np.uint16]

_BAND = 256  # rows that are filtered at a time
_PAETH = 4  # the filter of PNG that is used for every row
_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # of PNG, by channels: gray, gray and alpha, RGB, RGB and alpha
_ORIENTATION = 274


@dataclass(frozen=True)
class Kept:
    """What goes into the file beside the picture.

    alpha        float32 (H, W, 1) in [0, 1], or None
    bits         a channel: 8 or 16
    icc          colour profile; empty: none
    orientation  EXIF's tag; 1: none is written
    """

    alpha: NDArray[np.float32] | None = None
    bits: int = 8
    icc: bytes = b""
    orientation: int = 1


def check_suffix(path: Path) -> None:
    """Raise DataError if a picture cannot be written to a file of that name without loss."""
    if path.suffix.lower() not in FORMATS:
        found = f"'{path.suffix}' is" if path.suffix else "no suffix is"
        raise DataError(f"{in_a_line(path)}: {found} none of the lossless formats {', '.join(FORMATS)}.")


def save(image: NDArray[np.floating], path: Path, kept: Kept | None = None) -> None:
    """Write `image` (H, W, 1 or 3), clipped to [0, 1] and rounded to the bits of `kept` (default: 8, nothing else).

    Raises DataError if the format cannot hold it, or the file cannot be written: then there is no new file.
    """
    check_suffix(path)
    kept = kept or Kept()
    planes = image if kept.alpha is None else np.concatenate([image, kept.alpha], axis=2)
    pixels = _rounded(planes, kept.bits)
    kind = path.suffix.lower()
    if kind == ".webp" and kept.bits > 8:
        raise DataError(
            f"{in_a_line(path)}: WebP holds 8 bits a channel, and the picture has {kept.bits}: name a .png or .tif."
        )
    with written_whole(path) as file:
        write = {".png": _write_png, ".webp": _write_webp}.get(kind, _write_tiff)
        write(file, pixels, kept)


def _rounded(planes: NDArray[np.floating], bits: int) -> Pixels:
    most, kind = (255, np.uint8) if bits == 8 else (65_535, np.uint16)
    scaled = np.clip(planes, 0, 1)
    scaled *= most
    pixels: Pixels = np.rint(scaled, out=scaled).astype(kind)  # in place: a picture may fill the memory
    return pixels


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[BinaryIO]:
    """A file to write to, which takes its name when the block ends well, and is removed when it does not.

    Raises DataError, naming the file, for what the system says.
    """
    part = None
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name[:100]}.", suffix=".part", dir=path.parent)
        part = Path(name)
        os.close(handle)
        with part.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.chmod(0o666 & ~_umask())  # mkstemp's files are for their owner alone
        part.replace(path)
        part = None
    except OSError as error:
        raise DataError(f"{in_a_line(path)} cannot be written: {error.strerror or error}.") from None
    finally:
        if part is not None:
            part.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


# --- PNG ---------------------------------------------------------------------------------------------


def _write_png(file: BinaryIO, pixels: Pixels, kept: Kept) -> None:
    """Pillow writes no 16-bit colours. Portable Network Graphics, 2nd edition (W3C 2003), Secs. 9 and 11."""
    height, width, channels = pixels.shape
    file.write(b"\x89PNG\r\n\x1a\n")
    _chunk(file, b"IHDR", struct.pack(">IIBBBBB", width, height, kept.bits, _COLOUR_TYPES[channels], 0, 0, 0))
    if kept.icc:
        _chunk(file, b"iCCP", b"ICC profile\0\0" + zlib.compress(kept.icc))
    if kept.orientation != 1:
        _chunk(file, b"eXIf", _exif(kept.orientation))
    for data in _compressed(pixels):
        _chunk(file, b"IDAT", data)
    _chunk(file, b"IEND", b"")


def _chunk(file: BinaryIO, kind: bytes, data: bytes) -> None:
    file.write(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)))


def _compressed(pixels: Pixels) -> Iterator[bytes]:
    height, width, channels = pixels.shape
    step = channels * pixels.dtype.itemsize  # bytes of a pixel
    rows = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder(">")).view(np.uint8).reshape(height, width * step)
    coder = zlib.compressobj(6)
    above = np.zeros((1, width * step), np.uint8)
    for top in range(0, height, _BAND):
        band = rows[top : top + _BAND]
        filtered = np.full((len(band), 1 + width * step), _PAETH, np.uint8)
        filtered[:, 1:] = band - _paeth(band, np.concatenate([above, band[:-1]]), step)
        above = band[-1:]
        if data := coder.compress(filtered.tobytes()):
            yield data
    yield coder.flush()


def _paeth(rows: NDArray[np.uint8], above: NDArray[np.uint8], step: int) -> NDArray[np.uint8]:
    """What PNG's Paeth filter predicts of each byte: of those left (a), above (b), left above (c) the nearest to
    a + b - c, in this order where they are equally near."""
    b = above.astype(np.int16)
    a, c = (np.pad(x[:, :-step], ((0, 0), (step, 0))) for x in (rows.astype(np.int16), b))
    to_a, to_b, to_c = np.abs(b - c), np.abs(a - c), np.abs(a + b - 2 * c)
    nearest = np.where((to_a <= to_b) & (to_a <= to_c), a, np.where(to_b <= to_c, b, c))
    return nearest.astype(np.uint8)


def _exif(orientation: int) -> bytes:
    """TIFF's header, and one directory of one tag: a short."""
    return b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, _ORIENTATION, 3, 1, orientation, 0, 0)


# --- the others --------------------------------------------------------------------------------------


def _write_tiff(file: BinaryIO, pixels: Pixels, kept: Kept) -> None:
    import tifffile

    channels = pixels.shape[2]
    tifffile.imwrite(
        file,
        pixels if channels > 1 else pixels[..., 0],
        photometric="rgb" if channels > 2 else "minisblack",
        planarconfig="contig" if channels > 1 else None,
        extrasamples=["unassalpha"] if kept.alpha is not None else None,
        compression="zlib",
        predictor=True,
        iccprofile=kept.icc or None,
        extratags=[(_ORIENTATION, "H", 1, kept.orientation, True)] if kept.orientation != 1 else [],
        metadata=None,
    )


def _write_webp(file: BinaryIO, pixels: Pixels, kept: Kept) -> None:
    from PIL import Image

    mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[pixels.shape[2]]
    picture = Image.frombytes(mode, pixels.shape[1::-1], pixels.tobytes())
    picture.convert("RGBA" if mode.endswith("A") else "RGB").save(
        file,
        "WEBP",
        lossless=True,
        exact=True,  # colours under transparent pixels too
        icc_profile=kept.icc,
        exif=b"Exif\0\0" + _exif(kept.orientation) if kept.orientation != 1 else b"",
    )
