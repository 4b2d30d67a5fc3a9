"""LSSC: what it removes, what it leaves alone, and what the NCSR paper says of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import methods
from bench.restorer import Setting, WeightsFile
from methods import lssc
from methods.lssc import LSSC, noise_energy, patch_size


def prepared(channels: int = 1, sigma: float = 25.0, weights: str = "") -> LSSC:
    path = Path(methods.__file__).parent / f"weights/lssc-{weights}.safetensors"
    restorer = LSSC(weights=WeightsFile(path, "", "") if weights else None)
    restorer.prepare(Setting("denoise", sigma, channels), "cpu")
    return restorer


@pytest.mark.parametrize("channels", [1, 3])
def test_removes_nine_tenths_of_the_error_of_an_edge_and_groups_beat_patches_alone(monkeypatch, noisy_edge, channels):
    seen, clean = noisy_edge(48, 48, 25, channels), noisy_edge(48, 48, 0, channels).image
    restorer = prepared(channels)
    x_hat = restorer.restore(seen)
    monkeypatch.setattr(lssc, "code_groups", lambda y, pilot, *_: pilot)
    pilot = restorer.restore(seen)
    errors = [np.mean((answer - clean) ** 2) for answer in (x_hat, pilot, seen.image)]
    assert errors[0] < errors[1] < errors[2] / 4
    assert errors[0] < errors[2] / 10


def test_the_number_of_threads_does_not_change_a_bit(monkeypatch, noisy_edge):
    seen, restorer, answers = noisy_edge(50, 45, 25), prepared(), []
    for n in ("1", "3"):
        monkeypatch.setenv("OMP_NUM_THREADS", n)
        answers.append(restorer.restore(seen))
    assert np.array_equal(*answers)


def test_noise_alone_is_mostly_within_what_is_taken_for_noise():
    noise = np.random.default_rng(0).normal(0, 0.1, (20_000, 81))
    assert ((noise**2).sum(1) < noise_energy(81, 0.1)).mean() == pytest.approx(lssc.TAU, abs=0.01)


@pytest.mark.parametrize(("sigma", "channels", "size"), [(5, 1, 9), (25, 1, 9), (26, 1, 12), (51, 1, 16), (50, 3, 7)])
def test_patches_grow_with_the_noise(sigma, channels, size):
    assert patch_size(sigma, channels) == size


@pytest.mark.slow
def test_is_as_good_as_the_authors_program(psnr_on_set12):
    # House in Dong, Zhang, Shi, Li, IEEE TIP 22(4), 2013, Table 1; the others take many minutes
    picture, at_15, at_50 = "02.png", 35.32, 29.90
    for sigma, tag, psnr_db in ((15, "gray-9", at_15), (50, "gray-12", at_50)):
        restorer = prepared(1, sigma, tag)
        assert psnr_on_set12(restorer, picture, sigma) == pytest.approx(psnr_db, abs=0.15)
