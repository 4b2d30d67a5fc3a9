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

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from bench.data.toml import tomllib
from bench.errors import TrainingError, unknown
from bench.plugins.registry import RestorerInfo
from bench.task import Level, format_level, get_task

__all__ = ["Recipe", "find_recipe", "read_recipes", "read_tables"]

OPTIMIZERS = ("adam", "soap")


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
        kind = get_task(self.task).level
        for level in self.levels:
            if kind.parse(format_level(level)) is None:
                raise TrainingError(f"recipe '{self.name}': {self.task} takes {kind.expected}, not {level!r}.")
        for name in (
            *("held_out", "crop", "batch", "steps", "validate_every", "turn_every"),
            *("lr", "eps", "decay", "decay_every"),
        ):
            if not getattr(self, name) > 0:
                raise TrainingError(f"recipe '{self.name}': {name} is {getattr(self, name)}, expected more than 0.")
        if not all(0 < at < 1 for at in self.decay_at):
            raise TrainingError(f"recipe '{self.name}': decay_at is {self.decay_at}, expected fractions of 1.")
        if not 0 <= self.fix_norms_at <= 1:
            raise TrainingError(
                f"recipe '{self.name}': fix_norms_at is {self.fix_norms_at}, expected a fraction of 1."
            )
        if self.optimizer not in OPTIMIZERS:
            raise TrainingError(f"recipe '{self.name}': {unknown('optimizer', self.optimizer, OPTIMIZERS)}")
        if self.schedule not in ("cosine", "steps"):
            raise TrainingError(f"recipe '{self.name}': {unknown('schedule', self.schedule, ('cosine', 'steps'))}")

    def as_dict(self) -> dict[str, Any]:
        """All fields, as they go into a checkpoint and a card."""
        return asdict(self)


def read_recipes(path: Path) -> dict[str, Recipe]:
    """The recipes of one file, by name. Raises TrainingError naming file, recipe and key."""
    tables = read_tables(path, "There are no recipes")
    return {name: _recipe(name, _in_full(name, tables, path), path) for name in tables}


def read_tables(path: Path, if_missing: str) -> dict[str, Any]:
    """What a TOML file holds. Raises TrainingError naming the file, in the words `if_missing` if there is none."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise TrainingError(f"{if_missing} {path}.") from None
    except tomllib.TOMLDecodeError as error:
        raise TrainingError(f"{path}: {error}.") from None


def _in_full(name: str, tables: Mapping[str, Mapping[str, Any]], path: Path) -> dict[str, Any]:
    """A table with what it takes over from the one above it that its `like` names."""
    table = dict(tables[name])
    model = table.pop("like", None)
    if model is None:
        return table
    above = list(tables)[: list(tables).index(name)]
    if model not in above:
        raise TrainingError(f"{path}, recipe '{name}': like = {model!r}, expected one above it: {', '.join(above)}.")
    return {**_in_full(model, tables, path), **table}


def _recipe(name: str, table: Mapping[str, Any], path: Path) -> Recipe:
    known = {f.name: f for f in fields(Recipe) if f.name != "name"}
    for key in table:
        if key not in known:
            raise TrainingError(f"{path}, recipe '{name}': {unknown('key', key, known)}")
    required = [key for key, f in known.items() if f.default is f.default_factory]  # both MISSING
    for key in required:
        if key not in table:
            raise TrainingError(f"{path}, recipe '{name}' lacks the key '{key}'.")
    levels = tuple(level if isinstance(level, str) else float(level) for level in table.get("levels", ()))
    return Recipe(**{**table, "name": name, "levels": levels})


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
