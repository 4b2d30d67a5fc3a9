"""A step of GroupSC's Algorithm 1 for a tile of patches, compiled whole: the products and what stands between them.

A library's product would copy what it is given into an order of its own, and ask for memory to do so; and between two
of them a thread would wait for Python's lock. Here all that a tile needs stays in a core's second cache.
"""

from __future__ import annotations

import numpy as np
from bench.methods.fast.passes import normalised, residual, shrink_groups, squares_around
from bench.methods.sparse.compiled import kernel
from bench.methods.sparse.products import add_product

__all__ = ["begin", "step"]

ZERO = np.float32(0)


@kernel
def begin(y, mu, M, masked, size, place, C, r, codes):
    """codes <- C^T (M * y), of the centred patches y: B of the first step, which starts from 0. See `step`."""
    top, left, _, _, h, w = place
    r[:] = ZERO
    residual(y, mu, M, masked, size, top, left, h, w, r)
    codes[:] = ZERO
    add_product(codes, r, C, C.shape[0])


@kernel
def step(
    codes,
    near,
    place,
    B,
    alpha,
    Sigma,
    mass,
    shift,
    lmbda,
    W_T,
    estimates,
    y,
    mu,
    M,
    masked,
    size,
    D_T,
    C,
    scratch,
):
    """Eq. 11, its second line before its first, which is left out in the last step: from B_k to B_{k+1}.

    codes      (n_slots, ., p) those of the tiles around at step k
    near       (rows, columns) of the neighbours, as in `Tiling`
    place      (top, left, gh, gw, h, w) of the tile in the grid
    B, alpha   (n, p) the tile's, at step k and the next; whole vectors
    Sigma      (n_parts, n / n_parts, n_each) `short`, mass (n,)
    shift      the neighbours of a part begin so much later than those of the part before
    lmbda      (p,)
    W_T        (p, > m), with estimates (n, > m), which become those of the patches; both empty if none are wanted
    y, mu, M, masked, size  see `residual`
    D_T, C     (p, > m) and (m, p), rows `spaced`; empty in the last step
    scratch    squares (n_near, p), rows `spaced`; weights (n / n_parts, n_each), norm2 (n / n_parts, p),
               residual (n, > m)
    """
    squares, weights, norm2, r = scratch
    top, left, gh, gw, h, w = place
    squares_around(codes, near[0], near[1], top, left, gh, gw, h, w, squares)
    n_part, n_each = weights.shape
    for part in range(len(Sigma)):
        rows = slice(part * n_part, (part + 1) * n_part)
        normalised(Sigma[part], mass[rows], weights)
        norm2[:] = ZERO
        add_product(norm2, weights, squares[part * shift : part * shift + n_each], n_each)
        shrink_groups(B[rows], norm2, lmbda, alpha[rows])
    if len(W_T):
        estimates[:] = ZERO
        add_product(estimates, alpha, W_T, len(W_T))
    if len(D_T):
        r[:] = ZERO
        add_product(r, alpha, D_T, len(D_T))
        residual(y, mu, M, masked, size, top, left, h, w, r)
        add_product(alpha, r, C, len(C))
