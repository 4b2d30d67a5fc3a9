"""Mixtures of zero-mean Gaussians are learned from clean patches, by expectation maximisation on batch after batch.

Zoran, Weiss, "From Learning Models of Natural Image Patches to Whole Image Restoration", ICCV 2011, Sec. 4: 200
components with full covariances for 8x8 patches less their means, of two million patches.
Cappé, Moulines, "Online Expectation-Maximization Algorithm for Latent Data Models", JRSS B 71(3), 2009: the batches.
Each moves the statistics by t^-0.6 towards its own, so that a batch does what a pass over all patches would.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from bench.methods.sparse.mixture import pack, unpack
from numpy.typing import NDArray

__all__ = ["Learner", "Statistics"]

Array = NDArray[np.float32]
Exact = NDArray[np.float64]

FLOOR = 1e-6
"""Variance, for pixels in [0, 1], that is added along every direction: rounding to 8 bits leaves as much. Without
it a component could take a few patches that are all alike, and be infinitely likely."""

FORGETTING = 0.6  # exponent of the step size
NEGLIGIBLE = 1e-6  # responsibilities are 0 below: numbers near the smallest float are slow
AT_ONCE = 512  # patches whose products, 4 MiB, are in the cache together


class Statistics(NamedTuple):
    """Running means over patches, in d coordinates.

    counts   (n,), of the responsibilities r_k
    scatter  (n, d (d + 1) / 2), of r_k u u', packed
    """

    counts: Exact
    scatter: Exact


class Learner:
    """Y are the patches (N, m), with their means or without; n is how many components.

    Coordinates are u = T y, d = m - 1 of them, in which the patches as a whole have unit covariance. The first
    components are stretched along patches drawn at random.
    """

    def __init__(self, Y: Array, n: int, *, batch: int, seed: int = 0) -> None:
        self.Y, self.n, self.batch, self.seed = Y, n, batch, seed
        values, vectors = np.linalg.eigh(np.cov(self._draw(0), rowvar=False).astype(np.float64))
        deviations = np.sqrt(values[1:])  # along the first eigenvector, (1, ..., 1), there is nothing
        self.T, self.T_inverse = (vectors[:, 1:] / deviations).T, vectors[:, 1:] * deviations
        self.log_det = float(np.log(deviations).sum())

    def _draw(self, step: int) -> Array:
        """Patches, less their means, that depend on the step alone."""
        rng = np.random.default_rng([self.seed, step])
        drawn = self.Y[rng.integers(len(self.Y), size=self.batch)]
        return drawn - drawn.mean(1, keepdims=True)

    def update(self, step: int, known: Statistics | None) -> tuple[Statistics, float]:
        """What is known after this step, the first is 1, and the mean log-likelihood of its patches before it."""
        Y = self._draw(step)
        priors, covariances = self._first(Y) if known is None else self._maximised(known)
        new, mean = statistics(Y @ self.T.T.astype(np.float32), priors, covariances)
        mean -= self.log_det  # from the density of u to that of y, in its d dimensions
        if known is None:
            return new, mean
        rate = step**-FORGETTING
        counts, scatter = (old + rate * (of_batch - old) for old, of_batch in zip(known, new, strict=True))
        return Statistics(counts, scatter), mean

    def mixture(self, known: Statistics) -> tuple[Array, Array]:
        """Priors (n,), and covariances (n, m, m) of patches less their means."""
        priors, covariances = self._maximised(known)
        covariances = self.T_inverse @ covariances @ self.T_inverse.T
        return priors.astype(np.float32), covariances.astype(np.float32)

    def _maximised(self, known: Statistics) -> tuple[Exact, Exact]:
        counts = np.maximum(known.counts, NEGLIGIBLE)  # a component may lose all of its patches
        return counts / counts.sum(), unpack(known.scatter / counts[:, None]) + FLOOR * self.T @ self.T.T

    def _first(self, Y: Array) -> tuple[Exact, Exact]:
        u = Y[: self.n] @ self.T.T
        power = (u**2).mean(1)[:, None, None] * np.eye(len(self.T)) + FLOOR * self.T @ self.T.T
        return np.full(self.n, 1 / self.n), u[:, :, None] * u[:, None] + power


def statistics(U: Array, priors: Exact, covariances: Exact) -> tuple[Statistics, float]:
    """The statistics of the patches U (N, d) under a mixture, and their mean log-likelihood."""
    d = U.shape[1]
    i, j = np.triu_indices(d)
    # q_k' (products u_i u_j, i <= j) = -1/2 u' C_k^-1 u
    forms = (-0.5 * pack(2 - np.eye(d)) * pack(np.linalg.inv(covariances))).astype(np.float32)
    constant = np.log(priors) - 0.5 * (d * np.log(2 * np.pi) + np.linalg.slogdet(covariances)[1])
    counts, scatter, total = np.zeros(len(priors)), np.zeros((len(priors), len(i)), np.float32), 0.0
    for first in range(0, len(U), AT_ONCE):
        u = np.ascontiguousarray(U[first : first + AT_ONCE].T)
        products = u[i] * u[j]
        log_r = forms @ products + constant.astype(np.float32)[:, None]
        most = log_r.max(0)
        r = np.exp(log_r - most)
        evidence = r.sum(0)
        total += float((most + np.log(evidence)).sum())
        r /= evidence
        r[r < NEGLIGIBLE] = 0
        counts += r.sum(1)
        scatter += r @ products.T
    return Statistics(counts / len(U), scatter.astype(np.float64) / len(U)), total / len(U)
