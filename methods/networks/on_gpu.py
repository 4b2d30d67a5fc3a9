"""`methods.networks.unrolled.steps` and Eq. 12 on a GPU: large products, one pass for what lies between.

What a step keeps for its gradient is in the short dtype, as on a CPU. Between the products everything is elementwise
and bound by memory, so each piece is compiled into one kernel (`fused`). The gradient of Sigma, constant over the
steps, is one product over the entries of all of them, where autograd would add up one (n, n) matrix a step.

Nothing here asks the device for a number: a training step can be recorded as a CUDA graph.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from importlib.util import find_spec
from typing import Any

import torch
import torch.nn.functional as F
from bench.methods.sparse.prox import MASS_EPS, NORM_EPS
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["dense_similarity", "minus_squared_distance", "steps_on_gpu"]

ALIGNMENT = 8
"""Products in two bytes want rows of a multiple of 16 bytes: 9 x 9 = 81 entries are filled up with zeros."""


def fused(f: Callable[..., Any]) -> Callable[..., Any]:
    """f, compiled where its tensors are on a GPU and there is a compiler for it."""

    @cache
    def compiled() -> Callable[..., Any]:
        return torch.compile(f, dynamic=False)

    @wraps(f)
    def call(*tensors: Any) -> Any:
        return (compiled() if tensors[0].is_cuda and find_spec("triton") else f)(*tensors)

    return call


# --- what lies between the products ------------------------------------------------------------------------


@fused
def _moved(alpha: Tensor, move: Tensor) -> tuple[Tensor, Tensor]:
    """B = alpha + C^T r and its squares, short."""
    B = alpha + move
    return B.to(move.dtype), (B * B).to(move.dtype)


@fused
def _shrunk_in_groups(
    alpha: Tensor, move: Tensor, norm2: Tensor, root: Tensor, lmbda: Tensor
) -> tuple[Tensor, Tensor]:
    """Eq. 11, second line: the new codes, and short. root = sqrt(||Sigma_i||_1), (n, 1)."""
    B = alpha + move
    codes = B * torch.relu(1 - lmbda * root * torch.rsqrt(norm2.to(B.dtype) + NORM_EPS))
    return codes, codes.to(move.dtype)


@fused
def _shrunk(alpha: Tensor, move: Tensor, lmbda: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Eq. 3: the new codes, short, and B short."""
    B = alpha + move
    codes = torch.relu(B - lmbda) - torch.relu(-B - lmbda)
    return codes, codes.to(move.dtype), B.to(move.dtype)


