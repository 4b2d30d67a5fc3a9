"""The passes over codes between two products of sparse coding, each one walk through memory: compiled, float32.

Arrays are C-contiguous. A picture is (C, H, W); a patch of s x s pixels is a row of m = C s s values, as
`sparse.patches.extract` orders them.
"""

from __future__ import annotations

from math import copysign, sqrt

import numpy as np
from bench.methods.sparse.compiled import inlined, kernel
from bench.methods.sparse.products import LINE, float_of_bits, prefetch
from bench.methods.sparse.prox import MASS_EPS, NORM_EPS

__all__ = [
    "add_patches",
    "compared",
    "mix",
    "normalised",
    "residual",
    "shrink_groups",
    "soft_threshold",
    "soft_threshold_rows",
    "squares_around",
    "take_patches",
]

ZERO, ONE, TWO, ROOT2 = np.float32([0, 1, 2, sqrt(2)])  # Numba takes 0 and 1 for numbers of double length
AHEAD = 3  # codes that are asked for while others are squared
NORM2, MASS = np.float32(NORM_EPS), np.float32(MASS_EPS)


@kernel
def soft_threshold(z, lmbda):
    """z (n, p) <- relu(z - lmbda) - relu(-z - lmbda), with lmbda (p,): `sparse.prox.soft_threshold`."""
    n, p = z.shape
    for k in range(n):
        for t in range(p):
            z[k, t] = max(z[k, t] - lmbda[t], ZERO) - max(-z[k, t] - lmbda[t], ZERO)


@kernel
def soft_threshold_rows(z, lmbda):
    """z (n, p) <- sign(z) max(|z| - lmbda, 0), with a threshold for each row, lmbda (n,)."""
    n, p = z.shape
    for k in range(n):
        for t in range(p):
            z[k, t] = copysign(max(abs(z[k, t]) - lmbda[k], ZERO), z[k, t])


# Slices of rows, and loops over their first numbers: compiled, these are twice as fast as an index of every pixel.


@kernel
def take_patches(x, size, top, left, down, across, stride, out):
    """out (down * across, >= m) <- the patches of x whose first pixels are every stride-th from (top, left) on."""
    for i in range(down):
        for j in range(across):
            patch = out[i * across + j]
            for c in range(len(x)):
                for a in range(size):
                    row, pixels = patch[(c * size + a) * size :], x[c, top + i * stride + a, left + j * stride :]
                    for b in range(size):
                        row[b] = pixels[b]


@kernel
def add_patches(patches, size, top, left, down, across, stride, total):
    """total += patches (down * across, >= m), each in its place: the transpose of `take_patches`."""
    for i in range(down):
        for j in range(across):
            patch = patches[i * across + j]
            for c in range(len(total)):
                for a in range(size):
                    row, pixels = patch[(c * size + a) * size :], total[c, top + i * stride + a, left + j * stride :]
                    for b in range(size):
                        pixels[b] += row[b]


# --- GroupSC: codes lie tile after tile, and row of tiles after row of tiles in slots that are used again ---------


@inlined
def squares_around(B, rows, columns, top, left, gh, gw, h, w, out):
    """out (n_near, >= p) <- the squares of the codes at (top + rows, left + columns), 0 for those beyond the grid.

    B  (n_slots, across * h * w, p); the tiles of row r are in slot r % n_slots
    """
    n_slots, _, p = B.shape
    for k in range(len(rows)):
        near = out[k]
        ahead = min(k + AHEAD, len(rows) - 1)  # codes far apart: the processor does not foresee where the next are
        i, j = min(max(top + rows[ahead], 0), gh - 1), min(max(left + columns[ahead], 0), gw - 1)
        slot, place = _place(i, j, n_slots, h, w)
        for t in range(0, p, LINE):
            prefetch(B.ctypes.data + 4 * ((slot * B.shape[1] + place) * p + t))
        i, j = top + rows[k], left + columns[k]
        if 0 <= i < gh and 0 <= j < gw:
            slot, place = _place(i, j, n_slots, h, w)
            code = B[slot, place]
            for t in range(p):
                near[t] = code[t] * code[t]
        else:
            near[:] = ZERO


