"""Correlations in 16 bits: how far they come back from what they were."""

from __future__ import annotations

import numpy as np
import pytest
from bench.methods.fast.attention import _lengthen, short
from bench.methods.sparse.compiled import kernel


@kernel
def shortened(d, S):
    for n in range(len(d)):
        for x in range(d.shape[1]):
            S[n, x] = short(d[n, x])


@kernel
def lengthened(S, largest, most, P):
    _lengthen(S, largest, most, P)


def through(d):
    """How far below the largest, after 16 bits."""
    S, P = np.empty(d.shape, np.uint16), np.empty(d.shape, np.float32)
    shortened(d, S)
    lengthened(S, np.zeros(4, np.float32), np.empty(d.shape[1], np.float32), P)
    return -P


def test_they_move_by_less_than_is_said():
    d = np.geomspace(1e-6, 2046, 40_000, dtype=np.float32).reshape(-1, 16)
    moved = np.abs(through(d).astype(float) - d)
    assert (moved <= d / 8192 + 4e-6 + 2e-7 * d).all()
    assert (moved * np.exp(-d.astype(float)) < 5e-5).all()


@pytest.mark.parametrize(
    ("d", "expected"), [(0, 0), (-3, 0), (1, 1), (2046, 2046), (2047, 2046), (1e9, 2046), (np.inf, 2046)]
)
def test_the_largest_stays_and_what_is_too_far_is_as_far_as_can_be(d, expected):
    assert through(np.full((2, 16), d, np.float32)) == pytest.approx(expected, abs=0.3 if expected > 1 else 2e-4)


def test_each_pixel_of_a_tile_has_a_largest_of_its_own():
    S, P = np.zeros((3, 16), np.uint16), np.empty((3, 16), np.float32)
    lengthened(S, np.arange(4, dtype=np.float32), np.empty(16, np.float32), P)
    assert (np.repeat(np.arange(4), 4) == P).all()
