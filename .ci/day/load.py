"""What travels to a bare GPU machine: what is measured there, then the trainings of the queue, while they fit."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from bench.data import datasets

from bench.plugins.registry import choose, infos
from bench.plugins.weights import Declaration, candidates, fetch
from bench.tasks import Setting
from bench.training.queue import Wanted, wanted
from bench.training.recipe import find_recipe

LIMIT = 60_000_000
"""Bytes that travel."""

MARGIN = 300_000
"""Bytes kept for what is not weighed beforehand: scripts, tests, the headers in a wheel."""

SETTING = Setting("denoise", 25.0, 1)
"""What the restorers are measured at; more travels only for the trainings."""

DATASETS = ("set12", "bsd68")
PUBLISHED = ("cscnet", "dncnn", "ffdnet", "lidia")
"""Restorers whose published weights travel; of the others, ours do."""

ROOMS = ("bench", "data", "methods", "results")
PACKED = "packed"


@dataclass
class Load:
    """What travels, and its weight in bytes as far as that is known beforehand.

    ours  names of files in methods/weights that go into the wheel
    """

    weights: Path
    size: int
    ours: set[str] = field(default_factory=set)
    published: list[Declaration] = field(default_factory=list)
    sets: list[str] = field(default_factory=list)
    trainings: list[tuple[Wanted, str]] = field(default_factory=list)

    def add_weights(self, declaration: Declaration) -> None:
        if declaration.path:
            self.ours.add(declaration.path.name)
            self.size += deflated([declaration.path])
        else:
            self.published.append(declaration)
            self.size += fetch(declaration).path.stat().st_size

    def add_set(self, name: str) -> None:
        self.sets.append(name)
        self.size += weight_of_set(name)

    def add_training(self, entry: Wanted) -> None:
        """Take an entry of the queue, or say why it stays."""
        more = weight_of_set(entry.data) if entry.data not in self.sets else 0
        if entry.start and entry.start not in self.ours:
            more += deflated([self.weights / entry.start])
        teachers = [weights for weights in taught_by(entry) if weights not in self.published]
        more += sum(fetch(weights).path.stat().st_size for weights in teachers)
        excess = self.size + more + MARGIN - LIMIT
        if excess > 0:
            answer = f"left out: {more / 1e6:.1f} MB more, {excess / 1e6:.1f} too many"
        else:
            answer = PACKED
            self.size += more
            self.ours |= {entry.start} - {""}
            self.published += teachers
            self.sets += [entry.data] if entry.data not in self.sets else []
        self.trainings.append((entry, answer))


def choose_load(root: Path, files: Iterable[str]) -> Load:
    """What is measured, then the trainings of the queue in its order, while they fit."""
    code = [root / name for name in files if name.startswith(ROOMS) and is_code(name)]
    load = Load(root / "methods/weights", deflated(code))
    for name in infos():
        origin = "published" if name in PUBLISHED else "ours"
        for declaration in candidates(choose(f"{name}@{origin}"), SETTING):
            load.add_weights(declaration)
    for name in DATASETS:
        load.add_set(name)
    for entry in wanted():
        load.add_training(entry)
    return load


def taught_by(entry: Wanted) -> list[Declaration]:
    """The published weights of the teacher of its recipe, if it has one."""
    recipe = find_recipe(choose(entry.restorer).info, entry.recipe)
    if not recipe.teacher:
        return []
    levels = recipe.levels or [float(level) for level in entry.levels.values()]
    settings = [Setting(recipe.task, level, recipe.channels) for level in levels]
    found = [weights for setting in settings for weights in candidates(choose(recipe.teacher), setting)[:1]]
    return list(dict.fromkeys(found))


def is_code(name: str) -> bool:
    return not name.endswith(".safetensors")


def weight_of_set(name: str) -> int:
    return sum(entry.bytes for entry in datasets.get(name).entries)


def deflated(paths: Iterable[Path]) -> int:
    """Bytes of the files in a wheel."""
    return sum(len(zlib.compress(path.read_bytes())) for path in paths)


def required(load: Load) -> set[str]:
    """The packages that the day's restorers ask for beyond the project's own."""
    names = {name for name in infos() if candidates(choose(name), SETTING)}
    names |= {entry.restorer for entry, answer in load.trainings if answer == PACKED}
    return {package for name in names for package in choose(name).info.requires}
