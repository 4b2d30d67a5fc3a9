"""A record's `environment` in words: the machine, and the versions on it."""

from __future__ import annotations

import json

__all__ = ["in_short", "machine"]


def machine(environment: str) -> tuple[str, str]:
    """`NVIDIA H200, 16 cores of Intel Xeon, Linux x86_64`, and `python 3.11, torch 2.13.0`; as it is if not JSON."""
    try:
        told = _told(environment)
    except ValueError:
        return environment, ""
    gpu, cores, system = told.pop("gpu", ""), _cores(told), told.pop("system", "")
    return ", ".join(filter(None, (gpu, cores, system))), ", ".join(f"{k} {v}" for k, v in told.items())


def in_short(environment: str) -> str:
    """`NVIDIA H200, torch 2.13.0`, or without an accelerator `2 cores of AMD EPYC, torch 2.13.0`; "" if untold."""
    try:
        told = _told(environment)
    except ValueError:
        return ""
    computing = told.pop("gpu", "") or _cores(told)
    torch = f"torch {told['torch']}" if "torch" in told else ""
    return ", ".join(filter(None, (computing, torch)))


def _told(environment: str) -> dict[str, str]:
    """Raises ValueError for what is no JSON of names and texts."""
    told = json.loads(environment)
    if not isinstance(told, dict):
        raise ValueError(environment)
    return {str(name): str(value) for name, value in told.items()}


def _cores(told: dict[str, str]) -> str:
    cpu, cores = told.pop("cpu", ""), told.pop("cores", "")
    return f"{cores} core{'s' * (cores != '1')} of {cpu}" if cores and cpu else cpu
