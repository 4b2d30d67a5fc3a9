"""Noise by its closed forms: moments, exact small cases, and the same bits everywhere."""

from __future__ import annotations

import numpy as np
import pytest
from bench.data.colour import to_8bit, to_unit
from bench.data.degrade import awgn, fingerprint
from bench.data.errors import DataError
from bench.data.noise import awgn_in_8_bits, poisson, poisson_gaussian, salt_pepper, speckle

N = 200_000


def stream(seed=0):
    return np.random.RandomState(seed)


def flat(x):
    return np.full((1, N, 1), x, np.float32)


@pytest.mark.parametrize("x", [0.0, 0.2, 1.0])
@pytest.mark.parametrize(
    ("noise", "variance"),
    [
        (lambda c: poisson(c, 30, stream()), lambda x: x / 30),
        (lambda c: poisson(c, 0.5, stream()), lambda x: x / 0.5),
        (lambda c: poisson_gaussian(c, 0.05, 0.001, stream()), lambda x: 0.05 * x + 0.001),
        (lambda c: poisson_gaussian(c, 0, 0.01, stream()), lambda x: 0.01),
        (lambda c: poisson_gaussian(c, 0.02, 0, stream()), lambda x: 0.02 * x),
        (lambda c: speckle(c, 4, stream()), lambda x: x**2 / 4),
    ],
    ids=["poisson-30", "poisson-0.5", "both", "gaussian-alone", "poisson-alone", "speckle-4"],
)
def test_mean_is_the_picture_and_variance_what_its_formula_says(noise, variance, x):
    y = noise(flat(x)).astype(float)
    assert y.mean() == pytest.approx(x, abs=5 * np.sqrt(variance(x) / N) + 1e-7)
    assert y.var() == pytest.approx(variance(x), rel=0.03, abs=1e-12)


def test_poisson_gives_whole_counts_of_the_peak():
    counts = 8 * poisson(flat(0.4), 8, stream()).astype(float)
    assert np.array_equal(counts, np.rint(counts))
    shares = np.bincount(counts.astype(int).ravel(), minlength=3)[:3] / N
    assert shares == pytest.approx(np.exp(-3.2) * np.array([1, 3.2, 3.2**2 / 2]), rel=0.05)


def test_the_most_photons_are_no_noise_that_float32_has():
    clean = flat(0.5)[:, :4]
    for noisy in (poisson(clean, 1e15, stream()), poisson_gaussian(clean, 1e-15, 0, stream())):
        assert np.allclose(noisy, clean, rtol=0, atol=2e-7)


def test_salt_and_pepper_take_half_of_the_share_each_and_leave_the_rest_as_it_was():
    y = salt_pepper(flat(0.25), 0.3, stream())
    assert set(np.unique(y)) == {0, 0.25, 1}
    assert (y == 0).mean() == pytest.approx(0.15, abs=0.005)
    assert (y == 1).mean() == pytest.approx(0.15, abs=0.005)


def test_salt_pepper_takes_each_colour_of_a_pixel_on_its_own():
    lost = salt_pepper(np.full((100, 100, 3), np.float32(0.5)), 0.5, stream()) != 0.5
    assert lost.all(axis=2).mean() == pytest.approx(0.5**3, abs=0.02)


@pytest.mark.parametrize("share", [0, 1])
def test_salt_pepper_of_none_or_all(share):
    changed = salt_pepper(flat(0.25), share, stream()) != 0.25
    assert changed.mean() == share


def test_speckle_of_one_look_is_exponential():
    n = speckle(flat(0.5), 1, stream()) / 0.5
    assert (n > 1).mean() == pytest.approx(np.exp(-1), abs=0.005)


def test_noise_in_8_bits_is_awgn_saved_to_a_file():
    clean = to_unit(stream().randint(0, 256, (50, 40, 3)).astype(np.uint8))
    seen = awgn_in_8_bits(clean, 50, stream(7))
    assert np.array_equal(seen, to_unit(to_8bit(awgn(clean, 50, stream(7)))))
    assert (seen.min(), seen.max()) == (0, 1)


@pytest.mark.parametrize(
    ("noise", "sha256"),
    [
        (lambda c, s: poisson(c, 30, s), "0ec839e1b695755e"),
        (lambda c, s: poisson_gaussian(c, 0.01, 0.0004, s), "628c3dd3785a9e4a"),
        (lambda c, s: salt_pepper(c, 0.2, s), "460ea53c03f16b34"),
        (lambda c, s: speckle(c, 4, s), "943592499c291858"),
        (lambda c, s: awgn_in_8_bits(c, 25, s), "9a7d5636a2ea6894"),
    ],
    ids=["poisson", "poisson-gaussian", "salt-pepper", "speckle", "8-bits"],
)
def test_bits_are_the_same_on_every_machine_and_the_clean_picture_is_left_alone(noise, sha256):
    clean = to_unit(np.arange(64 * 48, dtype=np.uint8).reshape(32, 32, 3))
    before = clean.copy()
    noisy = noise(clean, np.random.RandomState([1, 2, 3]))
    assert (noisy.dtype, noisy.shape) == (np.float32, clean.shape)
    assert np.array_equal(clean, before)
    assert fingerprint(noisy)[:16] == sha256


@pytest.mark.parametrize(
    ("noise", "words"),
    [
        (lambda c: poisson(c, -3, stream()), "peak is -3: it must be above 0, and at most 1e+15."),
        (lambda c: poisson(c, 0, stream()), "peak is 0: it must be above 0, and at most 1e+15."),
        (lambda c: poisson(c, np.nan, stream()), "peak is nan: it must be above 0, and at most 1e+15."),
        (lambda c: poisson(c, 1e19, stream()), "peak is 1e+19: it must be above 0, and at most 1e+15."),
        (lambda c: poisson_gaussian(c, 1e-20, 0, stream()), "a is 1e-20: it must be 0, or 1e-15 or more."),
        (lambda c: poisson_gaussian(c, -0.1, 0, stream()), "a is -0.1: it must be 0 or more."),
        (lambda c: poisson_gaussian(c, 0, -0.1, stream()), "b is -0.1: it must be 0 or more."),
        (lambda c: poisson_gaussian(c, np.inf, 0, stream()), "a is inf: it must be 0 or more."),
        (lambda c: salt_pepper(c, 1.2, stream()), "share is 1.2: it must be from 0 to 1."),
        (lambda c: speckle(c, 0, stream()), "looks is 0: it must be above 0."),
        (lambda c: awgn_in_8_bits(c, -1, stream()), "sigma is -1: it must be 0 or more."),
    ],
    ids=[*"abcdefghijk"],
)
def test_a_level_outside_its_range_is_one_line(noise, words):
    with pytest.raises(DataError) as raised:
        noise(flat(0.5)[:, :4])
    assert str(raised.value) == words
