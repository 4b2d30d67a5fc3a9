"""SGD with momentum, for parameters on a GPU too.

torch's own reads the learning rate on the host, which a CUDA graph forbids.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

__all__ = ["SGD"]


class SGD(torch.optim.Optimizer):
    """v <- momentum v + (g + weight_decay p),  p <- p - lr v; v begins at zero. The same as torch's.

    lr         may be a tensor on the parameters' device
    found_inf  a tensor that is 1 where this step's gradient is not finite and the step is to be left out, or None
    """

    found_inf: Tensor | None = None

    def __init__(self, params: ParamsT, lr: float | Tensor, momentum: float, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Update the parameters that have a gradient. There is no closure."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self._update(p, p.grad, group["lr"], group["momentum"], group["weight_decay"])

    def _update(self, p: Tensor, g: Tensor, lr: float | Tensor, momentum: float, weight_decay: float) -> None:
        if not self.state[p]:
            self.state[p]["v"] = torch.zeros_like(p)
        v = self.state[p]["v"]
        new = momentum * v + g + weight_decay * p
        if self.found_inf is not None:  # nothing moves then
            is_finite = self.found_inf == 0
            new, lr = torch.where(is_finite, new, v), torch.where(is_finite, lr, 0.0)
            p.sub_(torch.where(is_finite, new, 0.0) * lr)
        else:
            p.sub_(lr * new)
        v.copy_(new)
