"""Restorers that do little, quickly, for tests of what is asked of them and what becomes of their answers."""

import numpy as np

from bench.restorer import Restorer


class Box(Restorer):
    """The mean of 3x3 pixels, edges repeated: it reaches one pixel far. Enlarges and demosaicks plainly."""

    name, tasks = "box", {"denoise", "denoise-blind", "deblock", "superres", "demosaick"}

    def restore(self, seen):
        if seen.scale:
            return box(seen.upscaled())
        if seen.mask is not None:
            return box(np.where(seen.mask, seen.image, np.float32(0))) * np.float32([4, 2, 4])
        return box(seen.image)


class GrayBox(Box):
    """The same, of gray pictures alone."""

    name = "gray-box"

    def why_not(self, setting):
        return "gray-box is for gray pictures" if setting.channels == 3 else None


class Told(Restorer):
    """Answers with what it was told, as a gray level: sigma, or the quality of a JPEG."""

    name, tasks = "told", {"denoise", "denoise-blind", "deblock"}

    def restore(self, seen):
        known = seen.sigma if seen.task == "denoise" else seen.quality
        return np.full_like(seen.image, -1 if known is None else known / 255)


class Mean(Restorer):
    """Answers with the mean of what it is shown: it reaches everywhere."""

    name, tasks = "mean", {"denoise"}

    def restore(self, seen):
        return np.full_like(seen.image, seen.image.mean())


class Failing(Restorer):
    """Fails on pictures that are lighter than dark."""

    name, tasks = "failing", {"denoise"}

    def restore(self, seen):
        if seen.image.mean() > 0.5:
            raise MemoryError("no room")
        return seen.image.copy()


class Cramped(Box):
    """A box that has no room for more than 24,000 pixels."""

    name = "cramped"

    def restore(self, seen):
        if seen.image.size > 24_000:
            raise MemoryError("no room")
        return super().restore(seen)


def box(image):
    padded = np.pad(image, ((1, 1), (1, 1), (0, 0)), "edge")
    height, width, _ = image.shape
    parts = [padded[i : i + height, j : j + width] for i in range(3) for j in range(3)]
    return np.mean(parts, axis=0, dtype=np.float32)
