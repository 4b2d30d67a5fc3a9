"""VST: Poisson-Gaussian noise is made Gaussian and removed as such; the way back is unbiased."""

from __future__ import annotations

import numpy as np
from bench.methods.anscombe import Anscombe

from bench.restorer import Image, Observation, Setting, WithDenoiser


class VST(WithDenoiser):
    """Any denoiser on the generalised Anscombe transform, e.g. `vst:bm3d` (Makitalo and Foi, IEEE TIP 2011, 2013).

    The transformed picture is brought to the range in which clean pictures have 0 to 1. Its noise has then one
    deviation, which peak or (a, b) tell. Where the denoiser serves no such level, contrast is lowered until it does.
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
        if a == 0:
            return self.denoiser(seen.image, 255 * np.sqrt(b))
        transform = self.transforms.setdefault((a, b), Anscombe(a, b))
        black, white = transform.forward(np.array([0.0, 1.0]))
        sigma = 255 / (white - black)  # of the noise, whose deviation is 1 before
        served = self.denoiser.nearest(sigma)
        contrast = served / sigma
        d = (transform.forward(seen.image) - black) * (contrast / (white - black))
        d_hat = self.denoiser(d.astype(np.float32), served)
        return transform.inverse(d_hat * ((white - black) / contrast) + black).astype(np.float32)
