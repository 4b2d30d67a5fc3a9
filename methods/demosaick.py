"""Demosaicking without learning: bilinear, Malvar-He-Cutler, and Menon's directional filtering.

All three read the mosaic's colours from `seen.mask`, so the four Bayer patterns are one to them; measured values
are kept as they are; outside the image they see its reflection about the border pixel, which continues a Bayer
pattern (a reflection about the pixel's edge would repeat a row and break it).

Written here, not taken from the package colour-demosaicing: its bilinear breaks the pattern at the border in
just that way (a red corner comes back 2.25 times too bright), and importing it changes how NumPy prints numbers in
the whole process. The tests hold ours to agree with the package inside the image.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from bench.methods.fast import bayer

from bench.restorer import Image, Observation, Restorer, Setting

__all__ = ["Bilinear", "Malvar", "Menon"]


class Demosaicker(Restorer):
    """What the three have in common. ValueError where the mask is not a Bayer pattern."""

    tasks = {"demosaick"}
    by: ClassVar[bayer.Pass]

    def prepare(self, setting: Setting, device: str) -> None:
        bayer.filled(np.zeros((2, 2), np.float32), (0, 0), self.by)  # compiles

    def restore(self, seen: Observation) -> Image:
        height, width, _ = seen.image.shape
        if min(height, width) < 2:  # one row or column lacks a colour, and nothing can be known of it: answer gray
            return np.repeat(seen.image, 3, axis=2)
        return bayer.filled(seen.image[..., 0], first_red(seen.mask), self.by)


class Bilinear(Demosaicker):
    """Each colour on its own, from its two or four nearest measured pixels."""

    name = "bilinear"
    by = staticmethod(bayer.bilinear)


class Malvar(Demosaicker):
    """Bilinear plus a correction by the Laplacian of the colour measured at the pixel; one linear 5x5 filter.

    Malvar, He, Cutler, "High-quality linear interpolation for demosaicing of Bayer-patterned color images",
    ICASSP 2004.
    """

    name = "malvar"
    by = staticmethod(bayer.malvar)


class Menon(Demosaicker):
    """DDFAPD: green along rows and along columns, the better of the two chosen pixel by pixel, then refined.

    Menon, Andriani, Calvagno, "Demosaicing with directional filtering and a posteriori decision", IEEE TIP 16(1),
    2007, with the refining step that its tables have.
    """

    name = "menon"
    by = staticmethod(bayer.menon)


def first_red(mask: np.ndarray) -> tuple[int, int]:
    """(i, j) of the first red pixel, each 0 or 1, of a Bayer pattern's mask (H, W, 3)."""
    corner = mask[:2, :2]
    red, blue = (np.argwhere(corner[..., colour]) for colour in (0, 2))
    opposite = len(red) == len(blue) == 1 and (red + blue == 1).all()
    if not (opposite and (corner.sum(axis=-1) == 1).all() and bayer.repeats(np.ascontiguousarray(mask))):
        raise ValueError("The mask is not that of a Bayer pattern: two greens, a red and a blue in each 2x2 pixels.")
    return int(red[0, 0]), int(red[0, 1])
