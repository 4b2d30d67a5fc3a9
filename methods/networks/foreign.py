"""What networks from elsewhere have in common: options to be checked, levels of training, sides to be continued."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.restorer import Level, RestorerError, Setting

__all__ = ["YES_OR_NO", "check_options", "continued", "trained_for", "why_not_trained"]

YES_OR_NO = (True, False)


def check_options(asked: str, options: Mapping[str, tuple[Any, Collection[Any]]]) -> None:
    """Raise RestorerError that names each option, (value, allowed ones), whose value will not do.

    asked  what the user typed
    """
    wrong = [
        f"{name}={_word(value)}, expected {' or '.join(_word(one) for one in allowed if one is not None)}"
        for name, (value, allowed) in options.items()
        if not any(type(value) is type(one) and value == one for one in allowed)
    ]
    if wrong:
        raise RestorerError(f"{asked}: {'; '.join(wrong)}.")


def _word(value: Any) -> str:
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def trained_for(asked: str, levels: Any) -> tuple[float, float] | None:
    """(lowest, highest) of `levels=25` and `levels=(0, 55)`; None for None. Raises RestorerError for other values."""
    if levels is None:
        return None
    pair = levels if isinstance(levels, (tuple, list)) else (levels, levels)
    if len(pair) != 2 or not all(type(level) in (int, float) for level in pair) or pair[0] > pair[1]:
        raise RestorerError(f"{asked}: levels={levels}, expected one as levels=25, or from and to as levels=(0, 55).")
    return float(pair[0]), float(pair[1])


def why_not_trained(asked: str, task: str | None, levels: tuple[float, float] | None, setting: Setting) -> str | None:
    """Why a network is not for this setting, after what the user said that it was trained for."""
    if task is not None and setting.task != task:
        return f"{asked} is for {task}"
    if levels is not None and not (_is_number(setting.level) and levels[0] <= setting.level <= levels[1]):
        low, high = (f"{level:g}" for level in levels)
        return f"{asked} is for {low if low == high else f'{low} to {high}'}"
    return None


def _is_number(level: Level) -> bool:
    return not isinstance(level, str)


def continued(y: Tensor, height: int, width: int) -> Tensor:
    """(…, H, W) to (…, height, width): rows and columns mirrored at the lower and right end, as often as need be."""
    H, W = y.shape[-2:]
    rows, columns = (
        torch.from_numpy(np.pad(np.arange(n), (0, wanted - n), mode="reflect")).to(y.device)
        for n, wanted in ((H, height), (W, width))
    )
    if (height, width) == (H, W):
        return y
    return y.index_select(-2, rows).index_select(-1, columns)
