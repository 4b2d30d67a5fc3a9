"""From words to a request: the one place where names are looked up, for the command line and for notebooks alike."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import index
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsFloat, SupportsIndex, TypeAlias

from bench.data.datasets import get, labelled
from bench.data.selection import Selection
from bench.errors import RequestError
from bench.level import Level
from bench.measure.devices import check_device
from bench.measure.environment import n_cores
from bench.measure.machine import Machine
from bench.metric import Metric
from bench.plugins.metrics import choose_metrics
from bench.plugins.names import plain, split
from bench.plugins.registry import RestorerSpec, choose_all
from bench.plugins.tasks import choose_task
from bench.plugins.things import is_thing, spec_of, told_apart
from bench.protocol import get_protocol
from bench.records.figures import RESERVED
from bench.runner.plan import Request
from bench.runner.shard import parse_shard
from bench.task import Task, parse_levels

if TYPE_CHECKING:
    from bench.restorer import Restorer

__all__ = ["Levels", "Methods", "Words", "check_device", "make_request"]

Words = str | PathLike[str] | Iterable[object]
"""Comma-separated text, or its parts, or one path. A path is one folder whatever its name, and never a known set.

Quotes keep a comma in a path: see `bench.plugins.names`.
"""

Methods: TypeAlias = "Words | Restorer | RestorerSpec | Callable[..., object]"
"""Names of restorers as words, or what is one itself: a class, an instance, a function, what `bench.wrap` gave; or a
list of such."""

Levels = str | SupportsFloat | Iterable[object] | None
"""Levels of one kind: comma-separated text, a number, several of either; None: the task's usual ones.

Numbers and arrays may be NumPy's or torch's.
"""


def make_request(
    methods: Methods,
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
    metrics: Words = (),
    images: str = "",
    subset: str = "",
    limit: int | None = None,
    recursive: bool = False,
    machines: Sequence[Machine] = (),
    shard: str = "",
) -> Request:
    """Look up what was asked for.

    methods  names, or things of Python: see `bench.plugins.things`
    levels  by kind: {"sigma": "15,25", "quality": …, "scale": …, "pattern": …}, or as "level", of whatever kind
            the tasks' are; a kind left out takes the task's usual levels
    metrics  to be measured beside PSNR and SSIM
    images, subset, limit, recursive  which pictures of each data set: see bench.data.selection
    jobs    cells side by side: more than 1 share the cores, and are not timed
    shard   "3/8": the third of eight parts alone
    machines  of a cluster, which measure instead of this one; not timed unless `readings` are asked for
    Raises a BenchError that names the first thing that will not do.
    """
    tasks = [choose_task(str(name)) for name in _parts(task, "task", brackets=False)]
    if twice := [name for name, n in Counter(task.name for task in tasks).items() if n > 1]:
        raise RequestError(f"--task: two tasks are named '{twice[0]}': measure them one after the other.")
    repeats, jobs = _whole("--repeats", repeats), _whole("--jobs", jobs, MOST_JOBS)
    threads = None if threads is None else _whole("--threads", threads, MOST_THREADS)
    readings = None if readings is None else _whole("--readings", readings, MOST_READINGS)
    limit = None if limit is None else _whole("--limit", limit)
    selection = Selection(images, subset, limit, bool(recursive))
    if jobs > 1 and readings is not None:
        raise RequestError("--readings asks for times, --jobs takes none: choose one.")
    if machines and jobs > 1:
        raise RequestError("--jobs is for this machine alone: a cluster has the slots of its workers.")
    specs = tuple(told_apart(_specs(methods)))
    is_elsewhere = bool(machines)
    if is_elsewhere:
        _check_they_can_be_sent(specs)
    else:
        machines = [Machine.here(check_device(device), threads or max(1, n_cores() // jobs))]
    return Request(
        specs=specs,
        tasks={t.name: (t, _levels(t, levels or {}, tasks)) for t in tasks},
        datasets=labelled([get(name, selection) for name in _folders_and_sets(datasets)]),
        protocol=get_protocol(protocol),
        repeats=repeats,
        machines=tuple(machines),
        timed=readings is not None if is_elsewhere else jobs == 1,
        readings=readings,
        metrics=_metrics(metrics),
        shard=parse_shard(shard) if shard else None,
    )


def _check_they_can_be_sent(specs: Iterable[RestorerSpec]) -> None:
    """Raises RequestError for a thing of Python: what is sent to a cluster is looked up there by its name."""
    for spec in specs:
        if spec.info.value is not None:
            raise RequestError(
                f"{spec.name} is a thing of this Python alone; a cluster looks restorers up by name or file. Put it"
                " into a file, and ask for it as ./file.py:Name."
            )


def _metrics(asked: Words) -> tuple[Metric, ...]:
    """Those beside PSNR and SSIM. Raises RequestError for one that is named as a column of the records."""
    if not asked:
        return ()
    found = choose_metrics(str(name) for name in _parts(asked, "metrics", brackets=False))
    for metric in found:
        if metric.name in RESERVED:
            raise RequestError(f"--metrics: records have a column '{metric.name}'. Give the metric another name.")
    return found


MOST_JOBS = 256
MOST_THREADS = 1024
MOST_READINGS = 10_000


def _whole(option: str, value: SupportsIndex, most: int | None = None) -> int:
    """The number as Python has it: NumPy's own kind could not be stored."""
    try:
        whole = index(value)
    except TypeError:
        whole = 0
    if whole < 1:
        raise RequestError(f"{option} {_in_digits(value)}: expected a whole number of at least 1.")
    if most is not None and whole > most:
        raise RequestError(f"{option} {_in_digits(value)}: expected a whole number of at most {most}.")
    return whole


