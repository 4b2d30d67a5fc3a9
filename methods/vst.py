"""VST: Poisson-Gaussian noise is made Gaussian and removed as such; the way back is unbiased."""

from __future__ import annotations

import numpy as np
from bench.methods.anscombe import Anscombe
from numpy.typing import NDArray

from bench.restorer import Image, Observation, Setting, WithDenoiser


class VST(WithDenoiser):
    """Any denoiser on the generalised Anscombe transform, e.g. `vst:bm3d` (Makitalo and Foi, IEEE TIP 2011, 2013).

    The transformed picture is brought to the range in which clean pictures have 0 to 1. Its noise has then one
    deviation, which peak or (a, b) tell. Where the denoiser serves no such level, the contrast is changed until it
    does.
    The inverse is the exact unbiased one.
    """

    name = "vst"
    tasks = {"poisson", "poisson-gaussian"}
    around = "denoise"

    def prepare(self, setting: Setting, device: str) -> None:
        super().prepare(setting, device)
        self.transforms: dict[tuple[float, float], Anscombe] = {}

    def restore(self, seen: Observation) -> Image:
        a, b = seen.known["a"], seen.known["b"]
        if a == 0:  # Gaussian as it is
            return self._denoised(seen.image, 255 * np.sqrt(b)).astype(np.float32)
        if (a, b) not in self.transforms:
            self.transforms[a, b] = Anscombe(a, b)
        transform = self.transforms[a, b]
        black, white = transform.forward(np.array([0.0, 1.0]))
        d = (transform.forward(seen.image) - black) / (white - black)
        d_hat = self._denoised(d, 255 / (white - black))  # the deviation was 1
        return transform.inverse(d_hat * (white - black) + black).astype(np.float32)

    def _denoised(self, y: NDArray[np.floating], sigma: float) -> NDArray[np.float64]:
        """y without its noise, shown to the denoiser at the contrast at which it serves the level."""
        served = self.denoiser.nearest(sigma)
        contrast = served / sigma if sigma else 1.0
        return self.denoiser((contrast * y).astype(np.float32), served).astype(np.float64) / contrast
