"""What lies between the products of `unrolled.steps` on a processor: each one walk through memory, compiled by Numba.

Arrays are (n, p), a code a row. Long ones are float32 or float64; short ones are of the dtype of the products, which
may be bfloat16. NumPy has no such numbers: they are passed as their bits, int16, and rounded (to the nearest, ties to
even) as PyTorch rounds. A NaN stays one, so that a training that diverges is seen to.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from bench.methods.sparse.compiled import in_parallel
from bench.methods.sparse.prox import NORM_EPS
from numba import njit
from torch import Tensor

__all__ = [
    "add",
    "by_rows",
    "clear",
    "copy",
    "forget",
    "forget_in_groups",
    "forget_squares",
    "group",
    "inlined",
    "kernel",
    "move",
    "multiply",
    "shrink",
]

ROWS = 512  # that a thread takes at a time; sums over rows are added up in this many, however many threads there are

HALF, LESS, ONE = np.int32([16, 0x7FFF, 1])
"""To go from float32 to its upper half, bfloat16. Numba takes plain integers for numbers of 64 bits."""

kernel = njit(nogil=True, cache=True, error_model="numpy", fastmath={"reassoc", "contract", "arcp", "nsz"})
inlined = njit(
    nogil=True, cache=True, error_model="numpy", fastmath={"reassoc", "contract", "arcp", "nsz"}, forceinline=True
)
"""For a kernel that others call: see `methods.sparse.compiled`."""


def by_rows(do: Callable[..., Any], *arrays: Tensor, lmbda: Tensor) -> list[Any]:
    """do(rows of each array, lmbda) for some rows at a time on all cores: what it returns, in order."""
    views = [_as_numpy(x) for x in (*arrays, lmbda.detach().contiguous())]
    own = views[:-1]
    return list(in_parallel(lambda a, b: do(*(x[a:b] for x in own), views[-1]), len(own[0]), ROWS))


def _as_numpy(x: Tensor) -> np.ndarray:
    bits: np.ndarray = (x.view(torch.int16) if x.dtype == torch.bfloat16 else x).numpy()
    return bits


@inlined
def _long(short, long, bits):
    """long (p,) <- short (p,); bits are long's, in float32."""
    if short.itemsize == 2:
        for j in range(len(short)):
            bits[j] = np.int32(short[j]) << HALF
    else:
        for j in range(len(short)):
            long[j] = short[j]


@inlined
def _short(long, bits, short):
    """short (p,) <- long (p,), rounded."""
    if short.itemsize == 2:
        for j in range(len(short)):
            short[j] = np.int16((bits[j] + LESS + ((bits[j] >> HALF) & ONE)) >> HALF)
    else:
        for j in range(len(short)):
            short[j] = long[j]


@inlined
def copy(x, out):
    for j in range(len(x)):
        out[j] = x[j]


@inlined
def clear(out):
    for j in range(len(out)):
        out[j] = 0


@inlined
def add(x, out):
    for j in range(len(x)):
        out[j] += x[j]


@inlined
def multiply(x, out):
    for j in range(len(x)):
        out[j] *= x[j]


@inlined
def _room(x):
    """Two rows for long numbers, and the bits of both."""
    rows = np.empty((2, x.shape[1]), x.dtype)
    return rows[0], rows[1], rows[0].view(np.int32), rows[1].view(np.int32)


@kernel
def shrink(alpha, move, b, a, lmbda):
    """Eq. 3: B = alpha + move, short into b; alpha = soft_threshold(B, lmbda), short into a."""
    zero = lmbda[0] * 0
    B, _, B_bits, _ = _room(alpha)
    for i in range(len(alpha)):
        codes = alpha[i]
        _long(move[i], B, B_bits)
        for j in range(len(B)):
            B[j] += codes[j]
        _short(B, B_bits, b[i])
        for j in range(len(B)):
            above, below = B[j] - lmbda[j], -B[j] - lmbda[j]
            B[j] = max(above, zero) - max(below, zero)
        _short(B, B_bits, a[i])
        copy(B, codes)


