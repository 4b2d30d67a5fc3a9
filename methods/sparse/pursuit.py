"""Sparse coding of many signals on all cores: OMP, OMP of groups whose members share their atoms, and LARS.

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

`lasso_path` replaces the count of atoms by the l1 norm and follows the path of its minimisers (Efron, Hastie,
Johnstone, Tibshirani, "Least angle regression", Annals of Statistics 32(2), 2004, with the lasso modification).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import numpy as np
from numba import njit

__all__ = ["Codes", "in_parallel", "kernel", "lasso_path", "omp", "product", "simultaneous_omp"]

T = TypeVar("T")

RULES = ("correlation", "decrease")
CHUNK = 512  # signals that a thread codes before it asks for more
SPANNED = 1e-6  # of an atom's squared norm: what is left of it outside the span of the others is rounding

_thread = threading.local()

# A loop that sums must not also store: whether it is then vectorised depends on where its arrays lie in memory, and
# with it the order of the sum, so that the same call could answer differently in the last bit.
kernel = njit(nogil=True, cache=True, fastmath={"reassoc", "contract", "arcp", "nsz", "nnan"})


class Codes(NamedTuple):
    """Codes of n signals: signal i is the sum over k < counts[i] of values[i, k] times atom atoms[i, k].

    atoms   (n, L) int32, in the order in which they were chosen; -1 after the last
    values  (n, L), 0 after the last
    counts  (n,) int32
    """

    atoms: np.ndarray
    values: np.ndarray
    counts: np.ndarray

    def estimates(self, D: np.ndarray) -> np.ndarray:
        """The signals (n, m) that these codes stand for, with the dictionary D (m, p)."""
        Y = np.zeros((len(self.counts), len(D)), self.values.dtype)
        D_T = np.ascontiguousarray(D.T, Y.dtype)
        _do_in_parallel(
            lambda a, b: _combine(self.atoms[a:b], self.values[a:b], self.counts[a:b], D_T, Y[a:b]), len(Y)
        )
        return Y


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
    D, L = _checked(Y, D, max_atoms, rule)
    error = np.broadcast_to(np.asarray(error, Y.dtype), len(Y))
    codes = Codes(np.full((len(Y), L), -1, np.int32), np.zeros((len(Y), L), Y.dtype), np.zeros(len(Y), np.int32))
    D_T, G = np.ascontiguousarray(D.T), _gram(D)
    _do_in_parallel(
        lambda a, b: _omp(Y[a:b], D, D_T, G, error[a:b], rule == "decrease", *(x[a:b] for x in codes)), len(Y)
    )
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
    D, L = _checked(Y, D, max_atoms, rule)
    error = np.broadcast_to(np.asarray(error, Y.dtype), len(starts) - 1)
    estimates, counts = np.empty_like(Y), np.zeros(len(starts) - 1, np.int32)
    D_T, G = np.ascontiguousarray(D.T), _gram(D)
    _do_in_parallel(
        lambda a, b: _somp(
            Y, starts[a : b + 1], D, D_T, G, error[a:b], L, rule == "decrease", estimates, counts[a:b]
        ),
        len(counts),
        chunk=max(1, CHUNK * len(counts) // max(1, len(Y))),
    )
    return estimates, counts


def lasso_path(Y: np.ndarray, D: np.ndarray, *, error: float | np.ndarray) -> Codes:
    """For every row y of Y: argmin_a ||a||_1 subject to ||y - D a||^2 <= error.

    A signal with ||y||^2 <= error gets no atom; one that D cannot bring to `error` gets the end of its path.

    Y      (n, m), float32 or float64
    D      (m, p)
    error  squared, in the units of Y squared: one for all or (n,)
    """
    D, L = _checked(Y, D, None, "decrease")
    error = np.broadcast_to(np.asarray(error, Y.dtype), len(Y))
    codes = Codes(np.full((len(Y), L), -1, np.int32), np.zeros((len(Y), L), Y.dtype), np.zeros(len(Y), np.int32))
    G = _gram(D)
    _do_in_parallel(lambda a, b: _lars(Y[a:b], D, G, error[a:b], *(x[a:b] for x in codes)), len(Y))
    return codes


def in_parallel(do: Callable[[int, int], T], n: int, chunk: int = CHUNK) -> Iterator[T]:
    """do(a, b) for consecutive a:b that make up 0:n, on as many threads as OMP_NUM_THREADS says, or all cores.

    The results come in this order, so that what is made of them does not depend on the number of threads. Where a
    call works in parallel itself, it does so on its own thread.
    """
    spans = [(a, min(a + chunk, n)) for a in range(0, n, chunk)]
    n_threads = int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)
    if min(n_threads, len(spans)) < 2 or getattr(_thread, "is_ours", False):
        yield from (do(*span) for span in spans)
        return
    with ThreadPoolExecutor(n_threads, initializer=setattr, initargs=(_thread, "is_ours", True)) as pool:
        yield from pool.map(lambda span: do(*span), spans)


def _do_in_parallel(do: Callable[[int, int], None], n: int, chunk: int = CHUNK) -> None:
    for _ in in_parallel(do, n, chunk):  # errors come out here
        pass


def _checked(Y: np.ndarray, D: np.ndarray, max_atoms: int | None, rule: str) -> tuple[np.ndarray, int]:
    """D with Y's precision, and the most atoms a code can have."""
    if Y.dtype not in (np.float32, np.float64):
        raise TypeError(f"The signals are {Y.dtype}; expected float32 or float64.")
    if Y.ndim != 2 or D.ndim != 2 or Y.shape[1] != len(D):
        raise ValueError(f"Signals of shape {Y.shape} and a dictionary of {D.shape}; expected (n, m) and (m, p).")
    if rule not in RULES:
        raise ValueError(f"rule is '{rule}'; expected one of {', '.join(RULES)}.")
    if max_atoms is not None and max_atoms < 1:
        raise ValueError(f"max_atoms is {max_atoms}; expected at least 1.")
    most = min(D.shape)
    return np.ascontiguousarray(D, Y.dtype), most if max_atoms is None else min(most, max_atoms)


