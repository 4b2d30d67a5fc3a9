"""The process in which a restorer runs: takes messages from the runner, answers with images and figures.

Started by `bench.runner.worker`, one at a time for one restorer. What a plugin prints goes to the standard error
stream, which the runner keeps for the reason of a failure.
"""

from __future__ import annotations

import ctypes
import gc
import os
import random
import signal
import sys
import traceback
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from bench.measure.clocks import Clock, clock_for, summarise, take_readings
from bench.measure.memory import peak_mib, reset_peak, return_free_memory
from bench.plugins.ensemble import SelfEnsemble
from bench.restorer import Restorer, WeightsFile
from bench.runner.answer import problem_with
from bench.runner.messages import Answer, Failure, Load, Prepare, Ready, Restore, Unable

__all__ = ["main"]


class BadAnswerError(Exception):
    """The restorer answered, but not with an image like the one it should restore."""


class Session:
    """One restorer's life in this process."""

    make: Callable[[WeightsFile | None], Restorer]
    restorer: Restorer
    device: str
    clock: Clock

    def handle(self, message: Load | Prepare | Restore) -> Ready | Unable | Answer:
        if isinstance(message, Load):
            return self.load(message)
        if isinstance(message, Prepare):
            return self.prepare(message)
        return self.restore(message)

    def load(self, message: Load) -> Ready:
        from bench.plugins.registry import load_class

        cls = load_class(message.target)
        make = partial(cls, message.variant)
        self.make = (lambda weights: SelfEnsemble(make(weights))) if message.ensemble else make
        self.device = message.device
        if self.device.startswith("cuda:"):  # a plugin's own kernels go to the current device
            import torch

            torch.cuda.set_device(self.device)
        self.clock = clock_for(self.device)
        return Ready(cls.needs_weights, tuple(cls.devices))

    def prepare(self, message: Prepare) -> Ready | Unable:
        self.restorer = self.make(message.weights)
        reason = self.restorer.why_not(message.setting)
        if reason is not None:
            return Unable(reason)
        _seed()
        self.restorer.prepare(message.setting, self.device)
        self.warm: set[tuple[int, ...]] = set()
        self.macs: dict[tuple[int, ...], float | None] = {}
        return Ready()

    def restore(self, message: Restore) -> Answer:
        seen = message.seen
        shape = seen.image.shape
        call = lambda: self.restorer.restore(seen)  # noqa: E731
        is_warm = shape in self.warm
        if not is_warm:
            return_free_memory()
        _seed()
        reset_peak(self.device)
        before = seen.image.copy()
        x_hat, first = self.clock.time(call)
        peak = peak_mib(self.device)
        problem = problem_with(x_hat, seen)
        if problem is not None:
            raise BadAnswerError(problem)
        estimated_level = self.restorer.estimated_level
        changed = not np.array_equal(seen.image, before)
        # the first call on images of a shape is the warm-up: it is not a reading
        readings = (
            take_readings(call, self.clock, first if is_warm else None, message.readings) if message.timed else []
        )
        calls = readings if is_warm and readings else [first, *readings]
        self.warm.add(shape)
        if shape not in self.macs:
            self.macs[shape] = self.restorer.macs_per_pixel(seen)
        return Answer(
            x_hat,
            timing=summarise(readings) if readings else None,
            peak_mib=peak,
            params=self.restorer.n_params(),
            macs_per_pixel=self.macs[shape],
            estimated_level=estimated_level,
            seconds_restoring=sum(reading.seconds for reading in calls),
            changed_input=changed,
        )


def _seed() -> None:
    """Restorers that draw random numbers draw the same ones for every cell, whatever ran before it."""
    random.seed(0)
    np.random.seed(0)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


def _free_device_memory() -> None:
    """Give back what a failed cell held on the accelerator, so that the next one has it.

    Called when the exception is gone: its traceback holds the frames, and they the tensors.
    """
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is None:
        return
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()  # raises if a kernel's error has made CUDA useless to this process
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()


def _die_with_parent() -> None:
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def _in_a_line(error: BaseException) -> str:
    """`ValueError: text (my.py, line 12)`: the innermost place in the traceback."""
    if isinstance(error, BadAnswerError):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({os.path.basename(frames[-1].filename)}, line {frames[-1].lineno})" if frames else ""  # noqa: PTH119
    return " ".join(f"{type(error).__name__}: {error}".split()) + where


def main() -> None:
    """Serve the connection whose file descriptor is the first argument until it closes."""
    _die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the runner's to handle
    connection = Connection(int(sys.argv[1]))
    os.dup2(2, 1)  # a plugin's print must not mix with the table
    session = Session()
    while True:
        try:
            message = connection.recv()
        except EOFError:
            return
        try:
            answer: Any = session.handle(message)
        except Exception as error:  # whatever a plugin raises costs its own cell only
            traceback.print_exc()
            answer = Failure(_in_a_line(error))
        if isinstance(answer, Failure):
            try:
                _free_device_memory()
            except RuntimeError:  # the next cell gets a new process
                sys.exit(answer.reason)
        connection.send(answer)


if __name__ == "__main__":
    main()
