"""Bicubic interpolation: what super-resolution starts from and is compared with."""

from bench.restorer import Image, Observation, Restorer


class Bicubic(Restorer):
    """MATLAB's bicubic `imresize`, the interpolation that the papers' tables call bicubic."""

    name = "bicubic"
    tasks = {"superres"}

    def restore(self, seen: Observation) -> Image:
        return seen.upscaled()
