"""Collaborative filtering: like blocks in a stack, filtered together in a 3D transform, each put back where it was.

Dabov, Foi, Katkovnik, Egiazarian, IEEE TIP 16(8), 2007, Sec. III. The steps are theirs, and so are the symbols.

Pictures are float32 (C, H, W) on the 0-255 scale. Blocks are matched in channel 0, the others follow its places.
`batched` is the same for a GPU.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from bench.methods.sparse.compiled import in_parallel, inlined, kernel, product
from numpy.typing import NDArray

__all__ = ["Step", "bior15", "dct", "filtered", "grid"]

Array = NDArray[np.float32]

REFERENCE_ROWS = 6
"""rows of reference blocks that a thread filters before it asks for more"""


@dataclass(frozen=True)
class Step:
    """The parameters of one of the two steps: the paper's Table I.

    T          forward 2D transform of a block, N1 x N1, for its rows and its columns
    most       N2, blocks of a stack, two at least
    step       N_step, pixels between reference blocks
    window     N_S, side of the search window
    tau        tau_match, the greatest mean squared difference to the reference block
    threshold  lambda_3D of hard thresholding; or one for each coefficient of a block, (N1, N1); None: the Wiener
               filter of the second step
    beta       of the Kaiser window
    """

    T: Array
    most: int
    step: int
    window: int
    tau: float
    threshold: float | NDArray[np.float64] | None = None
    beta: float = 2.0


def filtered(y: Array, sigma: Array, step: Step, basic: Array | None = None) -> Array:
    """The estimate of one step, (C, H, W).

    y      noisy picture
    sigma  (C,) of the noise in each channel
    basic  the first step's estimate, for the second: blocks are matched in it, and it tells the Wiener filter

    Bands of reference blocks are filtered side by side, and their sums added in a fixed order.
    """
    C, H, W = y.shape
    N = len(step.T)
    rows, columns = (grid(n - N, step.step) for n in (H, W))
    inverse = np.linalg.inv(step.T.astype(np.float64)).astype(np.float32)
    window = np.outer(np.kaiser(N, step.beta), np.kaiser(N, step.beta)).astype(np.float32)
    guide = y if basic is None else basic
    factors = np.broadcast_to(1.0 if step.threshold is None else step.threshold, (N, N)).T.ravel()  # turned: in_2d
    levels = (sigma[:, None] * factors).astype(np.float32)
    nearest, tau = step.window // 2, np.float32(step.tau * N * N)
    reach = nearest + N

    def band(a: int, b: int) -> tuple[int, Array]:
        top, bottom = max(0, rows[a] - nearest), min(H, rows[b - 1] + reach)
        sums = np.zeros((2, C, bottom - top, W), np.float32)
        filter_band(
            y[:, top:bottom], guide[:, top:bottom], rows[a:b] - top, columns, levels, step.T, inverse, window,
            step.most, nearest, tau, basic is not None, sums[0], sums[1],
        )  # fmt: skip
        return top, sums

    total = np.zeros((2, C, H, W), np.float32)
    for top, sums in in_parallel(band, len(rows), REFERENCE_ROWS):
        total[:, :, top : top + sums.shape[2]] += sums
    return total[0] / total[1]


def grid(last: int, step: int) -> NDArray[np.intp]:
    """0, step, 2 step, ..., and the last place of all."""
    places = np.arange(0, last + 1, step)
    return places if places[-1] == last else np.append(places, last)


# --- transforms ----------------------------------------------------------------------------------------


def dct(N: int) -> Array:
    """The orthonormal DCT-II, N x N."""
    k, n = np.arange(N)[:, None], np.arange(N)
    T = np.sqrt(2 / N) * np.cos(np.pi * (2 * n + 1) * k / (2 * N))
    T[0] /= np.sqrt(2)
    return T.astype(np.float32)


def bior15(N: int = 8, coarsest: int = 1) -> Array:
    """The periodic Bior1.5 wavelet transform, N x N; every basis element has norm 1 (Sec. IV-A).

    N         a power of two
    coarsest  how many coefficients of the low-pass filter are left; 1: all levels
    Source of the filters: Cohen, Daubechies, Feauveau, Comm. Pure Appl. Math. 45, 1992, Table 6.1, N = 1, N~ = 5.
    """
    low = np.array([3, -3, -22, 22, 128, 128, 22, -22, -3, 3]) / (128 * np.sqrt(2))
    T, n = np.eye(N), N
    while n > coarsest:
        level = np.zeros((n, n))
        for k in range(n // 2):
            np.add.at(level[k], (2 * k + np.arange(-4, 6)) % n, low)
            level[n // 2 + k, [2 * k, 2 * k + 1]] = np.array([1, -1]) / np.sqrt(2)
        T[:n] = level @ T[:n]
        n //= 2
    return (T / np.linalg.norm(T, axis=1, keepdims=True)).astype(np.float32)


# --- kernels ---------------------------------------------------------------------------------------------


@kernel
def filter_band(y, guide, rows, columns, levels, T, inverse, window, most, nearest, tau, is_wiener, num, den):
    """Filter the stacks of the reference blocks with top left corners in rows x columns; add them to num and den."""
    C, N = len(y), len(T)
    P = N * N
    distances = np.empty((len(columns), (2 * nearest + 1) ** 2), np.float32)
    places, least = np.empty((most, 2), np.intp), np.empty(most, np.float32)
    stack, other = np.empty((most, P), np.float32), np.empty((most, P), np.float32)
    memory = np.empty((3, P * most), np.float32)
    for row in rows:
        compare(guide[0], row, columns, N, nearest, distances)
        for at in range(len(columns)):
            k = choose(distances[at], row, columns[at], nearest, most, tau, places, least)
            spectrum, of_basic, half = (
                memory[0, : P * k].reshape(P, k),
                memory[1, : P * k].reshape(P, k),
                memory[2, : P * k].reshape(P, k),
            )
            for c in range(C):
                gather(y[c], places, k, N, stack)
                forward(stack, other, k, N, T, half, spectrum)
                if is_wiener:
                    gather(guide[c], places, k, N, stack)
                    forward(stack, other, k, N, T, half, of_basic)
                    weight = wiener(spectrum, of_basic, k, levels[c, 0])
                else:
                    weight = hard_threshold(spectrum, k, levels[c])
                backward(spectrum, half, k, N, inverse, stack, other)
                put_back(stack, places, k, N, weight, window, num[c], den[c])


@inlined
def compare(image, row, columns, N, nearest, distances):
    """Squared distances of the blocks at (row, columns) to all in their search windows (Eq. 5 and 7, times N^2).

    distances  (columns, displacements), displacements by rows: 0, -1, 1, -2, 2, ... rows down, so that the nearest
               blocks, which are most alike, come first; infinite where a block would leave the picture

    All references of a row are compared at one displacement at a time, so that neighbours share their sums.
    """
    H, W = image.shape
    side = 2 * nearest + 1
    of_columns, sums = np.empty(W, np.float32), np.empty(W, np.float32)
    distances[:] = np.inf
    for down in range(max(-nearest, -row), min(nearest, H - N - row) + 1):
        for across in range(-nearest, nearest + 1):
            first, last = max(0, -across), W - max(0, across)  # columns that have a partner
            m = last - first
            of_rows(image, row, first, row + down, first + across, N, m, of_columns)
            of_windows(of_columns, N, m - N + 1, sums)
            at = (2 * down if down >= 0 else -2 * down - 1) * side + across + nearest
            for r in range(len(columns)):
                x = columns[r] - first
                if 0 <= x <= m - N:
                    distances[r, at] = sums[x]


@inlined
def of_rows(image, i, j, k, other, N, m, total):
    """total[x] = the sum over t < N of (image[i + t, j + x] - image[k + t, other + x])^2, for x < m."""
    for x in range(m):
        total[x] = 0
    t = 0
    while t + 4 <= N:  # four rows at a time: `total` is read and written less often
        a0, b0 = image[i + t, j:], image[k + t, other:]
        a1, b1 = image[i + t + 1, j:], image[k + t + 1, other:]
        a2, b2 = image[i + t + 2, j:], image[k + t + 2, other:]
        a3, b3 = image[i + t + 3, j:], image[k + t + 3, other:]
        for x in range(m):
            e0, e1, e2, e3 = a0[x] - b0[x], a1[x] - b1[x], a2[x] - b2[x], a3[x] - b3[x]
            total[x] += (e0 * e0 + e1 * e1) + (e2 * e2 + e3 * e3)
        t += 4
    while t < N:
        a0, b0 = image[i + t, j:], image[k + t, other:]
        for x in range(m):
            e0 = a0[x] - b0[x]
            total[x] += e0 * e0
        t += 1


@inlined
def of_windows(x, N, n, sums):
    """sums[t] = the sum of x[t : t + N], for t < n."""
    for t in range(n):
        sums[t] = x[t]
    j = 1
    while j + 4 <= N:
        a, b, c, d = x[j:], x[j + 1 :], x[j + 2 :], x[j + 3 :]
        for t in range(n):
            sums[t] += (a[t] + b[t]) + (c[t] + d[t])
        j += 4
    while j < N:
        a = x[j:]
        for t in range(n):
            sums[t] += a[t]
        j += 1


@inlined
def choose(distances, row, column, nearest, most, tau, places, least):
    """The places of the blocks nearest to the one at (row, column), itself first; how many: a power of two."""
    side = 2 * nearest + 1
    places[0] = row, column
    least[0] = -1  # nothing comes before it
    n, bound = 1, tau
    for at in range(len(distances)):
        d = distances[at]
        if d < bound:
            line, across = at // side, at % side - nearest
            down = (line + 1) // 2 * (-1 if line % 2 else 1)
            if down == 0 and across == 0:
                continue
            n = min(n + 1, most)
            b = n - 1
            while least[b - 1] > d:
                least[b] = least[b - 1]
                places[b] = places[b - 1]
                b -= 1
            least[b] = d
            places[b] = row + down, column + across
            if n == most:
                bound = min(tau, least[n - 1])
    k = 1
    while 2 * k <= n:
        k *= 2
    return k


@inlined
def gather(image, places, k, N, stack):
    """The blocks at `places`, each a row of stack."""
    for b in range(k):
        row, column = places[b]
        for i in range(N):
            for j in range(N):
                stack[b, i * N + j] = image[row + i, column + j]


@inlined
def forward(stack, other, k, N, T, half, spectrum):
    """The 3D transform: Haar over the blocks, T over the columns and rows of each; spectrum (N^2, k)."""
    root = np.float32(np.sqrt(0.5))
    n = k
    while n > 1:
        n //= 2
        for b in range(n):
            for p in range(N * N):
                other[b, p] = (stack[2 * b, p] + stack[2 * b + 1, p]) * root
            for p in range(N * N):
                other[n + b, p] = (stack[2 * b, p] - stack[2 * b + 1, p]) * root
        for b in range(2 * n):
            for p in range(N * N):
                stack[b, p] = other[b, p]
    for p in range(N * N):
        for b in range(k):
            half[p, b] = stack[b, p]
    in_2d(half, k, N, T, spectrum)


@inlined
def backward(spectrum, half, k, N, inverse, stack, other):
    """The inverse of `forward`: spectrum is used up."""
    in_2d(spectrum, k, N, inverse, half)
    root = np.float32(np.sqrt(0.5))
    for b in range(k):
        for p in range(N * N):
            stack[b, p] = half[p, b]
    n = 1
    while n < k:
        for b in range(n):
            for p in range(N * N):
                other[2 * b, p] = (stack[b, p] + stack[n + b, p]) * root
            for p in range(N * N):
                other[2 * b + 1, p] = (stack[b, p] - stack[n + b, p]) * root
        n *= 2
        for b in range(n):
            for p in range(N * N):
                stack[b, p] = other[b, p]


@inlined
def in_2d(blocks, k, N, T, half):
    """T X T' of every block X, turned, from `blocks` to `half`; both (N^2, k), the blocks side by side."""
    X, Y = blocks.reshape(N, N * k), half.reshape(N, N * k)
    for i in range(N):
        product(T[i], X, Y[i])
    for i in range(N):
        for j in range(N):
            for b in range(k):
                blocks[j * N + i, b] = half[i * N + j, b]
    for j in range(N):
        product(T[j], X, Y[j])


