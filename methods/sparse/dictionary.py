"""Dictionaries: the over-complete DCT, K-SVD, and online learning.

Aharon, Elad, Bruckstein, "K-SVD: an algorithm for designing overcomplete dictionaries for sparse representation",
IEEE TSP 54(11), 2006: `ksvd`.
Mairal, Bach, Ponce, Sapiro, "Online learning for matrix factorization and sparse coding", JMLR 11, 2010: ODL below.
`adapt_online` bounds the error, as LSSC does; `learn_dictionary` weighs it against the l1 norm, for where SC and
GroupSC start from (the paper uses SPAMS, Sec. 3.6).

K-SVD and `adapt_online` work on NumPy arrays, as `methods.sparse.pursuit` does; the others on tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from bench.methods.sparse.codes import Codes
from bench.methods.sparse.compiled import inlined, kernel, product
from bench.methods.sparse.lasso import lasso_path
from bench.methods.sparse.patches import centre
from bench.methods.sparse.prox import soft_threshold
from bench.methods.sparse.pursuit import omp
from torch import Tensor

__all__ = [
    "adapt_online",
    "ksvd",
    "lasso",
    "learn_dictionary",
    "objective",
    "overcomplete_dct",
    "sample_patches",
]

ALIKE = 0.99  # cosine of the angle between two atoms of which K-SVD keeps one
RARE = 3  # signals: K-SVD keeps no atom that so few or fewer use


def overcomplete_dct(size: int, n: int, channels: int = 1) -> np.ndarray:
    """n * n separable atoms a channel, each in one: (channels size^2, channels n^2), columns of norm 1, float64.

    Along an axis cos(k pi t / n), k = 0..n-1, at the pixels t, without its mean unless k = 0: Elad & Aharon's code.
    """
    t, k = np.arange(size)[:, None], np.arange(n)
    D = np.cos(k * np.pi * t / n)
    D[:, 1:] -= D[:, 1:].mean(0)
    D /= np.linalg.norm(D, axis=0)
    return np.kron(np.eye(channels), np.kron(D, D))


def ksvd(
    Y: np.ndarray,
    D: np.ndarray,
    *,
    error: float,
    n_iters: int,
    max_atoms: int | None = None,
    metric: Callable[[np.ndarray], np.ndarray] = lambda Y: Y,
    exact: bool = True,
    seed: int = 0,
) -> np.ndarray:
    """D that codes the rows of Y with few atoms: n_iters times OMP, then each atom and its coefficients together.

    Y          signals (n, m), float32 or float64
    D          where to start, (m, p), columns of norm 1
    error      to which each signal is coded, squared; see `omp`
    max_atoms  of a signal
    metric     a linear map T of rows: signals are coded by the norm of T y, atoms updated by that of y
    exact      True: the best rank-1 approximation; False: one step towards it, the approximate K-SVD of Rubinstein,
               Zibulevsky, Elad, Technion CS-2008-08, Sec. 3.3
    seed       of the order in which atoms are updated
    returns    (m, p), columns of norm 1

    As in Elad & Aharon's code the worst coded signals, each once, replace atoms that no signal uses and, after each
    iteration, atoms that 3 signals or fewer use or that are like another (see ALIKE).
    """
    random = np.random.default_rng(seed)
    D_T = np.array(D.T, Y.dtype, order="C")
    T_Y = metric(Y)
    for _ in range(n_iters):
        codes = omp(T_Y, metric(D_T).T, error=error, max_atoms=max_atoms)
        R = Y - codes.estimates(D_T.T)
        users, starts = _users(codes, len(D_T))
        unused = _update_atoms(D_T, codes.values, R, users, starts, random.permutation(len(D_T)), exact)
        worst = _worst_first(Y, R)
        _replace(D_T, np.flatnonzero(unused), worst)
        strong = np.abs(codes.values.ravel()[users]) > 1e-7
        n_users = np.add.reduceat(np.append(strong, False), starts[:-1]) * (np.diff(starts) > 0)
        for j in np.flatnonzero(~unused):
            alike = np.abs(D_T @ D_T[j])
            alike[j] = 0
            if alike.max() > ALIKE or n_users[j] <= RARE:
                _replace(D_T, [j], worst)
    return np.ascontiguousarray(D_T.T)


def _users(codes: Codes, n_atoms: int) -> tuple[np.ndarray, np.ndarray]:
    """Where atom j stands in the flattened codes: users[starts[j] : starts[j + 1]]."""
    atoms = codes.atoms.ravel()
    used = np.flatnonzero(atoms >= 0)
    users = used[np.argsort(atoms[used], kind="stable")]
    return users, np.append(0, np.cumsum(np.bincount(atoms[used], minlength=n_atoms)))


def _worst_first(Y: np.ndarray, R: np.ndarray) -> Iterator[np.ndarray]:
    """The signals in the order of their residuals R, the largest first, divided by their norms; none that is 0."""
    for i in np.argsort(-(R * R).sum(1), kind="stable"):
        if Y[i].any():
            yield Y[i] / np.linalg.norm(Y[i])


def _replace(D_T: np.ndarray, atoms: Iterable[int], by: Iterator[np.ndarray]) -> None:
    """Put the next of `by` in the place of each of these atoms, while there are some."""
    for j, d in zip(atoms, by, strict=False):
        D_T[j] = d


@kernel
def _update_atoms(D_T, values, R, users, starts, order, exact):
    """Each atom with users, and its coefficients, become the best rank-1 approximation of what it has to explain.

    R        (n, m), residuals of the signals, kept up to date
    returns  (p,), True where an atom has no users
    """
    (p, m), L = D_T.shape, values.shape[1]
    unused = np.zeros(p, np.bool_)
    S, d = np.empty((m, m), R.dtype), np.empty(m, R.dtype)
    for j in order:
        mine = users[starts[j] : starts[j + 1]]
        if len(mine) == 0:
            unused[j] = True
            continue
        old = D_T[j]
        E = np.empty((len(mine), m), R.dtype)
        for i in range(len(mine)):
            x = values[mine[i] // L, mine[i] % L]
            for t in range(m):
                E[i, t] = R[mine[i] // L, t] + x * old[t]
        if exact:
            _covariance(E, S)
            _leading_eigenvector(S, old, d)
        else:
            for t in range(m):
                d[t] = 0
            for i in range(len(mine)):
                x = values[mine[i] // L, mine[i] % L]
                for t in range(m):
                    d[t] += x * E[i, t]
            _normalise(d, old)
        for i in range(len(mine)):
            x = d[0] * 0
            for t in range(m):
                x += E[i, t] * d[t]
            values[mine[i] // L, mine[i] % L] = x
            for t in range(m):
                R[mine[i] // L, t] = E[i, t] - x * d[t]
        for t in range(m):
            old[t] = d[t]
    return unused


@inlined
def _covariance(E, S):
    """S = E' E."""
    n, m = E.shape
    S[:] = 0
    for i in range(n):
        for s in range(m):
            x = E[i, s]
            for t in range(m):
                S[s, t] += x * E[i, t]


