"""What the passes between products hold in fewer bits."""

from __future__ import annotations

import numpy as np
import pytest
from bench.methods.fast.passes import mix, normalised


def stored(values):
    """What is left of similarities (n, n_near) after they have been stored, and the sums of their rows."""
    estimate = np.array(values, np.float32)[None]
    Sigma, ones = np.zeros(estimate.shape, np.uint16), np.ones_like(estimate)
    mass, out = np.empty(estimate.shape[1], np.float32), np.empty_like(estimate)
    mix(Sigma, mass, estimate, estimate.view(np.int32), ones, ones[0, 0], 0, np.float32(1))
    normalised(Sigma[0], mass, out[0])
    return out[0] * mass[:, None], mass


def test_similarities_keep_eleven_bits_and_their_sums_are_of_what_was_kept():
    values = np.exp(-np.random.default_rng(0).uniform(0, 30, (50, 101)))
    kept, mass = stored(values)
    np.testing.assert_allclose(kept, values, rtol=2**-11 + 1e-6)
    np.testing.assert_allclose(mass, kept.sum(1), rtol=1e-6)
    assert abs((kept / values).mean() - 1) < 1e-5  # rounded, not cut off


@pytest.mark.parametrize("value", [0, 1, 4, 9, 0.5, 2.0**-53, 1023])
def test_what_has_few_digits_is_kept_as_it_is(value):
    assert stored([[value, 1]])[0][0, 0] == pytest.approx(value, rel=1e-6, abs=0)


@pytest.mark.parametrize("value", [1e-20, 1e-38, 1e-45])
def test_next_to_nothing_is_nothing(value):
    assert stored([[value, 1]])[0][0, 0] == 0