# --- kernels -------------------------------------------------------------------------------------


@kernel
def _omp(Y, D, D_T, G, error, by_decrease, atoms, values, counts):
    """A chunk of `omp`."""
    p, L = D.shape[1], atoms.shape[1]
    A = np.empty((1, p), Y.dtype)
    space = _space(L, p, Y.dtype)
    for i in range(len(Y)):
        y = Y[i]
        energy = _energy(y)
        if energy <= error[i]:
            continue
        product(y, D, A[0])
        k = _pursue(A, G, energy, error[i], by_decrease, atoms[i], *space)
        _solve(y, D_T, atoms[i], k, space[1], values[i])
        counts[i] = k
        atoms[i, k:] = -1


@kernel
def _somp(Y, starts, D, D_T, G, error, L, by_decrease, estimates, counts):
    """A chunk of `simultaneous_omp`: as many groups as there are counts."""
    m, p = D.shape
    A = np.empty((m, p), Y.dtype)
    atoms, values = np.empty(L, np.int32), np.empty(L, Y.dtype)
    space = _space(L, p, Y.dtype)
    for g in range(len(counts)):
        members = Y[starts[g] : starts[g + 1]]
        energy = _energy(members.ravel())
        # The rules and the residual see the members Y only through Y' Y, so that m signals can stand for any number
        few = members if len(members) <= m else _square_root(members)
        for i in range(len(few)):
            product(few[i], D, A[i])
        k = _pursue(A[: len(few)], G, energy, error[g], by_decrease, atoms, *space)
        counts[g] = k
        for i in range(starts[g], starts[g + 1]):
            _solve(Y[i], D_T, atoms, k, space[1], values)
            _combine_one(atoms, values, k, D_T, estimates[i])


@kernel
def _space(L, p, dtype):
    """What `_pursue` works in: U, R, norm2, full, weight, score."""
    return (
        np.empty((L, p), dtype),
        np.empty((L, L), dtype),
        np.empty(p, dtype),
        np.empty(p, dtype),
        np.empty(p, dtype),
        np.empty(p, dtype),
    )


@kernel
def _energy(y):
    total = y[0] * 0
    for t in range(len(y)):
        total += y[t] * y[t]
    return total


@kernel
def product(w, B, out):
    """out (p,) = w' B, for w (m,) and B (m, p)."""
    m, p = len(w), len(out)
    for j in range(p):
        out[j] = 0
    t = 0
    while t + 4 <= m:  # four rows at a time: `out` is read and written less often
        a, b, c, d = w[t], w[t + 1], w[t + 2], w[t + 3]
        for j in range(p):
            out[j] += a * B[t, j] + b * B[t + 1, j] + c * B[t + 2, j] + d * B[t + 3, j]
        t += 4
    while t < m:
        a = w[t]
        for j in range(p):
            out[j] += a * B[t, j]
        t += 1


@kernel
def _gram(D):
    """D' D, (p, p). BLAS sums in an order that depends on how many threads it finds free."""
    D_T = D.T.copy()
    G = np.empty((len(D_T), len(D_T)), D.dtype)
    for j in range(len(D_T)):
        product(D_T[j], D, G[j])
    return G


