"""How far a training is, on the error stream: a line after each validation, and how many steps were made between."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # they import torch
    from bench.training.files import Validation
    from bench.training.loop import Training

__all__ = ["duration", "follow"]

BARS = "▁▂▃▄▅▆▇█"
MOST_BARS = 24
SECONDS_ON_A_TERMINAL = 0.5
SECONDS_IN_A_FILE = 60.0
"""between two lines that only say how far it is"""


def follow(training: Training, *, briefly: bool = False) -> None:
    """Train to the end, and say how far it is.

    briefly  of the validations only the last is said
    """
    told = False
    between = _Between(training)
    try:
        for now in training.run(between.stepped):
            between.clear()
            if training.graphs and training.graphs.refused and not told:
                _say(f"steps are made one operation after the other: {training.graphs.refused}")
                told = True
            if not briefly or now.step >= now.total:
                _say(_of(now, training.log))
    finally:
        between.clear()


def _of(now: Validation, log: Sequence[Validation]) -> str:
    told = f"step {now.step:6d} of {now.total}:"
    minutes = duration(now.seconds)
    if now.step:
        told += f" loss {now.loss:.4g},"
        minutes += f", {duration((now.total - now.step) * now.seconds / now.step)} left"
    curve = _curve([row.psnr_db for row in log if row.step])  # the first is far below all others
    return f"{told} validation {now.psnr_db:.3f} dB (best {now.best_db:.3f}){curve}, {minutes}"


def duration(seconds: float) -> str:
    """`0.4 s`, `40 s`, `12.5 min`, `3.2 h`"""
    if seconds < 60:
        return f"{seconds:.2g} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"


def _curve(values: Sequence[float]) -> str:
    """The values as bars, from the lowest to the highest; "" where the error stream cannot show them."""
    shown = values[:: -math.ceil(len(values) / MOST_BARS) or -1][::-1]
    low, high = min(shown, default=0.0), max(shown, default=0.0)
    bars = "".join(BARS[int((value - low) / ((high - low) or 1) * (len(BARS) - 1))] for value in shown)
    try:
        BARS.encode(getattr(sys.stderr, "encoding", None) or "ascii")
    except UnicodeEncodeError:
        return ""
    return f" {bars}" if len(bars) > 1 else ""


class _Between:
    """Says, between two validations, how far it is and how long it takes. On a terminal it is one line that moves."""

    def __init__(self, training: Training) -> None:
        self.training = training
        self.moves = sys.stderr.isatty()
        self.every = SECONDS_ON_A_TERMINAL if self.moves else SECONDS_IN_A_FILE
        self.first, self.began, self.due = training.step, 0.0, 0.0
        self.clear()

    def stepped(self) -> None:
        now = monotonic()
        if now < self.due:
            return
        self.due = now + self.every
        step, total = self.training.step, self.training.total
        rate = (step - self.first) / (now - self.began)
        told = f"step {step:6d} of {total}: {rate:.3g} steps a second, {duration((total - step) / rate)} left"
        if self.moves:
            print(f"\r{told}\x1b[K", end="", file=sys.stderr, flush=True)
        else:
            _say(told)

    def clear(self) -> None:
        """Make place for a line of another kind, and begin to count anew."""
        if self.moves:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
        self.first, self.began = self.training.step, monotonic()
        self.due = self.began + self.every


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
