"""Ablations: the same training with one thing or another left out, as data in a TOML file.

    claim = "…"                   what the paper says of it, in one line
    source = "dncnn-2017, Fig. 2" where
    restorer = "dncnn-fig2"       as `bench train` takes it
    recipe = "rl-bn"              of the restorer's own recipes, or `mine.toml:mine`; left out: the first
    sigma = 25                    or quality, scale, pattern, level: trained for and measured at; one of
                                  the recipe's levels, if it names some
    seeds = [0, 1]                two at least: crops, noise and first weights
    steps = 1000                  the budget of each training; or
    macs = 1e13                   multiply-accumulates of its forward passes: a dear variant has fewer steps
    test = "set12"                what the last weights are measured on, by standard-v1
    limit = 4                     only the first so many of its pictures; left out: all

    [all]                         keys of a recipe, other than the recipe's in all variants
    crop = 32

    [variants."with both"]        the first variant, which the others are held against
    [variants."without"]
    options = { residual = false }    keys of a recipe that differ; options are added to those there are
    paper_difference = "worse"    what the paper says of it beside the first: dB, or better, worse, alike; or
    paper_psnr_db = 28.9          the paper's figure, which the first has too

Every variant has the same crops and noise for a seed. Seed, steps and validations are the ablation's own.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import BenchError, RecipeError, TrainingError, unknown
from bench.level import LEVEL_OPTIONS, Level, format_level
from bench.plugins.registry import RestorerSpec
from bench.tasks import Setting, get_task
from bench.training.recipe import MOST, MOST_SEED, Recipe, find_recipe, read_tables, recipe_of
from bench.training.session import check_crop, check_task, chosen_to_train

__all__ = ["ALIKE", "WORDS", "Ablation", "Variant", "read_ablation"]

LEVELS = (*LEVEL_OPTIONS, "level")
REQUIRED = ("claim", "restorer", "seeds", "test", "variants")
KEYS = (*REQUIRED, "source", "recipe", "steps", "macs", "limit", "all", *LEVELS)
OF_THE_PAPER = ("paper_difference", "paper_psnr_db")
OF_THE_ABLATION = {"seed": "seeds", "steps": "steps or macs", "validate_every": "the budget"}
"""Keys of a recipe that variants do not have, and what says it."""
WORDS = {"better": 1, "worse": -1, "alike": 0}
ALIKE = 0.1
"""dB that a difference of what is alike stays within"""
MOST_MACS = 1e24
MOST_VARIANTS, MOST_SEEDS = 100, 100


@dataclass(frozen=True, eq=False)
class Variant:
    """One of the networks, and how it is trained but for seed and steps.

    paper   what the paper says of it beside the first variant: a difference in dB, a word of WORDS, or None
    """

    name: str
    recipe: Recipe
    paper: float | str | None = None

    @property
    def sign(self) -> int | None:
        """Of the paper's difference: 1 better than the first, -1 worse, 0 alike to a hundredth of a dB."""
        if isinstance(self.paper, str):
            return WORDS[self.paper]
        return None if self.paper is None else (round(self.paper, 2) > 0) - (round(self.paper, 2) < 0)

    @property
    def slug(self) -> str:
        """The name as it begins the names of folders."""
        return re.sub(r"[^\w.]+", "-", self.name).strip("-.") or "variant"


@dataclass(frozen=True)
class Ablation:
    """What a file says; the module's docstring tells what the fields mean. One of steps and macs is None."""

    claim: str
    source: str
    restorer: str
    spec: RestorerSpec
    setting: Setting
    seeds: tuple[int, ...]
    steps: int | None
    macs: float | None
    test: str
    limit: int | None
    variants: tuple[Variant, ...]


def read_ablation(path: Path) -> Ablation:
    """The ablation in a file.

    Raises TrainingError naming file and key, and RecipeError for all that is wrong in its recipes.
    """
    table = read_tables(path, "There is no ablation")
    try:
        return _ablation(table)
    except RecipeError as error:
        raise RecipeError(f"{path}, {line}" for line in error.lines) from None
    except BenchError as error:
        raise TrainingError(f"{path}: {error}") from None


def _ablation(table: Mapping[str, Any]) -> Ablation:
    for key in table:
        if key not in KEYS:
            raise TrainingError(unknown("key", key, KEYS))
    for key in REQUIRED:
        if key not in table:
            raise TrainingError(f"it lacks the key '{key}'.")
    spec = chosen_to_train(_text(table, "restorer"))
    base = find_recipe(spec.info, _text(table, "recipe") if "recipe" in table else None)
    variants = tuple(_variants(base, _table(table, "variants"), _table(table, "all")))
    recipe = variants[0].recipe
    setting = Setting(recipe.task, _level(table, recipe), recipe.channels)
    for variant in variants:
        check_task(spec.info, variant.recipe)
        check_crop(variant.recipe, setting)
    steps, macs = _budget(table)
    return Ablation(
        claim=_text(table, "claim"),
        source=_text(table, "source") if "source" in table else "",
        restorer=table["restorer"],
        spec=spec,
        setting=setting,
        seeds=_seeds(table["seeds"]),
        steps=steps,
        macs=macs,
        test=_text(table, "test"),
        limit=_whole(table, "limit") if "limit" in table else None,
        variants=variants,
    )


# --- variants --------------------------------------------------------------------------------------------


