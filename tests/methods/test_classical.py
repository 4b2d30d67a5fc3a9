"""The small restorers: each removes noise, leaves a clean picture alone, and takes the smallest sizes."""

from __future__ import annotations

import numpy as np
import pytest
from bench.methods.bicubic import Bicubic
from bench.methods.identity import Jpeg, Noisy
from bench.methods.nl_ridge import NLRidge
from bench.methods.nlm import NonLocalMeans
from bench.methods.tv import TotalVariation
from bench.methods.wavelet import Wavelet

from bench.restorer import Observation

DENOISERS = [NonLocalMeans, NLRidge, TotalVariation, Wavelet]

every_denoiser = pytest.mark.parametrize("denoiser", DENOISERS, ids=lambda denoiser: denoiser.name)


def noisy(height: int, width: int, channels: int, sigma: float) -> Observation:
    clean = np.fromfunction(lambda i, j, c: 0.5 + 0.2 * np.sign(i - j) + c / 20, (height, width, channels))
    noise = np.random.default_rng(0).normal(0, sigma / 255, clean.shape)
    return Observation((clean + noise).astype(np.float32), "denoise", sigma=sigma)


@every_denoiser
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("sigma", [15.0, 50.0])
def test_removes_three_quarters_of_the_error(denoiser, channels, sigma):
    seen, clean = noisy(64, 64, channels, sigma), noisy(64, 64, channels, sigma=0).image
    x_hat = denoiser().restore(seen)
    assert np.mean((x_hat - clean) ** 2) < np.mean((seen.image - clean) ** 2) / 4


@every_denoiser
@pytest.mark.parametrize("channels", [1, 3])
def test_without_noise_there_is_nothing_to_remove(denoiser, channels):
    seen = noisy(16, 16, channels, sigma=0)
    assert np.array_equal(denoiser().restore(seen), seen.image)


@every_denoiser
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (2, 2), (7, 9), (37, 61)], ids=str)
def test_answers_at_any_size_without_a_word(denoiser, channels, shape, capfd):
    seen = noisy(*shape, channels, sigma=25)
    x_hat = denoiser().restore(seen)
    assert (x_hat.shape, x_hat.dtype) == (seen.image.shape, np.float32)
    assert np.isfinite(x_hat).all()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("baseline", [Noisy, Jpeg])
def test_a_baseline_answers_with_a_copy_of_what_it_saw(baseline):
    seen = noisy(7, 9, 1, sigma=25)
    x_hat = baseline().restore(seen)
    assert np.array_equal(x_hat, seen.image)
    assert not np.shares_memory(x_hat, seen.image)


def test_bicubic_restores_a_smooth_picture_and_its_size():
    rows, columns = np.mgrid[:24, :36]
    clean = (0.5 + 0.3 * np.sin(rows / 9) * np.cos(columns / 11)).astype(np.float32)[..., None]
    from bench.data.degrade import bicubic

    seen = Observation(bicubic(clean, 1 / 3), "superres", scale=3)
    x_hat = Bicubic().restore(seen)
    assert x_hat.shape == clean.shape
    np.testing.assert_allclose(x_hat[6:-6, 6:-6], clean[6:-6, 6:-6], atol=0.01)
