"""Peak memory: of this call, not of an earlier one."""

import os
import sys

import numpy as np
import pytest
import torch

from bench.measure import memory
from bench.measure.memory import available_mib, peak_mib, reset_peak, resident_mib, return_free_memory

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="read from /proc")


def peak_of(n_mib):
    return_free_memory()
    reset_peak("cpu")
    np.ones((n_mib, 2**17)).sum()
    return peak_mib("cpu")


def test_the_peak_is_that_of_the_call_and_forgets_larger_ones():
    large, small = peak_of(200), peak_of(20)
    assert large - small == pytest.approx(180, abs=15)


def test_resident_memory_of_a_process():
    assert 5 < resident_mib(os.getpid()) < 100_000
    assert resident_mib(2**22 + 1) is None


def test_what_is_free_is_the_least_of_the_machines_and_the_containers(tmp_path, monkeypatch):
    assert 5 < available_mib() < 10_000_000
    monkeypatch.setattr(memory, "PROC", tmp_path)
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    assert available_mib() is None
    (tmp_path / "meminfo").write_text("MemTotal: 99999 kB\nMemAvailable:    8192 kB\n")
    (tmp_path / "memory.current").write_text(f"{3 * 2**20}\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert available_mib() == 8
    (tmp_path / "memory.max").write_text(f"{5 * 2**20}\n")
    (tmp_path / "memory.stat").write_text("anon 77\nfile 88\ninactive_file 0\nactive_file 0\n")
    assert available_mib() == 2
    (tmp_path / "memory.stat").write_text(f"anon 77\ninactive_file {2**20}\nactive_file {2**19}\n")
    assert available_mib() == 3.5
    (tmp_path / "memory.current").write_text(f"{9 * 2**20}\n")
    assert available_mib() == 1


def test_the_peak_of_a_cuda_device_is_its_own(monkeypatch):
    reset = []
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", reset.append)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", {"cuda": 2**20, "cuda:1": 3 * 2**20}.get)
    for device in ("cuda", "cuda:1"):
        reset_peak(device)
    assert reset == ["cuda", "cuda:1"]
    assert [peak_mib(device) for device in ("cuda", "cuda:1")] == [1.0, 3.0]


def test_mps_tells_no_peak():
    reset_peak("mps")
    assert peak_mib("mps") is None
