"""Groups of similar patches: found as by comparing each with each, taken out and put back in their places."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from bench.methods.sparse import groups
from bench.methods.sparse.patches import extract


def image(C: int = 1, H: int = 15, W: int = 18) -> np.ndarray:
    """Stripes with a little noise, so that many patches are similar and many are not."""
    noise = np.random.default_rng(0).normal(0, 0.2, (C, H, W))
    return np.round(np.sin(np.arange(W) / 2) + noise, 3).astype(np.float32)


@pytest.mark.parametrize("C", [1, 3])
@pytest.mark.parametrize("area", [((0, 12), (0, 15)), ((3, 9), (5, 15))], ids=str)
def test_groups_are_those_of_comparing_each_patch_with_each(C, area):
    x, size, window, threshold = image(C), 4, 3, np.float32(2.5 * C)
    (top, bottom), (left, right) = area
    Y = extract(torch.from_numpy(x)[None], size)[0].numpy().astype(np.float64)
    gh, gw, _ = Y.shape
    expected, grouped = [], set()
    for i in range(top, bottom):
        for j in range(left, right):
            if (i, j) not in grouped:
                near = [
                    (a, b)
                    for a in range(max(i - window, 0), min(i + window + 1, gh))
                    for b in range(max(j - window, 0), min(j + window + 1, gw))
                    if ((Y[a, b] - Y[i, j]) ** 2).sum() < threshold
                ]
                expected.append([a * gw + b for a, b in near])
                grouped |= {(i, j), *near}

    members, starts = groups.similar_patches(x, size, *area, window, threshold)

    assert [list(members[a:b]) for a, b in pairwise(starts)] == expected
    sizes = np.diff(starts)
    assert len({*sizes}) > 2
    assert sizes.max() > 10


def test_gathered_patches_are_the_extracted_ones():
    x = image(3)
    places = np.array([0, 17, 40, 40])
    Y = extract(torch.from_numpy(x)[None], 4).flatten(0, 2).numpy()
    assert np.array_equal(groups.gather(x, 4, places), Y[places])


def test_each_patch_loses_the_mean_of_each_channel_and_gets_it_back():
    x, places = image(3), np.array([0, 17, 40, 3, 4])
    Y = groups.gather(x, 4, places)
    channels = Y.copy().reshape(5, 3, 16)
    mu = groups.centre(Y, np.array([0, 2, 5]), 3, 0.0)
    np.testing.assert_allclose(mu, channels.mean(2), atol=1e-6)
    np.testing.assert_allclose(Y.reshape(5, 3, 16), channels - mu[..., None], atol=1e-6)

    total, count = np.zeros_like(x), np.zeros_like(x[0])
    groups.add(Y, mu, places, 4, 15, (0, 0), total, count)
    seen = count > 0
    assert count.sum() == 16 * 5
    np.testing.assert_allclose((total / np.maximum(count, 1))[:, seen], x[:, seen], atol=1e-6)
    assert not total[:, ~seen].any()


def test_a_group_shares_the_mean_that_differs_no_more_than_by_noise():
    Y = np.float32([[0, 0], [2, 2], [7, 1], [9, 9], [5, 5]])  # two groups of two patches, a patch alone
    mu = groups.centre(Y, np.array([0, 2, 4, 5]), 1, 2.1)  # spreads are 2, below the noise's 2.1, and 12.5
    assert mu[:, 0].tolist() == [1, 1, 4, 9, 5]
    assert Y.tolist() == [[-1, -1], [1, 1], [3, -3], [0, 0], [0, 0]]
    Y = np.float32([[0, 0], [2, 2]])
    assert groups.centre(Y, np.array([0, 2]), 1, 1.9)[:, 0].tolist() == [0, 2]
