"""The noise level is found from the image alone."""

import numpy as np
import pytest
from bench.methods import noise
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


def by_the_definition(image):
    """The smallest eigenvalue of all patches' covariance, and again of those that look flat at that noise, twice."""
    patches = np.array([image[i : i + 7, j : j + 7].ravel() for i in range(58) for j in range(58)])
    squares = patches.reshape(-1, 7, 7)
    across, down = (squares[:, :, 2:] - squares[:, :, :-2]) / 2, (squares[:, 2:] - squares[:, :-2]) / 2
    texture = (across**2).sum((1, 2)) + (down**2).sum((1, 2))
    variance = np.linalg.eigvalsh(patches.T @ patches / (len(patches) - 1))[0]
    flat = np.ones(len(patches), bool)
    for _ in range(2):
        flat &= texture < variance * noise._threshold()
        variance = np.linalg.eigvalsh(patches[flat].T @ patches[flat] / (flat.sum() - 1))[0]
    return 255 * variance**0.5


def test_flat_patches_are_selected_twice():
    """As in the authors' program. On half a picture of texture a third selection would still change the answer."""
    random = np.random.default_rng(0)
    image = 0.5 + 0.25 * random.random((64, 64)) * (np.arange(64) > 32) + random.normal(0, 5 / 255, (64, 64))
    expected = by_the_definition(image.astype(np.float32).astype(float))
    assert estimate_sigma(image[..., None].astype(np.float32)) == pytest.approx(expected, rel=1e-6)


def test_none_is_measured_as_none():
    assert estimate_sigma(np.full((40, 40, 1), 0.3, np.float32)) == 0


@pytest.mark.parametrize("shape", [(1, 1, 1), (6, 40, 3), (9, 9, 1)])
def test_an_image_too_small_to_tell_gives_0(shape):
    assert estimate_sigma(np.random.default_rng(0).random(shape, dtype=np.float32)) == 0
