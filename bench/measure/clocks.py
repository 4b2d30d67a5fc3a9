"""Clocks: wall time of a call on the CPU, and of the device's own work on a CUDA device.

A reading is only taken after a warm-up call on an input of the same shape, which pays for kernels, caches and
autotuning; both ends of a reading wait for the device.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple, Protocol, TypeVar

__all__ = [
    "Clock",
    "CpuClock",
    "CudaClock",
    "Reading",
    "Timing",
    "WaitingClock",
    "clock_for",
    "summarise",
    "take_readings",
]

T = TypeVar("T")

MOST_READINGS = 3
ENOUGH_SECONDS = 1.0


class Reading(NamedTuple):
    """One call. seconds: end to end; device_seconds: the CUDA device's share, None elsewhere."""

    seconds: float
    device_seconds: float | None = None


class Timing(NamedTuple):
    """Several readings of one call: the median, and the spread (largest less smallest), None for one reading."""

    seconds: float
    spread: float | None
    device_seconds: float | None


class Clock(Protocol):
    def time(self, f: Callable[[], T]) -> tuple[T, Reading]:
        """The value of `f()` and how long it took."""


class CpuClock:
    """Wall time in seconds: a monotonic clock around the call."""

    def time(self, f: Callable[[], T]) -> tuple[T, Reading]:
        start = perf_counter()
        value = f()
        return value, Reading(perf_counter() - start)


class WaitingClock:
    """End-to-end wall time on a device that works while the CPU goes on.

    wait  returns when the device has done all that it was given
    """

    def __init__(self, wait: Callable[[], object]) -> None:
        self.wait = wait

    def time(self, f: Callable[[], T]) -> tuple[T, Reading]:
        self.wait()  # what was queued before is not this call's
        start = perf_counter()
        value = f()
        self.wait()
        return value, Reading(perf_counter() - start)


class CudaClock:
    """End-to-end wall time, and the device's time between two CUDA events recorded around the call.

    cuda    the module `torch.cuda`, or something that behaves like it
    device  "cuda" (the current one) or "cuda:1": events go to its stream, which need not be the current one
    """

    def __init__(self, cuda: Any, device: str) -> None:
        self.cuda = cuda
        self.device = device

    def time(self, f: Callable[[], T]) -> tuple[T, Reading]:
        begun, done = (self.cuda.Event(enable_timing=True) for _ in range(2))
        stream = self.cuda.current_stream(self.device)
        self.cuda.synchronize(self.device)  # what was queued before is not this call's
        start = perf_counter()
        begun.record(stream)
        value = f()
        done.record(stream)
        self.cuda.synchronize(self.device)
        seconds = perf_counter() - start
        return value, Reading(seconds, begun.elapsed_time(done) / 1000)  # events count milliseconds


def clock_for(device: str) -> Clock:
    """The clock of "cpu", "mps", "cuda" or "cuda:1"."""
    if device == "cpu":
        return CpuClock()
    import torch

    return WaitingClock(torch.mps.synchronize) if device == "mps" else CudaClock(torch.cuda, device)


def take_readings(read: Callable[[], Reading], first: Reading | None, n: int | None) -> list[Reading]:
    """Readings of a call that has been warmed up.

    read   times one call; what it does around that, with the clock stopped, is its own
    first  a reading already taken after a warm-up, or None
    n      how many; None: three, or fewer once a second has been spent on them
    """
    readings = [] if first is None else [first]
    while not _enough(readings, n):
        readings.append(read())
    return readings


def _enough(readings: list[Reading], n: int | None) -> bool:
    if n is not None:
        return len(readings) >= n
    spent = sum(reading.seconds for reading in readings)
    return bool(readings) and (len(readings) >= MOST_READINGS or spent >= ENOUGH_SECONDS)


def summarise(readings: list[Reading]) -> Timing:
    """Median and spread of at least one reading."""
    seconds = [reading.seconds for reading in readings]
    on_device = [reading.device_seconds for reading in readings if reading.device_seconds is not None]
    return Timing(
        seconds=median(seconds),
        spread=max(seconds) - min(seconds) if len(seconds) > 1 else None,
        device_seconds=median(on_device) if on_device else None,
    )