@kernel
def move(alpha, move, b, q, _):
    """alpha becomes B = alpha + move, short into b; q: the squares of b."""
    x, y, x_bits, y_bits = _room(alpha)
    for i in range(len(alpha)):
        B = alpha[i]
        _long(move[i], x, x_bits)
        for j in range(len(x)):
            x[j] += B[j]
        copy(x, B)
        _short(x, x_bits, b[i])
        _long(b[i], y, y_bits)
        for j in range(len(x)):
            y[j] *= y[j]
        _short(y, y_bits, q[i])


@kernel
def group(alpha, norm2, root_mass, a, lmbda):
    """Eq. 11, second line: alpha, which is B, times relu(1 - lmbda root_mass / sqrt(norm2 + eps)); short into a."""
    zero = lmbda[0] * 0
    one, eps = zero + lmbda.dtype.type(1), lmbda.dtype.type(NORM_EPS)
    x, _, x_bits, _ = _room(alpha)
    for i in range(len(alpha)):
        codes, root = alpha[i], root_mass[i, 0]
        _long(norm2[i], x, x_bits)
        for j in range(len(x)):
            x[j] = max(one - lmbda[j] * root / np.sqrt(x[j] + eps), zero) * codes[j]
        copy(x, codes)
        _short(x, x_bits, a[i])


@kernel
def forget(g, back, b, lmbda):
    """Back through `shrink`: the gradient of B, from that of alpha, g - back; short into back. That of lmbda (p,).

    alpha = relu(B - lmbda) - relu(-B - lmbda)
    """
    zero = lmbda[0] * 0
    x, y, x_bits, y_bits = _room(g)
    dlmbda = np.zeros_like(x)
    for i in range(len(g)):
        dB = g[i]
        _long(back[i], x, x_bits)
        _long(b[i], y, y_bits)
        for j in range(len(x)):
            x[j] = dB[j] - x[j]
        for j in range(len(x)):
            above, below = x[j] if y[j] > lmbda[j] else zero, x[j] if -y[j] > lmbda[j] else zero
            x[j] = above + below
            dlmbda[j] += below - above
        copy(x, dB)
        _short(x, x_bits, back[i])
    return dlmbda


@kernel
def forget_in_groups(g, back, b, norm2, root_mass, droot, dn, lmbda):
    """Back through `group`: g becomes the gradient of B but for what goes through its squares. That of lmbda (p,).

    alpha = s B, s = relu(1 - t), t = lmbda root_mass f, f = 1 / sqrt(norm2 + eps)

    dn     gradient of norm2, short; droot (n, 1): that of root_mass, added to
    """
    zero = lmbda[0] * 0
    one, two, eps = lmbda.dtype.type(1), lmbda.dtype.type(2), lmbda.dtype.type(NORM_EPS)
    x, y, x_bits, y_bits = _room(g)
    u, f, dlmbda = np.empty_like(x), np.empty_like(x), np.zeros_like(x)
    for i in range(len(g)):
        dB, root = g[i], root_mass[i, 0]
        _long(back[i], x, x_bits)
        for j in range(len(x)):
            dB[j] -= x[j]
        _long(norm2[i], x, x_bits)
        _long(b[i], y, y_bits)
        for j in range(len(x)):
            f[j] = one / np.sqrt(x[j] + eps)
        for j in range(len(x)):
            x[j] = max(one - lmbda[j] * root * f[j], zero)  # s
            u[j] = dB[j] * y[j] * f[j] * (one if x[j] > zero else zero)  # ds f; dt = -ds
        for j in range(len(x)):
            dB[j] *= x[j]
            dlmbda[j] -= u[j] * root
        for j in range(len(x)):
            x[j] = u[j] * f[j] * f[j] * root * lmbda[j] / two  # ds t f^2 / 2
        _short(x, x_bits, dn[i])
        total = zero
        for j in range(len(u)):
            total += u[j] * lmbda[j]
        droot[i, 0] -= total
    return dlmbda


@kernel
def forget_squares(g, b, v, short, _):
    """g += 2 B v, for v, the gradient of B's squares; short into `short`."""
    x, y, x_bits, y_bits = _room(g)
    for i in range(len(g)):
        dB, dq = g[i], v[i]
        _long(b[i], y, y_bits)
        for j in range(len(x)):
            x[j] = dB[j] + (y[j] + y[j]) * dq[j]
        copy(x, dB)
        _short(x, x_bits, short[i])
