"""Several steps of LISTA at once, with a backward pass of their own: what training spends its time in.

`steps` computes what this loop over `gradient_step` and a prox computes (tests/methods/sparse/test_unrolled.py),

    for lmbda_k in lmbda:
        B = gradient_step(alpha, y, C, D, M)
        alpha = soft_threshold(B, lmbda_k)                                                           # SC
        alpha = relaxed_group_soft_threshold(B, lmbda_k, Sigma.sum(B * B), Sigma.mass)               # GroupSC

but keeps of each step only what its gradient needs, in the short dtype, walks once through memory between two
products (methods.networks.passes), works in buffers that stay the same from step to step (memory that the system
hands out anew must be cleared first, which cost as much as the products), and forms the gradient of Sigma, constant
over these steps, by one product per tile.

On a GPU methods.networks.on_gpu does the same in fewer, larger pieces.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from bench.methods.networks import passes
from bench.methods.networks.lista import gradient_step
from bench.methods.networks.on_gpu import steps_on_gpu
from bench.methods.networks.passes import by_rows
from bench.methods.networks.similarity import Similarity, Tile
from bench.methods.networks.strips import are_strips, steps_by_strips
from bench.methods.sparse.multiply import addmm, bmm, may_be_compiled, mm
from bench.methods.sparse.prox import MASS_EPS, centred_soft_threshold
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["centred_steps", "steps"]


def steps(
    alpha: Tensor | None,
    y: Tensor,
    C: Tensor,
    D: Tensor,
    lmbda: Tensor,
    M: Tensor | None = None,
    Sigma: Similarity | None = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """As many steps of Eq. 3 (Sigma is None) or Eq. 11 as `lmbda` has rows; see the module's loop.

    alpha  codes (B, gh, gw, p), or None for 0
    y      centred patches (B, gh, gw, m), taken as constant: no gradient reaches them
    C, D   (m, p)
    lmbda  (n_steps, p)
    M      observed values, as y; None: all (Eq. 14)
    dtype  of the matrix products; default y's
    """
    tensors = () if Sigma is None else (Sigma.mass, *Sigma.Sigma)
    tiles = () if Sigma is None else Sigma.tiles
    given = [x for x in (alpha, C, D, lmbda, *tensors) if x is not None]
    training = torch.is_grad_enabled() and any(x.requires_grad for x in given)
    dtype = dtype or y.dtype
    if y.device.type != "cpu":
        S, mass = (None, None) if Sigma is None else (*Sigma.Sigma, Sigma.mass)
        return steps_on_gpu(alpha, y, C, D, lmbda, M, S, mass, dtype, training=training)
    if Sigma is not None and dtype == y.dtype and may_be_compiled(y) and are_strips(tiles):
        return steps_by_strips(alpha, y, C, D, lmbda, M, tiles, Sigma.mass, Sigma.Sigma, training=training)
    if Sigma is not None:
        codes: Tensor = _Steps.apply(dtype, training, tiles, y, M, alpha, C, D, lmbda, *tensors)
        return codes
    grid, size = y.shape[:-1], CACHED * torch.get_num_threads()
    some = [[None] * (-(-grid.numel() // size)) if x is None else x.flatten(0, -2).split(size) for x in (y, M, alpha)]
    parts = [_Steps.apply(dtype, training, (), *part, C, D, lmbda) for part in zip(*some, strict=True)]
    return torch.cat(parts).view(*grid, -1)


def centred_steps(
    alpha: Tensor | None,
    y: Tensor,
    C: Tensor,
    D: Tensor,
    lmbda: Tensor,
    M: Tensor | None,
    Sigma: Similarity,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """`steps` with another shrinkage: codes are drawn to the mean of those of similar patches, as in CSR.

        beta_i = sum_a Sigma_ia B_a / ||Sigma_i||_1,    alpha_i = beta_i + S(B_i - beta_i)

    As it is written, and its gradient too: slower than `steps`.
    """
    y, C, D, M = (x if x is None else x.to(dtype or y.dtype) for x in (y, C, D, M))
    for lmbda_k in lmbda:
        B = gradient_step(alpha, y, C, D, M).to(lmbda.dtype)
        beta = Sigma.sum(B) / (Sigma.mass + MASS_EPS)
        alpha = centred_soft_threshold(B, lmbda_k, beta)
    return alpha


CACHED = 2048
"""Without Sigma patches have nothing to do with each other: so many a thread go through all steps in its caches.

