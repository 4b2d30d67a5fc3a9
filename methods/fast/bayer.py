"""Bayer mosaics filled in while their rows pass by: each value is read once and three are written.

What a step needs of the rows around it lies in rings of RING rows, which stay in the caches. A row has green at every
second pixel; those between are of one colour, which is called its own here, and the own colour of the rows above and
below is the other. The two kinds of pixels are kept apart, green[k] and own[k], so that what is computed alike lies
side by side. With q = 1 where the row's own colour is in odd columns, else 0:

    own[k] lies between green[k - 1 + q] and green[k + q], and green[k] between own[k - q] and own[k + 1 - q];
    above and below own[k] is green[k] of those rows, above and below green[k] is own[k].

Outside the image there is its reflection about the border pixel, which continues the pattern.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from bench.methods.sparse.compiled import do_in_parallel, inlined, kernel
from numpy.typing import NDArray

__all__ = ["bilinear", "filled", "malvar", "menon", "repeats"]

BORDER = 16  # pixels of reflection beside a row, even: what is wrong at its ends comes 14 pixels inwards at most
RING = 16  # rows: more than lie between the first and the last that are in use
ROWS = 128  # that a thread fills before it asks for more; it reads at most 8 above and below

THREE_QUARTERS, FIVE_EIGHTHS, HALF, THIRD, QUARTER, EIGHTH, SIXTEENTH = (
    np.float32(x) for x in (3 / 4, 5 / 8, 1 / 2, 1 / 3, 1 / 4, 1 / 8, 1 / 16)
)  # plain numbers would make it all double precision

Pass = Callable[[NDArray[np.float32], tuple[int, int], tuple[int, int], NDArray[np.float32]], None]


def filled(mosaic: NDArray[np.float32], red: tuple[int, int], by: Pass) -> NDArray[np.float32]:
    """The image (H, W, 3) of a mosaic (H, W), at least 2x2, by one of the kernels below.

    red  (i, j), the first red pixel: each is 0 or 1
    """
    image = np.empty((*mosaic.shape, 3), np.float32)
    do_in_parallel(lambda a, b: by(mosaic, red, (a, b), image[a:b]), len(mosaic), ROWS)
    return image


@kernel
def repeats(mask):
    """Whether each pixel of the mask (H, W, 3) is as those two rows and two columns away."""
    n_other = 0
    for i in range(len(mask)):
        row, before = mask[i].reshape(-1), mask[max(i - 2, i % 2)].reshape(-1)
        for k in range(len(row)):
            n_other += row[k] != before[k]
        if i < 2:
            for k in range(6, len(row)):
                n_other += row[k] != row[k - 6]
    return n_other == 0


@kernel
def bilinear(y, red, rows, out):
    """Rows rows[0] : rows[1] of the image: each colour from its two or four nearest measured pixels."""
    n = BORDER + (y.shape[1] + 1) // 2
    green, own, missing = np.zeros((RING, n), y.dtype), np.zeros((RING, n), y.dtype), np.zeros((4, n), y.dtype)
    line = np.empty(2 * n, y.dtype)
    own_at_green, other_at_green, green_at_own, other_at_own = missing[0], missing[1], missing[2], missing[3]
    for t in range(rows[0] - 1, rows[1] + 1):
        _load(y, t, red, line, green, own)
        if t - 1 < rows[0]:
            continue
        q, _, above, here, below, _ = _around(t - 1, red)
        _mean_of_2(*_sides(own[here], 1 - q), _inner(own_at_green))
        _mean_of_2(_inner(own[above]), _inner(own[below]), _inner(other_at_green))
        _mean_of_4(*_sides(green[here], q), _inner(green[above]), _inner(green[below]), _inner(green_at_own))
        _mean_of_4(*_sides(own[above], q), *_sides(own[below], q), _inner(other_at_own))
        _store(green[here], own[here], missing, t - 1, red, out[t - 1 - rows[0]])


@kernel
def malvar(y, red, rows, out):
    """Rows rows[0] : rows[1] of the image: bilinear, and a share of the Laplacian of the colour measured there."""
    n = BORDER + (y.shape[1] + 1) // 2
    green, own, missing = np.zeros((RING, n), y.dtype), np.zeros((RING, n), y.dtype), np.zeros((4, n), y.dtype)
    line = np.empty(2 * n, y.dtype)
    own_at_green, other_at_green, green_at_own, other_at_own = missing[0], missing[1], missing[2], missing[3]
    far, diagonal = np.zeros(n, y.dtype), np.zeros(n, y.dtype)
    for t in range(rows[0] - 2, rows[1] + 2):
        _load(y, t, red, line, green, own)
        if t - 2 < rows[0]:
            continue
        q, top, above, here, below, bottom = _around(t - 2, red)

        g, left, right = _inner(green[here]), green[here, :-2], green[here, 2:]
        up, down, around = _inner(green[top]), _inner(green[bottom]), _inner(diagonal)
        _mean_of_4(*_sides(green[above], 1 - q), *_sides(green[below], 1 - q), around)
        x0, x1 = _sides(own[here], 1 - q)
        _malvar_at_green(x0, x1, g, left, right, up, down, around, _inner(own_at_green))
        x0, x1 = _inner(own[above]), _inner(own[below])
        _malvar_at_green(x0, x1, g, up, down, left, right, around, _inner(other_at_green))

        _mean_of_4(own[here, :-2], own[here, 2:], _inner(own[top]), _inner(own[bottom]), _inner(far))
        _mean_of_4(*_sides(green[here], q), _inner(green[above]), _inner(green[below]), _inner(green_at_own))
        _mean_of_4(*_sides(own[above], q), *_sides(own[below], q), _inner(other_at_own))
        _add_laplacian(HALF, own[here], far, green_at_own)
        _add_laplacian(THREE_QUARTERS, own[here], far, other_at_own)
        _store(green[here], own[here], missing, t - 2, red, out[t - 2 - rows[0]])


@kernel
def menon(y, red, rows, out):
    """Rows rows[0] : rows[1] of the image, all of it by differences of two colours.

    Before the direction is chosen all is in double precision: sums of a few float32 numbers are then exact, and where
    both directions are equally good it is not rounding that chooses.
    """
    n = BORDER + (y.shape[1] + 1) // 2
    green, own = np.zeros((RING, n), np.float64), np.zeros((RING, n), np.float64)
    c_row, c_column = np.zeros((RING, n), np.float64), np.zeros((RING, n), np.float64)
    d_row, d_column = np.zeros((RING, n), np.float64), np.zeros((RING, n), np.float64)
    v_row, by_row, missing = np.zeros(n, np.float64), np.zeros((RING, n), y.dtype), np.zeros((4, n), y.dtype)
    line = np.empty(2 * n, y.dtype)
    e, h, o = np.zeros((RING, n), y.dtype), np.zeros((RING, n), y.dtype), np.zeros((RING, n), y.dtype)
    e2, h2, o2 = np.zeros((RING, n), y.dtype), np.zeros((RING, n), y.dtype), np.zeros((RING, n), y.dtype)
    s, s2 = np.zeros((RING, n), y.dtype), np.zeros(n, y.dtype)
    for t in range(rows[0] - 8, rows[1] + 8):
        _load(y, t, red, line, green, own)

        # c: own less green as estimated along the row and along the column; d: how much it varies along that line
        q, top, above, here, below, bottom = _around(t - 2, red)
        g0, g1 = _sides(green[here], q)
        _less_green(_inner(own[here]), g0, g1, own[here, :-2], own[here, 2:], _inner(c_row[here]))
        g0, g1, x0, x1 = _inner(green[above]), _inner(green[below]), _inner(own[top]), _inner(own[bottom])
        _less_green(_inner(own[here]), g0, g1, x0, x1, _inner(c_column[here]))
        _distance(c_row[here, :-1], c_row[here, 1:], d_row[here, :-1])
        _distance(c_column[top], c_column[here], d_column[top])

        # e: own less green, as estimated in the direction along which it varies less
        q, top, above, here, below, bottom = _around(t - 4, red)
        d0, d1 = _sides(d_row[above], q)[0], _sides(d_row[below], q)[0]
        _sum_by_row(d_row[top], d_row[here], d_row[bottom], d0, d1, _inner(v_row))
        d0, d1 = _sides(d_column[above], q)
        _choose(v_row, d_column[top], d_column[here], d0, d1, by_row[here])
        _select(by_row[here], c_row[here], c_column[here], e[here])

        # h, o: own and other less green, at green
        q, _, above, here, below, _ = _around(t - 5, red)
        _mean_of_2(*_sides(e[here], 1 - q), _inner(h[here]))
        _mean_of_2(_inner(e[above]), _inner(e[below]), _inner(o[here]))

        # s: other less own, both neighbours in the direction together; e2: e refined, its mean over three pixels
        q, _, above, here, below, _ = _around(t - 6, red)
        _other_less_own(by_row[here], h[here], o[here], h[above], o[above], h[below], o[below], q, s[here])
        _refine(e[here], by_row[here], *_sides(h[here], q), o[above], o[below], e2[here])

        # the same of the refined
        q, _, above, here, below, _ = _around(t - 7, red)
        _mean_of_2(*_sides(e2[here], 1 - q), _inner(h2[here]))
        _mean_of_2(_inner(e2[above]), _inner(e2[below]), _inner(o2[here]))

        if t - 8 < rows[0]:
            continue
        q, _, above, here, below, _ = _around(t - 8, red)
        _other_less_own(by_row[here], h2[here], o2[here], h2[above], o2[above], h2[below], o2[below], q, s2)
        _add(green[here], h2[here], missing[0])
        _add(green[here], o2[here], missing[1])
        _subtract(own[here], e2[here], missing[2])
        _add_mean(own[here], s[here], s2, missing[3])
        _store(green[here], own[here], missing, t - 8, red, out[t - 8 - rows[0]])


# --- where pixels are -------------------------------------------------------------------------------------


@inlined
def _reflected(i, n):
    """The index of 0 .. n - 1 that i is a reflection of; n is at least 2."""
    i = abs(i) % (2 * (n - 1))
    return min(i, 2 * (n - 1) - i)


@inlined
def _shift(i, red):
    """q of row i."""
    return (red[1] + i - red[0]) % 2


@inlined
def _around(i, red):
    """q of row i, and where the rows i - 2 to i + 2 stand in their rings."""
    return _shift(i, red), (i - 2) % RING, (i - 1) % RING, i % RING, (i + 1) % RING, (i + 2) % RING


@inlined
def _inner(x):
    """All of a row but its ends."""
    return x[1:-1]


@inlined
def _sides(x, q):
    """What lies before and after the inner pixels of the other kind."""
    return x[q : len(x) - 2 + q], x[q + 1 : len(x) - 1 + q]


@inlined
def _load(y, i, red, line, green, own):
    """Row i of the mosaic, reflected, to its place in the rings; `line`, as long as both rows, is scratch."""
    W, row, q = y.shape[1], y[_reflected(i, len(y))], _shift(i, red)
    for j in range(BORDER):
        line[j] = row[_reflected(j - BORDER, W)]
    for j in range(W):
        line[BORDER + j] = row[j]
    for j in range(W, len(line) - BORDER):
        line[BORDER + j] = row[_reflected(j, W)]
    green, own, at_green, at_own = green[i % RING], own[i % RING], line[1 - q :], line[q:]
    for k in range(len(green)):
        green[k] = at_green[2 * k]
    for k in range(len(own)):
        own[k] = at_own[2 * k]


@inlined
def _store(green, own, missing, i, red, out):
    """Row i of the image, out (W, 3); missing: own and other at green, green and other at own."""
    q, W = _shift(i, red), len(out)
    colour = 0 if (i - red[0]) % 2 == 0 else 2
    own_at_green, other_at_green, green_at_own, other_at_own = missing[:, BORDER // 2 :]
    green, own = green[BORDER // 2 :], own[BORDER // 2 :]
    for k in range((W + q) // 2):
        pixel = out[2 * k + 1 - q]
        pixel[1] = green[k]
        pixel[colour] = own_at_green[k]
        pixel[2 - colour] = other_at_green[k]
    for k in range((W + 1 - q) // 2):
        pixel = out[2 * k + q]
        pixel[1] = green_at_own[k]
        pixel[colour] = own[k]
        pixel[2 - colour] = other_at_own[k]


# --- what they become -------------------------------------------------------------------------------------
# Loops over few arrays: a compiler that must allow for any two of them to overlap vectorises no other.


@inlined
def _mean_of_2(a, b, out):
    for k in range(len(out)):
        out[k] = (a[k] + b[k]) * HALF


@inlined
def _mean_of_4(a, b, c, d, out):
    for k in range(len(out)):
        out[k] = ((a[k] + b[k]) + (c[k] + d[k])) * QUARTER


@inlined
def _malvar_at_green(x0, x1, g, on0, on1, across0, across1, diagonal, out):
    """A colour at g, between x0 and x1 of it.

    on0, on1          the next greens on their line
    across0, across1  those on the line across it
    diagonal          the mean of the four nearest greens
    """
    for k in range(len(out)):
        around = diagonal[k] * HALF + (on0[k] + on1[k]) * EIGHTH - (across0[k] + across1[k]) * SIXTEENTH
        out[k] = (x0[k] + x1[k]) * HALF + g[k] * FIVE_EIGHTHS - around


@inlined
def _add_laplacian(share, x, far, out):
    """out += share (x - far), far being the mean of the four next x."""
    for k in range(len(out)):
        out[k] += share * (x[k] - far[k])


@inlined
def _less_green(x, g0, g1, x0, x1, out):
    """x less the green there, by the half-band filter (-1, 2, 2, 2, -1) / 4 of x0, g0, x, g1, x1 on a line."""
    for k in range(len(out)):
        out[k] = x[k] * 0.5 + (x0[k] + x1[k]) * 0.25 - (g0[k] + g1[k]) * 0.5


@inlined
def _distance(a, b, out):
    for k in range(len(out)):
        out[k] = abs(a[k] - b[k])


@inlined
def _sum_by_row(top, here, bottom, above, below, out):
    """The variation along rows within 5x5 pixels, the pixel's own line weighing 3."""
    for k in range(len(out)):
        own_line = here[k] + here[k + 1]
        out[k] = 3 * own_line + top[k] + top[k + 1] + bottom[k] + bottom[k + 1] + above[k] + below[k]


