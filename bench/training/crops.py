"""Training crops: degraded and clean squares of training images, a pure function of seed and step.

A resumed training therefore sees what an uninterrupted one sees, without any state to be kept.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from bench.checkpoints import shown
from bench.data.datasets import get, read
from bench.errors import DataError, TrainingError
from bench.level import Level
from bench.task import Image, Observation
from bench.tasks import Setting, colour_word, get_task
from bench.training.recipe import Recipe

__all__ = ["Batch", "Crops", "seed_of"]


Choice = TypeVar("Choice")

VALIDATED = 72
"""Side of the centre crops that validate, whatever the recipe trains on: so validation figures compare."""


class Batch(NamedTuple):
    """Crops degraded at one level.

    y, x   degraded and clean, float32 (N, H, W, C)
    seen   the observation of the first, for what else it carries
    """

    y: np.ndarray
    x: np.ndarray
    seen: Observation
    level: Level


class Crops:
    """The images of a training set in memory, split into those trained on and the last few, which only validate.

    levels       by task, those that crops are degraded at
    data_sha256  of the pixels of all images, in order
    """

    def __init__(self, recipe: Recipe, setting: Setting, progress: Callable[[int, int], None] | None = None) -> None:
        self.recipe, self.setting = recipe, setting
        self.levels = recipe.levels_of(setting)
        images, digest = _read_all(recipe, setting, progress)
        self.data_sha256 = digest
        self.training, self.held_out = images[: -recipe.held_out], images[-recipe.held_out :]
        if not self.training:
            n = len(images)
            remedy = f"Set held_out to {max(1, n // 10)}." if n > 1 else "Two are needed at least."
            raise TrainingError(
                f"recipe '{recipe.name}': {recipe.data} has {n} images, and {recipe.held_out} are held out of them:"
                f" there is none to train on. {remedy}"
            )

    def batch(self, step: int) -> Batch:
        """The crops of one step, of one task and at one of its levels."""
        random = np.random.RandomState(seed_of(self.recipe.seed, "training", step))
        task = _one_of([*self.levels], random)
        level = _one_of(self.levels[task], random)
        clean = [self._crop(random) for _ in range(self.recipe.batch)]
        return self._observe(clean, [random] * len(clean), task, level)

    def validation(self) -> list[Batch]:
        """For each task one centre crop of each image held out, at its levels in turn, always with the same noise.

        Of VALIDATED pixels a side, or of the recipe's crop where an image is smaller than that.
        """
        size = self.recipe.batch
        large = all(min(image.shape[:2]) >= VALIDATED for image in self.held_out)
        side = VALIDATED if large else self.recipe.crop
        crops = [
            (_centre(image, side), np.random.RandomState(seed_of(0, "validation", index)))
            for index, image in enumerate(self.held_out)
        ]
        batches = []
        for task, levels in self.levels.items():
            for i, level in enumerate(levels):
                of_level = crops[i :: len(levels)]
                for k in range(0, len(of_level), size):
                    clean, random = zip(*of_level[k : k + size], strict=True)
                    batches.append(self._observe(clean, copy.deepcopy(random), task, level))
        return batches

    def seen(self, level: Level) -> Observation:
        """What a restorer is told of any crop at this level; the crop in it is one of the initialisation's."""
        return self._observe([self.clean(1)[0]], [np.random.RandomState(0)], self.setting.task, level).seen

    def clean(self, n: int) -> np.ndarray:
        """n clean crops (n, H, W, C), for initialisation."""
        random = np.random.RandomState(seed_of(self.recipe.seed, "initialisation", 0))
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

    def _observe(
        self, clean: Sequence[Image], random: Sequence[np.random.RandomState], task: str, level: Level
    ) -> Batch:
        observe = get_task(task).observe
        seen = [observe(np.ascontiguousarray(x), level, r) for x, r in zip(clean, random, strict=True)]
        return Batch(np.stack([s.image for s in seen]), np.stack(clean), seen[0], level)


def _read_all(
    recipe: Recipe, setting: Setting, progress: Callable[[int, int], None] | None
) -> tuple[list[Image], str]:
    """The reference images of the training set that are large enough to be cropped, and the hash of their pixels."""
    try:
        dataset = get(recipe.data)
    except (DataError, ValueError) as error:  # ValueError: a name that no folder can have
        raise TrainingError(f"recipe '{recipe.name}': data = {shown(recipe.data)}: {error}") from None
    digest, images, n_small = hashlib.sha256(), [], 0
    reference = get_task(setting.task).reference
    for number, entry in enumerate(dataset.entries, start=1):
        try:
            image = read(dataset, entry)
        except DataError as error:
            raise TrainingError(f"The training set {recipe.data} is not whole: {error}") from None
        digest.update(bytes.fromhex(image.sha256))
        clean = reference(image.pixels, setting.level)
        is_large = min(clean.shape[:2]) >= recipe.crop
        if clean.shape[2] == setting.channels:
            n_small += not is_large
            if is_large:
                images.append(clean)
        if progress is not None:
            progress(number, len(dataset))
    if not images:
        other = f"{len(dataset) - n_small} of its {len(dataset)} images are not {colour_word(setting.channels)}"
        raise TrainingError(
            f"recipe '{recipe.name}': {recipe.data} has no {colour_word(setting.channels)} image of at least"
            f" {recipe.crop}x{recipe.crop} pixels: {other}, {n_small} are smaller."
        )
    return images, digest.hexdigest()


def _one_of(choices: Sequence[Choice], random: np.random.RandomState) -> Choice:
    """Nothing is drawn where there is one: what is drawn after it stays the same."""
    return choices[random.randint(len(choices))] if len(choices) > 1 else choices[0]


def _centre(image: Image, size: int) -> Image:
    top, left = ((n - size) // 2 for n in image.shape[:2])
    return image[top : top + size, left : left + size]


def seed_of(seed: int, purpose: str, step: int) -> np.ndarray:
    digest = hashlib.sha256(f"{seed}\0{purpose}\0{step}".encode()).digest()
    return np.frombuffer(digest, "<u4")
