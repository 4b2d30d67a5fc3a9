"""How good weights are on the crops held out: the one figure that trainings are told, and compared, by."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from bench.errors import TrainingError
from bench.restorer import TorchRestorer
from bench.training.batches import in_tensors
from bench.training.crops import Batch

__all__ = ["check_shape", "held_out_psnr_db"]


def held_out_psnr_db(
    restorer: TorchRestorer, network: nn.Module, batches: Iterable[Batch], device: torch.device
) -> float:
    """Mean PSNR in dB of a network on `device` over the crops of `Crops.validation()`.

    Leaves the network in evaluation mode. Raises TrainingError if it answers with another shape.
    """
    network.eval()
    each = []
    for y, x, seen, level in (in_tensors(batch, device) for batch in batches):
        with torch.no_grad():
            x_hat = restorer.estimate(network, y.to(device), seen, level).clamp(0, 1)
        check_shape(restorer.name, x_hat, x)
        each.append(-10 * (x_hat - x.to(device)).square().mean((1, 2, 3)).log10())
    return float(torch.cat(each).mean())


def check_shape(name: str, x_hat: Tensor, x: Tensor) -> None:
    """Raise TrainingError if a network answers with another shape: torch might stretch it, and say nothing."""
    if x_hat.shape != x.shape:
        raise TrainingError(
            f"{name} answers a batch of {_in_words(x)} with one of {_in_words(x_hat)}. The shapes must be the same."
        )


def _in_words(batch: Tensor) -> str:
    """`8 x 3 x 40 x 40`"""
    return " x ".join(map(str, batch.shape))
