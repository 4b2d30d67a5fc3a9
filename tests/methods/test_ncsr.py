"""NCSR: what it removes, what it leaves alone, that threads change nothing, and printed figures."""

from __future__ import annotations

import numpy as np
import pytest
from bench.methods.ncsr import NCSR, parameters

from bench.restorer import Observation
from bench.tasks import Setting


@pytest.mark.parametrize("sigma", [15.0, 50.0])
def test_removes_nine_tenths_of_the_error_and_does_so_twice_alike(noisy_edge, sigma):
    seen, clean = noisy_edge(40, 40, sigma), noisy_edge(40, 40, 0).image
    x_hat = NCSR().restore(seen)
    assert np.mean((x_hat - clean) ** 2) < np.mean((seen.image - clean) ** 2) / 10
    assert np.array_equal(NCSR().restore(seen), x_hat)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (6, 6), (7, 23)], ids=str)
@pytest.mark.parametrize("sigma", [0.01, 5.0, 100.0])
def test_answers_at_sizes_below_a_patch_and_beyond(noisy_edge, shape, sigma, capfd):
    seen = noisy_edge(*shape, sigma)
    x_hat = NCSR().restore(seen)
    assert (x_hat.shape, x_hat.dtype) == (seen.image.shape, np.float32)
    assert np.isfinite(x_hat).all()
    assert capfd.readouterr() == ("", "")


def test_the_number_of_threads_changes_nothing(noisy_edge, monkeypatch):
    seen = noisy_edge(48, 48, 10.0)
    answers = []
    for n_threads in "12":
        monkeypatch.setenv("OMP_NUM_THREADS", n_threads)
        answers.append(NCSR().restore(seen))
    assert np.array_equal(*answers)


def test_without_noise_there_is_nothing_to_remove(noisy_edge):
    seen = noisy_edge(16, 16, 0)
    assert np.array_equal(NCSR().restore(seen), seen.image)


def test_hardly_any_noise_hardly_changes_anything(noisy_edge):
    seen = noisy_edge(24, 24, 0.1)
    assert np.sqrt(np.mean((NCSR().restore(seen) - seen.image) ** 2)) < 0.1 / 255


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("sigma", [5.0, 50.0])
def test_what_is_constant_stays_so(value, sigma):
    seen = Observation(np.full((20, 20, 1), value, np.float32), "denoise", sigma=sigma)
    np.testing.assert_allclose(NCSR().restore(seen), seen.image, atol=1e-6)


def test_is_for_gray_images():
    assert NCSR().why_not(Setting("denoise", 25, channels=3)) == "ncsr is for gray images"
    assert NCSR().why_not(Setting("denoise", 25, channels=1)) is None


def test_the_parameters_change_where_the_authors_do():
    assert [parameters(sigma).size for sigma in (15, 30, 50, 51)] == [6, 7, 9, 8]
    assert [parameters(sigma).similar for sigma in (15, 30, 50, 51)] == [13, 16, 18, 20]
    assert [parameters(sigma).c for sigma in (10, 15, 50)] == [0.56, 0.59, 0.64]


@pytest.mark.slow
@pytest.mark.parametrize(("sigma", "printed"), [(15.0, (31.99, 35.11, 32.70)), (50.0, (26.16, 29.63, 26.53))])
def test_printed_figures_are_met(psnr_on_set12, sigma, printed):
    """C.man, House and Peppers in the paper's Table 1: a single one changes by 0.1 dB with its noise."""
    ours = [psnr_on_set12(NCSR(), file, sigma) for file in ("01.png", "02.png", "03.png")]
    assert np.mean(ours) == pytest.approx(np.mean(printed), abs=0.1)
