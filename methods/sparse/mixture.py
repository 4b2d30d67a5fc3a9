"""Patches estimated under a mixture of zero-mean Gaussians, each by the component under which it is most likely.

Zoran, Weiss, "From Learning Models of Natural Image Patches to Whole Image Restoration", ICCV 2011, Sec. 3.2. How a
mixture is learned: `mixture_learning`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from bench.methods.fast.threads import torch_in_parallel
from bench.methods.sparse.compiled import kernel, product
from bench.methods.sparse.multiply import addmm, mm
from bench.methods.sparse.patches import coverage
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Mixture", "UnderNoise", "average_of_estimates", "likeliest", "pack", "unpack"]

Array = NDArray[np.float32]

AT_ONCE = 512  # patches that a thread takes: what it holds of them, 4 MiB, stays in its cache


def pack(A: np.ndarray) -> np.ndarray:
    """The upper triangles, row by row, of symmetric matrices (..., d, d): (..., d (d + 1) / 2)."""
    i, j = np.triu_indices(A.shape[-1])
    return np.ascontiguousarray(A[..., i, j])  # safetensors would write what lies otherwise in memory as it lies


def unpack(packed: np.ndarray) -> np.ndarray:
    """The symmetric matrices of which `pack` has given these triangles."""
    d = round((2 * packed.shape[-1]) ** 0.5 - 0.5)
    i, j = np.triu_indices(d)
    A = np.empty((*packed.shape[:-1], d, d), packed.dtype)
    A[..., i, j] = A[..., j, i] = packed
    return A


@dataclass(frozen=True)
class UnderNoise:
    """A mixture as noisy patches are held against it. Of patches y (m,), less their means, u = T y tells all.

    T         (d, m), orthonormal rows, d = m - 1
    constant  (n, 1), log(prior_k / sqrt(det(C_k))) for the covariances C_k of u and its noise
    forms     (n, d (d + 1) / 2), q_k' (products u_i u_j, i <= j) = -1/2 u' C_k^-1 u
    filters   (n, m, m), Wiener's filter of component k for y
    """

    T: Tensor
    constant: Tensor
    forms: Tensor
    filters: Array


class Mixture:
    """n zero-mean Gaussians for patches of m pixels less their means.

    priors       (n,), sum 1
    covariances  (n, m, m), whose rows sum to 0
    """

    def __init__(self, priors: Array, covariances: Array) -> None:
        self.log_priors = np.log(priors.astype(np.float64))
        # along these u is uncorrelated, over all patches: so rounding does least in the sums of products
        self.T = np.linalg.eigh(np.tensordot(priors, covariances, 1).astype(np.float64))[1][:, :0:-1].T
        self.values, self.vectors = np.linalg.eigh(self.T @ covariances.astype(np.float64) @ self.T.T)
        self.values = np.maximum(self.values, 0)

    def under_noise(self, variance: float) -> UnderNoise:
        """The mixture of which patches are that have noise of this variance in each pixel."""
        spread = self.values + variance
        constant = self.log_priors - 0.5 * np.log(spread).sum(1)
        precisions = (self.vectors / spread[:, None, :]) @ self.vectors.transpose(0, 2, 1)
        off_diagonal_twice = pack(2 - np.eye(spread.shape[1]))
        # Wiener's filter, of covariances S: S (S + v I)^-1 = I - v (S + v I)^-1
        filters = self.T.T @ (np.eye(len(self.T)) - variance * precisions) @ self.T
        f32 = np.float32
        return UnderNoise(
            torch.from_numpy(self.T.astype(f32)),
            torch.from_numpy(constant.astype(f32))[:, None],
            torch.from_numpy((-0.5 * off_diagonal_twice * pack(precisions)).astype(f32)),
            filters.astype(f32),
        )


def likeliest(Y: Array, mixture: UnderNoise) -> NDArray[np.int64]:
    """Of each patch (N, m), less its mean, the component (N,) under which it is most likely."""
    u = mm(mixture.T, torch.from_numpy(Y).T).numpy()
    pairs = np.empty((mixture.forms.shape[1], len(Y)), np.float32)
    _products(u, pairs)
    log_likelihoods = addmm(mixture.constant, mixture.forms, torch.from_numpy(pairs))
    return log_likelihoods.argmax(0).numpy()


def average_of_estimates(x: Array, size: int, mixture: UnderNoise) -> Array:
    """The image (H, W) of which each pixel is the mean of the estimates of all size x size patches over it.

    A patch of the image x keeps its mean. What differs from that goes through Wiener's filter for the component under
    which it is most likely.
    """
    x = np.ascontiguousarray(x)
    columns = x.shape[1] - size + 1
    n = (x.shape[0] - size + 1) * columns

    def part(first: int) -> tuple[int, Array]:
        last = min(first + AT_ONCE, n)
        top, end = first // columns, (last - 1) // columns + size
        Y, means = np.empty((last - first, size * size), np.float32), np.empty(last - first, np.float32)
        _gather(x, size, first, Y, means)
        sums = np.zeros((end - top, x.shape[1]), np.float32)
        _add(Y, means, likeliest(Y, mixture), mixture.filters, size, first - top * columns, sums)
        return top, sums

    total = np.zeros_like(x)
    with torch_in_parallel(torch.device("cpu")) as workers:
        for top, sums in workers.map(part, range(0, n, AT_ONCE)):
            total[top : top + len(sums)] += sums
    return total / coverage(*x.shape, size, like=torch.from_numpy(total)).numpy()


@kernel
def _gather(x, size, first, Y, means):
    """Patches from the first on, in the order of rows, less their means."""
    columns, m = x.shape[1] - size + 1, Y.shape[1]
    for p in range(len(Y)):
        i, j = (first + p) // columns, (first + p) % columns
        mean = np.float32(0)
        for s in range(size):
            for t in range(size):
                mean += x[i + s, j + t]
        mean /= np.float32(m)
        for s in range(size):
            for t in range(size):
                Y[p, s * size + t] = x[i + s, j + t] - mean
        means[p] = mean


@kernel
def _products(u, pairs):
    """pairs (d (d + 1) / 2, N) = u_i u_j, i <= j, of u (d, N), in the order of `pack`."""
    d, N = u.shape
    row = 0
    for i in range(d):
        for j in range(i, d):
            for p in range(N):
                pairs[row, p] = u[i, p] * u[j, p]
            row += 1


@kernel
def _add(Y, means, which, filters, size, first, total):
    """Filter each patch by its own filter and add it in its place; the first patch is at `first` in total's rows."""
    columns = total.shape[1] - size + 1
    z = np.empty(Y.shape[1], np.float32)
    for p in range(len(Y)):
        product(Y[p], filters[which[p]], z)
        i, j = (first + p) // columns, (first + p) % columns
        for s in range(size):
            for t in range(size):
                total[i + s, j + t] += z[s * size + t] + means[p]
