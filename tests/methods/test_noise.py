"""The noise level is found from the image alone."""

import numpy as np
import pytest
from bench.methods.noise import estimate_sigma


def noisy(sigma, clean=0.5, size=256, channels=1):
    noise = np.random.default_rng(0).normal(0, sigma / 255, (size, size, channels))
    return (clean + noise).astype(np.float32)


@pytest.mark.parametrize("sigma", [5, 15, 25, 50])
@pytest.mark.parametrize("channels", [1, 3])
def test_white_noise_is_measured(sigma, channels):
    assert estimate_sigma(noisy(sigma, channels=channels)) == pytest.approx(sigma, rel=0.06)


@pytest.mark.parametrize("sigma", [5, 15, 50])
def test_edges_are_not_taken_for_noise(sigma):
    edges = np.kron(np.random.default_rng(1).random((6, 6)), np.ones((43, 43)))[..., None]
    assert estimate_sigma(noisy(sigma, edges[:256, :256])) == pytest.approx(sigma, rel=0.1)


def test_none_is_measured_as_none():
    assert estimate_sigma(np.full((40, 40, 1), 0.3, np.float32)) == 0


@pytest.mark.parametrize("shape", [(1, 1, 1), (6, 40, 3), (9, 9, 1)])
def test_an_image_too_small_to_tell_gives_0(shape):
    assert estimate_sigma(np.random.default_rng(0).random(shape, dtype=np.float32)) == 0
