"""Online dictionary learning, for where SC and GroupSC start from (the paper uses SPAMS, Sec. 3.6).

Mairal, Bach, Ponce, Sapiro, "Online learning for matrix factorization and sparse coding", JMLR 11, 2010: ODL below.
"""

from __future__ import annotations

import torch
from torch import Tensor

from methods.sparse.patches import centre
from methods.sparse.prox import soft_threshold

__all__ = ["lasso", "learn_dictionary", "objective", "sample_patches"]


def learn_dictionary(
    Y: Tensor, n_atoms: int, *, lmbda: float | None = None, n_batches: int = 80, batch_size: int = 512, seed: int = 0
) -> Tensor:
    """D that lowers the mean over patches of min_alpha 1/2 ||y - D alpha||^2 + lmbda ||alpha||_1, ||d_j|| <= 1.

    ODL, Algorithm 1 with the mini-batches of Sec. 3.4.2 and with the past forgotten slowly (Sec. 3.4.1). It codes by
    FISTA where ODL takes LARS: the same minimum, in matrix products.

    Y        centred patches (n, m); divided by their norms here, the flattest set aside, so that lmbda means the same
             for every set of images
    lmbda    default 1.2 / sqrt(m), as in ODL, Sec. 5.1
    returns  (m, n_atoms), columns of norm 1; the same for the same Y and seed
    """
    random = torch.Generator().manual_seed(seed)
    Y = unit_norm(Y)
    m = Y.shape[1]
    lmbda = 1.2 / m**0.5 if lmbda is None else lmbda
    D = Y[torch.randint(len(Y), (n_atoms,), generator=random)].T.clone()
    A, B = torch.zeros(n_atoms, n_atoms, dtype=Y.dtype), torch.zeros(m, n_atoms, dtype=Y.dtype)
    for t in range(1, n_batches + 1):
        batch = Y[torch.randint(len(Y), (batch_size,), generator=random)]
        alpha = lasso(batch, D, lmbda)
        beta = (1 - 1 / t) ** 2  # (1 - 1/t)^rho, rho = 2
        A = beta * A + alpha.T @ alpha / batch_size
        B = beta * B + batch.T @ alpha / batch_size
        _update(D, A, B)
        idle = A.diagonal() < 1e-6  # ODL, Sec. 3.4.5: atoms that are hardly ever used start again from a patch
        D[:, idle] = batch[torch.randint(batch_size, (int(idle.sum()),), generator=random)].T
    return D


def _update(D: Tensor, A: Tensor, B: Tensor) -> None:
    """ODL, Algorithm 2, one sweep over the atoms, in place: d_j <- project(d_j + (b_j - D a_j) / A_jj)."""
    for j in range(D.shape[1]):
        d = D[:, j] + (B[:, j] - D @ A[:, j]) / A[j, j].clamp_min(1e-6)
        D[:, j] = d / d.norm().clamp_min(1)


def lasso(Y: Tensor, D: Tensor, lmbda: float, n_steps: int = 40) -> Tensor:
    """argmin_alpha 1/2 ||y - D alpha||^2 + lmbda ||alpha||_1 for every row y of Y (n, m), D (m, p): (n, p).

    By FISTA: Beck & Teboulle, SIAM J. Imaging Sci. 2(1), 2009, Sec. 4.
    """
    gram, correlation = D.T @ D, Y @ D
    L = torch.linalg.matrix_norm(gram, 2)  # Lipschitz constant of the gradient
    alpha = beta = torch.zeros_like(correlation)
    t = 1.0
    for _ in range(n_steps):
        previous = alpha
        alpha = soft_threshold(beta + (correlation - beta @ gram) / L, lmbda / L)
        t, t_previous = (1 + (1 + 4 * t * t) ** 0.5) / 2, t
        beta = alpha + (t_previous - 1) / t * (alpha - previous)
    return alpha


def objective(Y: Tensor, D: Tensor, lmbda: float) -> float:
    """Mean over the rows y of Y of 1/2 ||y - D alpha||^2 + lmbda ||alpha||_1 at the best alpha (Eq. 1)."""
    alpha = lasso(Y, D, lmbda, n_steps=200)
    return float((Y - alpha @ D.T).square().sum(1).mean() / 2 + lmbda * alpha.abs().sum(1).mean())


def unit_norm(Y: Tensor, flattest: float = 0.2) -> Tensor:
    """Rows of Y divided by their norms, without zeros and without the share `flattest` of the smallest norms."""
    norm = Y.norm(dim=1)
    kept = norm > torch.quantile(norm[:100_000], flattest) if len(Y) > 1 else norm > 0
    return Y[kept] / norm[kept, None]


def sample_patches(x: Tensor, size: int, n: int, seed: int = 0) -> Tensor:
    """n centred patches (n, m) from random places of the images x (B, C, h, w)."""
    random = torch.Generator().manual_seed(seed)
    views = x.unfold(2, size, 1).unfold(3, size, 1)  # (B, C, gh, gw, size, size), no copy
    B, _, gh, gw = views.shape[:4]
    image, row, column = (torch.randint(end, (n,), generator=random) for end in (B, gh, gw))
    return centre(views[image, :, row, column].flatten(1))[0]
