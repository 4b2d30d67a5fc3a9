"""The degraded image itself: the baseline that every table starts with."""

from bench.restorer import Image, Observation, Restorer


class Noisy(Restorer):
    """The noisy image, unchanged."""

    name = "noisy"
    tasks = {"denoise", "denoise-blind"}

    def restore(self, seen: Observation) -> Image:
        return seen.image.copy()


class Jpeg(Restorer):
    """The decoded JPEG, unchanged."""

    name = "jpeg"
    tasks = {"deblock"}

    def restore(self, seen: Observation) -> Image:
        return seen.image.copy()