@inlined
def _place(i, j, n_slots, h, w):
    """Slot and place in it of the code of patch (i, j)."""
    return (i // h) % n_slots, (j // w) * (h * w) + (i % h) * w + j % w


@inlined
def shrink_groups(B, norm2, lmbda, alpha):
    """alpha (n, p) <- max(1 - lmbda / sqrt(norm2), 0) B: Eq. 11 with a mean of squares for the sum."""
    n, p = B.shape
    for k in range(n):
        for t in range(p):
            alpha[k, t] = max(ONE - lmbda[t] / sqrt(norm2[k, t] + NORM2), ZERO) * B[k, t]


@inlined
def residual(x, mu, M, masked, size, top, left, h, w, r):
    """r (h * w, >= m) <- M * (y - r), y the centred patches of a tile; without M unless masked; 0 beyond the grid.

    mu  (gh, gw) means of patches
    """
    gh, gw = mu.shape
    for k in range(h * w):
        i, j = top + k // w, left + k % w
        patch = r[k]
        if i >= gh or j >= gw:
            patch[:] = ZERO
            continue
        for c in range(len(x)):
            for a in range(size):
                row, pixels = patch[(c * size + a) * size :], x[c, i + a, j:]
                for b in range(size):
                    row[b] = pixels[b] - mu[i, j] - row[b]
                if masked:
                    seen = M[c, i + a, j:]
                    for b in range(size):
                        row[b] *= seen[b]


@kernel
def compared(x, mu, kappa, gray, rows, columns, top, left, size, out, exists):
    """out (n_near, m + 2) <- sqrt(2) u, 1 and -||u||^2, for u = kappa (y - mu).

    y       the patches at (top + rows, left + columns)

    gray    u is summed over the channels: a third as long
    exists  1 where there is such a patch; 0 beyond the grid, as is u
    """
    gh, gw = mu.shape
    n_channels, area = len(x), size * size
    m = area if gray else n_channels * area
    for k in range(len(rows)):
        i, j = top + rows[k], left + columns[k]
        u = out[k]
        u[:] = ZERO
        u[m] = ONE
        exists[k] = ZERO
        if not (0 <= i < gh and 0 <= j < gw):
            continue
        exists[k] = ONE
        for c in range(n_channels):
            t = 0 if gray else c * area
            for a in range(size):
                for b in range(size):
                    u[t] += ROOT2 * kappa[c * area + a * size + b] * (x[c, i + a, j + b] - mu[i, j])
                    t += 1
        norm2 = ZERO
        for t in range(m):
            norm2 += u[t] * u[t]
        u[m + 1] = -norm2 / TWO  # of sqrt(2) u, half


# A similarity has 16 bits, which halves the memory they need: of a float32 the last 6 bits of its exponent, for it is
# 0 or between 2^-54 and 2^10, and the first 10 of its fraction. Rounding moves it by 1/2048 at most, the norm of a
# group, a mean over hundreds of them, by far less, and an answer by 2e-6 of the range.
SHORTER, LEAST, HALF, NONE = np.int32([13, (127 - 54) << 10, 1 << 12, 0])


@inlined
def short(bits):
    """The 16 bits for a number >= 0, from the bits of a float32."""
    return np.uint16(max(((bits + HALF) >> SHORTER) - LEAST, NONE))


@inlined
def long(short):
    """The float32."""
    return float_of_bits((np.int32(short) + LEAST) << SHORTER) if short > 0 else ZERO


@kernel
def mix(Sigma, mass, estimate, bits, weight, exists, step, nu):
    """Algorithm 1, line 7: Sigma (n_parts, n, n_near), `short`, and the sums of its rows, mass (n_parts * n,).

    The new similarities are estimate * weight * exists; a part's neighbours begin `step` later than those of the part
    before. A row is stored first and summed then: see `sparse.compiled`.

    bits  the memory of `estimate`, as int32; both are changed
    """
    n_parts, n, n_near = Sigma.shape
    for part in range(n_parts):
        there = exists[part * step : part * step + n_near]
        for b in range(n):
            row, new, times, new_bits = Sigma[part, b], estimate[part, b], weight[part, b], bits[part, b]
            for a in range(n_near):
                new[a] = (ONE - nu) * long(row[a]) + nu * new[a] * times[a] * there[a]
            for a in range(n_near):
                row[a] = short(new_bits[a])
            total = ZERO
            for a in range(n_near):
                total += long(row[a])
            mass[part * n + b] = total


@inlined
def normalised(Sigma, mass, out):
    """out (n, n_near) <- the rows of Sigma, `short`, divided by their sums."""
    n, n_near = Sigma.shape
    for b in range(n):
        row, numbers, scale = Sigma[b], out[b], ONE / (mass[b] + MASS)
        for a in range(n_near):
            numbers[a] = scale * long(row[a])
