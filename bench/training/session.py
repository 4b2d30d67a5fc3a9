"""`bench train`: from words to a training, with its progress on the error stream."""

from __future__ import annotations

import ctypes
import math
import os
import re
import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import RequestError, TrainingError
from bench.level import Level, format_level
from bench.plugins.names import OF_THE_GRAMMAR
from bench.plugins.registry import RestorerInfo, RestorerSpec, choose, load_class, made
from bench.runner.request import check_device
from bench.task import parse_levels
from bench.tasks import Setting, colour_word, get_task
from bench.training.lock import alone_in
from bench.training.progress import duration, follow
from bench.training.recipe import MOST, Recipe, find_recipe

if TYPE_CHECKING:  # they import torch
    from bench.restorer import TorchRestorer
    from bench.training.loop import Training

__all__ = ["begun", "check_crop", "check_task", "chosen_to_train", "keep_memory", "network_of", "quoted", "train"]

MOST_MINUTES = 1_000_000
"""two years"""


def train(
    name: str,
    levels: Mapping[str, str | None],
    *,
    recipe: str | None = None,
    minutes: float | None = None,
    steps: int | None = None,
    start: Path | str | None = None,
    folder: Path | None = None,
    device: str = "cpu",
) -> Path:
    """Train, or go on training; the folder of the weights. The arguments are the options of `bench train`.

    start  a file of weights, or a restorer whose weights these are: "lidia@published"

    Raises a BenchError that names the first thing that will not do.
    """
    for option, value, most in (("--minutes", minutes, MOST_MINUTES), ("--steps", steps, MOST)):
        if value is not None and not 0 < value <= most:
            raise RequestError(f"{option} {value}: expected more than 0, and {most} at most.")
    if minutes is not None and steps is not None:
        raise RequestError("--minutes and --steps both say how long: choose one.")
    spec = chosen_to_train(name)
    chosen = find_recipe(spec.info, recipe)
    check_task(spec.info, chosen)
    setting = Setting(chosen.task, _level(chosen, levels), chosen.channels)
    check_crop(chosen, setting)
    folder = folder or Path("training") / _folder_name(spec.name, chosen, setting)
    options = {"steps": steps, "seconds": None if minutes is None else 60 * minutes, "start": _beginning(start)}
    with begun(spec, chosen, setting, folder, device=device, **options) as training:
        _say(f"{setting}, recipe {chosen.name}, in {folder}")
        _say_where_it_begins(training, minutes)
        follow(training)
        _say_what_it_made(training, name)
    return folder


def chosen_to_train(name: str) -> RestorerSpec:
    """The restorer of that name. Raises RestorerError if there is none, TrainingError if it is not for training."""
    spec = choose(name)
    if spec.ensemble:
        raise TrainingError(f"{spec.name} is {spec.name[:-1]} run eight times: train {spec.name[:-1]}.")
    if spec.info.adapts:
        raise TrainingError(f"{name} is a network in a file: it is measured, and not trained. Train one of a class.")
    return spec


def network_of(spec: RestorerSpec) -> TorchRestorer:
    """The restorer, without weights. Raises TrainingError if it is not a network."""
    # Training takes hours, in which other work runs beside it: OpenMP's threads are to sleep while they wait
    # (bench.runner.worker says what it costs if they do not). To be said before torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

    from bench.restorer import TorchRestorer

    restorer = made(load_class(spec.info.target), spec.variant, None, spec.parameters)
    if not isinstance(restorer, TorchRestorer):
        raise TrainingError(f"{spec.info.name} is not a network: there is nothing to train.")
    return restorer


@contextmanager
def begun(
    spec: RestorerSpec, recipe: Recipe, setting: Setting, folder: Path, *, device: str = "cpu", **options: Any
) -> Iterator[Training]:
    """The training in a folder, as it stands there; within it no other writes in the folder.

    options  steps, seconds, start, as of `bench.training.loop.Training`

    Raises a BenchError for what will not do, also if there is not enough memory for what is done within.
    """
    restorer = network_of(spec)
    check_device(device)
    keep_memory()

    from bench.training.crops import Crops
    from bench.training.loop import Training

    with alone_in(folder), _memory_is_told(recipe):
        _say(f"reading {recipe.data}")
        crops = Crops(recipe, setting)
        identity: dict[str, Any] = {"parameters": spec.parameters, "code_sha256": spec.code_sha256}
        yield Training(restorer, recipe, setting, crops, folder, device=device, **identity, **options)


def _say_where_it_begins(training: Training, minutes: float | None) -> None:
    """Of a training that is there already: from which step it goes on, or that it does not."""
    at = f"step {training.step}, after {duration(training.elapsed)}"
    if training.step >= training.total:
        _say(f"It has ended at {at}. To go on: --minutes for so many more, or --steps above {training.step}.")
    elif training.had_ended:
        to = f"for {duration(60 * minutes)} more" if minutes else f"to step {training.total}"
        _say(f"It had ended at {at}, and goes on {to}. The learning rate is {training.lr:.3g} again.")
    elif training.step:
        _say(f"It goes on from {at}.")