@kernel
def _pursue(A, G, energy, error, by_decrease, atoms, U, R, norm2, full, weight, score):
    """Choose atoms for a group until its squared residual is at most `error`; how many they are.

    A       (M, p), correlations of the members; those of their residuals when it is done
    G       (p, p)
    energy  sum of the members' squared norms
    atoms   (L,), filled
    U       (L, p), U[k] = D' q_k
    R       (L, L), lower triangular: atom k is the sum over l <= k of R[k, l] q_l; filled
    norm2, full, weight, score  (p,): the atoms' squared norms outside the span and in all; what the rules compare
    """
    M, p = A.shape
    for j in range(p):
        norm2[j] = full[j] = G[j, j]
        score[j] = 0
    for i in range(M):
        for j in range(p):
            score[j] += A[i, j] * A[i, j]
    for k in range(len(atoms)):
        if energy <= error:
            return k
        _weigh(norm2, full, by_decrease, weight)
        best = _best(score, weight)
        if best < 0:
            return k
        atoms[k] = best
        u = U[k]
        for q in range(k):
            R[k, q] = U[q, best]
        product(R[k, :k], U, u)
        r = np.sqrt(G[best, best] - u[best])
        R[k, k] = r
        for j in range(p):
            u[j] = (G[best, j] - u[j]) / r
            norm2[j] -= u[j] * u[j]
            score[j] = 0
        norm2[best] = 0
        for i in range(M):
            c = A[i, best] / r
            energy -= c * c
            for j in range(p):
                a = A[i, j] - c * u[j]
                A[i, j] = a
                score[j] += a * a
    return len(atoms)


@kernel
def _weigh(norm2, full, by_decrease, weight):
    """What the rules divide the scores by, inverted; 0 for atoms that nothing is left of outside the span."""
    one, spanned = full.dtype.type(1), full.dtype.type(SPANNED)  # plain numbers would make it all double precision
    for j in range(len(full)):
        tiny = spanned * full[j]
        scale = norm2[j] if by_decrease else full[j]
        weight[j] = one / scale if norm2[j] > tiny else one - one


@kernel
def _best(score, weight):
    """The first atom of the largest weighted score; -1 if none lowers the residual. Spoils the scores."""
    best = 0
    for j in range(len(score)):
        score[j] *= weight[j]
    for j in range(len(score)):
        if score[j] > score[best]:
            best = j
    return best if score[best] > 0 else -1


@kernel
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


@kernel
def _combine_one(atoms, values, k, D_T, out):
    for t in range(len(out)):
        out[t] = 0
    for i in range(k):
        a, d = values[i], D_T[atoms[i]]
        for t in range(len(out)):
            out[t] += a * d[t]


@kernel
def _combine(atoms, values, counts, D_T, out):
    for i in range(len(out)):
        _combine_one(atoms[i], values[i], counts[i], D_T, out[i])


@kernel
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


@kernel
def _lars(Y, D, G, error, atoms, values, counts):
    """A chunk of `lasso_path`."""
    p, L = D.shape[1], atoms.shape[1]
    c, a, gain = np.empty(p, Y.dtype), np.empty(p, Y.dtype), np.empty(p, Y.dtype)
    inverse, s, w, g = np.empty((L, L), Y.dtype), np.empty(L, Y.dtype), np.empty(L, Y.dtype), np.empty(L, Y.dtype)
    free = np.empty(p, Y.dtype)
    for i in range(len(Y)):
        energy = _energy(Y[i])
        if energy <= error[i]:
            continue
        product(Y[i], D, c)
        k = _follow(c, G, energy, error[i], atoms[i], values[i], inverse, s, w, g, a, free, gain)
        counts[i] = k
        atoms[i, k:] = -1
        values[i, k:] = 0


@kernel
def _follow(c, G, energy, error, atoms, x, inverse, s, w, g, a, free, gain):
    """The path of one signal from a = 0 to where its squared residual is `error`; how many atoms its end has.

    c        (p,), correlations D' y, of the residual when it is done
    energy   ||y||^2
    atoms    (L,), the active atoms, filled; x (L,) their coefficients, s (L,) the signs of their correlations
    inverse  (L, L), of the active atoms' Gram matrix
    free     (p,), 1 for an atom that may become active, else 0
    w, g (L,) and a, gain (p,)  scratch
    """
    p, L = len(c), len(atoms)
    zero, one = c.dtype.type(0), c.dtype.type(1)
    spanned, tiny = c.dtype.type(SPANNED), c.dtype.type(1e-20)
    joining, lam = 0, zero
    for j in range(p):
        free[j] = one
        if abs(c[j]) > lam:
            joining, lam = j, abs(c[j])
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
        _gathered_product(w[:k], atoms, G, a)
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
            best = 0
            for j in range(p):
                if gain[j] > gain[best]:
                    best = j
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


@kernel
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


@kernel
def _gathered_product(w, rows, B, out):
    """out (p,) = the sum over k of w[k] B[rows[k]]."""
    m, p = len(w), len(out)
    for j in range(p):
        out[j] = 0
    t = 0
    while t + 4 <= m:
        a, b, c, d = w[t], w[t + 1], w[t + 2], w[t + 3]
        A, B1, C, D = B[rows[t]], B[rows[t + 1]], B[rows[t + 2]], B[rows[t + 3]]
        for j in range(p):
            out[j] += a * A[j] + b * B1[j] + c * C[j] + d * D[j]
        t += 4
    while t < m:
        a, A = w[t], B[rows[t]]
        for j in range(p):
            out[j] += a * A[j]
        t += 1
