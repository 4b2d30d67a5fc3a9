"""Recipes: how a restorer is trained, as data in `recipes/<restorer>.toml` beside its module, or in any TOML file.

A table is a recipe. What the keys mean stands in bench/training/template.py, the recipe that `bench train --new`
writes. A key that is left out has the default of its field here, and `like` takes over what another table says:

    [ours]
    data = "bsd400"
    held_out = 20
    lr = 1e-3

    [other]
    like = "ours"                 what is not said here is as in that table, which stands above
    channels = 3
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from itertools import pairwise
from pathlib import Path
from sys import float_info
from typing import Any

from bench.data.toml import tomllib
from bench.errors import BenchError, RecipeError, TrainingError, unknown
from bench.level import Level, format_level
from bench.plugins.registry import RestorerInfo
from bench.tasks import Setting, get_task

__all__ = ["MOST", "MOST_SEED", "Recipe", "find_recipe", "read_recipes", "read_tables", "recipe_of"]

MOST = 10**9
"""of steps, and of whatever else is counted"""
MOST_CROPS = 10_000
MOST_PIXELS = 10**8
"""of a step"""
MOST_SEED = 2**63 - 1
MOST_BYTES = 1 << 20
"""of a file of recipes"""
MOST_NUMBER = float_info.max
MOST_TOLD = 60
"""letters of a value in a message"""

CHOICES = {"optimizer": ("adam", "sgd", "soap"), "schedule": ("cosine", "steps")}


@dataclass(frozen=True)
class Recipe:
    """One table of a recipe file; bench/training/template.py says what the fields mean.

    Raises RecipeError with all that will not do.
    """

    name: str
    source: str = ""
    task: str = "denoise"
    channels: int = 1
    data: str = "bsd400"
    held_out: int = 20
    crop: int = 40
    batch: int = 8
    steps: int = 5000
    lr: float = 1e-3
    eps: float = 1e-8
    schedule: str = "cosine"
    clip: float = 1.0
    ema: float = 0.0
    bf16: bool = False
    rotations: bool = True
    validate_every: int = 250
    backtrack_db: float = 0.0
    seed: int = 0
    optimizer: str = "adam"
    momentum: float = 0.9
    weight_decay: float = 0.0
    turn_every: int = 10
    teacher: str = ""
    warm_up: int = 0
    decay: float = 1.0
    decay_every: float = 1.0
    decay_at: tuple[float, ...] = ()
    backtrack_factor: float = 0.5
    fix_norms_at: float = 1.0
    levels: tuple[Level, ...] = ()
    also: Mapping[str, Sequence[Level]] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def network_options(self) -> dict[str, Any]:
        """The options of the network, with the levels that it learns if there are several."""
        return {**self.options, "levels": list(self.levels)} if len(self.levels) > 1 else dict(self.options)

    def levels_of(self, setting: Setting) -> dict[str, Sequence[Level]]:
        """By task, the levels that crops are degraded at: the setting's, if the recipe names none, and `also`."""
        return {setting.task: self.levels or (setting.level,), **self.also}

    def __post_init__(self) -> None:
        complaints = [*self._complaints()]
        if complaints:
            raise RecipeError(f"recipe '{self.name}': {complaint}" for complaint in complaints)

    def _complaints(self) -> Iterator[str]:
        """All that will not do. What goes together is looked at where each by itself will do."""
        wrong = {f.name: _wrong(f.name, str(f.type), getattr(self, f.name)) for f in fields(self)}
        yield from filter(None, wrong.values())

        def are_right(*names: str) -> bool:
            return not any(wrong[name] for name in names)

        for name, known in CHOICES.items():
            if are_right(name) and getattr(self, name) not in known:
                yield unknown(name, getattr(self, name), known)
        if are_right("task", "channels", "levels"):
            yield from self._complaints_of_a_task(self.task, self.levels)
        if are_right("also", "channels"):
            for name, levels in self.also.items():
                if name == self.task or not levels:
                    yield f"also.{name} is {_told(levels)}, expected levels of another task than {self.task}."
                yield from self._complaints_of_a_task(name, levels)
        if are_right("also", "teacher") and self.also and self.teacher:
            yield f"teacher is {_told(self.teacher)}, which answers {self.task} alone, expected none with also."
        if are_right("batch", "crop") and self.batch * self.crop**2 > MOST_PIXELS:
            yield (
                f"batch = {self.batch} crops of {self.crop}x{self.crop} pixels, expected {MOST_PIXELS} pixels a step"
                " at most."
            )

    def _complaints_of_a_task(self, name: str, levels: Sequence[Level]) -> Iterator[str]:
        try:
            task = get_task(name)
        except BenchError as error:
            yield str(error)
            return
        if task.channels not in (None, self.channels):
            yield f"channels is {self.channels}, expected {task.channels} for {name}."
        for level in levels:
            if task.level.parse(format_level(level)) is None:
                yield f"{name} takes {task.level.expected}, not {level!r}."
        if len({*levels}) < len(levels):
            yield f"{'levels' if name == self.task else f'also.{name}'} is {_told(levels)}, expected each once."

    def as_dict(self) -> dict[str, Any]:
        """All fields, as they go into a checkpoint and a card; `also` only where there is such a task."""
        told = asdict(self)
        if not self.also:
            del told["also"]
        return told


