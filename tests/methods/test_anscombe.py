"""The generalised Anscombe transform, held against sums and draws of the noise that it is for."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from bench.methods.anscombe import EXACT_TO, Anscombe, closed_form
from scipy.stats import norm, poisson

NOISES = [(1.0, 0.0), (0.25, 0.0), (1 / 30, 0.0), (0.1, 0.01), (0.01, 0.0004), (1.0, 4.0)]


transform = cache(Anscombe)


@cache
def mean_after_the_transform(a, b, x):
    """E{f(y) | x}, by its definition: counts one by one, the Gaussian part at its quantiles."""
    counts = np.arange(500)
    of_gaussian = norm.ppf((np.arange(4000) + 0.5) / 4000) * np.sqrt(b) if b else np.zeros(1)
    p = poisson.pmf(counts, x / a)
    likely = p > 1e-16
    y = a * counts[likely, None] + of_gaussian
    return p[likely] @ (2 / a * np.sqrt(np.maximum(0, a * y + 3 / 8 * a**2 + b))).mean(axis=1)


@pytest.mark.parametrize(("a", "b"), NOISES)
@pytest.mark.parametrize("x", [0.02, 0.3, 1.0])
def test_the_inverse_is_unbiased(a, b, x):
    got = transform(a, b).inverse(np.array([mean_after_the_transform(a, b, x)]))
    assert got == pytest.approx(x, abs=2e-4 * max(1, np.sqrt(b)))


@pytest.mark.parametrize(
    ("a", "b", "x"), [(0.25, 0.0, 1.0), (1 / 30, 0.0, 0.3), (0.01, 0.0004, 0.5), (0.1, 0.01, 1.0)]
)
def test_noise_has_a_deviation_of_nearly_one(a, b, x):
    stream = np.random.RandomState(0)
    y = a * stream.poisson(x / a, 200_000) + np.sqrt(b) * stream.normal(size=200_000)
    assert transform(a, b).forward(y).std() == pytest.approx(1, abs=0.07)


def test_the_direct_inverse_would_be_biased():
    mean = mean_after_the_transform(1.0, 0.0, 1.0)
    assert (mean / 2) ** 2 - 3 / 8 < 0.9 < transform(1.0).inverse(np.array([mean]))[0]


@pytest.mark.parametrize("s2", [0.0, 1.0, 25.0])
def test_the_closed_form_goes_on_where_the_sums_end(s2):
    end = transform(1.0, s2).inverse(np.array([mean_after_the_transform(1.0, s2, EXACT_TO - 1e-6)]))
    assert end == pytest.approx(EXACT_TO, abs=0.01)
    assert closed_form(np.array([mean_after_the_transform(1.0, s2, EXACT_TO)]), s2) == pytest.approx(
        EXACT_TO, abs=0.02
    )


def test_less_than_no_light_is_none():
    assert transform(1.0).inverse(np.array([-1.0, 0.0, 1.0])).tolist() == [0, 0, 0]
