"""The `-wal` beside a store, after a run was killed: SQLite takes what is whole from its start, and leaves the rest.

The format is section 4 of https://www.sqlite.org/fileformat2.html, and https://www.sqlite.org/walformat.html.
"""

from __future__ import annotations

import sqlite3
import struct
from pathlib import Path

from bench.records.sealed import UnsoundError

__all__ = ["hold_to_flushed"]

HEADER, FRAME = 32, 24  # bytes before the first frame, and of a frame before its page
COMMIT, SALTS = slice(4, 8), slice(8, 16)  # of a frame's header


def hold_to_flushed(db: sqlite3.Connection, path: Path) -> None:
    """Raises UnsoundError if SQLite has left more than what a power cut explains.

    Each transaction is flushed before the next begins, so a power cut costs the last one alone. What has been read of
    the store must have been read from `db` before, or the `-wal` was not looked at.
    """
    header, frames = _frames(db, Path(f"{path}-wal"))
    if not frames:
        return
    try:
        with Path(f"{path}-shm").open("rb") as file:
            index = file.read(48)
    except OSError:
        return
    n_taken = int.from_bytes(index[16:20], "little" if index[:4] == b"\x18\xe2\x2d\x00" else "big")
    salts = header[16:24] if _is_whole(header) else frames[0][SALTS]
    if n_taken and index[32:40] != salts:
        return  # it has begun anew meanwhile
    left = [frame for frame in frames[n_taken:] if frame[SALTS] == salts and any(frame[COMMIT])]
    if len(left) > 1:
        raise UnsoundError(f"SQLite can read {n_taken} of {len(frames)} pages of its -wal")


def _frames(db: sqlite3.Connection, wal: Path) -> tuple[bytes, list[bytes]]:
    """The header of the file, and that of each frame; those of before it began anew have other salts."""
    step = FRAME + int(db.execute("PRAGMA page_size").fetchone()[0])
    try:
        with wal.open("rb") as file:
            header = file.read(HEADER)
            frames = []
            for at in range(HEADER, file.seek(0, 2) - step + 1, step):
                file.seek(at)
                frames.append(file.read(FRAME))
    except OSError:
        return b"", []
    return header, frames


def _is_whole(header: bytes) -> bool:
    """Whether the header's checksum is right."""
    order = ">" if header[3:4] == b"\x83" else "<"
    first = second = 0
    words = struct.unpack(f"{order}6I", header[:24])
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return struct.unpack(">2I", header[24:32]) == (first, second)
