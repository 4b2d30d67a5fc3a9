"""`bench check` of a task or a metric: tried on small pictures against what each must keep to.

One of your own runs in a process of its own, as in a benchmark.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterator
from typing import TypeAlias

import numpy as np

from bench.data.degrade import awgn
from bench.errors import DataError
from bench.level import Level
from bench.metric import Metric
from bench.plugins.metrics import OwnMetric
from bench.plugins.tasks import OwnTask
from bench.protocol import get_protocol, stream_of
from bench.runner.answer import unseen_in_words
from bench.runner.contract import Finding, disc
from bench.runner.messages import Degraded, Failure
from bench.runner.outsiders import Outsider, Outsiders
from bench.runner.scoring import figures_of
from bench.runner.worker import Limits
from bench.task import Image, Task
from bench.tasks import Setting, colour_word

__all__ = ["check_metric", "check_task"]

SIZES = ((7, 9), (29, 61), (48, 32))
SEED = (1, 2)

Ask: TypeAlias = "Callable[[Image, Level, tuple[int, ...], int], Degraded | Failure]"


def check_task(task: Task, limits: Limits | None = None) -> Iterator[Finding]:
    """Try a task at each of its usual levels, on gray and colour pictures of odd sizes; a finding for each.

    The same seed must give the same picture, whatever seed the global random generators have. What is seen must be
    float32, finite, and of the size that the reference and `scale` say; the reference must lie in [0, 1], and the
    clean picture be left as it was.
    """
    if not isinstance(task, OwnTask):
        yield from _tried(task, functools.partial(_built_in, task))
        return
    outsider = Outsider(task, limits or Limits(60), watch=True)
    try:
        failure = outsider.loaded()
        yield Finding("loads", failure is None, failure.reason if failure else "")
        if failure is None:
            yield from _tried(task, lambda *asked: outsider.degrade(*asked[:3], disturbed=asked[3]))
            yield Finding(
                "its code's hash knows what it opens", not outsider.unseen, unseen_in_words(outsider.unseen)
            )
    finally:
        outsider.close()


def _built_in(task: Task, image: Image, level: Level, seed: tuple[int, ...], disturbed: int) -> Degraded | Failure:
    np.random.seed(disturbed)
    try:
        seen = task.observe(image, level, stream_of(seed))
    except DataError as error:
        return Failure(str(error))
    return Degraded(task.reference(image, level), seen.image, dict(seen.known))


def _tried(task: Task, ask: Ask) -> Iterator[Finding]:
    told: list[str] = []
    for channels in (task.channels,) if task.channels else (1, 3):
        for level in task.levels:
            for size in SIZES:
                setting = Setting(task.name, level, channels, task.level.name)
                first = ask(disc(size, channels), level, SEED, 0)
                problem = first.reason if isinstance(first, Failure) else _problem(task, ask, first, setting, size)
                yield Finding(f"{setting}: {size[0]}x{size[1]}", not problem, problem)
                if isinstance(first, Degraded):
                    told += first.known
    names = ", ".join(dict.fromkeys(told))
    yield Finding("tells a restorer", True, names or "nothing: only those that are blind can do it")


def _problem(task: Task, ask: Ask, first: Degraded, setting: Setting, size: tuple[int, int]) -> str:
    """What is wrong with what is seen of the disc; "" if nothing is."""
    if first.clean.min() < 0 or first.clean.max() > 1:
        return f"its reference has values from {first.clean.min():g} to {first.clean.max():g}, expected 0 to 1"
    if task.channels and first.clean.shape[2] != task.channels:
        return f"its reference has {first.clean.shape[2]} channels, and it says that all have {task.channels}"
    clean = disc(size, setting.channels)
    again = ask(clean, setting.level, SEED, 1)
    if isinstance(again, Failure):
        return again.reason
    if not _are_equal(first, again):
        twice = ask(clean, setting.level, SEED, 0)
        if isinstance(twice, Degraded) and _are_equal(first, twice):
            return "what it shows depends on the global random seed: draw from `stream` alone"
        return "shows another picture when asked again: draw from `stream` alone, and keep nothing between calls"
    return ""


def _are_equal(one: Degraded, other: Degraded) -> bool:
    known = [*one.known] == [*other.known] and all(
        np.array_equal(one.known[name], other.known[name]) for name in one.known
    )
    return known and np.array_equal(one.clean, other.clean) and np.array_equal(one.image, other.image)


def check_metric(metric: Metric, limits: Limits | None = None) -> Iterator[Finding]:
    """Try a metric on gray and colour pictures with little noise and with much, and on two that are equal.

    It must answer with one number in its range, the same when asked twice.
    """
    with Outsiders(limits or Limits(60)) as outsiders:
        for channels in (1, 3):
            setting, clean = Setting("denoise", 25.0, channels), disc((48, 64), channels)
            figures = []
            for sigma in (0, 10, 10, 50):
                noisy = awgn(clean, sigma, np.random.RandomState(0))
                found, failures = figures_of([metric], noisy, clean, setting, get_protocol("standard-v1"), outsiders)
                figures.append((found[metric.name].value, failures))
            for sigma, (value, failures) in dict(zip((0, 10, 10, 50), figures, strict=True)).items():
                what = f"{colour_word(channels)}, noise of sigma {sigma}"
                yield Finding(what, value is not None, failures[0] if failures else f"{value:.6g}")
            (same, _), (little, _), (again, _), (much, _) = figures
            yield Finding("answers alike when asked twice", little == again)
            if same is not None and little is not None and much is not None:
                yield Finding("follows the noise", True, _direction(metric, same, little, much))
        if isinstance(metric, OwnMetric):
            yield _knows_what_it_opens(outsiders.unseen)


def _knows_what_it_opens(unseen: Collection[str]) -> Finding:
    return Finding("its code's hash knows what it opens", not unseen, unseen_in_words(unseen))


def _direction(metric: Metric, same: float, little: float, much: float) -> str:
    sign = 1 if metric.better == "larger" else -1
    if sign * same >= sign * little >= sign * much:
        return f"{metric.better} is better, as it says"
    shown = ", ".join(f"{value:g}" for value in (same, little, much))
    return f"it says that {metric.better} is better, and with more noise it is {shown} here"