@inlined
def _leading_eigenvector(S, start, d):
    """d: by power iteration from `start`, until it moves by less than 1e-5 (a start orthogonal to it stays so)."""
    m = len(d)
    previous = start.copy()
    for _ in range(1000):
        product(previous, S, d)
        _normalise(d, previous)
        moved = d[0] * 0
        for t in range(m):
            moved += (d[t] - previous[t]) ** 2
        for t in range(m):
            previous[t] = d[t]
        if moved < 1e-10:
            return


@inlined
def _normalise(d, otherwise):
    """d / ||d||, or `otherwise` where d is 0."""
    norm2 = d[0] * 0
    for t in range(len(d)):
        norm2 += d[t] * d[t]
    norm = np.sqrt(norm2)
    for t in range(len(d)):
        d[t] = d[t] / norm if norm > 0 else otherwise[t]


def adapt_online(
    Y: np.ndarray,
    D: np.ndarray,
    *,
    error: float,
    n_passes: float,
    batch_size: int = 1024,
    rho: float = 1.0,
    n_trusted: int = 0,
    seed: int = 0,
) -> np.ndarray:
    """D that lowers the mean over the rows y of Y of min ||a||_1 subject to ||y - D a||^2 <= error, ||d_j|| <= 1.

    ODL, Algorithm 1 with mini-batches (Sec. 3.4.2) and with the past forgotten slowly (Sec. 3.4.1), every pass in an
    order of its own.

    Y          (n, m), float32 or float64
    D          where to start, (m, p), columns of norm 1 at most
    error      squared, as for `lasso_path`
    n_passes   over Y; need not be whole
    rho        of the forgetting: batch t leaves (1 - 1/t)^rho of what came before
    n_trusted  first batches that change no atom: they are remembered as if D were the best for them, so that an atom
               does not turn into the noise of the first few signals that use it
    returns    (m, p)
    """
    random = np.random.default_rng(seed)
    D_T = np.array(D.T, Y.dtype, order="C")
    p, m = D_T.shape
    A, B = np.zeros((p, p), Y.dtype), np.zeros((p, m), Y.dtype)
    order = np.concatenate([random.permutation(len(Y)) for _ in range(int(np.ceil(n_passes)))] or [[]]).astype(int)
    order = order[: round(n_passes * len(Y))]
    for t, a in enumerate(range(0, len(order), batch_size), start=1):
        batch = Y[order[a : a + batch_size]]
        codes = lasso_path(batch, D_T.T, error=error)
        beta = (1 - 1 / t) ** rho
        A *= beta
        B *= beta
        _remember(batch, *codes, A, B)
        if t <= n_trusted:
            B[:] = A @ D_T
        else:
            _sweep(D_T, A, B)
    return np.ascontiguousarray(D_T.T)


@kernel
def _remember(Y, atoms, values, counts, A, B):
    """A += sum of a a', B += sum of a y'."""
    for i in range(len(Y)):
        for k in range(counts[i]):
            a, x = atoms[i, k], values[i, k]
            for q in range(counts[i]):
                A[a, atoms[i, q]] += x * values[i, q]
            for t in range(Y.shape[1]):
                B[a, t] += x * Y[i, t]


@kernel
def _sweep(D_T, A, B):
    """`_update` on rows, leaving atoms that no signal has used as they are."""
    p, m = D_T.shape
    mean = np.empty(m, D_T.dtype)
    for j in range(p):
        if A[j, j] > 0:
            product(A[j], D_T, mean)
            norm2 = A[j, j] * 0
            for t in range(m):
                D_T[j, t] += (B[j, t] - mean[t]) / A[j, j]
            for t in range(m):
                norm2 += D_T[j, t] * D_T[j, t]
            if norm2 > 1:
                norm = np.sqrt(norm2)
                for t in range(m):
                    D_T[j, t] /= norm


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
