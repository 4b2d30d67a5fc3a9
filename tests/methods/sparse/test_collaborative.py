"""Collaborative filtering: transforms, matching and the two filters, each held against its equation."""

from __future__ import annotations

import numpy as np
import pytest
from bench.methods.sparse import collaborative as made
from bench.methods.sparse.collaborative import Step, bior15, dct, filtered

N, K = 8, 4
TRANSFORMS = [dct(8), dct(11), bior15(), bior15(coarsest=2)]
RANDOM = np.random.default_rng(0)
IMAGE = RANDOM.random((21, 30), dtype=np.float32)


@pytest.mark.parametrize("T", TRANSFORMS, ids=["dct8", "dct11", "bior", "bior-2"])
def test_every_basis_element_has_norm_1(T):
    np.testing.assert_allclose(np.linalg.norm(T, axis=1), 1, atol=1e-6)
    assert np.linalg.cond(T.astype(np.float64)) < 5


@pytest.mark.parametrize("T", [dct(8), dct(11), bior15()], ids=["dct8", "dct11", "bior"])
def test_the_first_element_is_the_mean(T):
    np.testing.assert_allclose(T[0], 1 / np.sqrt(len(T)), atol=1e-6)
    np.testing.assert_allclose(T[1:].sum(axis=1), 0, atol=1e-6)


@pytest.mark.filterwarnings("ignore:Level value")
def test_the_wavelet_is_the_library_s():
    pywt = pytest.importorskip("pywt")
    levels = np.concatenate([np.array(c) for c in pywt.wavedec(np.eye(8), "bior1.5", "periodization", 3, axis=0)])
    levels /= np.linalg.norm(levels, axis=1, keepdims=True)
    ours = bior15()
    alike = np.abs(levels @ np.linalg.pinv(ours))  # a permutation, but for signs and shifts by a period
    assert np.allclose(np.sort(np.abs(levels).ravel()), np.sort(np.abs(ours).ravel()), atol=1e-6)
    assert np.linalg.matrix_rank(alike) == 8


def brute_force(image, row, column, nearest):
    """Squared distances to all blocks of the window that lie in the picture."""
    H, W = image.shape
    block = image[row : row + N, column : column + N]
    rows = range(max(0, row - nearest), min(H - N, row + nearest) + 1)
    columns = range(max(0, column - nearest), min(W - N, column + nearest) + 1)
    return {(i, j): ((image[i : i + N, j : j + N] - block) ** 2).sum() for i in rows for j in columns}


@pytest.mark.parametrize("row", [0, 6, 13])
@pytest.mark.parametrize("most", [2, 5, 16])
def test_the_nearest_blocks_are_chosen(row, most):
    nearest, columns = 5, np.array([0, 3, 11, 22])
    distances = np.empty((len(columns), 121), np.float32)
    made.compare(IMAGE, row, columns, N, nearest, distances)
    places, least = np.empty((most, 2), np.intp), np.empty(most, np.float32)
    for at, column in enumerate(columns):
        known = brute_force(IMAGE, row, column, nearest)
        assert np.isfinite(distances[at]).sum() == len(known)
        k = made.choose(distances[at], row, column, nearest, most, np.float32(np.inf), places, least)
        assert k == 2 ** int(np.log2(min(most, len(known))))
        expected = sorted(known, key=known.get)[:k]
        assert tuple(places[0]) == (row, column)
        assert [tuple(place) for place in places[:k]] == expected


def test_blocks_beyond_tau_are_left_out():
    distances = np.empty((1, 121), np.float32)
    made.compare(IMAGE, 6, np.array([11]), N, 5, distances)
    known = sorted(brute_force(IMAGE, 6, 11, 5).values())
    places, least = np.empty((16, 2), np.intp), np.empty(16, np.float32)
    tau = np.float32((known[4] + known[5]) / 2)  # five are nearer, the block itself among them
    assert made.choose(distances[0], 6, 11, 5, 16, tau, places, least) == 4


@pytest.mark.parametrize("T", TRANSFORMS, ids=["dct8", "dct11", "bior", "bior-2"])
@pytest.mark.parametrize("k", [1, 2, 16])
def test_the_3d_transform_and_its_way_back(T, k):
    n = len(T)
    blocks = RANDOM.random((k, n * n), dtype=np.float32)
    stack, other = blocks.copy(), np.empty_like(blocks)
    half, spectrum = np.empty((n * n, k), np.float32), np.empty((n * n, k), np.float32)
    made.forward(stack, other, k, n, T, half, spectrum)
    mean = blocks.reshape(k, n, n).sum(axis=0) / np.sqrt(k)  # what Haar puts first
    np.testing.assert_allclose(spectrum[:, 0].reshape(n, n).T, T @ mean @ T.T, atol=1e-4)
    if np.allclose(T @ T.T, np.eye(n), atol=1e-5):
        assert (spectrum**2).sum() == pytest.approx((blocks**2).sum(), rel=1e-5)
    inverse = np.linalg.inv(T.astype(np.float64)).astype(np.float32)
    made.backward(spectrum, half, k, n, inverse, stack, other)
    np.testing.assert_allclose(stack, blocks, atol=1e-5)


def test_thresholds_and_weights():
    spectrum = np.array([[5.0, -1.0], [0.5, 3.0]], np.float32)
    assert made.hard_threshold(spectrum, 2, np.array([2.0, 0.4], np.float32)) == pytest.approx(1 / 3)
    np.testing.assert_array_equal(spectrum, [[5, 0], [0.5, 3]])
    noisy, basic = np.array([[4.0, 2.0]], np.float32), np.array([[3.0, 1.0]], np.float32)
    weight = made.wiener(noisy, basic, 2, np.float32(2.0))
    np.testing.assert_allclose(noisy, [[4 * 9 / 13, 2 * 1 / 5]], rtol=1e-6)
    assert weight == pytest.approx(1 / ((9 / 13) ** 2 + (1 / 5) ** 2))


FIRST, SECOND = Step(bior15(), 16, 3, 15, 3000, 2.7), Step(dct(8), 32, 3, 15, 400)


@pytest.mark.parametrize("basic", [False, True])
def test_what_has_no_noise_stays(basic):
    y = 200 * IMAGE[None]
    guide = y if basic else None
    x_hat = filtered(y, np.array([1e-3], np.float32), SECOND if basic else FIRST, guide)
    np.testing.assert_allclose(x_hat, y, atol=0.01)


def test_every_pixel_has_an_answer_and_the_threads_do_not_matter(monkeypatch):
    y = np.random.default_rng(1).normal(100, 25, (3, 47, 70)).astype(np.float32)
    sigma = np.full(3, 25, np.float32)
    answers = []
    for threads in ("1", "4"):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        answers.append(filtered(y, sigma, FIRST))
    assert np.isfinite(answers[0]).all()
    np.testing.assert_array_equal(*answers)
    assert answers[0].std() < 10
