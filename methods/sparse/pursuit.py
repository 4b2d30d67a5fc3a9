"""Orthogonal matching pursuit of many signals on all cores, and of groups of them whose members share their atoms.

Pati, Rezaiifar, Krishnaprasad, Asilomar 1993 (OMP). Rubinstein, Zibulevsky, Elad, "Efficient implementation of the
K-SVD algorithm using batch orthogonal matching pursuit", Technion CS-2008-08: all that a step needs of the residual r
are its correlations D' r, and these follow from D' y and the Gram matrix G = D' D. Tropp, Gilbert, Strauss, Signal
Processing 86, 2006 (simultaneous OMP).

What is computed here is exact; one kernel does it all. The chosen atoms are orthonormalised as they come, q_1, q_2,
..., and of each q_k only u_k = D' q_k is kept, a vector of p numbers: from u_k follow the correlations with the next
residual, the norms that the atoms keep outside the span of the chosen ones, and the next u_k.

There are two rules for the next atom: "correlation", the textbook's, takes the atom of the largest correlation with
the residual; "decrease" the one that lowers the squared residual most after all coefficients are refitted (this is
what `omp` of SPAMS does; elsewhere ORMP or OLS). Their supports differ.
"""

from __future__ import annotations

import numpy as np
from bench.methods.sparse.codes import Codes, checked, combine, no_codes
from bench.methods.sparse.compiled import (
    CHUNK,
    do_in_parallel,
    gram,
    inlined,
    kernel,
    largest,
    product,
    squared_norm,
    with_bits,
)

__all__ = ["RULES", "omp", "simultaneous_omp"]

RULES = ("correlation", "decrease")
SPANNED = 1e-6  # of an atom's squared norm: what is left of it outside the span of the others is rounding


def omp(
    Y: np.ndarray,
    D: np.ndarray,
    *,
    error: float | np.ndarray = 0.0,
    max_atoms: int | None = None,
    rule: str = "correlation",
) -> Codes:
    """For every row y of Y: atoms one by one until ||y - D a||^2 <= error or there are max_atoms of them.

    A signal with ||y||^2 <= error gets no atom. Atoms need not have norm 1: the rules see them as if they had.

    Y          (n, m), float32 or float64, which is the precision of the answer
    D          (m, p), one atom a column
    error      squared, in the units of Y squared: one for all or (n,)
    max_atoms  default min(m, p)
    rule       "correlation" or "decrease"; see above
    """
    D, L = checked(Y, D), _most_atoms(D, max_atoms, rule)
    error = np.broadcast_to(np.asarray(error, Y.dtype), len(Y))
    codes = no_codes(len(Y), L, Y.dtype)
    D_T, G = np.ascontiguousarray(D.T), gram(D)

    def code(a: int, b: int) -> None:
        _omp(Y[a:b], D, D_T, G, error[a:b], rule == "decrease", *(x[a:b] for x in codes), _space(L, G))

    do_in_parallel(code, len(Y))
    return codes


