"""`NAME+`: a restorer run on the eight flips and rotations of an image, its answers turned back and averaged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from bench.plugins.boundary import BadAnswerError, check_answer, handed, number
from bench.restorer import Image, Observation, Restorer, Setting

__all__ = ["VIEWS", "SelfEnsemble"]

Turn = Callable[[Any], Any]


def _there(x: Any, flip: bool, quarters: int) -> Any:
    return np.rot90(x[:, ::-1] if flip else x, quarters)


def _back(x: Any, flip: bool, quarters: int) -> Any:
    x = np.rot90(x, -quarters)
    return x[:, ::-1] if flip else x


VIEWS: tuple[tuple[Turn, Turn], ...] = tuple(
    (partial(_there, flip=flip, quarters=quarters), partial(_back, flip=flip, quarters=quarters))
    for flip in (False, True)
    for quarters in range(4)
)
"""Eight ways to turn an array (H, W, ...), each with its way back."""


class SelfEnsemble(Restorer):
    """What `NAME+` runs: eight calls of NAME, so eight times its time and its multiply-accumulates.

    Each call is held to what a single one is: see `bench.plugins.boundary`.

    Source: NLRN's paper, Sec. 5.2 ("multi-view testing"); before it, Wang et al., ICCV 2015.
    """

    def __init__(self, restorer: Restorer) -> None:
        super().__init__(restorer.variant, restorer.weights)
        self.restorer = restorer

    def why_not(self, setting: Setting) -> str | None:
        return self.restorer.why_not(setting)

    def prepare(self, setting: Setting, device: str) -> None:
        self.restorer.prepare(setting, device)

    def restore(self, seen: Observation) -> Image:
        total, levels = np.zeros(seen.restored_shape, np.float32), []
        for turn, back in VIEWS:
            view = turned(seen, turn)
            given = handed(view)
            x_hat = self.restorer.restore(given)
            check_answer(x_hat, given, view)
            total += back(x_hat)  # at once: the next call may answer in the same memory
            level = number("estimated_level", self.restorer.estimated_level)
            if level is not None:
                levels.append(level)
        self.estimated_level = float(np.mean(levels)) if levels else None
        return total / np.float32(len(VIEWS))

    def n_params(self) -> int:
        return self.restorer.n_params()

    def macs_per_pixel(self, seen: Observation) -> float | None:
        upright, lying = (self._macs_of(turned(seen, VIEWS[quarters][0])) for quarters in (0, 1))
        return None if upright is None or lying is None else 4 * (upright + lying)

    def _macs_of(self, view: Observation) -> float | None:
        return number("macs_per_pixel()", self.restorer.macs_per_pixel(handed(view)))


def turned(seen: Observation, turn: Turn) -> Observation:
    """The observation of the turned scene, as another camera would have made it; its arrays are views."""
    return replace(
        seen,
        image=turn(seen.image),
        mask=None if seen.mask is None else turn(seen.mask),
        pattern=None if seen.pattern is None else _turned_pattern(seen.pattern, seen.image.shape, turn),
        known={name: _turned_known(name, value, seen, turn) for name, value in seen.known.items()},
    )


def _turned_known(name: str, value: Any, seen: Observation, turn: Turn) -> Any:
    """Numbers and words stay. Maps of the picture turn with it, and so does a kernel whose centre is its middle."""
    if not isinstance(value, np.ndarray):
        return value
    is_map = value.ndim >= 2 and value.shape[:2] == seen.image.shape[:2]
    if is_map or (name == "kernel" and value.ndim == 2 and all(side % 2 for side in value.shape)):
        return turn(value)
    raise BadAnswerError(f"a self-ensemble cannot turn what is known as '{name}', of shape {value.shape}")


def _turned_pattern(pattern: str, shape: tuple[int, ...], turn: Turn) -> str:
    H, W = shape[0] + 2, shape[1] + 2  # of the same parity, and never less than the pattern
    colours = np.tile(np.array([*pattern]).reshape(2, 2), ((H + 1) // 2, (W + 1) // 2))[:H, :W]
    return "".join(turn(colours)[:2, :2].ravel())
