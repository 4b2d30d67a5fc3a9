"""Large pictures in pieces: each is restored with what surrounds it, and of its answer the middle is kept."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from bench.errors import RequestError
from bench.task import Observation

__all__ = ["AUTO", "OVERLAP", "Tile", "check_tiles", "cut", "enlarged", "sides", "tiles"]

AUTO = "auto"
"""what is asked for where the picture is to tell: the sigma of its noise, or how large its tiles must be"""

GRID = 8
"""Tiles begin at multiples of it: Bayer patterns have a period of 2, the blocks of JPEG one of 8."""

OVERLAP = 32
"""Pixels around a tile that its restorer sees too, unless asked for otherwise. Convolutional networks of 3x3 kernels
reach as far as they are deep: DnCNN 17 or 20 pixels."""

SIDES = (4096, 2048, 1024, 512, 256, 128)
"""of tiles, where nobody has said how large they are to be and the memory does not hold the whole picture"""

SEAM = 8
"""pixels beside what a tile keeps, by which it is compared with its neighbours"""

Place = tuple[slice, slice]
"""rows and columns of a picture"""


@dataclass(frozen=True)
class Tile:
    """Two places in a picture: what is kept of a tile's answer, and what its restorer is shown."""

    kept: Place
    shown: Place

    @property
    def n_pixels(self) -> int:
        rows, columns = self.kept
        return int((rows.stop - rows.start) * (columns.stop - columns.start))

    @property
    def seams(self) -> list[Place]:
        """Strips that the tiles above and to the left keep, and this one's restorer is shown too."""
        (rows, columns), (shown_rows, shown_columns) = self.kept, self.shown
        above = slice(max(shown_rows.start, rows.start - SEAM), rows.start), columns
        left = rows, slice(max(shown_columns.start, columns.start - SEAM), columns.start)
        return [above, left]

    def within(self, place: Place, factor: int) -> Place:
        """Where in the answer to what is shown, enlarged by `factor`, a place of the picture lies."""
        top, left = (part.start for part in self.shown)
        return _scaled(place[0], factor, top), _scaled(place[1], factor, left)


def enlarged(place: Place, factor: int) -> Place:
    """Where a place of the picture lies in the restored one."""
    return _scaled(place[0], factor), _scaled(place[1], factor)


def _scaled(part: slice, factor: int, less: int = 0) -> slice:
    return slice((part.start - less) * factor, (part.stop - less) * factor)


def check_tiles(tile: int | str | None, overlap: int) -> int | str | None:
    """The size of tiles as it is meant: pixels, "auto", or None. Raises RequestError for what will not do."""
    if overlap < 0:
        raise RequestError(f"--overlap {overlap}: expected 0 pixels or more.")
    if tile is None or tile == AUTO:
        return tile
    if not str(tile).isdecimal() or int(tile) < GRID:
        raise RequestError(f"--tile {tile}: expected auto, or a whole number of at least {GRID} pixels.")
    return int(tile)


def tiles(height: int, width: int, tile: int | None, overlap: int) -> Iterator[Tile]:
    """The tiles of a picture, row by row; None: one, the whole.

    tile     most rows and columns that are kept of one; all tiles have nearly the same size
    overlap  pixels shown around it, rounded up likewise, where the picture has so many
    """
    if tile is None:
        whole = slice(0, height), slice(0, width)
        yield Tile(whole, whole)
        return
    around = _on_grid(overlap)
    for rows in _parts(height, tile):
        for columns in _parts(width, tile):
            yield Tile((rows, columns), (_wider(rows, around, height), _wider(columns, around, width)))


def sides(tile: int | str | None, height: int, width: int) -> list[int | None]:
    """The sides of tiles to try, one after the other while the memory does not hold them; None: the whole picture."""
    if tile != AUTO:
        return [tile if isinstance(tile, int) else None]
    return [None, *(side for side in SIDES if side < max(height, width))]


def _parts(end: int, most: int) -> Iterator[slice]:
    n = math.ceil(end / (most - most % GRID))
    side = _on_grid(math.ceil(end / n))
    for start in range(0, end, side):
        yield slice(start, min(start + side, end))


def _on_grid(pixels: int) -> int:
    return -(-pixels // GRID) * GRID


def _wider(part: slice, around: int, end: int) -> slice:
    return slice(max(0, part.start - around), min(end, part.stop + around))


def cut(seen: Observation, tile: Tile) -> Observation:
    """What is seen of one tile."""
    import numpy as np

    mask = None if seen.mask is None else np.ascontiguousarray(seen.mask[tile.shown])
    return replace(seen, image=np.ascontiguousarray(seen.image[tile.shown]), mask=mask)
