"""Pictures made odd: flipped, cut, spliced, lying about their size, of other kinds, special files, odd names.

Each is read as a file of a user's folder is. It gives pixels, or one line that names it; and nothing else happens.
"""

from __future__ import annotations

import atexit
import io
import os
import resource
import shutil
import socket
import struct
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random

import numpy as np
from bench.data import datasets, decoder
from bench.data.errors import DataError
from PIL import Image

from tests.faults.campaign import Outcome, Try

ATTEMPTS = 600

MOST_PIXELS = 200_000
"""BENCH_MAX_PIXELS in an attempt"""

SECONDS = 10.0
"""that one may take on a loaded machine"""

SPARE_MIB = 64
WORDS_BYTES = 3_000

Pixels = np.ndarray
Maker = Callable[[Random, Path], None]


def _pixels(random: Random, channels: int) -> Pixels:
    height, width = random.randint(1, 60), random.randint(1, 60)
    made = np.random.default_rng(random.getrandbits(32)).integers(0, 256, (height, width, channels), np.uint8)
    smooth = np.add.outer(np.arange(height), np.arange(width))[..., None] % 256
    return (made if random.random() < 0.5 else np.broadcast_to(smooth, made.shape)).astype(np.uint8)


def _valid(random: Random) -> tuple[bytes, str]:
    """A small picture of any kind that is decoded, and its extension."""
    mode = random.choice(["L", "RGB", "RGBA", "LA", "P", "1", "I;16"])
    channels = {"RGB": 3, "RGBA": 4, "LA": 2}.get(mode, 1)
    pixels = _pixels(random, channels)
    if mode == "I;16":
        image = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    else:
        image = Image.fromarray(pixels if channels > 1 else pixels[..., 0]).convert(mode)
    kind = random.choice(["PNG", "PNG", "TIFF", "TIFF", "JPEG", "WEBP", "BMP", "PPM", "MPO"])
    if kind in ("JPEG", "PPM", "WEBP", "MPO", "BMP") and mode not in ("L", "RGB"):
        image = Image.fromarray(pixels[..., 0]).convert("RGB")
    options = {
        "TIFF": lambda: {"compression": random.choice([None, "tiff_lzw", "tiff_deflate", "packbits"])},
        "WEBP": lambda: {"lossless": random.random() < 0.5},
        "JPEG": lambda: {"progressive": random.random() < 0.5, "quality": random.randint(1, 100)},
        "PNG": lambda: {"icc_profile": b"profile"} if random.random() < 0.3 else {},
        "MPO": lambda: {"save_all": True, "append_images": [image]},
    }.get(kind, dict)()
    coded = io.BytesIO()
    image.save(coded, kind, **options)
    extension = {"JPEG": "jpg", "MPO": "jpg", "TIFF": "tif"}.get(kind, kind.lower())
    return coded.getvalue(), extension


# --- mutations of a valid file ---


def _flips(random: Random, content: bytearray) -> bytes:
    for _ in range(random.choice([1, 1, 2, 8, 64])):
        content[random.randrange(len(content))] ^= 1 << random.randrange(8)
    return bytes(content)


def _flips_of_the_header(random: Random, content: bytearray) -> bytes:
    for _ in range(random.choice([1, 2, 4])):
        content[random.randrange(min(64, len(content)))] = random.randrange(256)
    return bytes(content)


def _cut(random: Random, content: bytearray) -> bytes:
    return bytes(content[: random.randrange(len(content))])


def _spliced(random: Random, content: bytearray) -> bytes:
    other, _ = _valid(random)
    at, where = random.randrange(len(content)), random.randrange(len(other))
    return bytes(content[:at]) + other[where : where + random.randrange(1, 500)] + bytes(content[at:])


def _repeated(random: Random, content: bytearray) -> bytes:
    at = random.randrange(len(content))
    return bytes(content[:at]) + bytes(content[at : at + random.randrange(1, 40)]) * 500 + bytes(content[at:])


def _extreme_numbers(random: Random, content: bytearray) -> bytes:
    for _ in range(random.choice([1, 3])):
        at, width = random.randrange(len(content)), random.choice([2, 4])
        number = random.choice([0, 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1]) % (1 << (8 * width))
        content[at : at + width] = number.to_bytes(width, random.choice(["big", "little"]))
    return bytes(content)


def _trailing(random: Random, content: bytearray) -> bytes:
    return bytes(content) + random.choice([random.randbytes(100_000), b"%!PS\nshowpage", b"PK\3\4", bytes(1 << 20)])


MUTATIONS = {
    "untouched": lambda random, content: bytes(content),
    "bits flipped": _flips,
    "header flipped": _flips_of_the_header,
    "cut": _cut,
    "spliced": _spliced,
    "repeated": _repeated,
    "extreme numbers": _extreme_numbers,
    "something after it": _trailing,
}


