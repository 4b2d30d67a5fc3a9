"""SOAP: Adam in a basis in which the gradient's entries are least correlated.

Vyas, Morwani, Zhao, Kwun, Shapira, Brandfonbrener, Janson, Kakade, "SOAP: Improving and Stabilizing Shampoo using
Adam", ICLR 2025, Algorithm 3.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

__all__ = ["SOAP"]

LARGEST = 1280  # an axis longer than this keeps its own basis: the work grows with its cube
STAYS = 1e-7  # see `orthogonalised`


class SOAP(torch.optim.Optimizer):
    """Steps of Adam on Q_L^T G Q_R, turned back; Q_L and Q_R are eigenvectors of the means of G G^T and G^T G.

    For dictionaries of patches, whose pixels go together, so that their entries are not best scaled one by one. What
    it gained here is in the training log.

    A tensor with more than two axes is taken as a matrix, its first axis against all others; a vector as Adam takes
    it. As in the authors' code, the first step only sets the bases. Parameters of one shape go through a step
    together, stacked: a network has tens of them, and a GPU wants few large operations.

    `step` asks nothing of the host, so that it can be part of a CUDA graph; `turn` is to be called after it.

    lr, eps    Adam's; lr may be a tensor on the parameters' device
    betas      Adam's; the means of G G^T and G^T G have the second
    every      steps between two turns of the bases (one step of power iteration, orthogonalised)
    found_inf  a tensor that is 1 where this step's gradient is not finite and the step is to be left out, or None
    """

    found_inf: Tensor | None = None

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor,
        eps: float = 1e-8,
        betas: tuple[float, float] = (0.95, 0.95),
        every: int = 10,
    ) -> None:
        super().__init__(params, {"lr": lr, "eps": eps, "betas": betas, "every": every})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Update the parameters; one without a gradient has a gradient of zero. There is no closure."""
        for group in self.param_groups:
            for alike in _alike(group["params"]):
                G = torch.stack([_matrix(torch.zeros_like(p) if p.grad is None else p.grad) for p in alike])
                state = self.state[alike[0]]  # one for all that are alike
                if state:
                    self._update(alike, G, state, group)
                else:
                    self._begin(alike[0].ndim, G, state)

    def _begin(self, ndim: int, G: Tensor, state: dict[str, Any]) -> None:
        state.update(t=G.new_zeros(()), M=torch.zeros_like(G), V=torch.zeros_like(G), **_covariances(G, ndim))
        for side in _sides(state):
            state[f"Q_{side}"] = torch.linalg.eigh(state[side])[1]

    def _update(self, alike: list[Tensor], G: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        (beta_1, beta_2), lr, M, V = group["betas"], group["lr"], state["M"], state["V"]
        move_1, move_2 = 1 - beta_1, 1 - beta_2
        if self.found_inf is not None:  # nothing moves then, and no infinity enters
            finite = 1 - self.found_inf
            G = torch.where(finite > 0, G, 0)
            move_1, move_2, lr = move_1 * finite, move_2 * finite, lr * finite
            state["t"] += finite
        else:
            state["t"] += 1
        t = state["t"]
        M.lerp_(G, move_1)
        V.lerp_(_turned(G, state).square(), move_2)
        step = _turned(M, state) / (1 - beta_1**t) / ((V / (1 - beta_2**t)).sqrt() + group["eps"])
        step = _turned_back(step, state) * -lr
        torch._foreach_add_(alike, [one.view_as(p) for one, p in zip(step.unbind(), alike, strict=True)])
        for side, mean in _covariances(G, alike[0].ndim).items():
            state[side].lerp_(mean, move_2)

    @torch.no_grad()
    def turn(self, n_steps: int) -> None:
        """After the n-th step: bring the bases nearer to the eigenvectors, if it is time to."""
        for group in self.param_groups:
            if n_steps > 1 and (n_steps - 1) % group["every"] == 0:
                for alike in _alike(group["params"]):
                    state = self.state[alike[0]]
                    for side in _sides(state):
                        _turn(side, state)


def _turn(side: str, state: dict[str, Any]) -> None:
    """One basis nearer to the eigenvectors, largest eigenvalue first; V keeps to its axes."""
    Q, mean = state[f"Q_{side}"], state[side]
    order = ((mean @ Q) * Q).sum(-2).argsort(-1, descending=True)
    Q = torch.take_along_dim(Q, order[:, None], -1)
    along = order[:, :, None] if side == "L" else order[:, None]
    state["V"].copy_(torch.take_along_dim(state["V"], along, 1 if side == "L" else 2))
    state[f"Q_{side}"].copy_(orthogonalised(mean, Q))


def orthogonalised(mean: Tensor, Q: Tensor) -> Tensor:
    """The Q of mean @ Q = Q R, for stacks (n, a, a) of symmetric matrices and of orthogonal ones.

    By Cholesky's decomposition of the columns' products, twice, in float64: on a GPU many at a time and without
    waiting, where Householder's way takes one matrix after the other. Columns of length 1 make the products close to
    the identity, whatever the eigenvalues; where `mean` has none, Q stays as it is (STAYS of the trace).
    """
    A = mean.double() @ Q.double()
    A += STAYS * mean.diagonal(dim1=-2, dim2=-1).sum(-1)[:, None, None].double() * Q
    failed = torch.zeros(len(Q), dtype=torch.bool, device=Q.device)
    for _ in range(2):
        A = A / A.norm(dim=-2, keepdim=True).clamp_min(1e-300)
        R, info = torch.linalg.cholesky_ex(A.mT @ A, upper=True)
        A = torch.linalg.solve_triangular(R, A, upper=True, left=False)
        failed |= info != 0
    return torch.where(failed[:, None, None], Q, A.to(Q.dtype))


def _alike(parameters: list[Tensor]) -> list[list[Tensor]]:
    """The parameters by their shape, in order."""
    found: dict[tuple[int, ...], list[Tensor]] = defaultdict(list)
    for p in parameters:
        found[tuple(p.shape)].append(p)
    return list(found.values())


def _matrix(G: Tensor) -> Tensor:
    return G.flatten(1) if G.ndim > 1 else G[:, None]


def _covariances(G: Tensor, ndim: int) -> dict[str, Tensor]:
    """G G^T and G^T G of each, where they are matrices and not too large."""
    covariances = {}
    if ndim > 1 and G.shape[1] <= LARGEST:
        covariances["L"] = G @ G.mT
    if ndim > 1 and G.shape[2] <= LARGEST:
        covariances["R"] = G.mT @ G
    return covariances


def _sides(state: dict[str, Any]) -> list[str]:
    return [side for side in ("L", "R") if side in state]


def _turned(G: Tensor, state: dict[str, Any]) -> Tensor:
    """Q_L^T G Q_R."""
    G = state["Q_L"].mT @ G if "Q_L" in state else G
    return G @ state["Q_R"] if "Q_R" in state else G


def _turned_back(G: Tensor, state: dict[str, Any]) -> Tensor:
    """Q_L G Q_R^T."""
    G = state["Q_L"] @ G if "Q_L" in state else G
    return G @ state["Q_R"].mT if "Q_R" in state else G
