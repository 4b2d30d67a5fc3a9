"""WNNM: what it removes, what it leaves alone, that threads change nothing, and a printed figure."""

from __future__ import annotations

import numpy as np
import pytest
from bench.methods.wnnm import WNNM, parameters

from bench.restorer import Observation


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("sigma", [15.0, 50.0])
def test_removes_nine_tenths_of_the_error_and_does_so_twice_alike(noisy_edge, channels, sigma):
    seen, clean = noisy_edge(40, 40, sigma, channels), noisy_edge(40, 40, 0, channels).image
    x_hat = WNNM().restore(seen)
    assert np.mean((x_hat - clean) ** 2) < np.mean((seen.image - clean) ** 2) / 10
    assert np.array_equal(WNNM().restore(seen), x_hat)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (6, 6), (7, 23)], ids=str)
@pytest.mark.parametrize("sigma", [5.0, 100.0])
def test_answers_at_sizes_below_a_patch_and_beyond(noisy_edge, shape, channels, sigma):
    seen = noisy_edge(*shape, sigma, channels)
    x_hat = WNNM().restore(seen)
    assert (x_hat.shape, x_hat.dtype) == (seen.image.shape, np.float32)
    assert np.isfinite(x_hat).all()


def test_the_number_of_threads_changes_nothing(noisy_edge, monkeypatch):
    seen = noisy_edge(32, 32, 25.0)
    answers = []
    for n_threads in "12":
        monkeypatch.setenv("OMP_NUM_THREADS", n_threads)
        answers.append(WNNM().restore(seen))
    assert np.array_equal(*answers)


@pytest.mark.parametrize("channels", [1, 3])
def test_without_noise_there_is_nothing_to_remove(noisy_edge, channels):
    seen = noisy_edge(16, 16, 0, channels)
    assert np.array_equal(WNNM().restore(seen), seen.image)


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_what_is_constant_stays_so(value):
    seen = Observation(np.full((20, 20, 1), value, np.float32), "denoise", sigma=25.0)
    np.testing.assert_allclose(WNNM().restore(seen), seen.image, atol=1e-6)


def test_a_gray_picture_in_colour_is_filtered_as_in_gray(noisy_edge):
    """Its noise is in luma alone, and as great there: WNNM is told more for colours than for gray."""
    gray = noisy_edge(24, 24, 10.0)
    colour = Observation(np.repeat(gray.image, 3, axis=2), "denoise", sigma=10.0 * np.sqrt(3))
    np.testing.assert_allclose(WNNM().restore(colour), np.repeat(WNNM().restore(gray), 3, axis=2), atol=1e-5)


def test_the_parameters_are_those_of_the_papers():
    assert [parameters(sigma).size for sigma in (20, 40, 60, 61)] == [6, 7, 8, 9]
    assert [parameters(sigma).similar for sigma in (20, 40, 60, 61)] == [70, 90, 120, 140]
    assert [parameters(sigma).iterations for sigma in (20, 40, 60, 61)] == [8, 12, 14, 14]


@pytest.mark.slow
def test_printed_figures_are_met(psnr_on_set12):
    """C.man, House and Peppers in Table III of the DnCNN paper: a single one changes by 0.1 dB with its noise."""
    ours = [psnr_on_set12(WNNM(), file, 25.0) for file in ("01.png", "02.png", "03.png")]
    assert np.mean(ours) == pytest.approx(np.mean([29.64, 33.22, 30.42]), abs=0.1)
