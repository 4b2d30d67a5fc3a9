"""K-SVD: what it removes, what it leaves alone, and what the paper's rerun gives."""

from __future__ import annotations

import numpy as np
import pytest

from bench.restorer import Observation
from methods.ksvd import KSVD


def noisy(height: int, width: int, sigma: float) -> Observation:
    clean = np.fromfunction(lambda i, j, c: 0.5 + 0.2 * np.sign(i - j) + c / 20, (height, width, 1))
    noise = np.random.default_rng(0).normal(0, sigma / 255, clean.shape)
    return Observation((clean + noise).astype(np.float32), "denoise", sigma=sigma)


def test_removes_nine_tenths_of_the_error_of_an_edge():
    clean = noisy(48, 48, sigma=0).image
    x_hat = KSVD().restore(noisy(48, 48, sigma=25))
    assert np.mean((x_hat - clean) ** 2) < np.mean((noisy(48, 48, sigma=25).image - clean) ** 2) / 10


def test_without_noise_there_is_nothing_to_remove():
    seen = noisy(20, 20, sigma=0)
    assert np.array_equal(KSVD().restore(seen), seen.image)


@pytest.mark.parametrize("shape", [(1, 1), (7, 9), (8, 8), (20, 3)], ids=str)
def test_images_of_any_size_are_answered_and_constant_ones_stay_so(shape):
    image = np.full((*shape, 1), 0.3, np.float32)
    np.testing.assert_allclose(KSVD().restore(Observation(image, "denoise", sigma=25.0)), image, atol=1e-6)


def test_an_image_with_a_nan_is_refused():
    seen = noisy(20, 20, sigma=25)
    seen.image[3, 4] = np.nan
    with pytest.raises(ValueError, match="1 of the image's 400 values are NaN or infinite"):
        KSVD().restore(seen)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("picture", "psnr_db"),
    [("02.png", 32.08), ("03.png", 29.69), ("09.png", 29.49)],
)
def test_is_as_good_as_the_authors_code(psnr_on_set12, picture, psnr_db):
    # House, Peppers, Barbara in Burger, Schuler, Harmeling, CVPR 2012, Table 1; with another noise
    assert psnr_on_set12(KSVD(), picture, sigma=25) == pytest.approx(psnr_db, abs=0.15)
