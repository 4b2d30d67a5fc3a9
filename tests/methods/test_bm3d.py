"""BM3D and its package: odd sizes, gray pictures in colour, the same answer every time, and each other's answers."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from bench.methods.bm3d import BM3D, package_profile, steps
from bench.methods.sparse.opponent import FROM_OPPONENT, TO_OPPONENT

from bench.restorer import Observation, RestorerError, Setting

RARELY = (pytest.mark.slow, pytest.mark.weekly)  # the package takes seconds
VARIANTS = ["", "lc", "high", pytest.param("package", marks=RARELY)]


@pytest.fixture(params=VARIANTS, ids=lambda variant: variant or "np")
def bm3d(request):
    if request.param == "package":
        pytest.importorskip("bm3d")
    return BM3D(request.param)


def noisy(height: int, width: int, channels: int = 1, sigma: float = 25.0) -> Observation:
    clean = np.fromfunction(lambda i, j, c: 0.5 + 0.2 * np.sin(i / 5 + j / 7 + c), (height, width, channels))
    noise = np.random.default_rng(0).normal(0, sigma / 255, clean.shape)
    return Observation((clean + noise).astype(np.float32), "denoise", sigma=sigma)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("shape", [(1, 1), (7, 9), (8, 8), (37, 61)], ids=str)
def test_answers_at_sizes_below_a_block_and_beyond(bm3d, shape, channels):
    seen = noisy(*shape, channels)
    x_hat = bm3d.restore(seen)
    assert (x_hat.shape, x_hat.dtype) == (seen.image.shape, np.float32)
    assert np.isfinite(x_hat).all()


@pytest.mark.parametrize("sigma", [25, 50])
@pytest.mark.parametrize("channels", [1, 3])
def test_removes_noise_and_does_so_twice_alike(bm3d, channels, sigma):
    seen, clean = noisy(64, 64, channels, sigma), noisy(64, 64, channels, sigma=0).image
    x_hat = bm3d.restore(seen)
    assert np.mean((x_hat - clean) ** 2) < np.mean((seen.image - clean) ** 2) / 10
    assert np.array_equal(bm3d.restore(seen), x_hat)


def test_a_gray_picture_in_colour_is_filtered_all_the_same(bm3d):
    """Our noise is less in luma than in each of R, G and B: the stacks are those of a gray picture of that noise."""
    gray = noisy(32, 32)
    seen = Observation(np.repeat(gray.image, 3, axis=2), "denoise", sigma=25.0)
    alone = Observation(gray.image, "denoise", sigma=25.0 if bm3d.variant == "package" else 25 / np.sqrt(3))
    np.testing.assert_allclose(bm3d.restore(seen), np.repeat(bm3d.restore(alone), 3, axis=2), atol=1e-5)


def test_without_noise_there_is_nothing_to_remove(bm3d):
    seen = noisy(20, 20, sigma=0)
    assert np.array_equal(bm3d.restore(seen), seen.image)


def test_ours_and_the_package_answer_nearly_alike():
    pytest.importorskip("bm3d")
    seen = noisy(64, 64)
    ours, theirs = BM3D().restore(seen), BM3D("package").restore(seen)
    assert 255 * np.sqrt(np.mean((ours - theirs) ** 2)) < 2.5


def test_opponent_colours_keep_the_noise_white_and_have_a_way_back():
    np.testing.assert_allclose(TO_OPPONENT @ FROM_OPPONENT, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(TO_OPPONENT @ TO_OPPONENT.T, np.eye(3) / 3, atol=1e-12)
    np.testing.assert_allclose(TO_OPPONENT[0], 1 / 3)


def test_the_profile_is_the_one_of_the_tables():
    (first, second), (first_above, second_above) = steps(40), steps(41)
    assert (first.most, first.step, first.threshold, len(second.T), second.step) == (16, 3, 2.7, 8, 3)
    assert (first_above.most, first_above.step, first_above.threshold) == (32, 4, 2.8)
    assert (len(second_above.T), second_above.step) == (11, 6)


def test_the_package_has_the_same_profiles_on_one_thread():
    pytest.importorskip("bm3d")
    low, high = package_profile(40), package_profile(41)
    assert (low.max_3d_size_ht, low.bs_wiener) == (16, 8)
    assert (high.max_3d_size_ht, high.bs_wiener) == (32, 11)
    assert low.num_threads == high.num_threads == 1


@pytest.mark.parametrize("channels", [1, 3])
def test_the_way_of_a_gpu_gives_the_same_picture(channels):
    """Here on the CPU, which torch serves in the same way. To 1e-4 of the range: rounding decides between two blocks
    that are alike, and whether a coefficient is above its threshold."""
    seen = noisy(31, 36, channels)
    ours, batched = BM3D("lc"), BM3D("lc")
    batched.prepare(Setting("denoise", 25.0, channels), "cuda")
    assert batched.filtered.keywords == {"device": "cuda"}
    batched.filtered = partial(batched.filtered, device="cpu")
    np.testing.assert_allclose(batched.restore(seen), ours.restore(seen), rtol=0, atol=1e-4)


def test_the_package_is_not_measured_on_a_gpu():
    with pytest.raises(RestorerError, match="bm3d:package computes on cpu, not on cuda:1"):
        BM3D("package").prepare(Setting("denoise", 25.0, 1), "cuda:1")
