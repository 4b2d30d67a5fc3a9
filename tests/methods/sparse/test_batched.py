"""Collaborative filtering in batches: each step as the compiled kernels have it, and strips that leave no seam."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from bench.methods.sparse import batched, collaborative
from bench.methods.sparse.collaborative import Step, bior15, dct

GRAY = np.random.default_rng(0).normal(100, 25, (1, 29, 33)).astype(np.float32)
COLOUR = np.random.default_rng(1).normal(100, 25, (3, 29, 33)).astype(np.float32)
HIGH = 2.5 * np.outer(np.linspace(1, 1.07, 8), np.linspace(1, 1.01, 8))  # no symmetry: rows are not columns
STEPS = {
    "thresholds": Step(bior15(), 16, 3, 11, 3000, HIGH, beta=2.5),
    "wiener": Step(dct(8), 32, 5, 13, 3000),
    "large blocks": Step(dct(11), 32, 6, 11, 25000, 2.8),
    "nothing alike": Step(dct(8), 16, 3, 11, 1e-3, 2.7),
}


@pytest.mark.parametrize("y", [GRAY, COLOUR], ids=["gray", "colour"])
@pytest.mark.parametrize("name", STEPS)
def test_the_estimate_is_that_of_the_kernels(name, y):
    step, sigma = STEPS[name], np.linspace(25, 15, len(y)).astype(np.float32)
    basic = None if step.threshold is not None else y[:, ::-1].copy()
    expected = collaborative.filtered(y, sigma, step, basic)
    answer = batched.filtered(y, sigma, step, basic, device="cpu")
    assert (answer.shape, answer.dtype) == (y.shape, np.float32)
    np.testing.assert_allclose(answer, expected, atol=0.0255)  # 1e-4 of the range


def test_strips_leave_no_seam():
    step, sigma = STEPS["thresholds"], np.float32([25])
    whole, by_rows = (batched.filtered(GRAY, sigma, step, device="cpu", at_once=n) for n in (10**6, 1))
    np.testing.assert_allclose(by_rows, whole, atol=1e-3)


def test_blocks_are_chosen_as_the_kernels_choose_them():
    """Without ties: the distances of noise differ."""
    step, N, rows = STEPS["thresholds"], 8, [0, 12, 21]
    columns = collaborative.grid(33 - N, step.step)
    at, found = batched.nearest_blocks(
        torch.from_numpy(GRAY[0]), torch.tensor(rows), torch.from_numpy(columns), step, N
    )
    distances = np.empty((len(columns), step.window**2), np.float32)
    places, least = np.empty((step.most, 2), np.intp), np.empty(step.most, np.float32)
    for i, row in enumerate(rows):
        collaborative.compare(GRAY[0], row, columns, N, step.window // 2, distances)
        for j, column in enumerate(columns):
            tau = np.float32(step.tau * N * N)
            k = collaborative.choose(distances[j], row, column, step.window // 2, step.most, tau, places, least)
            chosen, n = at[i * len(columns) + j], int(found[i * len(columns) + j])
            assert k == 2 ** int(np.log2(n))
            assert [divmod(int(p), 33) for p in chosen[:k]] == [tuple(place) for place in places[:k]]


@pytest.mark.parametrize("k", [1, 2, 8, 32])
def test_haar_is_orthonormal_and_in_the_order_of_the_kernels(k):
    blocks = np.random.default_rng(2).random((k, 64), dtype=np.float32)
    half, spectrum = np.empty((2, 64, k), np.float32)
    collaborative.forward(blocks.copy(), np.empty_like(blocks), k, 8, np.eye(8, dtype=np.float32), half, spectrum)
    turned = spectrum.reshape(8, 8, k).transpose(2, 1, 0).reshape(k, 64)
    np.testing.assert_allclose(batched.haar(k) @ blocks, turned, atol=1e-5)
    np.testing.assert_allclose(batched.haar(k) @ batched.haar(k).T, np.eye(k), atol=1e-6)