def _in_digits(value: object) -> str:
    try:
        return str(value)
    except ValueError:  # more digits than Python prints
        return "with so many digits"


def _specs(methods: Methods) -> Iterator[RestorerSpec]:
    """Names, each for one or several, and things, each for one."""
    is_one = is_thing(methods) or not isinstance(methods, Iterable)
    named: Iterable[object] = [methods] if is_one or isinstance(methods, PathLike) else methods  # type: ignore[assignment]
    parts = [part for part in split(named) if part] if isinstance(named, str) else [*named]
    if not parts:
        raise RequestError("--methods: nothing was named.")
    for part in parts:
        yield from choose_all(str(part).strip()) if isinstance(part, (str, PathLike)) else [spec_of(part)]


def _folders_and_sets(datasets: Words) -> Iterator[str | Path]:
    for name in _parts(datasets, "datasets", brackets=False):
        bare = plain(name) if isinstance(name, str) else name
        yield os.path.expanduser(bare) if isinstance(bare, str) else bare  # noqa: PTH111  text stays text


def _parts(words: Words, option: str, *, brackets: bool = True) -> list[str | Path]:
    """What was named, each once: paths stay paths, since text may be the name of something known."""
    given = [words] if isinstance(words, PathLike) else words
    parts: Iterable[object] = split(given, brackets=brackets) if isinstance(given, str) else given
    named = [Path(part) if isinstance(part, PathLike) else str(part).strip() for part in parts]
    kept = list(dict.fromkeys(part for part in named if part != ""))
    if not kept:
        raise RequestError(f"--{option}: nothing was named.")
    return kept


def _levels(task: Task, asked: Mapping[str, Levels], tasks: list[Task]) -> tuple[Level, ...]:
    for kind, value in asked.items():
        if value is not None and kind not in {"level", *(t.level.name for t in tasks)}:
            raise RequestError(f"--{kind} does not concern {', '.join(t.name for t in tasks)}.")
    own, general = asked.get(task.level.name), asked.get("level")
    if own is not None and general is not None:
        raise RequestError(f"--level and --{task.level.name} both say the level of {task.name}: choose one.")
    value = general if own is None else own
    if value is None:
        return task.levels
    plain = _plain(value)
    parts = plain if isinstance(plain, list) else [plain]
    return parse_levels(task, ",".join(map(_in_words, parts)))


def _in_words(level: Any) -> str:
    """`0.01/0.0004` for a level of two values."""
    return "/".join(map(str, level)) if isinstance(level, list) else str(level)


def _plain(value: Any) -> Any:
    """Numbers as Python's, several as a list: what NumPy and torch give knows how to become that."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        return value
    return [_plain(part) for part in value]