# --- what a value may be ---------------------------------------------------------------------------------


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= MOST_NUMBER


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_list_of(is_one: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, list | tuple) and all(map(is_one, value))


_is_levels = _is_list_of(lambda level: isinstance(level, str) or _is_number(level))


def _is_levels_of_tasks(value: object) -> bool:
    return isinstance(value, dict) and all(map(_is_levels, value.values()))


def _is_options(value: object) -> bool:
    return isinstance(value, dict) and all(map(_is_plain, value.values()))


def _is_plain(value: object) -> bool:
    """Whether it is of the kinds that TOML and JSON share; no dates."""
    if isinstance(value, list | dict):
        return all(map(_is_plain, value.values() if isinstance(value, dict) else value))
    return isinstance(value, str | bool) or _is_number(value)


KINDS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "str": (lambda value: isinstance(value, str), "a text"),
    "int": (_is_whole, "a whole number"),
    "float": (_is_number, "a number"),
    "bool": (lambda value: isinstance(value, bool), "true or false"),
    "tuple[float, ...]": (_is_list_of(_is_number), "a list of numbers"),
    "tuple[Level, ...]": (_is_levels, "a list of levels"),
    "Mapping[str, Sequence[Level]]": (_is_levels_of_tasks, "a table of tasks, each with a list of levels"),
    "Mapping[str, Any]": (_is_options, "a table of texts, numbers and lists"),
}
"""By the annotation of a field: is a value of that kind, and what the kind is called."""

COUNT = (lambda value: 0 < value <= MOST, f"more than 0, and {MOST} at most")
RATE = (lambda value: 0 < value <= 1000, "more than 0, and 1000 at most")
SHARE = (lambda value: 1e-6 <= value <= 1, "0.000001 to 1")
NOT_NEGATIVE = (lambda value: value >= 0, "0 or more")

RANGES: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "channels": (lambda value: value in (1, 3), "1 or 3"),
    **dict.fromkeys(("held_out", "crop", "steps", "validate_every", "turn_every"), COUNT),
    "batch": (lambda value: 0 < value <= MOST_CROPS, f"more than 0, and {MOST_CROPS} at most"),
    **dict.fromkeys(("lr", "eps"), RATE),
    **dict.fromkeys(("decay", "decay_every"), SHARE),
    **dict.fromkeys(("clip", "backtrack_db"), NOT_NEGATIVE),
    "warm_up": (lambda value: 0 <= value <= MOST, f"0 to {MOST}"),
    "ema": (lambda value: 0 <= value < 1, "0 or more, and less than 1"),
    "fix_norms_at": (lambda value: 0 <= value <= 1, "a fraction of 1"),
    "momentum": (lambda value: 0 <= value < 1, "0 or more, and less than 1"),
    "backtrack_factor": (lambda value: 0 < value <= 1, "more than 0, and 1 at most"),
    "decay_at": (lambda value: all(0 < at < 1 for at in value) and _is_rising(value), "fractions of 1 that rise"),
    "seed": (lambda value: 0 <= value <= MOST_SEED, f"0 to {MOST_SEED}"),
}


def _is_rising(values: Sequence[float]) -> bool:
    return all(a < b for a, b in pairwise(values))


def _wrong(name: str, annotation: str, value: Any) -> str:
    """What is wrong with the value of a field; "" if nothing is."""
    for is_right, expected in (KINDS[annotation], RANGES.get(name, KINDS[annotation])):
        if not is_right(value):
            return f"{name} is {_told(value)}, expected {expected}."
    return ""


def _told(value: object) -> str:
    """A value as it stands in a message: short, and on one line."""
    try:
        text = repr([*value] if isinstance(value, tuple) else value)
    except ValueError:  # a number of thousands of digits
        text = "a number of thousands of digits"
    return text if len(text) <= MOST_TOLD else f"{text[: MOST_TOLD - 1]}…"


# --- reading ---------------------------------------------------------------------------------------------


