"""The machine that measures: what a record's key holds of it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property

from bench.measure.devices import card
from bench.measure.environment import environment, of_layout_3

__all__ = ["Machine", "digest"]


@dataclass(frozen=True)
class Machine:
    """A device, and what is around it. Often this one, of a cluster another.

    device       `cpu`, `cuda`, `cuda:1`, `mps`
    threads      that a restorer's process is given
    card         what the accelerator is called; "" for a CPU
    environment  machine and versions: see `bench.measure.environment`
    """

    device: str
    threads: int
    card: str
    environment: str

    @classmethod
    def here(cls, device: str, threads: int) -> Machine:
        """This machine. Imports torch for any device but the CPU."""
        return cls(device, threads, card(device), environment())

    @cached_property
    def timing_key(self) -> str:
        """Hash of what can change a time."""
        return digest(self.device, self.threads, self.environment)

    @cached_property
    def timing_key_of_layout_3(self) -> str:
        return digest(self.device, self.threads, of_layout_3(self.environment))


def digest(*parts: object) -> str:
    """24 hexadecimal digits of the SHA-256 of values that JSON has."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]
