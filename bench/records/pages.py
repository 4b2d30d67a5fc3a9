"""The rows of an SQLite file, read from its pages one by one: what a damaged file still has, SQLite may not find.

The format is https://www.sqlite.org/fileformat2.html; sections are named where they matter. Nothing is believed: what
does not decode is None, and whether a row is whole is for its checksum to say.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.records.layouts import LONGEST

__all__ = ["rows"]

USUAL = 4096
"""bytes of a page, unless the header says something else"""

WIDTHS = {0: 0, 1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8, 7: 8, 8: 0, 9: 0}
"""bytes of a value, by its serial type (section 2.1)"""


def rows(path: Path) -> Iterator[tuple[int, tuple[Any, ...]] | None]:
    """Number and values of each row on a leaf of a table, of the file and of the `-wal` beside it.

    None for a row that does not decode. Pages that were replaced since are in the `-wal` too, so a row may come in
    several versions.
    """
    with path.open("rb") as file:
        header = file.read(100)
    told = int.from_bytes(header[16:18], "big")
    for size in dict.fromkeys(((1 << 16) if told == 1 else told, USUAL)):
        if size >= 512 and not size & (size - 1):
            yield from _File(path, size).rows()


class _File:
    """Pages by number, and where they are: in the file, and each version of them in the `-wal`."""

    def __init__(self, path: Path, size: int) -> None:
        self.size = size
        self.file = path.open("rb")
        wal = Path(f"{path}-wal")
        self.wal = wal.open("rb") if wal.is_file() else None
        self.latest: dict[int, int] = {}

    def rows(self) -> Iterator[tuple[int, tuple[Any, ...]] | None]:
        try:
            frames = [*self._frames()]
            self.latest = dict(frames)
            number = 1
            while page := self._page(number):
                yield from self._on_page(page, 100 if number == 1 else 0)
                number += 1
            for number, at in frames:
                yield from self._on_page(self._read(self.wal, at), 100 if number == 1 else 0)
        finally:
            self.file.close()
            if self.wal:
                self.wal.close()

    def _frames(self) -> Iterator[tuple[int, int]]:
        """Page number and offset of each page in the `-wal` (section 4.1)."""
        if self.wal is None:
            return
        at = 32
        while len(head := self._read(self.wal, at, 24)) == 24:
            yield int.from_bytes(head[:4], "big"), at + 24
            at += 24 + self.size

    def _page(self, number: int) -> bytes:
        return self._read(self.file, (number - 1) * self.size)

    def _read(self, file: Any, at: int, n: int | None = None) -> bytes:
        file.seek(at)
        return bytes(file.read(self.size if n is None else n))

    def _on_page(self, page: bytes, start: int) -> Iterator[tuple[int, tuple[Any, ...]] | None]:
        """The cells of a leaf of a table (section 1.6)."""
        if len(page) < self.size or page[start] != 0x0D:
            return
        n_cells = int.from_bytes(page[start + 3 : start + 5], "big")
        end = start + 8 + 2 * n_cells
        if end > self.size:
            return
        for at in struct.unpack(f">{n_cells}H", page[start + 8 : end]):
            try:
                yield self._row(page, at)
            except (IndexError, ValueError, struct.error):
                yield None

    def _row(self, page: bytes, at: int) -> tuple[int, tuple[Any, ...]]:
        n_bytes, at = _varint(page, at)
        number, at = _varint(page, at)
        if n_bytes > LONGEST:
            raise ValueError("too long")
        number -= (number >> 63) << 64
        n_here = self._n_on_page(n_bytes)
        payload = page[at : at + n_here]
        if n_here == n_bytes:
            return number, _values(payload)
        overflow = int.from_bytes(page[at + n_here : at + n_here + 4], "big")
        try:
            return number, _values(payload + self._overflow(overflow, n_bytes - n_here, {}))
        except (IndexError, ValueError):
            return number, _values(payload + self._overflow(overflow, n_bytes - n_here, self.latest))

    def _n_on_page(self, n_bytes: int) -> int:
        """How many bytes of a row's are on the leaf itself (section 1.6)."""
        most, least = self.size - 35, (self.size - 12) * 32 // 255 - 23
        if n_bytes <= most:
            return n_bytes
        some = least + (n_bytes - least) % (self.size - 4)
        return some if some <= most else least

    def _overflow(self, number: int, n_bytes: int, latest: dict[int, int]) -> bytes:
        """The rest of a row, on pages that lead from one to the next (section 1.7)."""
        rest = b""
        while len(rest) < n_bytes:
            if number == 0:
                raise ValueError("cut off")
            page = self._read(self.wal, latest[number]) if number in latest else self._page(number)
            if len(page) < self.size:
                raise ValueError("cut off")
            number = int.from_bytes(page[:4], "big")
            rest += page[4:]
        return rest[:n_bytes]


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of one to nine bytes, and where it ends."""
    value = 0
    for i in range(9):
        byte = data[at + i]
        if i == 8:
            return value << 8 | byte, at + 9
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + i + 1
    raise AssertionError


def _values(payload: bytes) -> tuple[Any, ...]:
    """The values of a row (section 2.1). Raises ValueError or IndexError if it does not decode."""
    end, at = _varint(payload, 0)
    values, data = [], end
    while at < end:
        kind, at = _varint(payload, at)
        width = WIDTHS.get(kind, (kind - 12) // 2)
        value = payload[data : data + width]
        if width < 0 or len(value) < width:
            raise ValueError("cut off")
        data += width
        values.append(_value(kind, value))
    return tuple(values)


def _value(kind: int, value: bytes) -> Any:
    if kind == 0:
        return None
    if kind == 7:
        return struct.unpack(">d", value)[0]
    if kind in (8, 9):
        return kind - 8
    if kind < 7:
        return int.from_bytes(value, "big", signed=True)
    return value.decode() if kind % 2 else value
