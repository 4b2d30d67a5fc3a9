"""The batches of a training in their order, ready before they are wanted."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from bench.level import Level
from bench.task import Observation
from bench.training.crops import Batch, Crops, seed_of

__all__ = ["Ready", "batches", "in_tensors"]

AHEAD = 4  # batches made while the network is busy, by threads of their own
NOISY = ("denoise", "denoise-blind")  # tasks whose degradation a GPU can draw itself


class Ready(NamedTuple):
    """Degraded and clean crops (N, C, H, W), and what `TorchRestorer.estimate` wants beside them."""

    y: Tensor
    x: Tensor
    seen: Observation
    level: Level


def batches(crops: Crops, device: torch.device, step: int) -> Iterator[Ready]:
    """The batches from this step on.

    On a GPU those of one task of noise are drawn there (`Drawn`); all others are made by threads of the processor.
    Either way a batch is a function of the recipe's seed and the step alone, but the two have other crops and noise.
    """
    if device.type == "cuda" and crops.setting.task in NOISY and not crops.recipe.also:
        drawn = Drawn(crops, device)
        return map(drawn.batch, count(step))
    return _from_threads(crops, device, step)


def in_tensors(batch: Batch, device: torch.device) -> Ready:
    """(N, H, W, C) arrays to (N, C, H, W) tensors, in memory that a GPU copies from without anybody waiting."""

    def tensor(crops: np.ndarray) -> Tensor:
        made = torch.from_numpy(crops).permute(0, 3, 1, 2).contiguous()
        return made.pin_memory() if device.type == "cuda" else made

    return Ready(tensor(batch.y), tensor(batch.x), batch.seen, batch.level)


def _from_threads(crops: Crops, device: torch.device, first: int) -> Generator[Ready, None, None]:
    with ThreadPoolExecutor(2) as pool:
        coming: deque[Future[Ready]] = deque()
        for step in count(first):
            coming.append(pool.submit(lambda n: in_tensors(crops.batch(n), device), step))
            if len(coming) > AHEAD:
                yield coming.popleft().result()


class Drawn:
    """Crops, flips and noise drawn on the device, from all training images laid end to end in its memory."""

    def __init__(self, crops: Crops, device: torch.device) -> None:
        self.crops, self.recipe, self.device = crops, crops.recipe, device
        images = crops.training
        self.pixels = torch.from_numpy(np.concatenate([image.reshape(-1, image.shape[2]) for image in images]))
        self.pixels = self.pixels.to(device)  # (pixels of all images, C)
        shapes = torch.tensor([image.shape[:2] for image in images])
        ends = shapes.prod(1).cumsum(0)
        self.first, self.heights, self.widths = (
            t.to(device) for t in (ends - shapes.prod(1), shapes[:, 0], shapes[:, 1])
        )
        self.random = torch.Generator(device)
        (self.levels,) = crops.levels.values()
        self.seen = {level: crops.seen(level) for level in self.levels}

    def batch(self, step: int) -> Ready:
        seed = seed_of(self.recipe.seed, "drawn", step)
        self.random.manual_seed(int.from_bytes(seed[:2].tobytes(), "little") % 2**63)
        level = self.levels[int(seed[2]) % len(self.levels)]
        x = self._clean()
        noise = torch.randn(x.shape, generator=self.random, device=self.device)
        return Ready(x + float(level) / 255 * noise, x, self.seen[level], level)

    def _clean(self) -> Tensor:
        """(N, C, s, s): each crop from any image, at any place in it, flipped and turned at random."""
        n, s = self.recipe.batch, self.recipe.crop
        image = torch.randint(len(self.first), (n,), generator=self.random, device=self.device)
        top, left = (self._below(size[image] - s + 1) for size in (self.heights, self.widths))
        along = torch.arange(s, device=self.device)
        flips = torch.rand(3, n, 1, generator=self.random, device=self.device) < 0.5
        i, j = (torch.where(flip, s - 1 - along, along) for flip in flips[:2])  # (n, s)
        rows, columns = (i + top[:, None])[:, :, None], (j + left[:, None])[:, None]
        place = self.first[image][:, None, None] + rows * self.widths[image][:, None, None] + columns
        if self.recipe.rotations:
            place = torch.where(flips[2][:, :, None], place.mT, place)
        return self.pixels[place].permute(0, 3, 1, 2).contiguous()

    def _below(self, n: Tensor) -> Tensor:
        """A random whole number from 0 to n - 1 for each of n (N,)."""
        uniform = torch.rand(n.shape, generator=self.random, device=self.device, dtype=torch.float64)
        return (uniform * n).long()