@inlined
def hard_threshold(spectrum, k, levels):
    """Set to 0 what is below its level, (N^2,); the weight of the stack, 1 / how many are left (Eq. 10)."""
    n = 0
    for p in range(len(spectrum)):
        for b in range(k):
            if abs(spectrum[p, b]) < levels[p]:
                spectrum[p, b] = 0
            else:
                n += 1
    return np.float32(1 / max(n, 1))


@inlined
def wiener(spectrum, of_basic, k, sigma):
    """Multiply by W = B^2 / (B^2 + sigma^2) (Eq. 8); the weight of the stack, 1 / sum W^2 (Eq. 11)."""
    variance = sigma * sigma
    total = np.float32(0)
    for p in range(len(spectrum)):
        for b in range(k):
            power = of_basic[p, b] * of_basic[p, b]
            w = power / (power + variance)
            spectrum[p, b] *= w
            of_basic[p, b] = w * w
    for p in range(len(spectrum)):
        for b in range(k):
            total += of_basic[p, b]
    return 1 / max(total, np.float32(1e-12))


@inlined
def put_back(stack, places, k, N, weight, window, num, den):
    """Add the blocks to what they are averaged from, with the stack's weight and the window's (Eq. 12)."""
    for b in range(k):
        row, column = places[b]
        for i in range(N):
            for j in range(N):
                w = weight * window[i, j]
                num[row + i, column + j] += w * stack[b, i * N + j]
                den[row + i, column + j] += w
