"""What the sparse coders are made of: compiled kernels, and work cut up for all cores."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from numba import njit
from numpy.typing import DTypeLike

__all__ = [
    "CHUNK",
    "do_in_parallel",
    "gathered_product",
    "gram",
    "in_parallel",
    "inlined",
    "kernel",
    "largest",
    "product",
    "squared_norm",
    "with_bits",
]

T = TypeVar("T")

CHUNK = 512  # signals that a thread codes before it asks for more

_thread = threading.local()

# A loop that sums must not also store: whether it is then vectorised depends on where its arrays lie in memory, and
# with it the order of the sum, so that the same call could answer differently in the last bit.
#
# Compiled code is kept beside the module; Numba does not notice when a kernel of another module that it calls has
# changed: after work on this file remove __pycache__.
# A division by 0 gives an infinity, as NumPy's: to check for it would keep a loop from being vectorised.
kernel = njit(nogil=True, cache=True, error_model="numpy", fastmath={"reassoc", "contract", "arcp", "nsz", "nnan"})

# For a kernel that others call: it becomes part of each. Left apart, each caller would hold a copy that is optimised
# in its own way, and the first one that is loaded would serve them all: code that has just been compiled would answer
# otherwise than the same from the cache, in the last bit.
inlined = njit(
    nogil=True,
    cache=True,
    error_model="numpy",
    fastmath={"reassoc", "contract", "arcp", "nsz", "nnan"},
    forceinline=True,
)


def in_parallel(do: Callable[[int, int], T], n: int, chunk: int = CHUNK) -> Iterator[T]:
    """do(a, b) for consecutive a:b that make up 0:n, on as many threads as OMP_NUM_THREADS says, or all cores.

    The results come in this order, so that what is made of them does not depend on the number of threads. Where a
    call works in parallel itself, it does so on its own thread.

    For compiled kernels. torch's operations would start threads of their own: see `fast.threads.torch_in_parallel`.
    """
    spans = [(a, min(a + chunk, n)) for a in range(0, n, chunk)]
    n_threads = int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)
    if min(n_threads, len(spans)) < 2 or getattr(_thread, "is_ours", False):
        yield from (do(*span) for span in spans)
        return
    with ThreadPoolExecutor(n_threads, initializer=setattr, initargs=(_thread, "is_ours", True)) as pool:
        yield from pool.map(lambda span: do(*span), spans)


def do_in_parallel(do: Callable[[int, int], None], n: int, chunk: int = CHUNK) -> None:
    """`in_parallel` for what leaves its results where it was told to."""
    for _ in in_parallel(do, n, chunk):  # errors come out here
        pass


@inlined
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


@inlined
def gathered_product(w, rows, B, out):
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


@kernel
def gram(D):
    """D' D, (p, p). BLAS sums in an order that depends on how many threads it finds free."""
    D_T = D.T.copy()
    G = np.empty((len(D_T), len(D_T)), D.dtype)
    for j in range(len(D_T)):
        product(D_T[j], D, G[j])
    return G


@inlined
def squared_norm(y):
    """||y||^2, in the precision of y."""
    total = y[0] * 0
    for t in range(len(y)):
        total += y[t] * y[t]
    return total


def with_bits(p: int, dtype: DTypeLike) -> tuple[np.ndarray, np.ndarray]:
    """Room for p numbers, and the same memory as integers: what `largest` reads."""
    x = np.empty(p, dtype)
    return x, x.view(np.int32 if x.itemsize == 4 else np.int64)


@inlined
def largest(bits):
    """The first index of the largest of numbers >= 0, told by their bits: these order them as integers do.

    Loops that look for the largest integer are vectorised; for the largest float they are not.
    """
    n = len(bits)
    most, best = bits[0], n
    for j in range(n):
        most = max(most, bits[j])
    for j in range(n):
        best = min(best, j if bits[j] == most else n)
    return best
