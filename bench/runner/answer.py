"""What a restorer's answer must be."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.task import Observation

__all__ = ["problem_with"]


def problem_with(x_hat: Any, seen: Observation) -> str | None:
    """What is wrong with an answer: its type, dtype, shape or values. None if nothing is."""
    if not isinstance(x_hat, np.ndarray):
        return f"answered with {type(x_hat).__module__}.{type(x_hat).__name__}, expected a NumPy array"
    if x_hat.dtype != np.float32:
        return f"answered with {x_hat.dtype}, expected float32"
    if x_hat.shape != seen.restored_shape:
        return f"answered with shape {x_hat.shape}, expected {seen.restored_shape}"
    n_bad = x_hat.size - int(np.isfinite(x_hat).sum())
    return f"{n_bad} of {x_hat.size} values of the answer are not finite" if n_bad else None
