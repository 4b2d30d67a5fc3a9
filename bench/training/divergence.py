"""When a training has come to nothing: its weights, its loss or what it restores are no numbers any more."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn

__all__ = ["MOST_LEFT_OUT", "are_finite", "why_not_on"]

MOST_LEFT_OUT = 0.5
"""of the steps, whose gradient was not finite: one crop may overflow, most do in a network that has diverged"""
JUDGED_STEPS = 20
"""since the last validation, that are enough to be judged by themselves"""


def why_not_on(
    networks: Iterable[nn.Module], psnr_db: float, left_out: tuple[int, int], left_out_of_all: tuple[int, int]
) -> str:
    """Why a training cannot go on after a validation; "" if it can.

    left_out         how many steps were left out since the last validation, and of how many
    left_out_of_all  the same since the training began
    """
    if not are_finite(networks):
        return "weights are no finite numbers any more"
    if not math.isfinite(psnr_db):
        return f"the validation PSNR is {psnr_db} dB"
    n, n_steps = left_out if left_out[1] >= JUDGED_STEPS else left_out_of_all
    if n > MOST_LEFT_OUT * n_steps:
        return f"the loss or its gradient was no finite number in {n} of {n_steps} steps"
    return ""


def are_finite(networks: Iterable[nn.Module]) -> bool:
    """Whether all weights, and what batch normalisation has seen, are finite. Waits for the device once."""
    tensors = [tensor for network in networks for tensor in network.state_dict().values()]
    finite = [tensor.isfinite().all() for tensor in tensors if tensor.is_floating_point()]
    return bool(torch.stack(finite).all()) if finite else True
