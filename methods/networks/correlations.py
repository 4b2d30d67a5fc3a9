"""The non-local module's softmax of correlations, with gradients, in float32 on a processor.

    S = S_before + theta psi^T,    P = softmax(S),    Z = P g

Some rows of S at a time, while they are in a core's second cache: they are summed, weighted and met with g before the
next, and on the way back likewise. Between the products torch would go through memory ten times.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from bench.methods.networks.passes import add, clear, copy, inlined, kernel
from bench.methods.sparse.compiled import in_parallel
from bench.methods.sparse.exponential import exp
from bench.methods.sparse.memory import empty
from bench.methods.sparse.products import LANES, add_product, spaced, whole
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["attended"]

ROWS = 48  # of S at a time
AT_MOST = 8  # threads that work at once, if there are not more images
ZERO, ONE, LEAST = np.float32([0, 1, -np.inf])


def attended(
    theta: Tensor, psi: Tensor, g: Tensor, S: Tensor | None, neighbours: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Z (B, n, m) and the new correlations, of n pixels of B images.

    theta, psi  (B, n, l)
    g           (B, n, m)
    S           those before, as they were returned, or None for 0: (B, n, > n), of which the first n columns count
    neighbours  (n, n), which pixels j the weights of i are of; None: all
    """
    Z, S = _Attended.apply(theta, psi, g, S, neighbours)
    return Z, S


class _Attended(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, theta: Tensor, psi: Tensor, g: Tensor, before: Tensor | None, neighbours: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        (B, n, _), m = theta.shape, g.shape[2]
        near = np.empty((0, n), np.bool_) if neighbours is None else neighbours.numpy()
        S, P = (empty(B, n, spaced(n)) for _ in range(2))
        Z = empty(B, n, whole(m))
        _do(_attend, B, n, _array(before, n), _spaced(theta), _spaced(psi.mT), _spaced(g), near, S, P, Z)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(theta, psi, g)
        ctx.P, ctx.has_before = P, before is not None
        return torch.from_numpy(Z[..., :m]), torch.from_numpy(S)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dZ: Tensor | None, dS_after: Tensor | None) -> tuple[Tensor | None, ...]:
        theta, psi, g = ctx.saved_tensors
        (B, n, length), m = theta.shape, g.shape[2]
        dZ = torch.zeros_like(g) if dZ is None else dZ
        factors = _spaced(dZ), _spaced(g.mT), _spaced(theta), _spaced(psi)
        dS, dtheta = empty(*ctx.P.shape), empty(B, n, whole(length))
        dpsi, dg = (empty(_n_shares(B), B, n, whole(width)) for width in (length, m))
        _do(_attend_back, B, n, _array(dS_after, n), ctx.P, *factors, dS, dtheta, dpsi, dg)
        of_factors = ((dtheta, length), (dpsi.sum(0), length), (dg.sum(0), m))
        dbefore = torch.from_numpy(dS) if ctx.has_before else None
        return *(torch.from_numpy(x[..., :width]) for x, width in of_factors), dbefore, None


def _n_shares(B: int) -> int:
    """Among how many threads the rows of an image are shared at most, where there are B. It does not hang on how many
    there are, so that sums over rows do not either.
    """
    return -(-AT_MOST // B)


def _do(one: Any, B: int, n: int, *arrays: np.ndarray) -> None:
    """`one` of all shares: each has an image's number, its own, and its rows."""
    edges = np.linspace(0, n, _n_shares(B) + 1).round().astype(np.int64)
    shares = [(image, share, *edges[share : share + 2]) for image in range(B) for share in range(len(edges) - 1)]
    for _ in in_parallel(lambda a, _: one(*shares[a], *arrays), len(shares), 1):
        pass


def _spaced(x: Tensor) -> np.ndarray:
    """Rows (B, ., width) filled with zeros up to where products want the next."""
    width = x.shape[2]
    filled = empty(*x.shape[:2], spaced(width))
    filled[..., :width], filled[..., width:] = x.numpy(), 0
    return filled


def _array(S: Tensor | None, n: int) -> np.ndarray:
    array: np.ndarray = np.empty((0, n, n), np.float32) if S is None else S.contiguous().numpy()
    return array


@kernel
def _attend(image, share, start, stop, before, theta, psi_T, g, near, S, P, Z):
    """S, P and Z of the rows start:stop of an image."""
    n = S.shape[1]
    width = S.shape[2] - LANES
    for top in range(start, stop, ROWS):
        rows = slice(top, min(top + ROWS, stop))
        for i in range(rows.start, rows.stop):
            if len(before):
                copy(before[image, i], S[image, i])
            else:
                clear(S[image, i])
            clear(Z[image, i])
        add_product(S[image, rows, :width], theta[image, rows], psi_T[image], psi_T.shape[1])
        for i in range(rows.start, rows.stop):
            if len(near):
                _softmax_of(near[i], S[image, i], P[image, i])
            else:
                _softmax(S[image, i, :n], P[image, i])
        add_product(Z[image, rows], P[image, rows], g[image], n)


@inlined
def _softmax(s, p):
    largest, total = s[0], ZERO
    for j in range(len(s)):
        largest = max(largest, s[j])
    for j in range(len(s)):
        p[j] = exp(s[j] - largest)
    for j in range(len(s)):
        total += p[j]
    for j in range(len(s)):
        p[j] *= ONE / total


@inlined
def _softmax_of(near, s, p):
    """Of those that are near; the weight of others is 0."""
    largest, total = LEAST, ZERO
    for j in range(len(near)):
        largest = max(largest, s[j] if near[j] else LEAST)
    for j in range(len(near)):
        p[j] = exp(min(s[j] - largest, ZERO)) * (ONE if near[j] else ZERO)
    for j in range(len(near)):
        total += p[j]
    for j in range(len(near)):
        p[j] *= ONE / total


@kernel
def _attend_back(image, share, start, stop, after, P, dZ, g_T, theta, psi, dS, dtheta, dpsi, dg):
    """The gradients of S and theta of the rows start:stop of an image, and what these rows add to those of psi and g.

    after  the gradient of S by way of what comes after
    """
    n = P.shape[1]
    width = P.shape[2] - LANES
    for j in range(n):
        clear(dpsi[share, image, j])
        clear(dg[share, image, j])
    for top in range(start, stop, ROWS):
        rows = slice(top, min(top + ROWS, stop))
        for i in range(rows.start, rows.stop):
            clear(dS[image, i])
            clear(dtheta[image, i])
        add_product(dS[image, rows, :width], dZ[image, rows], g_T[image], g_T.shape[1])  # the gradient of P
        for i in range(rows.start, rows.stop):
            p, ds, mean = P[image, i], dS[image, i], ZERO
            for j in range(n):
                mean += p[j] * ds[j]
            for j in range(n):
                ds[j] = p[j] * (ds[j] - mean)
            if len(after):
                add(after[image, i], ds)
        add_product(dtheta[image, rows], dS[image, rows], psi[image], n)
        add_product(dpsi[share, image], dS[image, rows, :n].T, theta[image, rows], rows.stop - rows.start)
        add_product(dg[share, image], P[image, rows, :n].T, dZ[image, rows], rows.stop - rows.start)
