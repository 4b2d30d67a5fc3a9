"""Kinds of picture file: those that are read, and those that are only known by their first bytes."""

from __future__ import annotations

__all__ = ["COUNTS_AS_CLEAN", "EXTENSIONS", "FORMATS", "foreign_kind"]

_FORMAT_OF = {
    ".bmp": "BMP",
    ".jpeg": "JPEG",
    ".jpg": "JPEG",
    ".pgm": "PPM",
    ".png": "PNG",
    ".ppm": "PPM",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
}

EXTENSIONS = tuple(_FORMAT_OF)
"""What counts as an image in a folder, in capitals too."""

FORMATS = tuple(dict.fromkeys(_FORMAT_OF.values()))
"""Pillow's names of the formats that are decoded, whatever a file is called. No other decoder ever sees a file."""

COUNTS_AS_CLEAN = "whose losses count as clean here"
"""What is said of a file that was compressed with losses, and is taken for a clean picture."""

_FOREIGN = (
    (0, b"GIF8", "a GIF"),
    (0, b"%!PS", "a PostScript file"),
    (0, b"\xc5\xd0\xd3\xc6", "a PostScript file"),
    (0, b"%PDF", "a PDF"),
    (0, b"\0\0\0\x0cjP  ", "a JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000"),
    (0, b"\0\0\0\x0cJXL ", "a JPEG XL"),
    (0, b"\xff\x0a", "a JPEG XL"),
    (4, b"ftypavif", "an AVIF"),
    (4, b"ftyp", "a HEIF or a film"),
    (0, b"8BPS", "a Photoshop file"),
    (0, b"qoif", "a QOI"),
    (0, b"\0\0\1\0", "an icon"),
    (0, b"SIMPLE  =", "a FITS file"),
    (0, b"\x89HDF", "an HDF5 file"),
    (0, b"PK\3\4", "a zip archive"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"#!", "a script"),
    (0, b"<", "text with tags (an SVG or HTML?)"),
    (0, b"version https://git-lfs", "a pointer of Git LFS, not the picture itself"),
)


def foreign_kind(first_bytes: bytes) -> str:
    """What a file is by its first bytes, with its article, of the kinds that are not read; empty if unknown."""
    found = (name for at, mark, name in _FOREIGN if first_bytes[at:].startswith(mark))
    return next(found, "")
