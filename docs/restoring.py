"""A restorer's answers to the pictures of `sample`, in this process: for a picture and a table of these pages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bench.data.datasets import get, read

from bench.plugins.registry import choose, load_class
from bench.plugins.weights import pick
from bench.protocol import get_protocol
from bench.task import Observation
from bench.tasks import Setting

PROTOCOL = get_protocol("standard-v1")


@dataclass(frozen=True)
class Degraded:
    """A picture, gray, (H, W, 1) in [0, 1], and what restorers see of it."""

    name: str
    clean: Any
    seen: Observation
    setting: Setting


def degraded(sigma: float = 25.0) -> list[Degraded]:
    """The pictures of `sample` with the noise that a run gives them."""
    setting, dataset = Setting("denoise", sigma, 1), get("sample")
    found = []
    for entry in dataset.entries:
        clean = read(dataset, entry).pixels
        seed = PROTOCOL.seed(setting, dataset.name, entry.name, 0)
        found.append(Degraded(entry.name, *PROTOCOL.degrade(clean, setting, seed), setting))
    return found


def restored(name: str, pictures: list[Degraded]) -> list[Any]:
    """The answers of a restorer, as `--methods` names it."""
    spec = choose(name)
    setting = pictures[0].setting
    restorer = load_class(spec.info.target)(spec.variant, pick(spec, setting).file)
    restorer.prepare(setting, "cpu")
    return [restorer.restore(picture.seen) for picture in pictures]
