"""How good weights are on the crops held out: the one figure that trainings are told, and compared, by."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from bench.restorer import TorchRestorer
from bench.training.batches import in_tensors
from bench.training.crops import Batch

__all__ = ["held_out_psnr_db"]


def held_out_psnr_db(
    restorer: TorchRestorer, network: nn.Module, batches: Iterable[Batch], device: torch.device
) -> float:
    """Mean PSNR in dB of a network on `device` over the crops of `Crops.validation()`.

    Leaves the network in evaluation mode.
    """
    network.eval()
    each = []
    for y, x, seen, level in (in_tensors(batch, device) for batch in batches):
        with torch.no_grad():
            x_hat = restorer.estimate(network, y.to(device), seen, level).clamp(0, 1)
        each.append(-10 * (x_hat - x.to(device)).square().mean((1, 2, 3)).log10())
    return float(torch.cat(each).mean())
