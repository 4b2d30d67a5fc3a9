"""Patches estimated under a mixture of Gaussians, against what the definitions say in float64, patch by patch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from bench.methods.sparse import mixture as module
from bench.methods.sparse.mixture import Mixture, average_of_estimates, likeliest, pack, unpack

SIZE, COMPONENTS, NOISE = 3, 5, 0.02


@pytest.fixture(scope="module")
def known():
    """Priors, and covariances of patches less their means, from flat to busy."""
    rng, m = np.random.default_rng(0), SIZE * SIZE
    A = rng.normal(size=(COMPONENTS, m, m)) * np.logspace(-2.5, -0.5, COMPONENTS)[:, None, None]
    A -= A.mean(1, keepdims=True)
    return np.array([0.4, 0.3, 0.1, 0.15, 0.05]), A @ A.transpose(0, 2, 1)


@pytest.fixture(scope="module")
def picture():
    rng = np.random.default_rng(1)
    steps = np.add.outer(np.arange(23) // 6, np.arange(31) // 9) / 10
    return (steps + NOISE * rng.normal(size=(23, 31)) * (np.arange(31) > 12)).astype(np.float32)


def by_definition(y, priors, covariances, variance):
    """The most likely component of a patch less its mean, and Wiener's estimate for it: Sec. 3.2."""
    C = covariances + variance * np.eye(len(y))
    log_likelihoods = [
        np.log(p) - 0.5 * np.linalg.slogdet(c)[1] - 0.5 * y @ np.linalg.solve(c, y)
        for p, c in zip(priors, C, strict=True)
    ]
    k = int(np.argmax(log_likelihoods))
    return k, covariances[k] @ np.linalg.solve(C[k], y)


@pytest.mark.parametrize("variance", [1e-6, NOISE**2, 1.0])
def test_each_patch_goes_to_the_component_under_which_it_is_most_likely(known, picture, variance):
    Y = np.lib.stride_tricks.sliding_window_view(picture, (SIZE, SIZE)).reshape(-1, SIZE * SIZE)
    Y = Y - Y.mean(1, keepdims=True)
    k = likeliest(Y, Mixture(*known).under_noise(variance))
    expected = [by_definition(y, *known, variance)[0] for y in Y.astype(np.float64)]
    assert k.tolist() == expected
    assert len(set(expected)) > 2 or variance == 1.0  # where noise hides all, few components are chosen


@pytest.mark.parametrize("at_once", [7, 512])
def test_a_pixel_is_the_mean_of_the_estimates_of_its_patches(known, picture, at_once, monkeypatch):
    monkeypatch.setattr(module, "AT_ONCE", at_once)  # parts that end within a row, and one that is all
    H, W = picture.shape
    total, count = np.zeros((H, W)), np.zeros((H, W))
    for i in range(H - SIZE + 1):
        for j in range(W - SIZE + 1):
            patch = picture[i : i + SIZE, j : j + SIZE].astype(np.float64).ravel()
            estimate = patch.mean() + by_definition(patch - patch.mean(), *known, NOISE**2)[1]
            total[i : i + SIZE, j : j + SIZE] += estimate.reshape(SIZE, SIZE)
            count[i : i + SIZE, j : j + SIZE] += 1
    x_hat = average_of_estimates(picture, SIZE, Mixture(*known).under_noise(NOISE**2))
    np.testing.assert_allclose(x_hat, total / count, atol=1e-6)


def test_the_number_of_threads_changes_nothing(known, picture):
    mixture, answers = Mixture(*known).under_noise(NOISE**2), []
    before = torch.get_num_threads()
    try:
        for n in (1, 2):
            torch.set_num_threads(n)
            answers.append(average_of_estimates(picture, SIZE, mixture))
    finally:
        torch.set_num_threads(before)
    assert np.array_equal(*answers)


def test_triangles_are_packed_row_by_row_and_come_back():
    A = np.array([[[1, 2, 3], [2, 4, 5], [3, 5, 6]], [[7, 8, 9], [8, 10, 11], [9, 11, 12]]])
    assert pack(A).tolist() == [[1, 2, 3, 4, 5, 6], [7, 8, 9, 10, 11, 12]]
    assert np.array_equal(unpack(pack(A)), A)


def test_what_is_packed_can_be_kept_in_a_file_and_read_again(tmp_path):
    """safetensors writes numbers as they lie in memory, and reads them row by row."""
    from safetensors.numpy import load_file, save_file

    A = np.arange(2 * 9, dtype=np.float32).reshape(2, 3, 3)
    A = A + A.transpose(0, 2, 1)
    save_file({"A": pack(A)}, tmp_path / "packed.safetensors")
    assert np.array_equal(unpack(load_file(tmp_path / "packed.safetensors")["A"]), A)
