"""Products of matrices on a CPU, by the library that is fast on its processor.

torch has two libraries for them. Its own products are MKL's. On processors that are not Intel's that leaves AVX-512
alone, and with it half of what they can multiply. Layers of networks are oneDNN's, which uses AVX-512 wherever it is.
The operator that torch.compile's code calls for a linear layer makes it do any product of float32.

The two add in another order, so answers differ by rounding. Which one is taken hangs on the processor alone.
"""

from __future__ import annotations

from typing import Any

import torch
from llvmlite import binding
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.utils._python_dispatch import _get_current_dispatch_mode

__all__ = ["addmm", "baddbmm", "bmm", "may_be_compiled", "mm", "product"]


def product(a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
    """`bmm`, or `baddbmm` if there is c, with gradients. The functions below have none."""
    if _by_onednn(a):
        ab: Tensor = _Product.apply(a, b)
        return ab if c is None else c + ab
    return torch.bmm(a, b) if c is None else torch.baddbmm(c, a, b)


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        ctx.save_for_backward(a, b)
        return bmm(a, b)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, Tensor | None]:
        a, b = ctx.saved_tensors
        of_a = bmm(g, b.transpose(1, 2)) if ctx.needs_input_grad[0] else None
        return of_a, bmm(a.transpose(1, 2), g) if ctx.needs_input_grad[1] else None


def mm(a: Tensor, b: Tensor, out: Tensor | None = None) -> Tensor:
    """a b, in `out` if there is one."""
    if not _by_onednn(a):
        return torch.mm(a, b, out=out)
    ab = _product(a, b)
    return ab if out is None else out.copy_(ab)


def addmm(c: Tensor, a: Tensor, b: Tensor, *, alpha: float = 1, out: Tensor | None = None) -> Tensor:
    """c + alpha a b, in `out` if there is one, which may be c."""
    if not _by_onednn(a):
        return torch.addmm(c, a, b, alpha=alpha, out=out)
    return torch.add(c, _product(a, b), alpha=alpha, out=out)


def bmm(a: Tensor, b: Tensor, out: Tensor | None = None) -> Tensor:
    """The products of a (n, ., k) with b (n, k, .), one by one, in `out` if there is one."""
    if not _by_onednn(a):
        return torch.bmm(a, b, out=out)
    if out is None:
        out = a.new_empty(len(a), a.shape[1], b.shape[2])
    for one, other, ab in zip(a, b, out, strict=True):
        ab.copy_(_product(one, other))
    return out


def baddbmm(c: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """c (n, ., .) and the products of a with b, one by one."""
    return bmm(a, b).add_(c) if _by_onednn(a) else torch.baddbmm(c, a, b)


def may_be_compiled(a: Tensor) -> bool:
    """Whether compiled kernels, which torch does not see, may take a's products: a is float32 on a CPU, and nobody
    follows what torch does, to count it (`bench.measure.complexity`) or to export it.
    """
    traced = torch._C._get_tracing_state() is not None or torch.compiler.is_compiling()
    return a.dtype == torch.float32 and a.is_cpu and not traced and _get_current_dispatch_mode() is None


def _by_onednn(a: Tensor) -> bool:
    return ONEDNN and a.dtype == torch.float32 and a.is_cpu


def _product(a: Tensor, b: Tensor) -> Tensor:
    """A second factor is copied if its rows and its columns have gaps: oneDNN is 2,000 times as slow with such."""
    w = b.T
    return torch.ops.mkldnn._linear_pointwise(a, w if b.is_contiguous() else w.contiguous(), None, "none", [], "")


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
