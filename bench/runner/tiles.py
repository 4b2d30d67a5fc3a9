"""Large pictures in pieces: each is restored with what surrounds it, and of its answer the middle is kept."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from bench.errors import RequestError
from bench.task import Observation

__all__ = ["OVERLAP", "Tile", "check_tiles", "cut", "tiles"]

GRID = 8
"""Tiles begin at multiples of it: Bayer patterns have a period of 2, the blocks of JPEG one of 8."""

OVERLAP = 32
"""Pixels around a tile that its restorer sees too, unless asked for otherwise. Convolutional networks of 3x3 kernels
reach as far as they are deep: DnCNN 17 or 20 pixels."""


@dataclass(frozen=True)
class Tile:
    """Two places in a picture, (rows, columns): what is kept of a tile's answer, and what its restorer is shown."""

    kept: tuple[slice, slice]
    shown: tuple[slice, slice]

    @property
    def n_pixels(self) -> int:
        rows, columns = self.kept
        return int((rows.stop - rows.start) * (columns.stop - columns.start))

    def within(self, factor: int) -> tuple[slice, slice]:
        """Where in the answer, enlarged by `factor`, what is kept lies."""
        (rows, columns), (top, left) = self.kept, (one.start for one in self.shown)
        return _scaled(rows, factor, top), _scaled(columns, factor, left)

    def target(self, factor: int) -> tuple[slice, slice]:
        """Where it goes in the restored picture."""
        rows, columns = self.kept
        return _scaled(rows, factor), _scaled(columns, factor)


def _scaled(part: slice, factor: int, less: int = 0) -> slice:
    return slice((part.start - less) * factor, (part.stop - less) * factor)


def check_tiles(tile: int | None, overlap: int) -> None:
    """Raise RequestError for a size that will not do."""
    if tile is not None and tile < GRID:
        raise RequestError(f"--tile {tile}: expected at least {GRID} pixels.")
    if overlap < 0:
        raise RequestError(f"--overlap {overlap}: expected 0 pixels or more.")


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
