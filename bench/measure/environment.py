"""What a record says of where it was made: machine and versions, as one line of JSON."""

from __future__ import annotations

import json
import os
import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

__all__ = [
    "PACKAGES",
    "PACKAGES_OF_LAYOUT_3",
    "describe",
    "environment",
    "n_cores",
    "of_layout_3",
    "overload",
    "with_device",
]

PACKAGES_OF_LAYOUT_3 = (
    "bench",
    "torch",
    "numpy",
    "scipy",
    "scikit-image",
    "pillow",
    "bm3d",
    "colour-demosaicing",
)
"""What stores of the third layout told; their keys hold it."""

LATER = ("bm4d", "numba", "llvmlite", "PyWavelets", "safetensors", "blas")
PACKAGES = (*PACKAGES_OF_LAYOUT_3, *LATER)
"""All that can change an answer. `blas` is NumPy's; bm4d is what the package bm3d computes with."""


def n_cores() -> int:
    """Cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        return os.cpu_count() or 1


MOST_OVER_CORES = 0.5
"""of the load: what runs at times, beside a restorer that uses every core"""


def overload() -> float:
    """The machine's load, a mean over the last minute, where it is above its cores; 0 where it is not, or not told.

    Then times are longer than they are: threads wait for cores, and OpenMP's for each other.
    """
    try:
        load = os.getloadavg()[0]
    except OSError:
        return 0.0
    return load if load > (os.cpu_count() or 1) + MOST_OVER_CORES else 0.0


@cache
def describe(packages: tuple[str, ...] = PACKAGES) -> dict[str, str]:
    """Machine, system and the versions of what results may depend on."""
    versions = {package: _blas() if package == "blas" else _version(package) for package in packages}
    return {
        "cpu": _cpu_model(),
        "cores": str(n_cores()),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{package: told for package, told in versions.items() if told},
    }


@cache
def environment() -> str:
    """`describe()` as JSON with sorted keys: the record's `environment`."""
    return json.dumps(describe(), sort_keys=True)


def of_layout_3(environment: str) -> str:
    """What stores of the third layout told of an environment."""
    told = {name: text for name, text in json.loads(environment).items() if name not in LATER}
    return json.dumps(told, sort_keys=True)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _blas() -> str:
    """`scipy-openblas 0.3.31`: what NumPy was built with; empty where it does not say."""
    import numpy as np

    told: Any = np.show_config(mode="dicts")
    built = told.get("Build Dependencies", {}).get("blas", {})
    return f"{built.get('name', '')} {built.get('version', '')}".strip()


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
