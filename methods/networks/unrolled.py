"""Several steps of LISTA at once, with a backward pass of their own: what training spends its time in.

`steps` computes what this loop over `gradient_step` and a prox computes (tests/methods/sparse/test_unrolled.py),

    for lmbda_k in lmbda:
        B = gradient_step(alpha, y, C, D, M)
        alpha = soft_threshold(B, lmbda_k)                                                           # SC
        alpha = relaxed_group_soft_threshold(B, lmbda_k, Sigma.sum(B * B), Sigma.mass)               # GroupSC

but keeps of each step only what its gradient needs, in the short dtype, works in buffers that stay the same from
step to step (memory that the system hands out anew must be cleared first, which cost as much as the products), and
forms the gradient of Sigma, constant over these steps, by one product per tile.

On a GPU that trains, methods.networks.on_gpu does the same in fewer, larger pieces.
"""

from __future__ import annotations

from typing import Any

import torch
from bench.methods.networks.on_gpu import steps_on_gpu
from bench.methods.networks.similarity import Similarity, Tile
from bench.methods.sparse.prox import MASS_EPS, NORM_EPS
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["steps"]


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
    if training and y.is_cuda:
        S, mass = (None, None) if Sigma is None else (*Sigma.Sigma, Sigma.mass)
        return steps_on_gpu(alpha, y, C, D, lmbda, M, S, mass, dtype)
    if Sigma is not None or y.is_cuda:
        codes: Tensor = _Steps.apply(dtype, training, tiles, y, M, alpha, C, D, lmbda, *tensors)
        return codes
    grid, size = y.shape[:-1], CACHED * torch.get_num_threads()
    some = [[None] * (-(-grid.numel() // size)) if x is None else x.flatten(0, -2).split(size) for x in (y, M, alpha)]
    parts = [_Steps.apply(dtype, training, (), *part, C, D, lmbda) for part in zip(*some, strict=True)]
    return torch.cat(parts).view(*grid, -1)


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
        shrink = torch.empty_like(alpha)
        move = torch.empty_like(a[0])
        root_mass = None if mass is None else torch.sqrt(mass.reshape(n, 1) + MASS_EPS)
        for k in range(K):
            i = k if training else 0
            a[i].copy_(alpha)
            if k == 0 and alpha0 is None:
                r[i].copy_(y)
            else:
                torch.addmm(y, a[i], D.T, alpha=-1, out=r[i])  # r = y - D alpha
            if M is not None:
                r[i].mul_(M)
            torch.mm(r[i], C, out=move)
            B = alpha.add_(shrink.copy_(move))  # B = alpha + C^T r
            if training or tiles:
                b[i].copy_(B)
            if not tiles:
                alpha = _soft_threshold_(B, lmbda[k], shrink)
                continue
            q = torch.mul(b[i], b[i], out=move)
            _sum(tiles, Sigma, q.view(*grid, p), out=norm2[i].view(*grid, p))
            alpha = B.mul_(_shrinkage(norm2[i], root_mass, lmbda[k], out=shrink))
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
        g_short, dr = torch.empty_like(a[0]), torch.empty_like(r[0])
        B, u, v, f = (torch.empty_like(g) for _ in range(4))
        if tiles:
            root_mass = torch.sqrt(mass.reshape(n, 1) + MASS_EPS)
            droot = torch.zeros_like(root_mass)
            dn = torch.empty_like(b)  # gradients of norm2, kept for the product that gives the gradient of Sigma
        for k in reversed(range(K)):
            B.copy_(b[k])
            if tiles:  # alpha = s B, s = relu(1 - t), t = lmbda root_mass f, f = 1 / sqrt(norm2 + eps)
                torch.rsqrt(f.copy_(norm2[k]).add_(NORM_EPS), out=f)
                torch.mul(f, root_mass, out=v).mul_(lmbda[k]).neg_().add_(1).clamp_min_(0)  # v = s
                torch.mul(g, B, out=u).mul_(f)
                g.mul_(v)
                u.mul_(v.sign_())  # u = f ds where s > 0; dt = -ds
                dlmbda[k] = -(u.T @ root_mass)[:, 0]
                droot.sub_(u @ lmbda[k][:, None])
                u.mul_(f).mul_(f).mul_(root_mass).mul_(lmbda[k] / 2)  # dnorm2 = ds t f^2 / 2
                dn[k].copy_(u)
                _sum_transposed(tiles, Sigma, dn[k].view(*grid, p), out=v.view(*grid, p))
                g.addcmul_(v, B, value=2)  # dB = s g + 2 B dq
            else:  # alpha = relu(B - lmbda) - relu(-B - lmbda)
                torch.sub(B, lmbda[k], out=u).sign_().clamp_min_(0).mul_(g)
                B.neg_().sub_(lmbda[k]).sign_().clamp_min_(0).mul_(g)
                torch.add(u, B, out=g)
                dlmbda[k] = B.sub_(u).sum(0)
            g_short.copy_(g)
            dC += r[k].T @ g_short
            if k == 0 and ctx.from_zero:
                break
            torch.mm(g_short, C.T, out=dr)
            if M is not None:
                dr.mul_(M)
            dD -= dr.T @ a[k]
            g.sub_(u.copy_(torch.mm(dr, D, out=g_short)))
        dSigma: list[Tensor | None] = []
        dmass = None
        if tiles:
            dmass = (droot / (2 * root_mass)).view(mass.shape)
            dn, q = (x.view(K, *grid, p).permute(1, 2, 3, 0, 4) for x in (dn, b.square()))
            dSigma = [tile.inside(dn).flatten(2) @ tile.around(q).flatten(2).transpose(1, 2) for tile in tiles]
        dalpha = None if ctx.from_zero else g.view(*grid, p)
        return None, None, None, None, None, dalpha, dC, dD, dlmbda, dmass, *dSigma


def _soft_threshold_(B: Tensor, lmbda: Tensor, scratch: Tensor) -> Tensor:
    """prox.soft_threshold, in place."""
    torch.add(B, lmbda, out=scratch).clamp_max_(0)  # -relu(-B - lmbda)
    return B.sub_(lmbda).clamp_min_(0).add_(scratch)


def _shrinkage(norm2: Tensor, root_mass: Tensor, lmbda: Tensor, out: Tensor) -> Tensor:
    """The factor in prox.relaxed_group_soft_threshold, into `out`."""
    torch.rsqrt(out.copy_(norm2).add_(NORM_EPS), out=out)
    return out.mul_(root_mass).mul_(lmbda).neg_().add_(1).clamp_min_(0)


def _sum(tiles: tuple[Tile, ...], Sigma: tuple[Tensor, ...], q: Tensor, out: Tensor) -> None:
    """out_b = sum_a Sigma_ba q_a, (B, gh, gw, p)."""
    for tile, S in zip(tiles, Sigma, strict=True):
        out[:, tile.rows, tile.columns] = (S @ tile.around(q)).view(len(q), *tile.shape, -1)


def _sum_transposed(tiles: tuple[Tile, ...], Sigma: tuple[Tensor, ...], q: Tensor, out: Tensor) -> None:
    """out_a = sum_b Sigma_ba q_b, (B, gh, gw, p)."""
    out.zero_()
    for tile, S in zip(tiles, Sigma, strict=True):
        part = out[:, tile.near_rows, tile.near_columns]
        part += (S.transpose(1, 2) @ tile.inside(q)).view(part.shape)
