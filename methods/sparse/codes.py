"""Sparse codes of many signals, as all coders here give them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from bench.methods.sparse.compiled import do_in_parallel, inlined, kernel
from numpy.typing import DTypeLike

__all__ = ["Codes", "checked", "combine", "no_codes"]


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
        do_in_parallel(
            lambda a, b: _combine_each(self.atoms[a:b], self.values[a:b], self.counts[a:b], D_T, Y[a:b]), len(Y)
        )
        return Y


def no_codes(n: int, L: int, dtype: DTypeLike) -> Codes:
    """Room for the codes of n signals of at most L atoms."""
    return Codes(np.full((n, L), -1, np.int32), np.zeros((n, L), dtype), np.zeros(n, np.int32))


def checked(Y: np.ndarray, D: np.ndarray) -> np.ndarray:
    """D with Y's precision; TypeError or ValueError if the two do not fit each other."""
    if Y.dtype not in (np.float32, np.float64):
        raise TypeError(f"The signals are {Y.dtype}; expected float32 or float64.")
    if Y.ndim != 2 or D.ndim != 2 or Y.shape[1] != len(D):
        raise ValueError(f"Signals of shape {Y.shape} and a dictionary of {D.shape}; expected (n, m) and (m, p).")
    return np.ascontiguousarray(D, Y.dtype)


@inlined
def combine(atoms, values, k, D_T, out):
    """out (m,) = the sum over the first k of values[i] times row atoms[i] of D_T."""
    for t in range(len(out)):
        out[t] = 0
    for i in range(k):
        a, d = values[i], D_T[atoms[i]]
        for t in range(len(out)):
            out[t] += a * d[t]


@kernel
def _combine_each(atoms, values, counts, D_T, out):
    for i in range(len(out)):
        combine(atoms[i], values[i], counts[i], D_T, out[i])