def _say_what_it_made(training: Training, name: str) -> None:
    """The weights, and the command that measures them."""
    if training.best is None:
        return
    if not training.best["step"]:
        _say("No weights were better than those that it began with, which are kept as the best.")
    weights = training.folder / "weights.safetensors"
    _say(f"The best weights, of step {training.best['step']}, {training.best_db:.3f} dB: {weights}")
    _say(f"Measure them:\n  {_measuring(training, f'{name}@{quoted(str(weights))}')}")


USUAL = {"denoise": "noisy", "deblock": "jpeg", "demosaick": "bilinear", "superres": "bicubic"}
"""What a task's figures are held against, at the least."""


def _measuring(training: Training, name: str) -> str:
    """The command that measures weights where they were trained for, on pictures that come with the package."""
    setting, task = training.setting, get_task(training.setting.task)
    words = ["bench", "run", "--methods", ",".join(filter(None, (USUAL.get(task.name), name))), "--task", task.name]
    words += [f"--{task.level.option}", format_level(setting.level)]
    words += ["--datasets", "sample" if setting.channels == 1 else "sample-colour"]
    words += ["--device", str(training.device)] if training.device.type != "cpu" else []
    return shlex.join(words)


def quoted(path: str) -> str:
    """A path as the grammar of restorers takes it: see bench.plugins.names."""
    if not {*path} & {*OF_THE_GRAMMAR} - {"/"}:
        return path
    return '"' + path.replace("\\", r"\\").replace('"', r"\"") + '"'


def check_crop(recipe: Recipe, setting: Setting) -> None:
    """Raise TrainingError if crops cannot be made small and large again."""
    scale = math.lcm(*(int(level) for level in recipe.levels_of(setting).get("superres", ())))
    below, above = recipe.crop // scale * scale, -(-recipe.crop // scale) * scale
    if below != above:
        expected = f"{below} or {above}" if below else f"{above}"
        raise TrainingError(
            f"recipe '{recipe.name}': crop is {recipe.crop}, expected a multiple of {scale}: {expected}."
        )


def check_task(info: RestorerInfo, recipe: Recipe) -> None:
    """Raise TrainingError if the restorer does not do what the recipe is for."""
    for where, task in (("task is ", get_task(recipe.task)), *(("also.", get_task(name)) for name in recipe.also)):
        if info.tasks.isdisjoint({task.name, *task.like}):
            does = ", ".join(sorted(info.tasks))
            raise TrainingError(f"recipe '{recipe.name}': {where}{task.name}, and {info.name} does {does}.")


@contextmanager
def _memory_is_told(recipe: Recipe) -> Iterator[None]:
    """If there is not enough memory, say so and what to change."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        told = str(error)
        if not isinstance(error, MemoryError) and "out of memory" not in told and "allocate memory" not in told:
            raise
        raise TrainingError(
            f"recipe '{recipe.name}': out of memory. Take a smaller batch than {recipe.batch} or a smaller crop than"
            f" {recipe.crop}."
        ) from None


def _beginning(start: Path | str | None) -> Path | str | None:
    """A file, or the name of a restorer with weights, which has an @ and is no file."""
    if isinstance(start, str) and ("@" not in start or Path(start).exists()):
        return Path(start)
    return start


def _level(recipe: Recipe, levels: Mapping[str, str | None]) -> Level:
    """The one level asked for, of the kind that the recipe's task has; of a recipe with several, its last."""
    task = get_task(recipe.task)
    asked = levels.get(task.level.option)
    others = [kind for kind, value in levels.items() if value is not None and kind != task.level.option]
    if others:
        raise RequestError(f"--{others[0]} does not concern {task.name}, which has a {task.level.name}.")
    if recipe.levels:
        if asked is not None:
            raise RequestError(
                f"--{task.level.option} {asked}: recipe {recipe.name} names its levels itself:"
                f" {', '.join(map(format_level, recipe.levels))}."
            )
        return recipe.levels[-1]
    if asked is None:
        raise RequestError(f"--{task.level.option}: which one to train for was not said.")
    parsed = parse_levels(task, asked)
    if len(parsed) > 1:
        raise RequestError(f"--{task.level.option} {asked}: one training has one {task.level.name}.")
    return parsed[0]


def _folder_name(name: str, recipe: Recipe, setting: Setting) -> str:
    """`dncnn-gray-25`"""
    words = [name, _kind(recipe), *map(format_level, recipe.levels or [setting.level])]
    return "-".join(re.sub(r"[^\w.]+", "-", word).strip("-") for word in words)


def _kind(recipe: Recipe) -> str:
    colour = colour_word(recipe.channels)
    return colour if recipe.task == "denoise" else f"{recipe.task}-{colour}"


def keep_memory() -> None:
    """Tell glibc to keep freed memory for the next step.

    By default it hands blocks of the size of a batch of codes back to the system, which clears them anew at every
    use: a quarter to a third of the time of a training step of SC or GroupSC.
    """
    if sys.platform == "linux":
        M_MMAP_MAX, M_TRIM_THRESHOLD = -4, -1
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries have none
        if mallopt is not None:
            mallopt(M_MMAP_MAX, 0)
            mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