def simultaneous_omp(
    Y: np.ndarray,
    starts: np.ndarray,
    D: np.ndarray,
    *,
    error: np.ndarray,
    max_atoms: int | None = None,
    rule: str = "decrease",
) -> tuple[np.ndarray, np.ndarray]:
    """Groups of signals, each coded by the same atoms with coefficients of its own: (estimates (n, m), counts).

    Group g is the rows starts[g] : starts[g + 1] of Y. Its atoms are chosen one by one, by the sum over its members
    of the squared correlations or of the decreases, until the sum of its squared residuals is at most error[g].
    A group of one is coded as `omp` would.

    Y       (n, m), float32 or float64
    starts  (n_groups + 1,), integers from 0 to n that do not decrease
    D       (m, p)
    error   squared, (n_groups,)
    counts  (n_groups,), how many atoms each group has
    """
    D, L = checked(Y, D), _most_atoms(D, max_atoms, rule)
    error = np.broadcast_to(np.asarray(error, Y.dtype), len(starts) - 1)
    estimates, counts = np.empty_like(Y), np.zeros(len(starts) - 1, np.int32)
    D_T, G = np.ascontiguousarray(D.T), gram(D)

    def code(a: int, b: int) -> None:
        by_decrease, own = rule == "decrease", (estimates, counts[a:b])
        _somp(Y, starts[a : b + 1], D, D_T, G, error[a:b], L, by_decrease, *own, _space(L, G))

    do_in_parallel(code, len(counts), chunk=max(1, CHUNK * len(counts) // max(1, len(Y))))
    return estimates, counts


def _most_atoms(D: np.ndarray, max_atoms: int | None, rule: str) -> int:
    if rule not in RULES:
        raise ValueError(f"rule is '{rule}'; expected one of {', '.join(RULES)}.")
    if max_atoms is not None and max_atoms < 1:
        raise ValueError(f"max_atoms is {max_atoms}; expected at least 1.")
    most = min(D.shape)
    return most if max_atoms is None else min(most, max_atoms)


@kernel
def _omp(Y, D, D_T, G, error, by_decrease, atoms, values, counts, space):
    """A chunk of `omp`."""
    A = np.empty((1, D.shape[1]), Y.dtype)
    for i in range(len(Y)):
        y = Y[i]
        energy = squared_norm(y)
        if energy <= error[i]:
            continue
        product(y, D, A[0])
        k = _pursue(A, G, energy, error[i], by_decrease, atoms[i], *space)
        _solve(y, D_T, atoms[i], k, space[1], values[i])
        counts[i] = k
        atoms[i, k:] = -1


@kernel
def _somp(Y, starts, D, D_T, G, error, L, by_decrease, estimates, counts, space):
    """A chunk of `simultaneous_omp`: as many groups as there are counts."""
    m, p = D.shape
    A = np.empty((m, p), Y.dtype)
    atoms, values = np.empty(L, np.int32), np.empty(L, Y.dtype)
    for g in range(len(counts)):
        members = Y[starts[g] : starts[g + 1]]
        energy = squared_norm(members.ravel())
        # The rules and the residual see the members Y only through Y' Y, so that m signals can stand for any number
        few = members if len(members) <= m else _square_root(members)
        for i in range(len(few)):
            product(few[i], D, A[i])
        k = _pursue(A[: len(few)], G, energy, error[g], by_decrease, atoms, *space)
        counts[g] = k
        for i in range(starts[g], starts[g + 1]):
            _solve(Y[i], D_T, atoms, k, space[1], values)
            combine(atoms, values, k, D_T, estimates[i])


def _space(L: int, G: np.ndarray) -> tuple[np.ndarray, ...]:
    """What `_pursue` works in: U, R, full, norm2, score, and the bits of the scores as integers."""
    p = len(G)
    U, R, norm2 = (np.empty(shape, G.dtype) for shape in ((L, p), (L, L), p))
    return U, R, np.diag(G).copy(), norm2, *with_bits(p, G.dtype)


@inlined
def _pursue(A, G, energy, error, by_decrease, atoms, U, R, full, norm2, score, bits):
    """Choose atoms for a group until its squared residual is at most `error`; how many they are.

    A       (M, p), correlations of the members; those of their residuals when it is done
    G       (p, p)
    energy  sum of the members' squared norms
    atoms   (L,), filled
    U       (L, p), U[k] = D' q_k
    R       (L, L), lower triangular: atom k is the sum over l <= k of R[k, l] q_l; filled
    full, norm2, score, bits  (p,): the atoms' squared norms, those outside the span, what the rules compare, its bits
    """
    norm2[:] = full
    score[:] = 0
    for i in range(len(A)):
        _subtract(A[i], score.dtype.type(0), full, score)
    _weigh(score, full, norm2, by_decrease)
    for k in range(len(atoms)):
        if energy <= error:
            return k
        best = largest(bits)
        if not score[best] > 0:  # none lowers the residual
            return k
        atoms[k] = best
        u = U[k]
        for q in range(k):
            R[k, q] = U[q, best]
        product(R[k, :k], U, u)
        r = np.sqrt(G[best, best] - u[best])
        R[k, k] = r
        _orthogonalise(u, G[best], r, norm2)
        norm2[best] = 0
        score[:] = 0
        for i in range(len(A)):
            c = A[i, best] / r
            energy -= c * c
            _subtract(A[i], c, u, score)
        _weigh(score, full, norm2, by_decrease)
    return len(atoms)


# Loops over few arrays: a compiler that must allow for any two of them to overlap vectorises no other.


@inlined
def _orthogonalise(u, g, r, norm2):
    """From u, the part of g = D' d within the span, to D' q for d = that part + r q; norm2 loses what q spans."""
    for j in range(len(u)):
        x = (g[j] - u[j]) / r
        u[j] = x
        norm2[j] -= x * x


@inlined
def _subtract(a, c, u, score):
    """a -= c u, and score += a^2."""
    for j in range(len(u)):
        x = a[j] - c * u[j]
        a[j] = x
        score[j] += x * x


@inlined
def _weigh(score, full, norm2, by_decrease):
    """Divide the scores by what the rules do; 0 for atoms that nothing is left of outside the span."""
    one, spanned = full.dtype.type(1), full.dtype.type(SPANNED)  # plain numbers would make it all double precision
    scale = norm2 if by_decrease else full
    for j in range(len(score)):
        score[j] *= one / scale[j] if norm2[j] > spanned * full[j] else one - one


@inlined
def _solve(y, D_T, atoms, k, R, out):
    """out[:k]: the least-squares coefficients of y for the first k atoms; D_I' D_I = R R'."""
    for i in range(k):
        d = D_T[atoms[i]]
        b = y[0] * 0
        for t in range(len(y)):
            b += d[t] * y[t]
        for q in range(i):
            b -= R[i, q] * out[q]
        out[i] = b / R[i, i]
    for i in range(k - 1, -1, -1):
        b = out[i]
        for q in range(i + 1, k):
            b -= R[q, i] * out[q]
        out[i] = b / R[i, i]


@inlined
def _square_root(Y):
    """S (m, m) with S' S = Y' Y: Cholesky's, in double precision; a direction that Y lacks gives a row of zeros."""
    n, m = Y.shape
    S = np.zeros((m, m), np.float64)
    for i in range(n):
        for s in range(m):
            for t in range(s, m):
                S[s, t] += np.float64(Y[i, s]) * np.float64(Y[i, t])
    tiny = 1e-12 * max(np.diag(S).max(), 1e-300)
    for s in range(m):
        pivot = S[s, s]
        if pivot <= tiny:
            S[s, s:] = 0
            continue
        S[s, s:] /= np.sqrt(pivot)
        for r in range(s + 1, m):
            for t in range(r, m):
                S[r, t] -= S[s, r] * S[s, t]
    return S.astype(Y.dtype)
