"""Demosaicking without learning: bilinear, Malvar-He-Cutler, and Menon's directional filtering.

All three read the mosaic's colours from `seen.mask`, so the four Bayer patterns are one to them; measured values
are kept as they are; outside the image they see its reflection about the border pixel, which continues a Bayer
pattern (a reflection about the pixel's edge would repeat a row and break it).

Written here, not taken from the package colour-demosaicing: its bilinear breaks the pattern at the border in
just that way (a red corner comes back 2.25 times too bright), and importing it changes how NumPy prints numbers in
the whole process. The tests hold ours to agree with the package inside the image.
"""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
from scipy.ndimage import convolve, convolve1d

from bench.restorer import Image, Observation, Restorer

__all__ = ["Bilinear", "Malvar", "Menon"]

BORDER = 12  # pixels of reflection: even the longest chain of filters below (Menon's, 11) sees no further


class Demosaicker(Restorer):
    """What the three have in common: `interpolate` sees a mosaic that goes on beyond the image."""

    tasks = {"demosaick"}

    def restore(self, seen: Observation) -> Image:
        height, width, _ = seen.image.shape
        if min(height, width) < 2:  # one row or column lacks a colour, and nothing can be known of it: answer gray
            return np.repeat(seen.image, 3, axis=2)
        border = ((BORDER, BORDER), (BORDER, BORDER))
        y = np.pad(seen.image[..., 0].astype(np.float64), border, mode="reflect")
        masks = [np.pad(seen.mask[..., colour], border, mode="reflect") for colour in range(3)]
        x_hat = np.stack(self.interpolate(y, *masks), axis=-1)[BORDER:-BORDER, BORDER:-BORDER]
        return np.where(seen.mask, seen.image, x_hat).astype(np.float32)

    @abstractmethod
    def interpolate(
        self, y: np.ndarray, R: np.ndarray, G: np.ndarray, B: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The red, green and blue planes of the mosaic `y` (H, W), measured where the masks R, G, B are True."""


class Bilinear(Demosaicker):
    """Each colour on its own, from its two or four nearest measured pixels."""

    name = "bilinear"

    def interpolate(self, y, R, G, B):
        cross = np.array([[0, 1, 0], [1, 4, 1], [0, 1, 0]]) / 4
        square = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 4
        return convolve(y * R, square), convolve(y * G, cross), convolve(y * B, square)


class Malvar(Demosaicker):
    """Bilinear plus a correction by the Laplacian of the colour measured at the pixel; one linear 5x5 filter.

    Malvar, He, Cutler, "High-quality linear interpolation for demosaicing of Bayer-patterned color images",
    ICASSP 2004.
    """

    name = "malvar"

    GREEN = np.array([[0, 0, -2, 0, 0], [0, 0, 4, 0, 0], [-2, 4, 8, 4, -2], [0, 0, 4, 0, 0], [0, 0, -2, 0, 0]]) / 16
    # red at a green pixel between two reds of its row; the transpose between two of its column; blue alike
    IN_ROW = (
        np.array([[0, 0, 1, 0, 0], [0, -2, 0, -2, 0], [-2, 8, 10, 8, -2], [0, -2, 0, -2, 0], [0, 0, 1, 0, 0]]) / 16
    )
    # red at a blue pixel, blue at a red one
    DIAGONAL = (
        np.array([[0, 0, -3, 0, 0], [0, 4, 0, 4, 0], [-3, 0, 12, 0, -3], [0, 4, 0, 4, 0], [0, 0, -3, 0, 0]]) / 16
    )

    def interpolate(self, y, R, G, B):
        in_row, in_column = convolve(y, self.IN_ROW), convolve(y, self.IN_ROW.T)
        diagonal = convolve(y, self.DIAGONAL)
        g = np.where(G, y, convolve(y, self.GREEN))
        r = np.where(R, y, np.where(B, diagonal, np.where(_rows_of(R), in_row, in_column)))
        b = np.where(B, y, np.where(R, diagonal, np.where(_rows_of(B), in_row, in_column)))
        return r, g, b


class Menon(Demosaicker):
    """DDFAPD: green along rows and along columns, the better of the two chosen pixel by pixel, then refined.

    Menon, Andriani, Calvagno, "Demosaicing with directional filtering and a posteriori decision", IEEE TIP 16(1),
    2007, with the refining step that its tables have.
    """

    name = "menon"

    def interpolate(self, y, R, G, B):
        # green in both directions, and the direction along which colour differences vary less
        half_band = [-1 / 4, 1 / 2, 1 / 2, 1 / 2, -1 / 4]
        g_h, g_v = (np.where(G, y, convolve1d(y, half_band, axis)) for axis in (1, 0))
        along_row = self._variation(y - g_v, 0) >= self._variation(y - g_h, 1)
        g = np.where(along_row, g_h, g_v)

        # red and blue at green pixels; then, along the direction chosen, at blue and red ones
        mean = [1 / 2, 0, 1 / 2]
        r, b = (self._at_green(y, g, mask, G) for mask in (R, B))
        d = self._along(r - b, mean, along_row)  # at blue pixels r - b is needed from green neighbours only
        r, b = np.where(B, b + d, r), np.where(R, r - d, b)

        # refining: colour differences are smooth, so each estimate is corrected by their mean over three pixels
        third = [1 / 3, 1 / 3, 1 / 3]
        g = np.where(
            R,
            r - self._along(r - g, third, along_row),
            np.where(B, b - self._along(b - g, third, along_row), g),
        )
        r, b = self._at_green(r, g, R, G), self._at_green(b, g, B, G)
        d = self._along(r - b, third, along_row)
        return np.where(B, b + d, r), g, np.where(R, r - d, b)

    @staticmethod
    def _variation(c: np.ndarray, axis: int) -> np.ndarray:
        """Sum over a 5x5 window of |c - c two pixels on| along `axis`, weighing 3 the pixel's own line.

        c  colour differences (H, W), zero at green pixels
        """
        d = np.abs(c - np.roll(c, -2, axis))
        window = np.array([[0, 0, 1, 0, 1], [0, 0, 0, 1, 0], [0, 0, 3, 0, 3], [0, 0, 0, 1, 0], [0, 0, 1, 0, 1]])
        return convolve(d, window if axis == 1 else window.T)

    @staticmethod
    def _along(x: np.ndarray, weights: list[float], along_row: np.ndarray) -> np.ndarray:
        return np.where(along_row, convolve1d(x, weights, 1), convolve1d(x, weights, 0))

    @staticmethod
    def _at_green(x: np.ndarray, g: np.ndarray, mask: np.ndarray, G: np.ndarray) -> np.ndarray:
        """Colour x, measured at `mask`, at green pixels too: green plus the mean difference of its two neighbours."""
        mean = [1 / 2, 0, 1 / 2]
        d = np.where(_rows_of(mask), convolve1d(x - g, mean, 1), convolve1d(x - g, mean, 0))
        return np.where(G, g + d, x)


def _rows_of(mask: np.ndarray) -> np.ndarray:
    """(H, 1): whether the row holds pixels of this colour."""
    return mask.any(axis=1, keepdims=True)
