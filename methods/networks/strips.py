"""`unrolled.steps` of GroupSC in float32 on a processor: compiled, products and all, strip by strip of the grid.

A strip is some whole rows of the grid of patches. With the neighbours of its patches, which are whole rows too, it is
a piece of memory, so nothing is gathered. A thread takes strips; what it works on stays in its second cache, and no
product asks for memory. For a small image such as training has, whose rows are not much longer than the window, that
is no more work than with square tiles.

Threads meet twice a step, and three times on the way back. What they sum does not depend on how many they are.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from bench.methods.networks.passes import clear, copy, inlined, kernel, multiply
from bench.methods.networks.similarity import Tile
from bench.methods.sparse.compiled import in_parallel
from bench.methods.sparse.memory import empty
from bench.methods.sparse.multiply import mm
from bench.methods.sparse.products import LANES, VECTORS, add_product, spaced, whole
from bench.methods.sparse.prox import MASS_EPS, NORM_EPS
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["are_strips", "steps_by_strips"]

ZERO, ONE, TWO, EPS = np.float32([0, 1, 2, NORM_EPS])
AT_ONCE = VECTORS * LANES  # columns of the gradients of C and D that a thread sums


def are_strips(tiles: tuple[Tile, ...]) -> bool:
    return bool(tiles) and all(tile.columns == tile.near_columns == tiles[0].columns for tile in tiles)


def steps_by_strips(
    alpha: Tensor | None,
    y: Tensor,
    C: Tensor,
    D: Tensor,
    lmbda: Tensor,
    M: Tensor | None,
    tiles: tuple[Tile, ...],
    mass: Tensor,
    Sigma: tuple[Tensor, ...],
    *,
    training: bool,
) -> Tensor:
    """`unrolled.steps`, whose arguments these are; float32, `are_strips(tiles)`."""
    codes: Tensor = _Steps.apply(training, tiles, y, M, alpha, C, D, lmbda, mass, *Sigma)
    return codes


class _Steps(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        training: bool,
        tiles: tuple[Tile, ...],
        y: Tensor,
        M: Tensor | None,
        alpha0: Tensor | None,
        C: Tensor,
        D: Tensor,
        lmbda: Tensor,
        mass: Tensor,
        *Sigma: Tensor,
    ) -> Tensor:
        grid, m, p, K = y.shape[:-1], y.shape[-1], D.shape[1], len(lmbda)
        strips, S = _strips(tiles, len(y)), _packed(Sigma)
        n, from_zero = grid.numel(), alpha0 is None
        kept = K if training else 1  # steps whose intermediate results are remembered
        # codes before each step and after the last; residuals; B and norm2, of all steps of a patch side by side
        ld = spaced(p)
        a, r = empty(kept + 1, n, ld), empty(kept, n, whole(m))
        b, norm2, squares = empty(n, kept, ld), empty(n, kept, ld), empty(n, ld)
        a[0] = 0 if alpha0 is None else _filled(alpha0.reshape(n, p), ld)
        y, M = _filled(y.reshape(n, m), whole(m)), _observed(M, n, m)
        C_, minus_D_T = _filled(C, spaced(p)), _filled(-D.T, spaced(m))
        lmbda_, root = _filled(lmbda, whole(p)), np.sqrt(mass.reshape(n).numpy() + np.float32(MASS_EPS))
        for k in range(K):
            i, after = (k, k + 1) if training else (0, (k + 1) % 2)
            before = a[i if training else k % 2]
            _do(_to_squares, strips, before, from_zero and k == 0, y, M, C_, minus_D_T, r[i], b, i, squares)
            _do(_to_codes, strips, S, squares, root, lmbda_[k], b, norm2, i, a[after])
        ctx.tiles, ctx.grid, ctx.from_zero = tiles, grid, from_zero
        if training:
            ctx.kept = a, r, b, norm2
            ctx.save_for_backward(C, D, lmbda, mass, *Sigma)
            ctx.M = M
        return torch.from_numpy(a[K if training else K % 2][:, :p]).unflatten(0, grid)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        C, D, lmbda, mass, *Sigma = ctx.saved_tensors
        (a, r, b, norm2), M, grid = ctx.kept, ctx.M, ctx.grid
        ctx.kept = None  # b and norm2 become something else below
        strips, S = _strips(ctx.tiles, grid[0]), _packed(Sigma)
        (n, K, _), (m, p) = b.shape, C.shape
        ld = spaced(p)
        dcodes, dB, dn, dr = _filled(g.reshape(n, p), ld), empty(n, ld), empty(n, ld), empty(n, whole(m))
        dC, minus_dD, droot = (np.zeros(shape, np.float32) for shape in ((m, ld), (m, ld), n))
        dlmbda = np.zeros((K, len(strips), whole(p)), np.float32)
        root = np.sqrt(mass.reshape(n).numpy() + np.float32(MASS_EPS))
        lmbda_ = _filled(lmbda, whole(p))
        C_T, minus_D = _filled(C.T, spaced(m)), _filled(-D, spaced(p))
        for k in reversed(range(K)):
            ends = k == 0 and ctx.from_zero
            _do(_back_from_codes, strips, dcodes, b, norm2, k, root, lmbda_[k], dn, droot, dlmbda[k])
            _do(_back_from_squares, strips, S, dn, b, k, dB, C_T, M, dr, minus_D, ends, dcodes)
            _do_columns([(dC, r[k], dB)] if ends else [(dC, r[k], dB), (minus_dD, dr, a[k])])
        dmass = torch.from_numpy(droot / (2 * root)).view(mass.shape)
        dalpha = None if ctx.from_zero else torch.from_numpy(dcodes[:, :p]).unflatten(0, grid)
        dlmbda = torch.from_numpy(dlmbda.sum(1)[:, :p])
        of_matrices = torch.from_numpy(dC[:, :p]), torch.from_numpy(-minus_dD[:, :p])
        return None, None, None, None, dalpha, *of_matrices, dlmbda, dmass, *_of_Sigma(ctx.tiles, grid, norm2, b)


def _of_Sigma(tiles: tuple[Tile, ...], grid: torch.Size, dn: np.ndarray, squares: np.ndarray) -> list[Tensor]:
    """For each strip the gradient of its Sigma (B, n_strip, n_near): sums over all steps, one product an image."""
    of_images = [torch.from_numpy(x).view(*grid, -1) for x in (dn, squares)]
    gradients = []
    for tile in tiles:
        own, near = tile.inside(of_images[0]), tile.around(of_images[1])
        gradients.append(torch.stack([mm(one, other.T) for one, other in zip(own, near, strict=True)]))
    return gradients


def _strips(tiles: tuple[Tile, ...], n_images: int) -> np.ndarray:
    """(n_strips, 5): of each strip of each image the first of its patches and the one after the last, those of its
    neighbours, and where its part of Sigma begins.
    """
    width, height = tiles[0].shape[1], max(tile.rows.stop for tile in tiles)
    rows = [(tile.rows.start, tile.rows.stop, tile.near_rows.start, tile.near_rows.stop) for tile in tiles]
    patches = np.int64(rows) * width + np.arange(n_images)[:, None, None] * (width * height)
    start, stop, near, near_stop = patches.reshape(-1, 4).T
    ends = np.cumsum((stop - start) * (near_stop - near))
    return np.stack([start, stop, near, near_stop, np.append(0, ends[:-1])], 1)


def _packed(Sigma: tuple[Tensor, ...] | list[Tensor]) -> np.ndarray:
    """Matrices (B, n_strip, n_near), image by image, strip by strip, one after the other."""
    packed: np.ndarray = torch.cat([S.flatten(1) for S in Sigma], 1).view(-1).numpy()
    return packed


def _filled(x: Tensor, width: int) -> np.ndarray:
    """x (., n) with zeros up to the width."""
    filled = empty(len(x), width)
    filled[:, : x.shape[1]], filled[:, x.shape[1] :] = x.detach().numpy(), 0
    return filled


def _observed(M: Tensor | None, n: int, m: int) -> np.ndarray:
    """M as rows (n, .), or no rows."""
    return np.empty((0, whole(m)), np.float32) if M is None else _filled(M.reshape(n, m), whole(m))


def _do(one: Callable[..., Any], strips: np.ndarray, *arguments: Any) -> None:
    """`one` of all strips, several for each thread."""
    for _ in in_parallel(lambda a, b: one(strips, a, b, *arguments), len(strips), _share(len(strips))):
        pass


def _do_columns(sums: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> None:
    """C += A^T B for each (C, A, B), some columns for each thread."""
    jobs = [(C, A, B, c) for C, A, B in sums for c in range(0, C.shape[1] - LANES, AT_ONCE)]
    for _ in in_parallel(lambda a, b: [_add_columns(*job) for job in jobs[a:b]], len(jobs), 1):
        pass


def _share(n: int) -> int:
    return max(1, n // (4 * (os.cpu_count() or 1)))


# --- the kernels: strips first:last of all, which are rows start:stop of the arrays ---
# A row is looked at by itself, so that Numba knows that its numbers lie side by side.


@kernel
def _to_squares(strips, first, last, before, from_zero, y, M, C, minus_D_T, r, b, k, squares):
    """r = M (y - D alpha), B = alpha + C^T r and its squares."""
    W = squares.shape[1] - LANES
    for strip in range(first, last):
        start, stop = strips[strip, 0], strips[strip, 1]
        for i in range(start, stop):
            copy(y[i], r[i])
            copy(before[i], b[i, k])
        if not from_zero:
            add_product(r[start:stop], before[start:stop], minus_D_T, len(minus_D_T))
        if len(M):
            for i in range(start, stop):
                multiply(M[i], r[i])
        add_product(b[start:stop, k, :W], r[start:stop], C, len(C))
        for i in range(start, stop):
            B, q = b[i, k], squares[i]
            for j in range(W):
                q[j] = B[j] * B[j]


@kernel
def _to_codes(strips, first, last, Sigma, squares, root, lmbda, b, norm2, k, after):
    """Eq. 11, second line: alpha = B relu(1 - lmbda root / sqrt(norm2 + eps)), norm2 = Sigma B^2."""
    W = len(lmbda)
    for strip in range(first, last):
        start, stop, near, near_stop, _ = strips[strip]
        for i in range(start, stop):
            clear(norm2[i, k])
        add_product(norm2[start:stop, k, :W], _of(strips[strip], Sigma), squares[near:near_stop], near_stop - near)
        for i in range(start, stop):
            B, norms, codes, of_row = b[i, k], norm2[i, k], after[i], root[i]
            for j in range(W):
                codes[j] = B[j] * max(ONE - lmbda[j] * of_row / np.sqrt(norms[j] + EPS), ZERO)
            clear(codes[W:])


@kernel
def _back_from_codes(strips, first, last, g, b, norm2, k, root, lmbda, dn, droot, dlmbda):
    """Gradients through `_to_codes`: g becomes that of B but for what goes through its squares.

    alpha = s B, s = relu(1 - t), t = lmbda root f, f = 1 / sqrt(norm2 + eps)

    norm2   becomes its own gradient, which is dn too
    droot   that of root is added to it; dlmbda (n_strips, p): that of lmbda by way of each strip
    """
    W = len(lmbda)
    u = np.empty(W, np.float32)
    for strip in range(first, last):
        of_lmbda = dlmbda[strip]
        for i in range(strips[strip, 0], strips[strip, 1]):
            dB, B, norms, out, of_row = g[i], b[i, k], norm2[i, k], dn[i], root[i]
            for j in range(W):
                f = ONE / np.sqrt(norms[j] + EPS)
                s = max(ONE - lmbda[j] * of_row * f, ZERO)
                u[j] = dB[j] * B[j] * f * (ONE if s > ZERO else ZERO)  # ds f; dt = -ds
                dB[j] *= s
                of_lmbda[j] -= u[j] * of_row
                out[j] = u[j] * f * f * of_row * lmbda[j] / TWO  # ds t f^2 / 2
            clear(out[W:])
            copy(out, norms)
            total = ZERO
            for j in range(W):
                total += u[j] * lmbda[j]
            droot[i] -= total


@kernel
def _back_from_squares(strips, first, last, Sigma, dn, b, k, dB, C_T, M, dr, minus_D, ends, g):
    """Gradients through `_to_squares`: that of B, and g becomes that of the codes before, if there are any.

    b  becomes its squares
    """
    W = dn.shape[1] - LANES
    for strip in range(first, last):
        start, stop = strips[strip, 0], strips[strip, 1]
        for i in range(start, stop):
            clear(dB[i])
        for other in strips:  # Sigma^T dn, from all whose neighbours are in this strip
            begin, end, near = max(start, other[2]), min(stop, other[3]), other[2]
            if begin < end:
                S = _of(other, Sigma)[:, begin - near : end - near]
                add_product(dB[begin:end, :W], S.T, dn[other[0] : other[1]], len(S))
        for i in range(start, stop):
            x, B, v = g[i], b[i, k], dB[i]
            for j in range(W):
                v[j] = x[j] + TWO * B[j] * v[j]
                B[j] *= B[j]
        if ends:
            continue
        for i in range(start, stop):
            clear(dr[i])
        add_product(dr[start:stop], dB[start:stop], C_T, len(C_T))
        for i in range(start, stop):
            if len(M):
                multiply(M[i], dr[i])
            copy(dB[i], g[i])
        add_product(g[start:stop, :W], dr[start:stop], minus_D, len(minus_D))


@kernel
def _add_columns(C, A, B, first):
    """C += A^T B, the columns from the first, as many as a thread sums."""
    last = min(first + AT_ONCE, C.shape[1] - LANES)
    add_product(C[:, first:last], A[:, : len(C)].T, B[:, first:last], len(A))


@inlined
def _of(strip, Sigma):
    """The strip's part of Sigma, (n_strip, n_near)."""
    start, stop, near, near_stop, at = strip
    n_own, n_near = stop - start, near_stop - near
    return Sigma[at : at + n_own * n_near].reshape(n_own, n_near)
