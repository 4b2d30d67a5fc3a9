"""LSSC: what it removes, what it leaves alone, and what the NCSR paper says of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import methods
from bench.restorer import Observation, Setting, WeightsFile
from methods import lssc
from methods.lssc import LSSC, noise_energy, patch_size


def prepared(sigma: float = 25.0, weights: WeightsFile | None = None) -> LSSC:
    restorer = LSSC(weights=weights)
    restorer.prepare(Setting("denoise", sigma, 1), "cpu")
    return restorer


def noisy(height: int, width: int, sigma: float) -> Observation:
    clean = np.fromfunction(lambda i, j, c: 0.5 + 0.2 * np.sign(i - j) + c / 20, (height, width, 1))
    noise = np.random.default_rng(0).normal(0, sigma / 255, clean.shape)
    return Observation((clean + noise).astype(np.float32), "denoise", sigma=sigma)


def test_removes_nine_tenths_of_the_error_of_an_edge_and_groups_do_better_than_patches_alone(monkeypatch):
    seen, clean = noisy(48, 48, sigma=25), noisy(48, 48, sigma=0).image
    restorer = prepared()
    x_hat = restorer.restore(seen)
    monkeypatch.setattr(lssc, "code_groups", lambda y, pilot, *_: pilot)
    pilot = restorer.restore(seen)
    errors = [np.mean((answer - clean) ** 2) for answer in (x_hat, pilot, seen.image)]
    assert errors[0] < errors[1] < errors[2] / 4
    assert errors[0] < errors[2] / 10


def test_the_number_of_threads_does_not_change_a_bit(monkeypatch):
    seen, restorer, answers = noisy(50, 45, sigma=25), prepared(), []
    for n in ("1", "3"):
        monkeypatch.setenv("OMP_NUM_THREADS", n)
        answers.append(restorer.restore(seen))
    assert np.array_equal(*answers)


def test_noise_alone_is_mostly_within_what_is_taken_for_noise():
    noise = np.random.default_rng(0).normal(0, 0.1, (20_000, 81))
    assert ((noise**2).sum(1) < noise_energy(81, 0.1)).mean() == pytest.approx(lssc.TAU, abs=0.01)


@pytest.mark.parametrize(("sigma", "size"), [(5, 9), (25, 9), (26, 12), (50, 12), (51, 16)])
def test_patches_grow_with_the_noise(sigma, size):
    assert patch_size(sigma) == size


def test_without_noise_there_is_nothing_to_remove():
    seen = noisy(20, 20, sigma=0)
    assert np.array_equal(prepared().restore(seen), seen.image)


@pytest.mark.parametrize("shape", [(1, 1), (7, 9), (9, 9), (20, 3)], ids=str)
def test_images_of_any_size_are_answered_and_constant_ones_stay_so(shape):
    image = np.full((*shape, 1), 0.3, np.float32)
    np.testing.assert_allclose(prepared().restore(Observation(image, "denoise", sigma=25.0)), image, atol=1e-6)


def test_an_image_with_a_nan_is_refused():
    seen = noisy(20, 20, sigma=25)
    seen.image[3, 4] = np.inf
    with pytest.raises(ValueError, match="1 of the image's 400 values are NaN or infinite"):
        prepared().restore(seen)


@pytest.mark.slow
def test_is_as_good_as_the_authors_program(psnr_on_set12):
    # House in Dong, Zhang, Shi, Li, IEEE TIP 22(4), 2013, Table 1; the others take many minutes
    picture, at_15, at_50 = "02.png", 35.32, 29.90
    for sigma, tag, psnr_db in ((15, "gray-9", at_15), (50, "gray-12", at_50)):
        path = Path(methods.__file__).parent / f"weights/lssc-{tag}.safetensors"
        restorer = prepared(sigma, WeightsFile(path, "", ""))
        assert psnr_on_set12(restorer, picture, sigma) == pytest.approx(psnr_db, abs=0.15)
