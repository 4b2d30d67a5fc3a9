"""What a record says of where it was made: machine and versions, as one line of JSON."""

from __future__ import annotations

import json
import os
import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = ["describe", "environment", "n_cores", "with_device"]

PACKAGES = ("bench", "torch", "numpy", "scipy", "scikit-image", "pillow", "bm3d", "colour-demosaicing")


def n_cores() -> int:
    """Cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        return os.cpu_count() or 1


@cache
def describe() -> dict[str, str]:
    """Machine, system and the versions of what results may depend on."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "cpu": _cpu_model(),
        "cores": str(n_cores()),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **versions,
    }


@cache
def environment() -> str:
    """`describe()` as JSON with sorted keys: the record's `environment`."""
    return json.dumps(describe(), sort_keys=True)


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def with_device(name: str) -> str:
    """`environment()` with the accelerator's name, if there is one."""
    return json.dumps({**describe(), "gpu": name}, sort_keys=True) if name else environment()