A training step on six crops of 64x64 (18,816 patches) is then 1.3 times as fast as with all at once.
"""


class _Steps(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        dtype: torch.dtype,
        training: bool,
        tiles: tuple[Tile, ...],
        y: Tensor,
        M: Tensor | None,
        alpha0: Tensor | None,
        C: Tensor,
        D: Tensor,
        lmbda: Tensor,
        mass: Tensor | None = None,
        *Sigma: Tensor,
    ) -> Tensor:
        grid, m, p = y.shape[:-1], y.shape[-1], D.shape[1]
        n, K = grid.numel(), len(lmbda)
        y, C, D = y.reshape(n, m).to(dtype), C.to(dtype), D.to(dtype)
        M = None if M is None else M.reshape(n, m).to(dtype)
        kept = K if training else 1  # steps whose intermediate results are remembered
        a, r, b = (y.new_empty(kept, n, width) for width in (p, m, p))  # alpha, residual, B of every step, short
        norm2 = y.new_empty(kept if tiles else 0, n, p)
        alpha = lmbda.new_zeros(n, p) if alpha0 is None else alpha0.reshape(n, p).clone()
        move = torch.empty_like(a[0])
        root_mass = None if mass is None else torch.sqrt(mass.reshape(n, 1) + MASS_EPS)
        a[0].copy_(alpha)
        for k in range(K):
            i = k if training else 0
            if k == 0 and alpha0 is None:
                r[i].copy_(y)
            else:
                addmm(y, a[i], D.T, alpha=-1, out=r[i])  # r = y - D alpha
            if M is not None:
                r[i].mul_(M)
            mm(r[i], C, out=move)
            after = a[0] if not training else a[k + 1] if k + 1 < K else move  # the last codes are wanted long only
            if not tiles:
                by_rows(passes.shrink, alpha, move, b[i], after, lmbda=lmbda[k])
                continue
            by_rows(passes.move, alpha, move, b[i], move, lmbda=lmbda[k])
            _sum(tiles, Sigma, move.view(*grid, p), out=norm2[i].view(*grid, p))
            by_rows(passes.group, alpha, norm2[i], root_mass, after, lmbda=lmbda[k])
        ctx.tiles, ctx.grid, ctx.from_zero = tiles, grid, alpha0 is None
        if training:
            ctx.save_for_backward(M, C, D, lmbda, mass, a, r, b, norm2, *Sigma)
        return alpha.view(*grid, p)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        M, C, D, lmbda, mass, a, r, b, norm2, *Sigma = ctx.saved_tensors
        tiles, grid = ctx.tiles, ctx.grid
        K, n, p = b.shape
        g = g.reshape(n, p).clone()
        dC, dD, dlmbda = (torch.zeros_like(x, dtype=lmbda.dtype) for x in (C, D, lmbda))
        # `short`: what the step after takes from the gradient of alpha; then the gradient of B
        short, dr = torch.zeros_like(a[0]), torch.empty_like(r[0])
        if tiles:
            root_mass = torch.sqrt(mass.reshape(n, 1) + MASS_EPS)
            droot, v = torch.zeros_like(root_mass), torch.empty_like(g)
            dn = torch.empty_like(b)  # gradients of norm2, kept for the product that gives the gradient of Sigma
        for k in reversed(range(K)):
            if tiles:
                rows = g, short, b[k], norm2[k], root_mass, droot, dn[k]
                dlmbda[k] = _total(by_rows(passes.forget_in_groups, *rows, lmbda=lmbda[k]))
                _sum_transposed(tiles, Sigma, dn[k].view(*grid, p), out=v.view(*grid, p))
                by_rows(passes.forget_squares, g, b[k], v, short, lmbda=lmbda[k])
            else:
                dlmbda[k] = _total(by_rows(passes.forget, g, short, b[k], lmbda=lmbda[k]))
            dC += mm(r[k].T, short)
            if k == 0 and ctx.from_zero:
                break
            mm(short, C.T, out=dr)
            if M is not None:
                dr.mul_(M)
            dD -= mm(dr.T, a[k])
            mm(dr, D, out=short)
        dSigma: list[Tensor | None] = []
        dmass = None
        if tiles:
            dmass = (droot / (2 * root_mass)).view(mass.shape)
            dn, q = (x.view(K, *grid, p).permute(1, 2, 3, 0, 4) for x in (dn, b.square()))
            dSigma = [bmm(tile.inside(dn).flatten(2), tile.around(q).flatten(2).transpose(1, 2)) for tile in tiles]
        dalpha = None if ctx.from_zero else (g - short).view(*grid, p)
        return None, None, None, None, None, dalpha, dC, dD, dlmbda, dmass, *dSigma


def _total(parts: list[np.ndarray]) -> Tensor:
    """The sum of gradients (p,) that `by_rows` gave."""
    return torch.from_numpy(np.sum(parts, axis=0))


def _sum(tiles: tuple[Tile, ...], Sigma: tuple[Tensor, ...], q: Tensor, out: Tensor) -> None:
    """out_b = sum_a Sigma_ba q_a, (B, gh, gw, p)."""
    for tile, S in zip(tiles, Sigma, strict=True):
        out[:, tile.rows, tile.columns] = bmm(S, tile.around(q)).view(len(q), *tile.shape, -1)


def _sum_transposed(tiles: tuple[Tile, ...], Sigma: tuple[Tensor, ...], q: Tensor, out: Tensor) -> None:
    """out_a = sum_b Sigma_ba q_b, (B, gh, gw, p)."""
    out.zero_()
    for tile, S in zip(tiles, Sigma, strict=True):
        part = out[:, tile.near_rows, tile.near_columns]
        part += bmm(S.transpose(1, 2), tile.inside(q)).view(part.shape)