@fused
def _back_through_groups(
    g: Tensor, back: Tensor, b: Tensor, norm2: Tensor, root: Tensor, lmbda: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients through alpha = s B, s = relu(1 - t), t = lmbda root f, f = 1 / sqrt(norm2 + eps).

    g, back   the gradient of alpha is g - back
    returns   those of B by way of s B, of norm2, of lmbda and of root
    """
    g, B = g - back, b.to(g.dtype)
    f = torch.rsqrt(norm2.to(g.dtype) + NORM_EPS)
    s = torch.relu(1 - lmbda * root * f)
    u = torch.where(s > 0, g * B * f, 0)  # f ds; dt = -ds
    dn = u * f * f * root * (lmbda / 2)
    return g * s, dn.to(b.dtype), -(u * root).sum(0), -(u * lmbda).sum(1, keepdim=True)


@fused
def _back_through_squares(g: Tensor, b: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """The gradient of B, that of its squares (v) included; long and short."""
    g = g + 2 * b.to(g.dtype) * v.to(g.dtype)
    return g, g.to(b.dtype)


@fused
def _back_through_shrinkage(g: Tensor, back: Tensor, b: Tensor, lmbda: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients through alpha = relu(B - lmbda) - relu(-B - lmbda): of B, long and short, and of lmbda."""
    g, B = g - back, b.to(g.dtype)
    above, below = torch.where(lmbda < B, g, 0), torch.where(lmbda < -B, g, 0)
    return above + below, (above + below).to(b.dtype), (below - above).sum(0)


@fused
def _similar(minus_distance: Tensor, penalty: Tensor) -> tuple[Tensor, Tensor]:
    """Eq. 12 within the window, short, and its row sums."""
    S = torch.exp(torch.clamp_max(minus_distance.to(penalty.dtype), 0) + penalty)
    return S.to(minus_distance.dtype), S.sum(-1, keepdim=True)


@fused
def _back_through_similar(dS: Tensor, S: Tensor, dmass: Tensor) -> Tensor:
    return ((dS.to(dmass.dtype) + dmass) * S.to(dmass.dtype)).to(S.dtype)


# --- the steps ------------------------------------------------------------------------------------------------


def steps_on_gpu(
    alpha: Tensor | None,
    y: Tensor,
    C: Tensor,
    D: Tensor,
    lmbda: Tensor,
    M: Tensor | None,
    S: Tensor | None,
    mass: Tensor | None,
    dtype: torch.dtype,
    *,
    training: bool,
) -> Tensor:
    """`unrolled.steps`, whose arguments these are; Sigma is one matrix S (B, n, n) for each image."""
    fill = -y.shape[-1] % ALIGNMENT
    y, C, D = F.pad(y, (0, fill)).to(dtype), F.pad(C, (0, 0, 0, fill)), F.pad(D, (0, 0, 0, fill))
    M = None if M is None else F.pad(M, (0, fill)).to(dtype)
    codes: Tensor = _Steps.apply(y, M, dtype, training, alpha, C, D, lmbda, S, mass)
    return codes


class _Steps(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        y: Tensor,
        M: Tensor | None,
        dtype: torch.dtype,
        training: bool,
        alpha0: Tensor | None,
        C: Tensor,
        D: Tensor,
        lmbda: Tensor,
        S: Tensor | None,
        mass: Tensor | None,
    ) -> Tensor:
        grid, m, p = y.shape[:-1], y.shape[-1], D.shape[1]
        y, C, D = y.reshape(-1, m), C.to(dtype), D.to(dtype)
        M = None if M is None else M.reshape(-1, m)
        root = None if mass is None else torch.sqrt(mass.reshape(-1, 1) + MASS_EPS)
        alpha = lmbda.new_zeros(len(y), p) if alpha0 is None else alpha0.reshape(-1, p)
        a = alpha.to(dtype)
        kept: list[tuple[Tensor, ...]] = []  # of every step: alpha, residual, B, norm2
        for k, lmbda_k in enumerate(lmbda):
            r = y if k == 0 and alpha0 is None else torch.addmm(y, a, D.T, alpha=-1)  # r = y - D alpha
            r = r if M is None else r * M
            move = r @ C
            if S is None:
                alpha, after, b = _shrunk(alpha, move, lmbda_k)
                norm2 = b
            else:
                b, q = _moved(alpha, move)
                norm2 = (S @ q.view(len(S), -1, p)).view(-1, p)
                alpha, after = _shrunk_in_groups(alpha, move, norm2, root, lmbda_k)
            if training:
                kept.append((a, r, b, norm2))
            a = after
        ctx.grid, ctx.from_zero = grid, alpha0 is None
        if training:
            ctx.save_for_backward(M, C, D, lmbda, S, mass, root, *(x for step in kept for x in step))
        return alpha.view(*grid, p)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        M, C, D, lmbda, S, mass, root, *flat = ctx.saved_tensors
        kept = [flat[i : i + 4] for i in range(0, len(flat), 4)]
        K, p = lmbda.shape
        g = g.reshape(-1, p).to(lmbda.dtype)
        back = torch.zeros_like(kept[0][2])  # what the step after takes from the gradient
        dC, dD = (torch.zeros_like(x, dtype=lmbda.dtype) for x in (C, D))
        dlmbda = torch.empty_like(lmbda)
        droot = None if root is None else torch.zeros_like(root)
        dn: list[Tensor] = []
        for k in reversed(range(K)):
            a, r, b, norm2 = kept[k]
            if S is None:
                g, short, dlmbda[k] = _back_through_shrinkage(g, back, b, lmbda[k])
            else:
                g, dn_k, dlmbda[k], droot_k = _back_through_groups(g, back, b, norm2, root, lmbda[k])
                droot += droot_k
                dn.append(dn_k.view(len(S), -1, p))
                v = (S.mT @ dn[-1]).view(-1, p)
                g, short = _back_through_squares(g, b, v)
            dC += r.T @ short
            if k == 0 and ctx.from_zero:
                break
            dr = short @ C.T
            dr = dr if M is None else dr * M
            dD -= dr.T @ a
            back = dr @ D
        dalpha = None if ctx.from_zero else (g - back).view(*ctx.grid, p)
        dS = dmass = None
        if S is not None:
            q = torch.cat([(kept[k][2] ** 2).view(len(S), -1, p) for k in reversed(range(K))], -1)
            dS = torch.cat(dn, -1) @ q.mT
            dmass = (droot / (2 * root)).view(mass.shape)
        return None, None, None, None, dalpha, dC, dD, dlmbda, dS, dmass


# --- similarities ---------------------------------------------------------------------------------------------


def dense_similarity(u: Tensor, penalty: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Eq. 12 for all patches of each image, by products in a short dtype.

    u        diag(kappa) x, (B, gh, gw, m), float32
    penalty  (n, n), 0 for neighbours, much less than 0 for others; n = gh gw
    returns  S (B, n, n) in dtype, and its row sums (B, gh, gw, 1), float32
    """
    S, mass = _Gaussian.apply(u.flatten(1, 2), penalty, dtype)
    return S, mass.unflatten(1, u.shape[1:3])


class _Gaussian(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, u: Tensor, penalty: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        left, right = (_filled(x) for x in minus_squared_distance(u, dtype))
        S, mass = _similar(left @ right.mT, penalty)
        ctx.save_for_backward(u, S)
        return S, mass

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dS: Tensor, dmass: Tensor) -> tuple[Tensor | None, ...]:
        """dL/du_b = 2 sum_a G_ba (u_a - u_b) and dL/du_a = 2 sum_b G_ba (u_b - u_a), G = (dS + dmass) * S.

        Both sums are of u as the products see it, so that what its rounding adds cancels in the differences.
        """
        u, S = ctx.saved_tensors
        G = _back_through_similar(dS, S, dmass)
        short, m = u.to(S.dtype), u.shape[-1]
        u1 = _filled(torch.cat([short, torch.ones_like(short[..., :1])], -1))
        du = (_long_product(G, u1) + _long_product(G.mT, u1)).to(u.dtype)
        return 2 * (du[..., :m] - du[..., m : m + 1] * short), None, None


def minus_squared_distance(u: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """For patches u (..., m) two sets of vectors: the first's of a times the second's of b is -||u_a - u_b||^2.

    Only so does a small distance keep its digits in a bfloat16 product; a difference of large products would not.
    The squared norms stand in the vectors as sums of three short numbers, for the same reason.
    """
    u = (2**0.5 * u).to(dtype)
    long = torch.promote_types(dtype, torch.float32)
    rest = -u.to(long).square().sum(-1, keepdim=True) / 2
    parts = []
    for _ in range(3):
        parts.append(rest.to(dtype))
        rest = rest - parts[-1].to(long)
    norm2 = torch.cat(parts, -1)
    one = torch.ones_like(norm2)
    return torch.cat([u, norm2, one], -1), torch.cat([u, one, norm2], -1)


def _filled(x: Tensor) -> Tensor:
    return F.pad(x, (0, -x.shape[-1] % ALIGNMENT))


@cache
def _has_long_products() -> bool:
    return "out_dtype" in (torch.bmm.__doc__ or "")


def _long_product(a: Tensor, b: Tensor) -> Tensor:
    """a @ b, of short factors on a GPU in float32; where torch cannot give it so, the sum is rounded once more."""
    if a.is_cuda and a.dtype != torch.float32 and _has_long_products():
        return torch.bmm(a, b, out_dtype=torch.float32)
    return a @ b
