"""What the tests of denoisers share."""

from __future__ import annotations

import numpy as np
import pytest
from bench.data import datasets

from bench.restorer import Observation, Restorer


@pytest.fixture
def noisy_edge():
    """(height, width, sigma, channels) -> an edge along the diagonal, with noise of seed 0."""

    def seen(height: int, width: int, sigma: float, channels: int = 1) -> Observation:
        clean = np.fromfunction(lambda i, j, c: 0.5 + 0.2 * np.sign(i - j) + c / 20, (height, width, channels))
        noise = np.random.default_rng(0).normal(0, sigma / 255, clean.shape)
        return Observation((clean + noise).astype(np.float32), "denoise", sigma=sigma)

    return seen


@pytest.fixture
def psnr_on_set12():
    """(restorer, file, sigma, seed of the noise) -> its PSNR in dB on a picture of set12, clipped and rounded."""

    def psnr_db(restorer: Restorer, file: str, sigma: float, seed: int = 0) -> float:
        set12 = datasets.get("set12")
        clean = datasets.read(set12, next(entry for entry in set12.entries if entry.name == file)).pixels
        noise = np.random.default_rng(seed).normal(0, sigma / 255, clean.shape)
        x_hat = restorer.restore(Observation((clean + noise).astype(np.float32), "denoise", sigma=sigma))
        error = np.rint(255 * np.clip(x_hat, 0, 1)) - 255 * clean
        return float(10 * np.log10(255**2 / np.mean(error**2)))

    return psnr_db
