"""Peak memory of a call: the process's resident high-water mark on a CPU, the allocator's on a CUDA device.

Python's tracemalloc does not see what torch allocates, and `ru_maxrss` never goes down again; Linux lets a process
reset its high-water mark. The figure is that of the whole process, interpreter and libraries included: what a
machine must have to run the restorer on this image.
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

__all__ = ["available_mib", "peak_mib", "reset_peak", "resident_mib", "return_free_memory"]

MIB = 2**20
PROC, CGROUP = Path("/proc"), Path("/sys/fs/cgroup")


def reset_peak(device: str) -> None:
    """Start a new high-water mark at what is in use now."""
    if device.startswith("cuda"):
        import torch

        torch.cuda.reset_peak_memory_stats(device)
    elif device == "cpu" and sys.platform == "linux":
        Path("/proc/self/clear_refs").write_text("5")  # proc(5): reset the peak resident set size


def peak_mib(device: str) -> float | None:
    """High-water mark since `reset_peak`, in MiB. None where the system does not tell, as on "mps"."""
    if device == "mps":
        return None
    if device.startswith("cuda"):
        import torch

        return float(torch.cuda.max_memory_allocated(device)) / MIB
    return _status_mib("self", "VmHWM")


def resident_mib(pid: int) -> float | None:
    """Resident memory of another process in MiB. None if it is gone or the system does not tell."""
    return _status_mib(str(pid), "VmRSS")


def available_mib() -> float | None:
    """What programs that start now can have without swapping, of the machine and of this container; None if the
    system does not tell."""
    found = [_meminfo_mib("MemAvailable"), _left_in_container_mib()]
    return min((mib for mib in found if mib is not None), default=None)


def return_free_memory() -> None:
    """Give what the C library keeps for later back to the system, so that one image's peak is not the next one's."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it, musl does not
        if trim is not None:
            trim(0)


def _meminfo_mib(field: str) -> float | None:
    return _field_mib(PROC / "meminfo", field)


def _status_mib(process: str, field: str) -> float | None:
    return _field_mib(PROC / process / "status", field)


def _field_mib(path: Path, field: str) -> float | None:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024  # the kernel counts in KiB
    return None


def _left_in_container_mib() -> float | None:
    """By the limit of the control group that this process sees as the root, at least 1; None where there is none.

    Files that the kernel keeps in memory count as used, and go when a program wants their place.
    """
    try:
        most, used = (int((CGROUP / name).read_text()) for name in ("memory.max", "memory.current"))
        told = dict(line.split() for line in (CGROUP / "memory.stat").read_text().splitlines())
        files = int(told.get("inactive_file", 0)) + int(told.get("active_file", 0))
    except (OSError, ValueError):  # "max": no limit
        return None
    return max(1.0, (most - used + files) / MIB)
