"""What the runner and a restorer's process say to each other (pickled, both ends being ours)."""

from __future__ import annotations

from dataclasses import dataclass

from bench.measure.clocks import Timing
from bench.restorer import Image, Observation, Setting, WeightsFile

__all__ = ["Answer", "Failure", "Load", "Prepare", "Ready", "Restore", "Unable"]


@dataclass(frozen=True)
class Load:
    """Make the restorer: import its class (`bench.plugins.registry.RestorerInfo.target`).

    ensemble       average it over flips and rotations
    name, version  what its source says of itself
    folder, known  where its code is, and which files are: see bench.runner.unseen
    watch          note what it opens
    """

    target: str
    variant: str
    ensemble: bool
    device: str
    name: str
    version: str
    folder: str
    known: tuple[str, ...]
    watch: bool


@dataclass(frozen=True)
class Prepare:
    setting: Setting
    weights: WeightsFile | None


@dataclass(frozen=True)
class Restore:
    """timed: whether to take readings; readings: how many, None for the usual; seed: of the global generators."""

    seen: Observation
    timed: bool
    readings: int | None
    seed: int = 0


@dataclass(frozen=True)
class Ready:
    """Loaded or prepared. needs_weights, devices: what the loaded class says."""

    needs_weights: bool = False
    devices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Unable:
    """The restorer says that a setting is out of its reach."""

    reason: str


@dataclass(frozen=True)
class Failure:
    """An exception of the restorer's, in a line."""

    reason: str


@dataclass(frozen=True)
class Answer:
    """The restored image, and the figures taken with it: plain arrays and numbers, see `bench.plugins.boundary`.

    estimated_level    what the restorer took the level for, if it had to find out
    unseen             files of its own folder that it uses and that its code's hash does not know of
    seconds_restoring  spent in all calls of `restore` for this message, the warm-up included
    """

    x_hat: Image
    timing: Timing | None
    peak_mib: float | None
    params: int
    macs_per_pixel: float | None
    estimated_level: float | None
    seconds_restoring: float
    unseen: tuple[str, ...] = ()
