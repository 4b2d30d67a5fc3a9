"""Malvar's and Menon's demosaicking as their papers write them: filters of whole images, in double precision."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import convolve, convolve1d

__all__ = ["bilinear", "malvar", "menon"]

BORDER = 12  # pixels of reflection: Menon's chain of filters sees 11

CROSS = np.array([[0, 1, 0], [1, 4, 1], [0, 1, 0]]) / 4
SQUARE = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 4

GREEN = np.array([[0, 0, -2, 0, 0], [0, 0, 4, 0, 0], [-2, 4, 8, 4, -2], [0, 0, 4, 0, 0], [0, 0, -2, 0, 0]]) / 16
# red at a green pixel between two reds of its row; the transpose between two of its column; blue alike
IN_ROW = np.array([[0, 0, 1, 0, 0], [0, -2, 0, -2, 0], [-2, 8, 10, 8, -2], [0, -2, 0, -2, 0], [0, 0, 1, 0, 0]]) / 16
# red at a blue pixel, blue at a red one
DIAGONAL = np.array([[0, 0, -3, 0, 0], [0, 4, 0, 4, 0], [-3, 0, 12, 0, -3], [0, 4, 0, 4, 0], [0, 0, -3, 0, 0]]) / 16


def reflected(interpolate):
    """From a function of a mosaic and the masks of its colours to one of a mosaic (H, W) and its mask (H, W, 3)."""

    def of_image(mosaic, mask):
        border = ((BORDER, BORDER), (BORDER, BORDER))
        y = np.pad(mosaic.astype(np.float64), border, mode="reflect")
        masks = [np.pad(mask[..., colour], border, mode="reflect") for colour in range(3)]
        x_hat = np.stack(interpolate(y, *masks), axis=-1)[BORDER:-BORDER, BORDER:-BORDER]
        return np.where(mask, mosaic[..., None], x_hat)

    return of_image


@reflected
def bilinear(y, R, G, B):
    return convolve(y * R, SQUARE), convolve(y * G, CROSS), convolve(y * B, SQUARE)


@reflected
def malvar(y, R, G, B):
    in_row, in_column, diagonal = convolve(y, IN_ROW), convolve(y, IN_ROW.T), convolve(y, DIAGONAL)
    r = np.where(B, diagonal, np.where(rows_of(R), in_row, in_column))
    b = np.where(R, diagonal, np.where(rows_of(B), in_row, in_column))
    return r, convolve(y, GREEN), b


@reflected
def menon(y, R, G, B):
    # green in both directions, and the direction along which colour differences vary less
    half_band = [-1 / 4, 1 / 2, 1 / 2, 1 / 2, -1 / 4]
    g_h, g_v = (np.where(G, y, convolve1d(y, half_band, axis)) for axis in (1, 0))
    along_row = variation(y - g_v, 0) >= variation(y - g_h, 1)
    g = np.where(along_row, g_h, g_v)

    # red and blue at green pixels; then, along the direction chosen, at blue and red ones
    r, b = (at_green(y, g, mask, G) for mask in (R, B))
    d = along(r - b, [1 / 2, 0, 1 / 2], along_row)  # at blue pixels r - b is needed from green neighbours only
    r, b = np.where(B, b + d, r), np.where(R, r - d, b)

    # refining: colour differences are smooth, so each estimate is corrected by their mean over three pixels
    third = [1 / 3, 1 / 3, 1 / 3]
    g = np.where(R, r - along(r - g, third, along_row), np.where(B, b - along(b - g, third, along_row), g))
    r, b = at_green(r, g, R, G), at_green(b, g, B, G)
    d = along(r - b, third, along_row)
    return np.where(B, b + d, r), g, np.where(R, r - d, b)


def variation(c, axis):
    """Sum over a 5x5 window of |c - c two pixels on| along `axis`, weighing 3 the pixel's own line.

    c  colour differences (H, W), zero at green pixels
    """
    d = np.abs(c - np.roll(c, -2, axis))
    window = np.array([[0, 0, 1, 0, 1], [0, 0, 0, 1, 0], [0, 0, 3, 0, 3], [0, 0, 0, 1, 0], [0, 0, 1, 0, 1]])
    return convolve(d, window if axis == 1 else window.T)


def along(x, weights, along_row):
    return np.where(along_row, convolve1d(x, weights, 1), convolve1d(x, weights, 0))


def at_green(x, g, mask, G):
    """Colour x, measured at `mask`, at green pixels too: green plus the mean difference of its two neighbours."""
    mean = [1 / 2, 0, 1 / 2]
    return np.where(G, g + np.where(rows_of(mask), convolve1d(x - g, mean, 1), convolve1d(x - g, mean, 0)), x)


def rows_of(mask):
    """(H, 1): whether the row holds pixels of this colour."""
    return mask.any(axis=1, keepdims=True)
