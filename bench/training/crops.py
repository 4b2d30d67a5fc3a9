"""Training crops: degraded and clean squares of training images, a pure function of seed and step.

A resumed training therefore sees what an uninterrupted one sees, without any state to be kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from bench.errors import DataError, TrainingError
from bench.task import Image, Observation, Setting, get_task
from bench.training.recipe import Recipe
from data.datasets import get, read

__all__ = ["Batch", "Crops"]


class Batch(NamedTuple):
    """y: degraded, x: clean, float32 (N, H, W, C); seen: the observation of the first, for what else it carries."""

    y: np.ndarray
    x: np.ndarray
    seen: Observation


class Crops:
    """The images of a training set in memory, split into those trained on and the last few, which only validate.

    data_sha256  of the pixels of all images, in order
    """

    def __init__(self, recipe: Recipe, setting: Setting, progress: Callable[[int, int], None] | None = None) -> None:
        self.recipe, self.setting = recipe, setting
        images, digest = _read_all(recipe, setting, progress)
        self.data_sha256 = digest
        self.training, self.held_out = images[: -recipe.held_out], images[-recipe.held_out :]
        if not self.training:
            raise TrainingError(
                f"{recipe.data} has {len(images)} images, and {recipe.held_out} are held out of them."
            )

    def batch(self, step: int) -> Batch:
        """The crops of one step."""
        random = np.random.RandomState(_seed(self.recipe.seed, "training", step))
        clean = [self._crop(random) for _ in range(self.recipe.batch)]
        return self._observe(clean, [random] * len(clean))

    def validation(self) -> list[Batch]:
        """One centre crop of each image held out, with the same noise every time, batched as in training."""
        n, size = len(self.held_out), self.recipe.batch
        clean = [_centre(image, self.recipe.crop) for image in self.held_out]
        random = [np.random.RandomState(_seed(0, "validation", index)) for index in range(n)]
        return [self._observe(clean[k : k + size], random[k : k + size]) for k in range(0, n, size)]

    def clean(self, n: int) -> np.ndarray:
        """n clean crops (n, H, W, C), for initialisation."""
        random = np.random.RandomState(_seed(self.recipe.seed, "initialisation", 0))
        return np.stack([self._crop(random) for _ in range(n)])

    def _crop(self, random: np.random.RandomState) -> Image:
        image = self.training[random.randint(len(self.training))]
        size = self.recipe.crop
        top, left = (random.randint(n - size + 1) for n in image.shape[:2])
        crop = image[top : top + size, left : left + size]
        if random.randint(2):
            crop = crop[:, ::-1]
        if random.randint(2):
            crop = crop[::-1]
        return crop.swapaxes(0, 1) if self.recipe.rotations and random.randint(2) else crop

    def _observe(self, clean: Sequence[Image], random: Sequence[np.random.RandomState]) -> Batch:
        task = get_task(self.setting.task)
        seen = [
            task.observe(np.ascontiguousarray(x), self.setting.level, r) for x, r in zip(clean, random, strict=True)
        ]
        return Batch(np.stack([s.image for s in seen]), np.stack(clean), seen[0])


def _read_all(
    recipe: Recipe, setting: Setting, progress: Callable[[int, int], None] | None
) -> tuple[list[Image], str]:
    """The reference images of the training set that are large enough to be cropped, and the hash of their pixels."""
    dataset, digest, images = get(recipe.data), hashlib.sha256(), []
    reference = get_task(setting.task).reference
    for number, entry in enumerate(dataset.entries, start=1):
        try:
            image = read(dataset, entry)
        except DataError as error:
            raise TrainingError(f"The training set {recipe.data} is not whole: {error}") from None
        digest.update(bytes.fromhex(image.sha256))
        clean = reference(image.pixels, setting.level)
        if min(clean.shape[:2]) >= recipe.crop and clean.shape[2] == setting.channels:
            images.append(clean)
        if progress is not None:
            progress(number, len(dataset))
    if not images:
        raise TrainingError(
            f"{recipe.data} has no {'gray' if setting.channels == 1 else 'colour'} image"
            f" of at least {recipe.crop}x{recipe.crop} pixels."
        )
    return images, digest.hexdigest()


def _centre(image: Image, size: int) -> Image:
    top, left = ((n - size) // 2 for n in image.shape[:2])
    return image[top : top + size, left : left + size]


def _seed(seed: int, purpose: str, step: int) -> np.ndarray:
    digest = hashlib.sha256(f"{seed}\0{purpose}\0{step}".encode()).digest()
    return np.frombuffer(digest, "<u4")