# --- made by hand ---


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _png(width: int, height: int, depth: int = 8, colour: int = 0, rows: bytes = b"", extra: bytes = b"") -> bytes:
    head = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    body = head + extra + _chunk(b"IDAT", zlib.compress(rows)) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def _tiff(tags: dict[int, int], data: bytes = b"", following: int = 0) -> bytes:
    """A little-endian TIFF of one directory of 32-bit numbers. 0x111, where the data lie, is set to that."""
    begin = 8 + 2 + 12 * len(tags) + 4
    entries = b"".join(
        struct.pack("<HHII", tag, 4, 1, begin if number == -1 else number) for tag, number in sorted(tags.items())
    )
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", following) + data


def _plain_tiff(random: Random, **other: int) -> bytes:
    tags = {256: 8, 257: 8, 258: 8, 259: 1, 262: 1, 273: -1, 277: 1, 278: 8, 279: 64}
    tags.update({int(tag[1:]): number for tag, number in other.items()})
    return _tiff(tags, random.randbytes(64), following=0)


def _bomb_of_text(random: Random) -> bytes:
    text = b"key\0\0" + zlib.compress(bytes(1 << 25), 9)
    return _png(8, 8, rows=bytes(72), extra=_chunk(b"zTXt", text) * random.randint(1, 20))


def _bomb_of_profile(random: Random) -> bytes:
    return _png(8, 8, rows=bytes(72), extra=_chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(1 << 26), 9)))


def _bomb_of_rows(random: Random) -> bytes:
    return _png(8, 8, rows=bytes(1 << 26))


def _webp_canvas(random: Random) -> bytes:
    side = struct.pack("<I", random.choice([16_382, 2**24 - 1]))[:3]
    chunk = b"VP8X" + struct.pack("<I", 10) + bytes([2, 0, 0, 0]) + side + side
    chunk += b"ANIM" + struct.pack("<I", 6) + bytes(6)
    return b"RIFF" + struct.pack("<I", len(chunk) + 4) + b"WEBP" + chunk


def _circle_of_pages(random: Random) -> bytes:
    return _tiff({256: 8, 257: 8}, following=8)


def _many_pages(random: Random) -> bytes:
    page = struct.pack("<HHHII", 1, 256, 4, 1, 8)
    return (
        b"II*\0" + struct.pack("<I", 8) + b"".join(page + struct.pack("<I", 8 + 18 * (i + 1)) for i in range(50_000))
    )


def _film(random: Random) -> bytes:
    return _png(8, 8, rows=bytes(72), extra=_chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0)))


def _saved_as(kind: str) -> Callable[[Random], bytes]:
    def made(random: Random) -> bytes:
        coded = io.BytesIO()
        Image.fromarray(_pixels(random, 3)).save(coded, kind)
        return coded.getvalue()

    return made


def _huge_jpeg(random: Random) -> bytes:
    coded = io.BytesIO()
    Image.new("L", (16, 16)).save(coded, "JPEG")
    content = bytearray(coded.getvalue())
    at = content.index(b"\xff\xc0") + 5
    content[at : at + 4] = struct.pack(">HH", 65_000, 65_000)
    return bytes(content)


_EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n(touched) (w) file pop showpage\n"
_SVG = b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>"


def _eps_with_a_preview(random: Random) -> bytes:
    return b"\xc5\xd0\xd3\xc6" + struct.pack("<II", 30, len(_EPS)) + bytes(18) + _EPS


def _huge_bmp(random: Random) -> bytes:
    sides = 10**5, -(10**5)
    return b"BM" + struct.pack("<IIIIiiHHIIIIII", 99, 0, 54, 40, *sides, 1, 24, 0, 0, 0, 0, 0, 0)


