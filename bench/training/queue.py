"""Weights that deserve more training: `methods/weights/wanted.toml`, and the page WANTED.md that is written from it.

    [[wanted]]
    restorer = "groupsc"          as `bench train` takes it, with its variant: "nsr:sparse-"
    sigma = 25                    or quality, scale, pattern; left out where the recipe names its levels itself
    recipe = "gpu"                a table of recipes/<restorer>.toml
    start = "….safetensors"       the file in methods/weights/ that it begins from; left out: from nothing
    tag = "groupsc.gray-25"       the entry of weights.toml that it would replace; left out: there is none yet
    minutes = 3                   what a day on a GPU gives it
    why = "…"                     where it stands
    goal = "…"                    what it is held against

The entries stand in the order in which they are wanted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from bench.errors import RestorerError, TrainingError, unknown
from bench.level import format_level
from bench.plugins.registry import RestorerInfo, choose
from bench.plugins.weights import declarations
from bench.tasks import TASKS, colour_word, get_task
from bench.training.recipe import Recipe, find_recipe, read_tables

__all__ = ["Wanted", "page", "wanted"]

LEVELS = tuple(dict.fromkeys(task.level.name for task in TASKS.values()))
REQUIRED = ("restorer", "recipe", "minutes", "why", "goal")
OPTIONAL = ("start", "tag", *LEVELS)
TEXTS = ("restorer", "recipe", "start", "tag", "why", "goal")


@dataclass(frozen=True)
class Wanted:
    """One training; the module's docstring says what the fields mean.

    levels   the options of `bench train` that name its level, e.g. {"sigma": "25"}; empty if its recipe does
    start    a file name, or ""
    tag      "restorer.tag", or ""
    """

    restorer: str
    levels: dict[str, str]
    recipe: str
    start: str
    tag: str
    minutes: float
    why: str
    goal: str

    @property
    def data(self) -> str:
        """The training set of its recipe."""
        return self._recipe.data

    @property
    def command(self) -> str:
        """What one types to train it on a GPU, in the root of the repository."""
        words = ["bench train", self.restorer]
        words += [f"--{name} {level}" for name, level in self.levels.items()]
        words += [f"--recipe {self.recipe}", "--device cuda"]
        if self.start:
            words.append(f"--start methods/weights/{self.start}")
        return " ".join(words)

    @property
    def what(self) -> str:
        """`groupsc, gray, sigma 25`"""
        return ", ".join((self.restorer, self._kind, *(f"{name} {level}" for name, level in self.levels.items())))

    @property
    def folder(self) -> str:
        """`groupsc-gray-25`: the name of its folder; no other entry has it."""
        name = "-".join((self.restorer, self._kind, *self.levels.values()))
        return re.sub(r"[^A-Za-z0-9]+", "-", name)

    @property
    def _kind(self) -> str:
        """`gray` or `colour` of plain noise, else the task: `deblock`."""
        if self._recipe.task != "denoise":
            return self._recipe.task
        return colour_word(self._recipe.channels)

    @property
    def _recipe(self) -> Recipe:
        return find_recipe(choose(self.restorer).info, self.recipe)


# --- reading -------------------------------------------------------------------------------------


def wanted(path: Path | None = None) -> list[Wanted]:
    """The entries of the packaged queue, or of another file. Raises TrainingError naming file, entry and key."""
    path = path or Path(str(resources.files("bench.methods"))) / "weights" / "wanted.toml"
    tables = read_tables(path, "There is no queue")
    for key in tables:
        if key != "wanted":
            raise TrainingError(f"{path}: {unknown('table', key, ['wanted'])}")
    entries: dict[str, Wanted] = {}
    for number, table in enumerate(tables.get("wanted", []), 1):
        entry = _entry(table, f"{path}, entry {number}")
        if entry.folder in entries:
            raise TrainingError(f"{path}, entry {number}: {entry.what} stands in it already.")
        entries[entry.folder] = entry
    return list(entries.values())


def _entry(table: Mapping[str, Any], where: str) -> Wanted:
    known = (*REQUIRED, *OPTIONAL)
    for key, value in table.items():
        if key not in known:
            raise TrainingError(f"{where}: {unknown('key', key, known)}")
        if key in TEXTS and not isinstance(value, str):
            raise TrainingError(f"{where}: {key} = {value!r}, expected a text.")
    for key in REQUIRED:
        if key not in table:
            raise TrainingError(f"{where} lacks the key '{key}'.")
    try:
        info = choose(table["restorer"]).info
        recipe = find_recipe(info, table["recipe"])
    except (RestorerError, TrainingError) as error:
        raise TrainingError(f"{where}: {error}") from None
    minutes = table["minutes"]
    if not (isinstance(minutes, int | float) and minutes > 0):
        raise TrainingError(f"{where}: minutes = {minutes!r}, expected a number above 0.")
    shipped = _shipped(info)
    return Wanted(
        restorer=table["restorer"],
        levels=_levels(table, recipe, where),
        recipe=table["recipe"],
        start=_known("start", table, shipped.values(), where),
        tag=_known("tag", table, shipped, where),
        minutes=float(minutes),
        why=table["why"],
        goal=table["goal"],
    )


def _shipped(info: RestorerInfo) -> dict[str, str]:
    """File names of our weights of a restorer, by `restorer.tag`: as declared, for an install may lack some."""
    declared = declarations(info.companion("weights.toml"))
    return {f"{d.restorer}.{d.tag}": d.path.name for d in declared if d.restorer == info.name and d.path is not None}


def _known(key: str, table: Mapping[str, Any], known: Iterable[str], where: str) -> str:
    """The value of a key that may be left out, and otherwise is one of those known."""
    value: str = table.get(key, "")
    if value and value not in known:
        raise TrainingError(f"{where}: {unknown(key, value, known)}")
    return value


def _levels(table: Mapping[str, Any], recipe: Recipe, where: str) -> dict[str, str]:
    """The level that the recipe asks for, spelled as `bench train` does; nothing if it names its own."""
    task = get_task(recipe.task)
    asked_for = [] if recipe.levels else [task.level.name]
    given = [name for name in LEVELS if name in table]
    if given != asked_for:
        expected = asked_for[0] if asked_for else "none: it names its levels itself"
        raise TrainingError(
            f"{where}: level: {', '.join(given) or 'none'}; the recipe '{recipe.name}' takes {expected}."
        )
    levels: dict[str, str] = {}
    for name in given:
        level = task.level.parse(str(table[name]))
        if level is None:
            raise TrainingError(f"{where}: {name} = {table[name]!r}; {task.name} takes {task.level.expected}.")
        levels[name] = format_level(level)
    return levels


# --- the page ------------------------------------------------------------------------------------

INTRODUCTION = """\
# Weights that deserve more training

`bench weights wanted --markdown` writes this page from `wanted.toml`, which says why in this order. The commands are
for a GPU, in the root of the repository. On a CPU leave out `--device` and take the recipe without `gpu`.

`.ci/gpu pack` makes a folder with all that a bare GPU machine needs. There `gpu run` takes this queue from its top
for the minutes it has, and here `.ci/gpu home` ships what is better than the present weights on the crops held out.
By hand: copy `weights.safetensors` and its card `weights.json` here under the tag's name, and enter their sha256 in
`methods/weights.toml`. A card tells its recipe field by field. Its name may have been a trial's, and be in no file.

Every recipe `gpu` of a gray network has been timed on an NVIDIA H200 for some dozens of steps. Nothing has been
trained to an end on a GPU yet.

| what | why | goal | command |
|---|---|---|---|
"""


def page(entries: Iterable[Wanted]) -> str:
    """The text of methods/weights/WANTED.md."""
    return INTRODUCTION + "".join(map(_row, entries))


def _row(entry: Wanted) -> str:
    cells = (entry.what, entry.why, entry.goal, f"`{entry.command}`")
    escaped = [cell.replace("|", r"\|") for cell in cells]
    return f"| {' | '.join(escaped)} |\n"
