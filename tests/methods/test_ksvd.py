"""K-SVD: what it removes, what it leaves alone, and what the papers' reruns give."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import methods
from bench.restorer import Observation, Setting, WeightsFile
from methods import ksvd
from methods.ksvd import KSVD, metric, patch_size

gray_and_colour = pytest.mark.parametrize("channels", [1, 3])


def prepared(channels: int = 1, sigma: float = 25.0, variant: str = "", weights: str = "") -> KSVD:
    path = Path(methods.__file__).parent / f"weights/ksvd-{weights}.safetensors"
    restorer = KSVD(variant, WeightsFile(path, "", "") if weights else None)
    restorer.prepare(Setting("denoise", sigma, channels), "cpu")
    return restorer


def noisy(height: int, width: int, sigma: float, channels: int = 1) -> Observation:
    clean = np.fromfunction(lambda i, j, c: 0.5 + 0.2 * np.sign(i - j) + c / 20, (height, width, channels))
    noise = np.random.default_rng(0).normal(0, sigma / 255, clean.shape)
    return Observation((clean + noise).astype(np.float32), "denoise", sigma=sigma)


@pytest.mark.parametrize(("channels", "share"), [(1, 10), (3, 6)])
def test_removes_most_of_the_error_of_an_edge(channels, share):
    seen, clean = noisy(48, 48, 25, channels).image, noisy(48, 48, 0, channels).image
    x_hat = prepared(channels).restore(noisy(48, 48, 25, channels))
    assert np.mean((x_hat - clean) ** 2) < np.mean((seen - clean) ** 2) / share


def test_global_keeps_the_dictionary_that_it_was_given(monkeypatch):
    given, adapted = prepared(variant="global"), prepared()
    monkeypatch.setattr(ksvd, "ksvd", lambda Y, D, **_: D)  # adapts nothing
    assert np.array_equal(given.restore(noisy(30, 20, 25)), adapted.restore(noisy(30, 20, 25)))


def test_products_in_colour_weigh_the_means_of_channels_by_gamma():
    y, x = np.random.default_rng(0).random((2, 75))
    T = metric(3)
    K = np.kron(np.eye(3), np.ones((25, 25)))
    assert T(y[None])[0] @ T(x[None])[0] == pytest.approx(y @ x + 5.25 / 25 * y @ K @ x)
    assert np.array_equal(metric(1)(y[None])[0], y)


@pytest.mark.parametrize(("sigma", "channels", "size"), [(50, 1, 8), (20, 3, 5), (21, 3, 7)])
def test_patches_are_as_large_as_in_the_sources(sigma, channels, size):
    assert patch_size(sigma, channels) == size


@gray_and_colour
def test_without_noise_there_is_nothing_to_remove(channels):
    seen = noisy(20, 20, 0, channels)
    assert np.array_equal(prepared(channels).restore(seen), seen.image)


@gray_and_colour
@pytest.mark.parametrize("shape", [(1, 1), (7, 9), (8, 8), (20, 3)], ids=str)
def test_images_of_any_size_are_answered_and_constant_ones_stay_so(shape, channels):
    image = np.full((*shape, channels), [0.3, 0.5, 0.7][:channels], np.float32)
    x_hat = prepared(channels).restore(Observation(image, "denoise", sigma=25.0))
    np.testing.assert_allclose(x_hat, image, atol=1e-6)


@gray_and_colour
def test_an_image_with_a_nan_is_refused(channels):
    seen = noisy(20, 20, 25, channels)
    seen.image[3, 4, 0] = np.nan
    with pytest.raises(ValueError, match=f"1 of the image's {400 * channels} values are NaN or infinite"):
        prepared(channels).restore(seen)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("picture", "psnr_db"),
    [("02.png", 32.08), ("03.png", 29.69), ("09.png", 29.49)],
)
def test_is_as_good_as_the_authors_code(psnr_on_set12, picture, psnr_db):
    # House, Peppers, Barbara in Burger, Schuler, Harmeling, CVPR 2012, Table 1; with another noise
    assert psnr_on_set12(prepared(), picture, sigma=25) == pytest.approx(psnr_db, abs=0.15)
