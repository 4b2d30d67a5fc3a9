"""From words to a request: the one place where names are looked up, for the command line and for notebooks alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from os import PathLike, fspath

from bench.data.datasets import get
from bench.errors import RequestError
from bench.measure.devices import check_device
from bench.measure.environment import n_cores
from bench.plugins.registry import choose
from bench.protocol import get_protocol
from bench.runner.plan import Request
from bench.task import Level, Task, get_task, parse_levels

__all__ = ["Levels", "Words", "check_device", "make_request"]

Words = str | PathLike[str] | Iterable[object]
"""Comma-separated text, or its parts, or one path."""

Levels = str | float | Iterable[object] | None
"""Levels of one kind: comma-separated text, a number, several of either; None: the task's usual ones."""


def make_request(
    methods: Words,
    task: Words = "denoise",
    datasets: Words = "sample",
    *,
    levels: Mapping[str, Levels] | None = None,
    protocol: str = "standard-v1",
    repeats: int = 1,
    device: str = "cpu",
    threads: int | None = None,
    jobs: int = 1,
    readings: int | None = None,
) -> Request:
    """Look up what was asked for.

    levels  by kind: {"sigma": "15,25", "quality": …, "scale": …, "pattern": …}; a kind left out takes the
            task's usual levels
    jobs    cells side by side: more than 1 share the cores, and are not timed
    Raises a BenchError that names the first thing that will not do.
    """
    tasks = [get_task(name) for name in _parts(task, "task")]
    for name, value in (("--repeats", repeats), ("--threads", threads), ("--jobs", jobs), ("--readings", readings)):
        if value is not None and value < 1:
            raise RequestError(f"{name} {value}: expected a whole number of at least 1.")
    if jobs > 1 and readings is not None:
        raise RequestError("--readings asks for times, --jobs takes none: choose one.")
    return Request(
        specs=tuple(choose(name) for name in _parts(methods, "methods")),
        tasks={t.name: (t, _levels(t, levels or {}, tasks)) for t in tasks},
        datasets=tuple(get(name) for name in _parts(datasets, "datasets")),
        protocol=get_protocol(protocol),
        repeats=repeats,
        device=check_device(device),
        threads=threads or max(1, n_cores() // jobs),
        timed=jobs == 1,
        readings=readings,
    )


def _parts(words: Words, option: str) -> list[str]:
    if isinstance(words, PathLike):
        return [fspath(words)]
    parts = words.split(",") if isinstance(words, str) else map(str, words)
    kept = list(dict.fromkeys(part.strip() for part in parts if part.strip()))
    if not kept:
        raise RequestError(f"--{option}: nothing was named.")
    return kept


def _levels(task: Task, asked: Mapping[str, Levels], tasks: list[Task]) -> tuple[Level, ...]:
    for kind, value in asked.items():
        if value is not None and kind not in {t.level.name for t in tasks}:
            raise RequestError(f"--{kind} does not concern {', '.join(t.name for t in tasks)}.")
    value = asked.get(task.level.name)
    if value is None:
        return task.levels
    parts = [value] if isinstance(value, (str, int, float)) else value
    return parse_levels(task, ",".join(map(str, parts)))
