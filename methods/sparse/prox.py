"""Proximal operators of the penalties, and the relaxation that makes GroupSC trainable."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["centred_soft_threshold", "group_soft_threshold", "relaxed_group_soft_threshold", "soft_threshold"]

NORM_EPS = 1e-8
"""Added under the root of the weighted group norm in Eq. 11, as by the authors; MASS_EPS: to ||Sigma_i||_1."""
MASS_EPS = 1e-12


def soft_threshold(z: Tensor, lmbda: Tensor | float) -> Tensor:
    """S(z) = sign(z) max(|z| - lmbda, 0): Prox of lmbda ||.||_1, entry by entry (Sec. 2; Beck & Teboulle 2009).

    z      codes (..., p)
    lmbda  thresholds in the units of z, (p,) or a number. A learned one may go below 0, where this, like the authors'
           gray and colour models, gives relu(z - lmbda) - relu(-z - lmbda): no shrinkage any more
    """
    return torch.relu(z - lmbda) - torch.relu(-z - lmbda)


def group_soft_threshold(U: Tensor, lmbda: float) -> Tensor:
    """Lemma 1, Eq. 10: Z = Prox of lmbda ||.||_{1,2} at U, Z^j = max(1 - lmbda / ||U^j||_2, 0) U^j for every row j.

    U  (..., p, n): row j holds entry j of the n codes of one group
    """
    norm = U.norm(dim=-1, keepdim=True)
    return torch.relu(1 - lmbda / norm.clamp_min(torch.finfo(U.dtype).tiny)) * U


def relaxed_group_soft_threshold(B: Tensor, lmbda: Tensor, norm2: Tensor, mass: Tensor) -> Tensor:
    """Eq. 11, second line: every entry of every code is shrunk as its neighbourhood tells.

        A_ij = max(1 - lmbda_j sqrt(||Sigma_i||_1) / sqrt(sum_a Sigma_ia B_aj^2), 0) B_ij

    How the sums over neighbours came about (dense blocks, tiles, a sliding window) is the caller's affair.

    B      codes before shrinkage (..., p)
    lmbda  thresholds (p,)
    norm2  sum_a Sigma_ia B_aj^2, (..., p)
    mass   ||Sigma_i||_1 = sum_a Sigma_ia, (..., 1)
    """
    return B * torch.relu(1 - lmbda * torch.sqrt(mass + MASS_EPS) * torch.rsqrt(norm2 + NORM_EPS))


def centred_soft_threshold(B: Tensor, lmbda: Tensor, beta: Tensor) -> Tensor:
    """beta + S(B - beta): Prox of sum_j lmbda_j |alpha_j - beta_j| (Dong et al., TIP 22(4), 2013, Eq. 8 and 19).

    B      codes before shrinkage (..., p)
    lmbda  thresholds (p,)
    beta   what the codes are drawn to, of B's shape: there the mean of the codes of similar patches
    """
    return beta + soft_threshold(B - beta, lmbda)
