"""NCSR's weights and codes against the paper's equations in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from bench.methods.sparse.centralised import centralised, similarities
from bench.methods.sparse.low_rank import padded
from bench.methods.sparse.matching import similar_blocks
from bench.methods.sparse.subdictionaries import Subdictionaries

SIZE, M, H = 3, 9, 80.0


def image(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).normal(100, 20, (height, width)).astype(np.float32)


def patches(x: np.ndarray) -> np.ndarray:
    return np.lib.stride_tricks.sliding_window_view(x.astype(np.float64), (SIZE, SIZE)).reshape(-1, M)


def places_in(x: np.ndarray, place: int) -> int:
    """Of a place in the image, the number of the patch that begins there."""
    row, column = divmod(place, x.shape[1])
    return row * (x.shape[1] - SIZE + 1) + column


def test_similar_patches_weigh_by_their_distance_and_a_patch_itself_as_the_nearest():
    x = image(7, 9)
    places, counts = similar_blocks(x, SIZE, 1, 4, 6)
    weights = similarities(x, places, counts, SIZE, H)
    X = patches(x)
    for own, n, w in zip(places.reshape(-1, 6), counts.flat, weights.reshape(-1, 6), strict=True):
        similar = X[[places_in(x, place) for place in own[:n]]]
        d = np.mean((similar - similar[0]) ** 2, axis=1)
        d[0] = d[1:].min()
        np.testing.assert_allclose(w[:n], np.exp(-d / H) / np.exp(-d / H).sum(), rtol=1e-4)


def test_a_patch_without_others_weighs_one():
    x = image(3, 3)
    places, counts = similar_blocks(x, SIZE, 1, 4, 6)
    assert counts.item() == 1
    assert similarities(x, places, counts, SIZE, H)[0, 0, 0] == 1


@pytest.mark.parametrize("s", [0.0, 3.0, 12.0, 60.0])
@pytest.mark.parametrize("most", [1, 4, 6])
def test_codes_are_shrunk_towards_those_of_similar_patches(s, most):
    """Two kinds of patches, each with a basis of its own; most = 1: a patch is drawn to itself alone."""
    random, x, c = np.random.default_rng(1), image(7, 9), 0.6
    gh, gw = 7 - SIZE + 1, 9 - SIZE + 1
    kinds = random.integers(0, 2, (gh, gw)).astype(np.int32)
    bases = np.zeros((2, M, padded(M)), np.float32)
    bases[:, :, :M] = np.linalg.qr(random.normal(size=(2, M, M)))[0]
    places, counts = similar_blocks(x, SIZE, 1, 4, most)
    weights = similarities(x, places, counts, SIZE, H)

    total, coverage, X = np.zeros(x.shape), np.zeros(x.shape), patches(x)
    for i in range(gh):
        for j in range(gw):
            n, B = counts[i, j], bases[kinds[i, j], :, :M]
            alpha = X[[places_in(x, place) for place in places[i, j, :n]]] @ B
            beta = weights[i, j, :n] @ alpha
            variance = np.maximum(np.mean((alpha - beta) ** 2, axis=0) - s**2, 0)
            tau = c * np.sqrt(2) * s**2 / (np.sqrt(variance) + 1e-9)
            v = alpha[0] - beta
            code = np.sign(v) * np.maximum(np.abs(v) - tau, 0) + beta
            total[i : i + SIZE, j : j + SIZE] += (B @ code).reshape(SIZE, SIZE)
            coverage[i : i + SIZE, j : j + SIZE] += 1
    x_hat = centralised(x, places, counts, weights, Subdictionaries(bases, kinds), s, c)
    np.testing.assert_allclose(x_hat, total / coverage, rtol=1e-5)
