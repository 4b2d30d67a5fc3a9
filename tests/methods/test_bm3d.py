"""BM3D: the sizes that crash the package, gray pictures in colour, and the same answer every time."""

from __future__ import annotations

import numpy as np
import pytest
from bench.methods.bm3d import BM3D, profile

from bench.restorer import Observation

pytest.importorskip("bm3d")


def noisy(height: int, width: int, channels: int = 1, sigma: float = 25.0) -> Observation:
    clean = np.fromfunction(lambda i, j, c: 0.5 + 0.2 * np.sin(i / 5 + j / 7 + c), (height, width, channels))
    noise = np.random.default_rng(0).normal(0, sigma / 255, clean.shape)
    return Observation((clean + noise).astype(np.float32), "denoise", sigma=sigma)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("shape", [(1, 1), (7, 9), (8, 8), (37, 61)], ids=str)
def test_answers_at_sizes_that_the_package_refuses_or_dies_of(shape, channels):
    seen = noisy(*shape, channels)
    x_hat = BM3D().restore(seen)
    assert (x_hat.shape, x_hat.dtype) == (seen.image.shape, np.float32)
    assert np.isfinite(x_hat).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_removes_noise_and_does_so_twice_alike(channels):
    seen, clean = noisy(64, 64, channels), noisy(64, 64, channels, sigma=0).image
    x_hat = BM3D().restore(seen)
    assert np.mean((x_hat - clean) ** 2) < np.mean((seen.image - clean) ** 2) / 10
    assert np.array_equal(BM3D().restore(seen), x_hat)


def test_a_gray_picture_in_colour_is_filtered_all_the_same():
    gray = noisy(32, 32)
    seen = Observation(np.repeat(gray.image, 3, axis=2), "denoise", sigma=25.0)
    np.testing.assert_allclose(BM3D().restore(seen), np.repeat(BM3D().restore(gray), 3, axis=2), atol=1e-6)


def test_without_noise_there_is_nothing_to_remove():
    seen = noisy(20, 20, sigma=0)
    assert np.array_equal(BM3D().restore(seen), seen.image)


def test_the_profile_is_the_one_of_the_tables_on_one_thread():
    # the authors' MATLAB code: blocks of 8 and stacks of 16 up to sigma 40; stacks of 32, then blocks of 11, above
    low, high = profile(40), profile(41)
    assert (low.max_3d_size_ht, low.bs_wiener) == (16, 8)
    assert (high.max_3d_size_ht, high.bs_wiener) == (32, 11)
    assert low.num_threads == high.num_threads == 1