MADE: dict[str, Callable[[Random], bytes]] = {
    "nothing": lambda random: b"",
    "noise": lambda random: random.randbytes(random.randint(1, 5000)),
    "zeros": lambda random: bytes(random.randint(1, 1 << 20)),
    "a PNG that claims to be huge": lambda random: _png(random.choice([10**5, 2**31 - 1]), 10**5),
    "a PNG above the limit by little": lambda random: _png(MOST_PIXELS + 1, 1, rows=bytes(MOST_PIXELS + 2)),
    "a PNG of the limit": lambda random: _png(MOST_PIXELS // 2, 2, rows=bytes(MOST_PIXELS + 2)),
    "a PNG of no pixels": lambda random: _png(0, random.choice([0, 9])),
    "a PNG of odd depth": lambda random: _png(8, 8, random.choice([0, 3, 32, 255]), random.choice([0, 2, 7])),
    "a PNG without rows": lambda random: _png(100, 100),
    "a PNG with a bomb of text": _bomb_of_text,
    "a PNG with a bomb of a profile": _bomb_of_profile,
    "a PNG with more rows than it has": _bomb_of_rows,
    "a PNG that is a film of 2 billion": _film,
    "a TIFF that claims to be huge": lambda random: _plain_tiff(random, t256=2**31, t257=2**31),
    "a TIFF of huge strips": lambda random: _plain_tiff(random, t278=2**32 - 1, t279=2**32 - 1),
    "a TIFF of huge tiles": lambda random: _plain_tiff(
        random, t259=8, t322=2 ** random.choice([16, 24]), t323=2**16, t324=8, t325=64
    ),
    "a TIFF of many samples": lambda random: _plain_tiff(random, t277=random.choice([0, 64, 65_535])),
    "a TIFF of odd depth": lambda random: _plain_tiff(random, t258=random.choice([0, 7, 33, 2**31])),
    "a TIFF of an unknown coding": lambda random: _plain_tiff(random, t259=random.choice([0, 2, 3, 4, 6, 34_712, 9])),
    "a TIFF whose pages go in a circle": _circle_of_pages,
    "a TIFF of 50,000 pages": _many_pages,
    "a WebP of a huge canvas": _webp_canvas,
    "a JPEG that claims to be huge": _huge_jpeg,
    "a PGM that claims to be huge": lambda random: b"P5 999999999 999999999 255\n" + bytes(99),
    "a PGM of a number without an end": lambda random: b"P5 " + b"9" * 1_000_000,
    "a PPM of an odd range": lambda random: (
        b"P6 2 2 " + random.choice([b"0", b"-1", b"65536", b"1e9"]) + b"\n" + bytes(24)
    ),
    "a PPM in words": lambda random: b"P3 60 60 255\n" + b"1 2 3\n" * random.randint(0, 3600),
    "a PAM": lambda random: b"P7\nWIDTH 2\nHEIGHT 2\nDEPTH 3\nMAXVAL 255\nTUPLTYPE RGB\nENDHDR\n" + bytes(12),
    "a PFM": lambda random: b"Pf\n2 2\n-1.0\n" + bytes(16),
    "a BMP that claims to be huge": lambda random: (
        b"BM" + struct.pack("<IIIIiiHHIIIIII", 99, 0, 54, 40, 10**5, -(10**5), 1, 24, 0, 0, 0, 0, 0, 0)
    ),
    "an EPS": lambda random: _EPS,
    "an EPS with a preview": lambda random: (
        b"\xc5\xd0\xd3\xc6" + struct.pack("<II", 30, len(_EPS)) + bytes(18) + _EPS
    ),
    "an SVG": lambda random: _SVG,
    "a PDF": _saved_as("PDF"),
    "a GIF": _saved_as("GIF"),
    "a JPEG 2000": _saved_as("JPEG2000"),
    "an icon": _saved_as("ICO"),
    "a TGA": _saved_as("TGA"),
    "a PCX": _saved_as("PCX"),
    "a script": lambda random: b"#!/bin/sh\ntouch touched\n",
    "a web page": lambda random: b"<!DOCTYPE html><script>alert(1)</script>",
    "a pointer of Git LFS": lambda random: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
    "a PNG that is a zip too": lambda random: _png(8, 8, rows=bytes(72)) + b"PK\3\4" + bytes(99),
    "a zip": lambda random: b"PK\3\4" + bytes(99),
}


# --- that are no ordinary files, or have odd names ---


def _pipe(random: Random, path: Path) -> None:
    os.mkfifo(path)


def _link_to_a_pipe(random: Random, path: Path) -> None:
    os.mkfifo(path.with_name("pipe"))
    path.symlink_to("pipe")


def _without_permission(random: Random, path: Path) -> None:
    path.write_bytes(_valid(random)[0])
    path.chmod(0)


def _socket(random: Random, path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.fsencode(path) if len(os.fsencode(path)) < 100 else os.fsencode(path.with_name("s.png")))


def _sparse(random: Random, path: Path) -> None:
    path.write_bytes(
        random.choice([b"RIFF\0\0\0\0WEBPVP8 ", b"\x89PNG\r\n\x1a\n", b"II*\0", b"\xff\xd8\xff\xe0", b"BM"])
    )
    os.truncate(path, random.choice([10**9, 10**11]))


SPECIAL: dict[str, Maker] = {
    "a pipe": _pipe,
    "a socket": _socket,
    "a device": lambda random, path: path.symlink_to(random.choice(["/dev/zero", "/dev/null", "/dev/tty"])),
    "a folder": lambda random, path: path.mkdir(),
    "a circle of links": lambda random, path: path.symlink_to(path.name),
    "a link to nowhere": lambda random, path: path.symlink_to("nowhere.png"),
    "a link to a pipe": _link_to_a_pipe,
    "a hundred gigabytes of nothing": _sparse,
    "a file without permission": _without_permission,
}

NAMES = (
    b"-rf",
    b"two\nlines",
    b"\x1b[31mred",
    b"'\"`$(id)",
    b"\xff\xfe",
    b"%s{0}%n",
    b" ",
    b"x" * 251,
    "\u202e\u0301\u00e9".encode(),
    b"..a",
)


# --- an attempt ---


@cache
def _programs() -> Path:
    """A folder, first on the path from now on, of programs that a decoder might start. They leave a mark."""
    folder = Path(tempfile.mkdtemp(prefix="bench-faults-programs-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for name in ("gs", "convert", "magick", "rsvg-convert", "djpeg", "sh"):
        program = folder / name
        program.write_text('#!/bin/bash\n: > "$0.started"\nexit 1\n')
        program.chmod(0o755)
    os.environ["PATH"] = f"{folder}{os.pathsep}{os.environ['PATH']}"
    return folder


def attempt(try_: Try) -> Outcome:
    random, folder = try_.random, try_.folder / "photos"
    folder.mkdir()
    extension = random.choice(["png", "jpg", "tif", "webp", "bmp", "ppm", "PNG"])
    ways = [*MUTATIONS] * 6 + [*MADE] + [*SPECIAL]
    kind = ways[try_.index % len(ways)]
    stem = random.choice(NAMES) if random.random() < 0.3 else b"picture"
    path = folder / os.fsdecode(stem + b"." + extension.encode()[: 255 - 1 - len(stem)])
    valid = kind == "untouched" and not stem.startswith(b".")  # those are hidden
    if kind in MUTATIONS:
        content, fitting = _valid(random)
        path = path.with_name(f"{path.stem}.{fitting[:4]}") if random.random() < 0.5 and len(stem) < 200 else path
        path.write_bytes(MUTATIONS[kind](random, bytearray(content)))
    elif kind in MADE:
        path.write_bytes(MADE[kind](random))
    else:
        SPECIAL[kind](random, path)
    before = {variable: os.environ.get(variable) for variable in ("BENCH_MAX_PIXELS",)}
    os.environ["BENCH_MAX_PIXELS"] = str(MOST_PIXELS)
    try:
        lost = _judged(path, valid)
    finally:
        for variable, value in before.items():
            os.environ.pop(variable) if value is None else os.environ.update({variable: value})
    return Outcome(kind, lost)


def _judged(path: Path, valid: bool) -> str:
    """What was lost by it, or nothing."""
    _programs()
    held, began, there = _peak_mib(), time.monotonic(), {*path.parent.iterdir()}
    said = _said(path)
    seconds = time.monotonic() - began
    if said.startswith("!"):
        return said
    if "\n" in said or not said.isprintable() or len(said) > WORDS_BYTES:
        return f"an odd message: {said!r}"
    if valid and "has transparent pixels" not in said and "several" not in said and said:
        return f"a valid picture was refused: {said}"
    if seconds > SECONDS:
        return f"{seconds:.1f} s"
    if {*path.parent.iterdir()} != there or Path("touched").exists():
        return "a file was made"
    if started := [*_programs().glob("*.started")]:
        started[0].unlink()
        return f"{started[0].stem} was started"
    if others := _children():
        return f"other processes: {others}"
    return f"{_peak_mib() - held:.0f} MiB more" if _peak_mib() - held > SPARE_MIB else ""


def _said(path: Path) -> str:
    """The words of the refusal; nothing if it was read; with a ! before it what may not be."""
    try:
        dataset = datasets.get(path.parent)
        for entry in dataset.entries:
            image = datasets.read(dataset, entry)
            pixels = image.pixels
            if pixels.dtype != np.float32 or pixels.ndim != 3 or pixels.shape[2] not in (1, 3) or not pixels.size:
                return f"!{pixels.dtype} {pixels.shape}"
            if pixels.shape[0] * pixels.shape[1] > MOST_PIXELS:
                return f"!{pixels.shape} is above the limit"
            if (entry.height, entry.width, entry.channels) != pixels.shape:
                return f"!the header told {entry.height}x{entry.width}x{entry.channels}, not {pixels.shape}"
    except DataError as error:
        return str(error)
    except Exception as error:
        return f"!{type(error).__name__}: {error}"
    return ""


def _children() -> list[str]:
    """What else this process has started and is still there, or was started by the one that decodes."""
    own = decoder._process._process.pid if decoder._process else 0
    pids = [pid for parent in (os.getpid(), own) for pid in _children_of(parent) if pid != own]
    return [Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode() for pid in pids]


def _children_of(pid: int) -> list[int]:
    try:
        lists = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    except OSError:
        return []
    return [int(word) for words in lists for word in words.split()]


def _peak_mib() -> float:
    kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kib / (1 << 20 if sys.platform == "darwin" else 1 << 10)
