"""BM3D: similar blocks stacked and filtered together, twice."""

from __future__ import annotations

import numpy as np

from bench.restorer import Image, Observation, Restorer

SMALLEST = 16  # pixels: bm3d 4.0.3 refuses images under its 8x8 block and crashes the process at exactly 8x8


class BM3D(Restorer):
    """The authors' package `bm3d`, gray and colour (Dabov, Foi, Katkovnik, Egiazarian, IEEE TIP 16(8), 2007).

    The package is the 2020 version (Makinen, Azzari, Foi, IEEE TIP 29), whose thresholds adapt to the noise.
    Profiles as the authors' MATLAB code chooses them, on which the published tables rest: `np` up to sigma 40
    and `vn` above. (`np` at 50 would give 0.12 dB more than the tables show for BM3D.)
    """

    name = "bm3d"
    tasks = {"denoise"}
    requires = {"bm3d": "non-commercial use only (Tampere University)"}

    def restore(self, seen: Observation) -> Image:
        if seen.sigma == 0:  # thresholds relative to sigma would divide by zero; there is nothing to remove
            return seen.image.copy()
        height, width, channels = seen.image.shape
        missing = [(0, max(0, SMALLEST - n)) for n in (height, width)]
        y = np.pad(seen.image.astype(np.float64), [*missing, (0, 0)], mode="symmetric")
        s = seen.sigma / 255  # to the [0, 1] range of the image
        x_hat = self._colour(y, s) if channels == 3 else self._gray(y[..., 0], s)
        return x_hat[:height, :width].reshape(seen.image.shape).astype(np.float32)

    def _gray(self, y: np.ndarray, s: float) -> np.ndarray:
        from bm3d import bm3d

        return bm3d(y, s, profile(255 * s))

    def _colour(self, y: np.ndarray, s: float) -> np.ndarray:
        from bm3d import bm3d_rgb

        # bm3d_rgb divides by the range of each opponent channel, which is 0 in a picture of one colour, or a gray one
        R, G, B = np.moveaxis(y, 2, 0)
        if min(np.ptp(R + G + B), np.ptp(R - B), np.ptp(R - 2 * G + B)) < 1e-6:
            return np.stack([self._gray(channel, s) for channel in (R, G, B)], axis=-1)
        return bm3d_rgb(y, s, profile(255 * s))


def profile(sigma: float):
    """bm3d's parameters for this sigma (0-255 scale), on one thread: with more, sums vary in their last digits."""
    from bm3d import BM3DProfile, BM3DProfileVN

    chosen = BM3DProfile() if sigma <= 40 else BM3DProfileVN()
    chosen.num_threads = 1
    return chosen
