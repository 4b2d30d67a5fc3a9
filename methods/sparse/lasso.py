"""The lasso of many signals on all cores: the path of its minimisers, followed to an error.

Efron, Hastie, Johnstone, Tibshirani, "Least angle regression", Annals of Statistics 32(2), 2004, with the lasso
modification.
"""

from __future__ import annotations

import numpy as np
from bench.methods.sparse.codes import Codes, checked, no_codes
from bench.methods.sparse.compiled import (
    do_in_parallel,
    gathered_product,
    gram,
    inlined,
    kernel,
    largest,
    product,
    squared_norm,
    with_bits,
)

__all__ = ["lasso_path"]

SPANNED = 1e-6  # of an atom's squared norm: what is left of it outside the span of the others is rounding


def lasso_path(Y: np.ndarray, D: np.ndarray, *, error: float | np.ndarray) -> Codes:
    """For every row y of Y: argmin_a ||a||_1 subject to ||y - D a||^2 <= error.

    A signal with ||y||^2 <= error gets no atom; one that D cannot bring to `error` gets the end of its path.

    Y      (n, m), float32 or float64
    D      (m, p)
    error  squared, in the units of Y squared: one for all or (n,)
    """
    D = checked(Y, D)
    error = np.broadcast_to(np.asarray(error, Y.dtype), len(Y))
    codes = no_codes(len(Y), min(D.shape), Y.dtype)
    G = gram(D)

    def code(a: int, b: int) -> None:
        _lars(Y[a:b], D, G, error[a:b], *(x[a:b] for x in codes), *with_bits(len(G), Y.dtype))

    do_in_parallel(code, len(Y))
    return codes


@kernel
def _lars(Y, D, G, error, atoms, values, counts, gain, bits):
    """A chunk of `lasso_path`; gain and bits are scratch."""
    p, L = D.shape[1], atoms.shape[1]
    c, a = np.empty(p, Y.dtype), np.empty(p, Y.dtype)
    inverse, s, w, g = np.empty((L, L), Y.dtype), np.empty(L, Y.dtype), np.empty(L, Y.dtype), np.empty(L, Y.dtype)
    free = np.empty(p, Y.dtype)
    for i in range(len(Y)):
        energy = squared_norm(Y[i])
        if energy <= error[i]:
            continue
        product(Y[i], D, c)
        k = _follow(c, G, energy, error[i], atoms[i], values[i], inverse, s, w, g, a, free, gain, bits)
        counts[i] = k
        atoms[i, k:] = -1
        values[i, k:] = 0


@inlined
def _follow(c, G, energy, error, atoms, x, inverse, s, w, g, a, free, gain, bits):
    """The path of one signal from a = 0 to where its squared residual is `error`; how many atoms its end has.

    c        (p,), correlations D' y, of the residual when it is done
    energy   ||y||^2
    atoms    (L,), the active atoms, filled; x (L,) their coefficients, s (L,) the signs of their correlations
    inverse  (L, L), of the active atoms' Gram matrix
    free     (p,), 1 for an atom that may become active, else 0
    w, g (L,) and a, gain, bits (p,)  scratch
    """
    p, L = len(c), len(atoms)
    zero, one = c.dtype.type(0), c.dtype.type(1)
    spanned, tiny = c.dtype.type(SPANNED), c.dtype.type(1e-20)
    for j in range(p):
        free[j], gain[j] = one, abs(c[j])
    joining = largest(bits)
    lam = gain[joining]
    if lam == 0:
        return 0
    k = 0
    for _ in range(8 * L):  # a path has about as many steps as atoms; this ends one that rounding sends in circles
        if joining >= 0:  # inverse of the Gram matrix with one more row and column
            free[joining] = zero
            rest = G[joining, joining]
            for q in range(k):
                g[q] = G[joining, atoms[q]]
            product(g[:k], inverse, w[:k])
            for q in range(k):
                rest -= w[q] * g[q]
            if rest > spanned * G[joining, joining]:
                for q in range(k):
                    for r in range(k):
                        inverse[q, r] += w[q] * w[r] / rest
                    inverse[q, k] = inverse[k, q] = -w[q] / rest
                inverse[k, k] = one / rest
                atoms[k], x[k] = joining, zero
                s[k] = one if c[joining] > 0 else -one
                k += 1
        # all correlations of active atoms shrink at the same rate along w
        product(s[:k], inverse, w[:k])
        gathered_product(w[:k], atoms, G, a)
        rate = zero
        for q in range(k):
            rate += s[q] * w[q]
        step, joining, leaving = lam, -1, -1
        gap = lam * lam - (energy - error) / rate
        last = gap >= 0
        if last:
            step = lam - np.sqrt(gap)
        if k < L:
            for j in range(p):  # the reciprocal of the step at which an atom's correlation catches up
                gain[j] = free[j] * max((one - a[j]) / max(lam - c[j], tiny), (one + a[j]) / max(lam + c[j], tiny))
            best = largest(bits)
            if gain[best] * step > one:
                step, joining, last = one / gain[best], best, False
        for q in range(k):
            if x[q] * w[q] < 0 and -x[q] / w[q] < step:
                step, joining, leaving, last = -x[q] / w[q], -1, q, False
        for q in range(k):
            x[q] += step * w[q]
        for j in range(p):
            c[j] -= step * a[j]
        energy -= step * rate * (lam + lam - step)
        lam -= step
        if last or (joining < 0 and leaving < 0):
            break
        if leaving >= 0:
            k = _drop(leaving, k, atoms, x, s, inverse, free)
    return k


@inlined
def _drop(leaving, k, atoms, x, s, inverse, free):
    """Take one of k active atoms out; the last one takes its place. k - 1."""
    last = k - 1
    free[atoms[leaving]] = 1
    for q in range(k):
        inverse[q, leaving], inverse[q, last] = inverse[q, last], inverse[q, leaving]
    for q in range(k):
        inverse[leaving, q], inverse[last, q] = inverse[last, q], inverse[leaving, q]
    atoms[leaving], x[leaving], s[leaving] = atoms[last], x[last], s[last]
    for q in range(last):
        for r in range(last):
            inverse[q, r] -= inverse[q, last] * inverse[last, r] / inverse[last, last]
    return last
