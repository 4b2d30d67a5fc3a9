"""Codes of a mosaic's patches, and levels of the channels that only measured values tell."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from bench.data import BAYER_PATTERNS
from bench.data.degrade import bayer
from bench.methods.sparse.mosaic import average_of_codes, code, measured_mean

RANDOM = np.random.default_rng(0)


def test_the_mean_of_a_channel_is_that_of_its_measured_values():
    Y, mask = np.arange(24.0).reshape(2, 12), np.array([1, 0, 0, 1, 0, 1, 1, 1, 0, 0, 0, 1])
    np.testing.assert_allclose(measured_mean(Y, mask)[0], np.repeat([1.5, 6, 11], 4))


def test_codes_and_levels_are_those_of_least_squares_over_both():
    D, y = RANDOM.normal(size=(27, 2)), RANDOM.normal(size=(1, 27))
    levels = np.kron(np.eye(3), np.ones((9, 1)))
    _, mosaic = bayer(np.zeros((3, 3, 3), np.float32), "RGGB")
    mask = mosaic.transpose(2, 0, 1).ravel().astype(float)
    estimate = code(torch.from_numpy(y), mask, D, error=0.0)  # the end of the path is not bound by the l1 norm
    both = np.linalg.lstsq(np.hstack([D, levels])[mask > 0], y[0, mask > 0], rcond=None)[0]
    np.testing.assert_allclose(estimate[0], np.hstack([D, levels]) @ both, atol=1e-6)


@pytest.mark.parametrize("pattern", BAYER_PATTERNS)
@pytest.mark.parametrize("shape", [(3, 3), (3, 8), (9, 10)], ids=str)
def test_the_average_is_over_all_patches_each_seen_through_its_own_mask(pattern, shape):
    D = RANDOM.normal(size=(27, 40)).astype(np.float32)
    mosaic, mask = bayer(RANDOM.random((*shape, 3), np.float32), pattern)
    M = torch.from_numpy(mask).permute(2, 0, 1)[None].float()
    y = M * torch.from_numpy(mosaic)[None, ..., 0]
    total, count = torch.zeros_like(y), torch.zeros_like(y)
    for i, j in np.ndindex(shape[0] - 2, shape[1] - 2):
        here = (slice(None), slice(None), slice(i, i + 3), slice(j, j + 3))
        seen = M[here].flatten().numpy()
        total[here] += code(y[here].reshape(1, -1), seen, D, 1e-3).view(1, 3, 3, 3)
        count[here] += 1
    torch.testing.assert_close(average_of_codes(y, M, D, 3, 1e-3), total / count)
