"""EPLL: what it leaves alone, that it does as the paper says, and printed figures."""

from __future__ import annotations

import numpy as np
import pytest
from bench.methods.epll import EPLL, SIZE

from bench.plugins.registry import choose
from bench.plugins.weights import pick
from bench.restorer import Observation, Setting


def prepared(weights: bool = False) -> EPLL:
    setting = Setting("denoise", 25.0, 1)
    restorer = EPLL(weights=next(iter(pick(choose("epll"), setting))) if weights else None)
    restorer.prepare(setting, "cpu")
    return restorer


@pytest.fixture(scope="module")
def epll():
    """With one Gaussian, which needs no file and has few components to look at."""
    return prepared()


@pytest.fixture(scope="module")
def learned():
    return prepared(weights=True)


@pytest.mark.parametrize("sigma", [15.0, 50.0])
def test_removes_nine_tenths_of_the_error_and_does_so_twice_alike(learned, noisy_edge, sigma):
    seen, clean = noisy_edge(40, 40, sigma), noisy_edge(40, 40, 0).image
    x_hat = learned.restore(seen)
    assert np.mean((x_hat - clean) ** 2) < np.mean((seen.image - clean) ** 2) / 10
    assert np.array_equal(learned.restore(seen), x_hat)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (8, 8), (9, 23)], ids=str)
@pytest.mark.parametrize("sigma", [0.1, 255.0])
def test_answers_at_sizes_below_a_patch_and_beyond(epll, noisy_edge, shape, sigma):
    seen = noisy_edge(*shape, sigma)
    x_hat = epll.restore(seen)
    assert (x_hat.shape, x_hat.dtype) == (seen.image.shape, np.float32)
    assert np.isfinite(x_hat).all()


def test_without_noise_there_is_nothing_to_remove(epll, noisy_edge):
    seen = noisy_edge(16, 16, 0)
    assert np.array_equal(epll.restore(seen), seen.image)


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_what_is_constant_stays_so(epll, value):
    seen = Observation(np.full((20, 20, 1), value, np.float32), "denoise", sigma=25.0)
    np.testing.assert_allclose(epll.restore(seen), seen.image, atol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_image_with_a_value_that_is_not_finite_is_refused(epll, value, noisy_edge):
    seen = noisy_edge(20, 20, 25)
    seen.image[3, 4, 0] = value
    with pytest.raises(ValueError, match="1 of the image's 400 values are NaN or infinite"):
        epll.restore(seen)


def test_with_one_gaussian_it_is_linear_and_can_be_written_down(epll, noisy_edge):
    """Sec. 3.2: a patch goes through Wiener's filter for beta's noise, pixels are averaged, and y is mixed in."""
    sigma, y = 20 / 255, noisy_edge(12, 13, 20).image[..., 0].astype(np.float64)
    along = 0.95 ** np.abs(np.subtract.outer(np.arange(SIZE), np.arange(SIZE)))
    P = np.eye(SIZE**2) - 1 / SIZE**2
    C, x = P @ (0.04 * np.kron(along, along)) @ P, y
    for beta in (1, 4, 8, 16, 32):
        W = C @ np.linalg.inv(C + sigma**2 / beta * np.eye(SIZE**2))
        total, count = np.zeros_like(x), np.zeros_like(x)
        for i in range(x.shape[0] - SIZE + 1):
            for j in range(x.shape[1] - SIZE + 1):
                patch = x[i : i + SIZE, j : j + SIZE].ravel()
                z = patch.mean() + W @ (patch - patch.mean())
                total[i : i + SIZE, j : j + SIZE] += z.reshape(SIZE, SIZE)
                count[i : i + SIZE, j : j + SIZE] += 1
        x = (64 * y + 64 * beta * total / count) / (64 + 64 * beta)
    x_hat = epll.restore(Observation(y[..., None].astype(np.float32), "denoise", sigma=20.0))
    np.testing.assert_allclose(x_hat[..., 0], x, atol=1e-5)


def test_the_mixture_is_the_papers_in_size_and_has_a_component_for_what_is_flat(learned):
    assert learned.mixture.values.shape == (200, 63)
    assert learned.n_params() == 200 + 200 * 63 * 64 // 2
    assert np.exp(learned.mixture.log_priors).sum() == pytest.approx(1)
    gray_levels_rms = 255 * np.sqrt(learned.mixture.values.mean(1))
    assert gray_levels_rms.min() < 1.5


def test_is_for_gray_images():
    assert EPLL().why_not(Setting("denoise", 25, channels=3)) == "epll is for gray images"
    assert EPLL().why_not(Setting("denoise", 25, channels=1)) is None


@pytest.mark.slow
def test_printed_figures_are_met(learned, psnr_on_set12):
    """C.man, House and Peppers in Table III of the DnCNN paper, with our mixture: a little less."""
    ours = [psnr_on_set12(learned, file, 25.0) for file in ("01.png", "02.png", "03.png")]
    assert np.mean(ours) == pytest.approx(np.mean([29.26, 32.17, 30.17]), abs=0.1)