@inlined
def _choose(v_row, top, here, left, right, out):
    """1 where the variation along rows, v_row, is no more than along columns, else 0."""
    for k in range(len(left)):
        lines = top[k] + here[k] + top[k + 2] + here[k + 2] + left[k] + right[k]
        out[k + 1] = HALF + HALF if 3 * (top[k + 1] + here[k + 1]) + lines >= v_row[k + 1] else HALF - HALF


@inlined
def _select(by_row, c_row, c_column, out):
    for k in range(len(out)):
        out[k] = c_row[k] if by_row[k] > 0 else c_column[k]


@inlined
def _other_less_own(by_row, h, o, h_up, o_up, h_down, o_down, q, out):
    """The sum of other less own at the two green neighbours in the direction; above and below they change roles."""
    h0, h1 = _sides(h, q)
    o0, o1 = _sides(o, q)
    out, by_row = _inner(out), _inner(by_row)
    h_up, o_up, h_down, o_down = _inner(h_up), _inner(o_up), _inner(h_down), _inner(o_down)
    for k in range(len(out)):
        in_row = (o0[k] - h0[k]) + (o1[k] - h1[k])
        in_column = (h_up[k] - o_up[k]) + (h_down[k] - o_down[k])
        out[k] = in_row if by_row[k] > 0 else in_column


@inlined
def _refine(e, by_row, h0, h1, o_up, o_down, out):
    """The mean over the pixel and its two neighbours in the direction of own less green."""
    e, out, by_row, o_up, o_down = _inner(e), _inner(out), _inner(by_row), _inner(o_up), _inner(o_down)
    for k in range(len(out)):
        out[k] = (e[k] + (h0[k] + h1[k] if by_row[k] > 0 else o_up[k] + o_down[k])) * THIRD


@inlined
def _add(x, difference, out):
    for k in range(len(out)):
        out[k] = x[k] + difference[k]


@inlined
def _subtract(x, difference, out):
    for k in range(len(out)):
        out[k] = x[k] - difference[k]


@inlined
def _add_mean(x, s, s2, out):
    """x + the mean of s / 2, which is its own, and of the two that s2 is the sum of."""
    for k in range(len(out)):
        out[k] = x[k] + (s[k] * HALF + s2[k]) * THIRD
