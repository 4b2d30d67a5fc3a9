"""Products of float32 matrices on a CPU, by the library that is fast on its processor. They have no gradients.

torch has two libraries for them. MKL does its own products. On processors that are not Intel's it leaves AVX-512
alone, and with it half of what they can multiply. oneDNN does the layers of networks, and leaves nothing alone
anywhere. Through the operator that torch.compile's code calls for a linear layer it does any product.

Sums are in another order: answers differ by rounding.
"""

from __future__ import annotations

import torch
from llvmlite import binding
from torch import Tensor

__all__ = ["addmm", "bmm", "mm"]


def mm(a: Tensor, b: Tensor, out: Tensor | None = None) -> Tensor:
    """a b, in `out` if there is one."""
    if not ONEDNN:
        return torch.mm(a, b, out=out)
    ab = _product(a, b)
    return ab if out is None else out.copy_(ab)


def addmm(c: Tensor, a: Tensor, b: Tensor, *, alpha: float = 1, out: Tensor | None = None) -> Tensor:
    """c + alpha a b, in `out` if there is one, which may be c."""
    if not ONEDNN:
        return torch.addmm(c, a, b, alpha=alpha, out=out)
    return torch.add(c, _product(a, b), alpha=alpha, out=out)


def bmm(a: Tensor, b: Tensor, out: Tensor | None = None) -> Tensor:
    """The products of a (n, ., k) with b (n, k, .), one by one, in `out` if there is one."""
    if not ONEDNN:
        return torch.bmm(a, b, out=out)
    if out is None:
        out = a.new_empty(len(a), a.shape[1], b.shape[2])
    for one, other, ab in zip(a, b, out, strict=True):
        ab.copy_(_product(one, other))
    return out


def _product(a: Tensor, b: Tensor) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(a, b.T, None, "none", [], "")


def _onednn_is_faster() -> bool:
    """On AMD's processors with AVX-512, if this torch has the operator, which is not documented."""
    features, name = binding.get_host_cpu_features(), binding.get_host_cpu_name()
    if not (features.get("avx512f") and name.startswith("znver") and torch.backends.mkl.is_available()):
        return False
    a, b = torch.arange(6.0).view(2, 3), torch.arange(12.0).view(3, 4)
    try:
        with torch.inference_mode():
            return torch.equal(_product(a, b), a @ b)  # whole numbers: no sum is rounded
    except (AttributeError, RuntimeError):
        return False


ONEDNN = _onednn_is_faster()
