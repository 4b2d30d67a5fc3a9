"""K-SVD: what it removes, what it leaves alone, and what the papers' reruns give."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bench.methods import ksvd
from bench.methods.ksvd import KSVD, metric, patch_size, tolerated

from bench import methods
from bench.restorer import Setting, WeightsFile


def prepared(channels: int = 1, sigma: float = 25.0, variant: str = "", weights: str = "") -> KSVD:
    path = Path(methods.__file__).parent / f"weights/ksvd-{weights}.safetensors"
    restorer = KSVD(variant, WeightsFile(path, "", "") if weights else None)
    restorer.prepare(Setting("denoise", sigma, channels), "cpu")
    return restorer


@pytest.mark.parametrize(("channels", "share"), [(1, 10), (3, 4)])
def test_removes_most_of_the_error_of_an_edge(noisy_edge, channels, share):
    """In colour the last bit of the noisy picture decides: 16 that differ in it had from 5.6 to 14.5."""
    seen, clean = noisy_edge(48, 48, 25, channels).image, noisy_edge(48, 48, 0, channels).image
    x_hat = prepared(channels).restore(noisy_edge(48, 48, 25, channels))
    assert np.mean((x_hat - clean) ** 2) < np.mean((seen - clean) ** 2) / share


def test_global_keeps_the_dictionary_that_it_was_given(monkeypatch, noisy_edge):
    given, adapted = prepared(variant="global"), prepared()
    monkeypatch.setattr(ksvd, "ksvd", lambda Y, D, **_: D)  # adapts nothing
    assert np.array_equal(given.restore(noisy_edge(30, 20, 25)), adapted.restore(noisy_edge(30, 20, 25)))


def test_products_in_colour_weigh_the_means_of_channels_by_gamma():
    y, x = np.random.default_rng(0).random((2, 75))
    T = metric(3)
    K = np.kron(np.eye(3), np.ones((25, 25)))
    assert T(y[None])[0] @ T(x[None])[0] == pytest.approx(y @ x + 5.25 / 25 * y @ K @ x)
    assert np.array_equal(metric(1)(y[None])[0], y)


def test_gray_patches_are_coded_to_1_15_times_the_noise():
    assert tolerated(8, 1, 0.1) == pytest.approx(64 * (1.15 * 0.1) ** 2)  # Elad & Aharon, Sec. V: C = 1.15


def test_colour_patches_are_coded_to_what_93_percent_of_the_noise_stays_below():
    noise = np.random.default_rng(0).normal(0, 0.1, (20_000, 75))
    assert ((noise**2).sum(1) < tolerated(5, 3, 0.1)).mean() == pytest.approx(0.93, abs=0.01)  # Lebrun & Leclaire


@pytest.mark.parametrize(("sigma", "channels", "size"), [(50, 1, 8), (20, 3, 5), (21, 3, 7)])
def test_patches_are_as_large_as_in_the_sources(sigma, channels, size):
    assert patch_size(sigma, channels) == size


@pytest.mark.slow
@pytest.mark.parametrize(
    ("picture", "psnr_db"),
    [("02.png", 32.08), ("03.png", 29.69), ("09.png", 29.49)],
)
def test_is_as_good_as_the_authors_code(psnr_on_set12, picture, psnr_db):
    # House, Peppers, Barbara in Burger, Schuler, Harmeling, CVPR 2012, Table 1; with another noise
    assert psnr_on_set12(prepared(), picture, sigma=25) == pytest.approx(psnr_db, abs=0.15)
