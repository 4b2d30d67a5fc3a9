"""What the tests of published weights share: the mirror's files, and a mean PSNR over its pictures."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from bench.restorer import Observation, Restorer, WeightsFile


def weights(restorer: str, file: str, loader: str) -> WeightsFile:
    return WeightsFile(mirror_folder() / "weights" / restorer / file, "published", "", loader)


def pictures(dataset: str) -> list[Path]:
    return sorted((mirror_folder() / "datasets" / dataset).glob("*.png"))


def mean_psnr_db(restorer: Restorer, files: Iterable[Path], sigma: float) -> float:
    """Of prepared `restorer` on gray files, one noise realisation each; answers rounded to 8 bits, peak 255."""
    from PIL import Image

    psnr_db = []
    for file in files:
        clean = np.asarray(Image.open(file), np.float32)[..., None] / 255
        noise = np.random.default_rng(0).normal(0, sigma / 255, clean.shape)
        x_hat = restorer.restore(Observation((clean + noise).astype(np.float32), "denoise", sigma=sigma))
        error = np.mean((np.rint(255 * np.clip(x_hat, 0, 1)) - 255 * clean) ** 2)
        psnr_db.append(10 * np.log10(255**2 / error))
    return float(np.mean(psnr_db))


def mirror_folder() -> Path:
    if not os.environ.get("BENCH_MIRROR"):
        pytest.skip("needs published weights: set BENCH_MIRROR to a mirror's folder")
    return Path(os.environ["BENCH_MIRROR"])