def read_recipes(path: Path) -> dict[str, Recipe]:
    """The recipes of one file, by name, one at least.

    Raises TrainingError naming file, recipe and key; all that is wrong with the values of all recipes at once.
    """
    tables = read_tables(path, "There are no recipes")
    in_full: dict[str, dict[str, Any]] = {}
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise TrainingError(f"{path}: {name} = {_told(table)} stands in no recipe, expected a table [{name}].")
        in_full[name] = _in_full(name, table, in_full, path)
    if not in_full:
        raise TrainingError(f"{path} has no recipe, expected a table at least: [ours].")
    made: dict[str, Recipe] = {}
    complaints: list[str] = []
    for name, table in in_full.items():
        try:
            made[name] = recipe_of(name, table)
        except RecipeError as error:
            complaints += error.lines
    if complaints:
        raise RecipeError(f"{path}, {complaint}" for complaint in complaints)
    return made


def read_tables(path: Path, if_missing: str) -> dict[str, Any]:
    """What a TOML file holds. Raises TrainingError naming the file, in the words `if_missing` if there is none."""
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise TrainingError(f"{path} has more than {MOST_BYTES} bytes: not read.")
        return tomllib.loads(content.decode("utf-8"))
    except FileNotFoundError:
        raise TrainingError(f"{if_missing} {path}.") from None
    except OSError as error:
        raise TrainingError(f"{path} cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError as error:
        raise TrainingError(f"{path} is no UTF-8 text (byte {error.start}).") from None
    except RecursionError:
        raise TrainingError(f"{path} has tables or lists nested too deeply.") from None
    except ValueError as error:  # TOMLDecodeError, and a number of thousands of digits
        raise TrainingError(f"{path}: {str(error).rstrip('.')}.") from None


def _in_full(name: str, table: Mapping[str, Any], above: Mapping[str, dict[str, Any]], path: Path) -> dict[str, Any]:
    """A table with what it takes over from the one above it that its `like` names."""
    model = table.get("like")
    if model is None:
        return dict(table)
    if not (isinstance(model, str) and model in above):
        raise TrainingError(
            f"{path}, recipe '{name}': like = {_told(model)}, expected one above it: {', '.join(above) or 'none is'}."
        )
    return {**above[model], **{key: value for key, value in table.items() if key != "like"}}


def recipe_of(name: str, table: Mapping[str, Any]) -> Recipe:
    """The recipe of one table.

    Raises RecipeError with the keys that there are not, and all that is wrong with the values of the others.
    """
    keys = [f.name for f in fields(Recipe) if f.name != "name"]
    strange = [f"recipe '{name}': {_strange(key, keys)}" for key in table if key not in keys]
    values = {key: value for key, value in table.items() if key in keys}
    if "levels" in values:
        values["levels"] = _as_levels(values["levels"])
    if isinstance(values.get("also"), dict):
        values["also"] = {task: _as_levels(levels) for task, levels in values["also"].items()}
    if isinstance(values.get("decay_at"), list):
        values["decay_at"] = tuple(values["decay_at"])
    try:
        recipe = Recipe(name, **values)
    except RecipeError as error:
        raise RecipeError([*strange, *error.lines]) from None
    if strange:
        raise RecipeError(strange)
    return recipe


def _as_levels(value: Any) -> Any:
    """Levels as they are parsed from a command line: numbers with a point. What is no list stays as it is."""
    if not isinstance(value, list):
        return value
    return tuple(float(level) if _is_number(level) else level for level in value)


def _strange(key: str, keys: Sequence[str]) -> str:
    """A key that there is not. Of the thirty that there are the nearest is told, if one is near."""
    if difflib.get_close_matches(key, keys, n=1):
        return unknown("key", key, keys).partition(" Known:")[0]
    return unknown("key", key, keys)


IN_FILE = re.compile(r"(?P<file>.*\.toml)(?::(?P<name>.*))?", re.DOTALL)
"""`mine.toml` or `mine.toml:other` behind --recipe"""


def find_recipe(info: RestorerInfo, asked: str | None) -> Recipe:
    """A recipe of a restorer's own file, by name or its first; or of another, `mine.toml` or `mine.toml:other`.

    Raises TrainingError.
    """
    in_file = IN_FILE.fullmatch(asked or "")
    if in_file:
        path, name, where = Path(in_file["file"]).expanduser(), in_file["name"], in_file["file"]
    else:
        path, name, where = info.companion(f"recipes/{info.name}.toml"), asked, info.name
    if not path.exists() and in_file:
        raise TrainingError(f"There is no recipe {path}. Write one to begin with: bench train --new {path}.")
    if not path.is_file() and not in_file:
        raise TrainingError(
            f"There is no recipe for {info.name} ({path}). Write one with: bench train --new mine.toml, and name it"
            " behind --recipe."
        )
    recipes = read_recipes(path)
    if name is None:
        return next(iter(recipes.values()))
    if name not in recipes:
        raise TrainingError(f"{where}: {unknown('recipe', name, recipes)}")
    return recipes[name]
