"""Multiply-accumulates, counted while a network runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["count_macs"]


def count_macs(f: Callable[[], Any]) -> int:
    """Multiply-accumulates of the products in `f()`: convolutions, matrix products, attention.

    The formulas are those of torch.utils.flop_counter; its own FlopCounterMode spends over a second on imports that
    a count does not need. As there, FFT, Cholesky and unfold count as zero.
    """
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils.flop_counter import flop_registry

    class Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
        flops = 0

        @classmethod
        def _should_skip_dynamo(cls) -> bool:
            return False  # nothing is compiled under it, so torch's compiler need not be imported to be told so

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = func(*args, **(kwargs or {}))
            if func._overloadpacket is by_onednn:  # of which torch has no formula
                self.flops += 2 * args[0].numel() * args[1].shape[0]
            elif (formula := flop_registry.get(func._overloadpacket)) is not None:
                self.flops += formula(*args, **(kwargs or {}), out_val=out)
            return out

    by_onednn = getattr(torch.ops.mkldnn, "_linear_pointwise", None)

    with torch.no_grad(), Counter() as counter:  # type: ignore[no-untyped-call]  # inference mode would hide what composite functions are made of
        f()
    return int(counter.flops) // 2
