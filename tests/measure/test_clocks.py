"""Clocks: warm, synchronised, and the median of what was read."""

import pytest
import torch

from bench.measure.clocks import (
    CpuClock,
    CudaClock,
    Reading,
    WaitingClock,
    clock_for,
    summarise,
    take_readings,
)


class FakeCuda:
    """A device that is 1 s behind: work is only done when someone waits for it."""

    def __init__(self):
        self.log = []
        self.device_ms = 0.0

    def synchronize(self, device):
        self.log.append(f"synchronize {device}")

    def current_stream(self, device):
        return f"stream of {device}"

    def Event(self, enable_timing):
        return FakeEvent(self)


class FakeEvent:
    def __init__(self, cuda):
        self.cuda = cuda

    def record(self, stream):
        self.cuda.log.append(f"record on {stream}")
        self.at = self.cuda.device_ms

    def elapsed_time(self, other):
        return other.at - self.at


def test_the_cuda_clock_waits_before_and_after_and_reads_its_own_device():
    cuda = FakeCuda()

    def kernel():
        cuda.log.append("kernel")
        cuda.device_ms += 250.0
        return "image"

    value, reading = CudaClock(cuda, "cuda:1").time(kernel)
    assert value == "image"
    waits, records = "synchronize cuda:1", "record on stream of cuda:1"
    assert cuda.log == [waits, records, "kernel", records, waits]
    assert reading.device_seconds == pytest.approx(0.25)


def test_the_waiting_clock_waits_before_and_after_and_knows_no_time_of_the_device():
    log = []
    value, reading = WaitingClock(lambda: log.append("wait")).time(lambda: log.append("kernel") or "image")
    assert (value, log) == ("image", ["wait", "kernel", "wait"])
    assert reading.seconds > 0
    assert reading.device_seconds is None


def test_each_device_has_its_clock():
    assert isinstance(clock_for("cpu"), CpuClock)
    assert clock_for("mps").wait is torch.mps.synchronize
    for device in ("cuda", "cuda:1"):
        clock = clock_for(device)
        assert (clock.cuda, clock.device) == (torch.cuda, device)


def test_the_cpu_clock_returns_the_value_and_a_positive_time():
    value, reading = CpuClock().time(lambda: sum(range(1000)))
    assert value == 499500
    assert reading.seconds > 0
    assert reading.device_seconds is None


def stepping(*seconds):
    """Takes readings of so many seconds, one after the other."""
    left = list(seconds)
    return lambda: Reading(left.pop(0))


def test_quick_calls_are_read_three_times():
    assert len(take_readings(stepping(*[0.01] * 9), None, None)) == 3


def test_a_slow_call_is_read_once():
    assert len(take_readings(stepping(*[1.9] * 9), None, None)) == 1


def test_a_reading_taken_already_counts():
    assert take_readings(stepping(), Reading(1.9), None) == [Reading(1.9)]


def test_as_many_readings_as_asked_for():
    assert len(take_readings(stepping(*[0.9] * 4), Reading(0.9), 5)) == 5


def test_the_summary_is_the_median_and_the_range():
    timing = summarise([Reading(1.0, 0.5), Reading(5.0, 0.7), Reading(2.0, 0.6)])
    assert timing == (2.0, 4.0, 0.6)


def test_a_single_reading_has_no_spread():
    assert summarise([Reading(1.0)]) == (1.0, None, None)
