"""Recipes: how a restorer is trained, as data in `recipes/<restorer>.toml` beside its module.

A table is a recipe. The file says it in full, so that a reader sees all that a training depends on:

    [ours]
    source = "…"                  where the settings come from
    task = "denoise"              with `channels`, what it is for; the level is asked for: --sigma 25
    channels = 1
    levels = [10, 20]             or it is said here; of several each step draws one, and the network, which is told
                                  them as an option, learns all
    data = "bsd400"               the training set; its last `held_out` images, by name, only validate
    held_out = 20
    crop = 56                     side of the square crops, in pixels
    batch = 4                     crops per step
    steps = 2000
    optimizer = "adam"            or "soap": see bench/training/soap.py
    lr = 1e-3                     the optimizer's, at the start of the schedule
    eps = 1e-8                    the optimizer's
    turn_every = 10               steps between two turns of SOAP's bases
    warm_up = 0                   steps in which it rises to that
    schedule = "cosine"           to zero; or "steps": times `decay` after every `decay_every` of the training
    decay = 0.35
    decay_every = 0.2667
    decay_at = []                 or at these fractions of the training, if any are given
    clip = 0.0                    largest norm of the gradient; 0: not clipped. Not finite: the step is left out
    ema = 0.0                     decay of the running mean of the weights that is validated and exported; 0: none
    fix_norms_at = 1.0            from this fraction of the training on, batch normalisation goes by what it has seen
                                  so far, as it will when it restores, and no longer by the batch
    bf16 = false                  products in bfloat16 (autocast); the weights and their updates stay in float32
    teacher = ""                  a network, named as for `bench run` ("dncnn@published"): in the loss its answers to
                                  the degraded crops stand for the clean ones; see bench/training/teacher.py
    rotations = true              crops are flipped, and turned by 90 degrees if true
    validate_every = 250          steps
    backtrack_db = 0.0            a validation PSNR this much below the last accepted one takes the training back to
    backtrack_factor = 0.5        it, with the learning rate times this; 0: never
    seed = 0
    options = { }                 of the network

    [other]
    like = "ours"                 what is not said here is as in that table, which stands above
    channels = 3
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from itertools import pairwise
from pathlib import Path
from sys import float_info
from typing import Any

from bench.data.toml import tomllib
from bench.errors import BenchError, TrainingError, unknown
from bench.plugins.registry import RestorerInfo
from bench.task import Level, format_level, get_task

__all__ = ["MOST", "Recipe", "find_recipe", "read_recipes", "read_tables"]

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

CHOICES = {"optimizer": ("adam", "soap"), "schedule": ("cosine", "steps")}


@dataclass(frozen=True)
class Recipe:
    """One table of a recipe file; the module's docstring says what the fields mean."""

    name: str
    source: str
    task: str
    channels: int
    data: str
    held_out: int
    crop: int
    batch: int
    steps: int
    lr: float
    eps: float
    schedule: str
    clip: float
    ema: float
    bf16: bool
    rotations: bool
    validate_every: int
    backtrack_db: float
    seed: int
    optimizer: str = "adam"
    turn_every: int = 10
    teacher: str = ""
    warm_up: int = 0
    decay: float = 1.0
    decay_every: float = 1.0
    decay_at: Sequence[float] = ()
    backtrack_factor: float = 0.5
    fix_norms_at: float = 1.0
    levels: tuple[Level, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def network_options(self) -> dict[str, Any]:
        """The options of the network, with the levels that it learns if there are several."""
        return {**self.options, "levels": list(self.levels)} if len(self.levels) > 1 else dict(self.options)

    def __post_init__(self) -> None:
        for f in fields(self):
            wrong = _wrong(f.name, str(f.type), getattr(self, f.name))
            if wrong:
                raise TrainingError(f"recipe '{self.name}': {wrong}")
        task = get_task(self.task)
        kind = task.level
        if task.channels not in (None, self.channels):
            raise TrainingError(
                f"recipe '{self.name}': channels is {self.channels}, expected {task.channels} for {self.task}."
            )
        for level in self.levels:
            if kind.parse(format_level(level)) is None:
                raise TrainingError(f"recipe '{self.name}': {self.task} takes {kind.expected}, not {level!r}.")
        if len({*self.levels}) < len(self.levels):
            raise TrainingError(f"recipe '{self.name}': levels is {_told([*self.levels])}, expected each once.")
        if self.batch * self.crop**2 > MOST_PIXELS:
            raise TrainingError(
                f"recipe '{self.name}': batch = {self.batch} crops of {self.crop}x{self.crop} pixels,"
                f" expected {MOST_PIXELS} pixels a step at most."
            )
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise TrainingError(f"recipe '{self.name}': {unknown(name, getattr(self, name), known)}")

    def as_dict(self) -> dict[str, Any]:
        """All fields, as they go into a checkpoint and a card."""
        return asdict(self)


# --- what a value may be ---------------------------------------------------------------------------------


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= MOST_NUMBER


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_list_of(is_one: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, list | tuple) and all(map(is_one, value))


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
    "Sequence[float]": (_is_list_of(_is_number), "a list of numbers"),
    "tuple[Level, ...]": (_is_list_of(lambda level: isinstance(level, str) or _is_number(level)), "a list of levels"),
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
        text = repr(value)
    except ValueError:  # a number of thousands of digits
        text = "a number of thousands of digits"
    return text if len(text) <= MOST_TOLD else f"{text[: MOST_TOLD - 1]}…"


# --- reading ---------------------------------------------------------------------------------------------


def read_recipes(path: Path) -> dict[str, Recipe]:
    """The recipes of one file, by name, one at least. Raises TrainingError naming file, recipe and key."""
    tables = read_tables(path, "There are no recipes")
    in_full: dict[str, dict[str, Any]] = {}
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise TrainingError(f"{path}: {name} = {_told(table)} stands in no recipe, expected a table [{name}].")
        in_full[name] = _in_full(name, table, in_full, path)
    if not in_full:
        raise TrainingError(f"{path} has no recipe, expected a table at least: [ours].")
    return {name: _recipe(name, table, path) for name, table in in_full.items()}


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


def _recipe(name: str, table: Mapping[str, Any], path: Path) -> Recipe:
    known = {f.name: f for f in fields(Recipe) if f.name != "name"}
    for key in table:
        if key not in known:
            raise TrainingError(f"{path}, recipe '{name}': {unknown('key', key, known)}")
    required = [key for key, f in known.items() if f.default is f.default_factory]  # both MISSING
    for key in required:
        if key not in table:
            raise TrainingError(f"{path}, recipe '{name}' lacks the key '{key}'.")
    levels = table.get("levels", ())
    if isinstance(levels, list):
        levels = tuple(float(level) if _is_number(level) else level for level in levels)
    try:
        return Recipe(**{**table, "name": name, "levels": levels})
    except BenchError as error:
        raise TrainingError(f"{path}, {error}") from None


def find_recipe(info: RestorerInfo, name: str | None) -> Recipe:
    """The recipe of that name for a restorer, or the first of its file. Raises TrainingError."""
    path = info.companion(f"recipes/{info.name}.toml")
    if not path.is_file():
        raise TrainingError(f"There is no recipe for {info.name} ({path}).")
    recipes = read_recipes(path)
    if name is None:
        return next(iter(recipes.values()))
    if name not in recipes:
        raise TrainingError(f"{info.name}: {unknown('recipe', name, recipes)}")
    return recipes[name]
