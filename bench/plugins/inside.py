"""The denoiser inside another restorer, as `pnp:dncnn` has one: prepared for each level when it is first called."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bench.plugins.boundary import check_answer, handed, number
from bench.restorer import Denoiser, Image, Observation, Restorer, Setting, SeveralWeights, WeightsFile

__all__ = ["DenoiserInside"]

EVERY_LEVEL = (0.0, 255.0)


class DenoiserInside(Denoiser):
    """What a `bench.restorer.WithDenoiser` calls. Each call is held to what one from outside is.

    make     the denoiser with the weights of one level
    weights  of all levels; one file, or none, serves every level
    device   to prepare it for
    """

    def __init__(
        self, make: Callable[[WeightsFile | None], Restorer], weights: WeightsFile | None, device: str
    ) -> None:
        self.make, self.weights, self.device = make, weights, device
        self.served = weights.served if isinstance(weights, SeveralWeights) else ()
        self._prepared: dict[Setting, Restorer] = {}
        self._counted: list[float | None] | None = None

    def nearest(self, sigma: float) -> float:
        spans = [(one.least, one.most) for one in self.served] or [EVERY_LEVEL]
        return min((min(max(sigma, least), most) for least, most in spans), key=lambda level: abs(level - sigma))

    def __call__(self, image: Image, sigma: float) -> Image:
        level = self.nearest(float(sigma))
        restorer, each_alone = self._restorer(level, image.shape[2])
        parts = np.split(image, image.shape[2], axis=2) if each_alone else [image]
        return np.concatenate([self._denoised(restorer, part, level) for part in parts], axis=2)

    def n_params(self) -> int:
        """Of a network that serves several levels once."""
        of_files = {restorer.weights: restorer.n_params() for restorer in self._prepared.values()}
        return sum(of_files.values())

    def macs(self, do: Callable[[], object]) -> float | None:
        self._counted = []
        try:
            do()
            counted = [macs for macs in self._counted if macs is not None]
            return sum(counted) if len(counted) == len(self._counted) else None
        finally:
            self._counted = None

    def _restorer(self, level: float, channels: int) -> tuple[Restorer, bool]:
        """The denoiser for a level, and whether it is one of gray pictures for one of colour."""
        for n in dict.fromkeys([channels, 1]):
            setting = Setting("denoise", level, n)
            if setting in self._prepared:
                return self._prepared[setting], n < channels
            if self.served and not any(one.channels == n for one in self.served):
                continue
            restorer = self.make(self._file(level, n))
            if restorer.why_not(setting) is None:
                restorer.prepare(setting, self.device)
                self._prepared[setting] = restorer
                return restorer, n < channels
        raise ValueError(f"the denoiser inside does not serve sigma {level:g} with {channels} channels")

    def _file(self, level: float, channels: int) -> WeightsFile | None:
        fitting = (one.file for one in self.served if one.channels == channels and one.least <= level <= one.most)
        return next(fitting) if self.served else self.weights

    def _denoised(self, restorer: Restorer, image: Image, level: float) -> Image:
        seen = Observation(np.ascontiguousarray(image, np.float32), "denoise", sigma=level)
        given = handed(seen)
        if self._counted is not None:
            per_pixel = number("macs_per_pixel()", restorer.macs_per_pixel(given))
            self._counted.append(None if per_pixel is None else per_pixel * image.shape[0] * image.shape[1])
            return seen.image
        x_hat = restorer.restore(given)
        check_answer(x_hat, given, seen)
        return np.array(x_hat)  # the next call may answer in the same memory