def _variants(base: Recipe, tables: Mapping[str, Any], common: Mapping[str, Any]) -> Iterator[Variant]:
    if not 2 <= len(tables) <= MOST_VARIANTS:
        raise TrainingError(f"it has {len(tables)} variants, expected 2 to {MOST_VARIANTS}.")
    first, folders = _table(tables, next(iter(tables)), "variants."), dict[str, str]()
    kinds = set()
    for name in tables:
        table = _table(tables, name, "variants.")
        recipe = _recipe(name, base, [common, table])
        variant = Variant(name, recipe, _paper(name, table, first))
        if variant.slug in folders:
            raise TrainingError(f"variants '{folders[variant.slug]}' and '{name}' would share a folder: rename one.")
        folders[variant.slug] = name
        kinds.add((recipe.task, recipe.channels, recipe.levels))
        if len(kinds) > 1:
            raise TrainingError(f"variant '{name}' has another task, channels or levels than those above it.")
        yield variant


def _recipe(name: str, base: Recipe, tables: Sequence[Mapping[str, Any]]) -> Recipe:
    values = {key: value for key, value in base.as_dict().items() if key != "name"}
    for table in tables:
        for key, value in table.items():
            if key in OF_THE_ABLATION:
                raise TrainingError(f"variant '{name}': {key} is no variant's own; {OF_THE_ABLATION[key]} says it.")
            if key == "options" and isinstance(value, dict):
                value = {**values["options"], **value}
            if key not in OF_THE_PAPER:
                values[key] = value
    return recipe_of(name, values)


def _paper(name: str, table: Mapping[str, Any], first: Mapping[str, Any]) -> float | str | None:
    where = f"variant '{name}': "
    if all(key in table for key in OF_THE_PAPER):
        raise TrainingError(f"{where}{' and '.join(OF_THE_PAPER)} both say what the paper has: choose one.")
    if "paper_psnr_db" in table:
        if "paper_psnr_db" not in first:
            raise TrainingError(f"{where}paper_psnr_db goes with one of the first variant, which has none.")
        figures = [_number(t, "paper_psnr_db", where) for t in (table, first)]
        return None if table is first else figures[0] - figures[1]
    said = table.get("paper_difference")
    if said is None:
        return None
    if table is first:
        raise TrainingError(f"{where}paper_difference is to the first variant, which this is.")
    if isinstance(said, str) and said in WORDS:
        return said
    if isinstance(said, str):
        raise TrainingError(f"{where}paper_difference is '{said}', expected dB or {', '.join(WORDS)}.")
    return _number(table, "paper_difference", where)


# --- what stands at the top ------------------------------------------------------------------------------


def _budget(table: Mapping[str, Any]) -> tuple[int | None, float | None]:
    given = [key for key in ("steps", "macs") if key in table]
    if len(given) != 1:
        found = "both say" if given else "none says"
        raise TrainingError(f"steps or macs is the budget of a training: {found} it, expected one of them.")
    if given == ["steps"]:
        return _whole(table, "steps"), None
    macs = _number(table, "macs")
    if not 0 < macs <= MOST_MACS:
        raise TrainingError(f"macs is {macs:g}, expected more than 0, and {MOST_MACS:g} at most.")
    return None, macs


def _seeds(seeds: object) -> tuple[int, ...]:
    if isinstance(seeds, list) and all(isinstance(seed, int) and not isinstance(seed, bool) for seed in seeds):
        fits = all(0 <= seed <= MOST_SEED for seed in seeds) and len({*seeds}) == len(seeds)
        if fits and 2 <= len(seeds) <= MOST_SEEDS:
            return tuple(seeds)
    raise TrainingError(f"seeds is {seeds!r:.60}, expected a list of two or more whole numbers, each once: [0, 1].")


def _level(table: Mapping[str, Any], recipe: Recipe) -> Level:
    """The level that is measured; the setting's of a network that learns several is the same."""
    task = get_task(recipe.task)
    given = [key for key in LEVELS if key in table]
    names = {task.level.option, "level"}
    if len(given) != 1 or given[0] not in names:
        found = ", ".join(given) or "none"
        raise TrainingError(f"the level of {task.name} is said by one key, {task.level.option}; found: {found}.")
    text = str(table[given[0]])
    level = task.level.parse(text)
    if level is None:
        raise TrainingError(f"{given[0]} is {text:.60}; {task.name} takes {task.level.expected}.")
    if recipe.levels and level not in recipe.levels:
        learnt = ", ".join(map(format_level, recipe.levels))
        raise TrainingError(f"{given[0]} is {text:.60}, expected one that the recipe learns: {learnt}.")
    return level


def _text(table: Mapping[str, Any], key: str) -> str:
    value = table[key]
    if not (isinstance(value, str) and value.strip() and "\n" not in value):
        raise TrainingError(f"{key} is {value!r:.60}, expected a text of one line.")
    return value


def _table(table: Mapping[str, Any], key: str, above: str = "") -> Mapping[str, Any]:
    value = table.get(key, {})
    if not isinstance(value, dict):
        raise TrainingError(f"{key} is {value!r:.60}, expected a table: [{above}{key}].")
    return value


def _whole(table: Mapping[str, Any], key: str) -> int:
    value = table[key]
    if not (isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MOST):
        raise TrainingError(f"{key} is {value!r:.60}, expected a whole number from 1 to {MOST}.")
    return value


def _number(table: Mapping[str, Any], key: str, where: str = "") -> float:
    value = table[key]
    if not (isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)):
        raise TrainingError(f"{where}{key} is {value!r:.60}, expected a number.")
    return float(value)
