"""`bench train`: from words to a training, with its progress on the error stream."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import RequestError, TrainingError
from bench.plugins.registry import choose, load_class
from bench.runner.request import check_device
from bench.task import Level, Setting, colour_word, format_level, get_task, parse_levels
from bench.training.lock import alone_in
from bench.training.recipe import MOST, Recipe, find_recipe

if TYPE_CHECKING:  # they import torch
    from bench.training.files import Validation
    from bench.training.loop import Training

__all__ = ["train"]

MOST_MINUTES = 1_000_000
"""two years"""


def train(
    name: str,
    levels: Mapping[str, str | None],
    *,
    recipe: str | None = None,
    minutes: float | None = None,
    steps: int | None = None,
    start: Path | None = None,
    folder: Path | None = None,
    device: str = "cpu",
) -> Path:
    """Train, or go on training; the folder of the weights. The arguments are the options of `bench train`.

    Raises a BenchError that names the first thing that will not do.
    """
    for option, value, most in (("--minutes", minutes, MOST_MINUTES), ("--steps", steps, MOST)):
        if value is not None and not 0 < value <= most:
            raise RequestError(f"{option} {value}: expected more than 0, and {most} at most.")
    if minutes is not None and steps is not None:
        raise RequestError("--minutes and --steps both say how long: choose one.")
    spec = choose(name)
    if spec.ensemble:
        raise TrainingError(f"{spec.name} is {spec.name[:-1]} run eight times: train {spec.name[:-1]}.")
    chosen = find_recipe(spec.info, recipe)
    setting = Setting(chosen.task, _level(chosen, levels), chosen.channels)
    # Training takes hours, in which other work runs beside it: OpenMP's threads are to sleep while they wait
    # (bench.runner.worker says what it costs if they do not). To be said before torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    check_device(device)
    _keep_memory()

    from bench.restorer import TorchRestorer
    from bench.training.crops import Crops
    from bench.training.loop import Training

    restorer_class = load_class(spec.info.target)
    if not issubclass(restorer_class, TorchRestorer):
        raise TrainingError(f"{spec.info.name} is not a network: there is nothing to train.")
    at = "-".join(map(format_level, chosen.levels or [setting.level]))
    folder = folder or Path("training") / f"{spec.name.replace(':', '-')}-{_kind(chosen)}-{at}"
    with alone_in(folder), _memory_is_told(chosen):
        _say(f"reading {chosen.data}")
        training = Training(
            restorer_class(spec.variant),
            chosen,
            setting,
            Crops(chosen, setting),
            folder,
            device=device,
            steps=steps,
            seconds=None if minutes is None else 60 * minutes,
            start=start,
            code_sha256=spec.code_sha256,
        )
        since = f", from step {training.step}" if training.step else ""
        _say(f"{setting}, recipe {chosen.name}, in {folder}{since}")
        _follow(training)
    return folder


def _follow(training: Training) -> None:
    """Train to the end, and say how far it is after each validation."""
    told = False
    for now in training.run():
        if training.graphs and training.graphs.refused and not told:
            _say(f"steps are made one operation after the other: {training.graphs.refused}")
            told = True
        _say(_progress(now))
    if training.best and not training.best["step"]:
        _say("No weights were better than those that it began with, which are kept as the best.")


def _progress(now: Validation) -> str:
    told = f"step {now.step:6d} of {now.total}:"
    minutes = f"{now.seconds / 60:.1f} min"
    if now.step:
        told += f" loss {now.loss:.4g},"
        minutes += f", {(now.total - now.step) * now.seconds / now.step / 60:.1f} left"
    return f"{told} validation {now.psnr_db:.3f} dB (best {now.best_db:.3f}), {minutes}"


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


def _level(recipe: Recipe, levels: Mapping[str, str | None]) -> Level:
    """The one level asked for, of the kind that the recipe's task has; of a recipe with several, its last."""
    task = get_task(recipe.task)
    asked = levels.get(task.level.name)
    others = [kind for kind, value in levels.items() if value is not None and kind != task.level.name]
    if others:
        raise RequestError(f"--{others[0]} does not concern {task.name}, which has a {task.level.name}.")
    if recipe.levels:
        if asked is not None:
            raise RequestError(
                f"--{task.level.name} {asked}: recipe {recipe.name} names its levels itself:"
                f" {', '.join(map(format_level, recipe.levels))}."
            )
        return recipe.levels[-1]
    if asked is None:
        raise RequestError(f"--{task.level.name}: which one to train for was not said.")
    parsed = parse_levels(task, asked)
    if len(parsed) > 1:
        raise RequestError(f"--{task.level.name} {asked}: one training has one {task.level.name}.")
    return parsed[0]


def _kind(recipe: Recipe) -> str:
    colour = colour_word(recipe.channels)
    return colour if recipe.task == "denoise" else f"{recipe.task}-{colour}"


def _keep_memory() -> None:
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
