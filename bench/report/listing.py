"""Listings of what there is. They import no restorer and nothing heavy, so that they answer at once."""

from __future__ import annotations

import math
import os
import shutil
import textwrap
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from bench import escape
from bench.data.datasets import get, names
from bench.errors import RestorerError
from bench.level import format_level
from bench.measure.devices import present
from bench.measure.environment import describe, n_cores
from bench.metric import METRICS, Metric
from bench.plugins.metrics import installed_metrics
from bench.plugins.registry import RestorerInfo, infos
from bench.plugins.tasks import installed_tasks
from bench.plugins.weights import all_declarations, fault_of
from bench.protocol import PROTOCOLS
from bench.records.mounts import mount_of
from bench.task import Task
from bench.tasks import TASKS

__all__ = ["CACHED", "LISTINGS", "doctor", "entry", "listing", "of_metric"]


def listing(name: str) -> str:
    """One of LISTINGS or CACHED as text."""
    return (LISTINGS | CACHED)[name]()


def _restorers() -> str:
    lines = ["restorers"]
    for name, info in infos().items():
        variants = "".join(f" :{variant}" for variant in info.variants)
        what = f"{info.summary} [{', '.join(sorted(info.tasks))}]" if info.tasks else info.summary
        lines += entry(name + variants, what, _remarks(info))
    lines += entry("NAME+", "any of them, averaged over the 8 flips and rotations of an image")
    return "\n".join(lines)


def _remarks(info: RestorerInfo) -> list[str]:
    """Terms that bind a user, and why a restorer cannot run here."""
    terms = [f"terms of {package}: {terms}" for package, terms in info.requires.items() if terms]
    for variant, requires in info.requires_of.items():
        terms += [f"terms of {package}, for :{variant}: {told}" for package, told in requires.items() if told]
    doubts = [f"unavailable: {info.unavailable}"] if info.unavailable else []
    fault = fault_of(info)
    return terms + doubts + ([f"without weights: {fault}"] if fault else [])


def _tasks() -> str:
    lines = ["tasks"]
    for name, task in {**TASKS, **installed_tasks()}.items():
        lines += entry(name, f"unavailable: {task}" if isinstance(task, RestorerError) else _of_task(task))
    lines += entry("./FILE.py:CLASS", "a task of your own")
    return "\n".join(lines)


def _of_task(task: Task) -> str:
    levels = ",".join(format_level(level) for level in task.levels)
    named = "" if task.level.option == task.level.name else f" ({task.level.name})"
    return f"{task.title}; --{task.level.option} {levels}{named} unless said"


def _metrics() -> str:
    lines = ["metrics"]
    for name, metric in {**METRICS, **installed_metrics()}.items():
        lines += entry(name, f"unavailable: {metric}" if isinstance(metric, RestorerError) else of_metric(metric))
    lines += entry("./FILE.py:FUNCTION", "a metric of your own")
    return "\n".join(lines)


def of_metric(metric: Metric) -> str:
    """What it measures, in which unit, which way and from where to where, and after whom."""
    low, high = ("" if math.isinf(end) else f"{end:g}" for end in (metric.low, metric.high))
    ends = f", {low and f'from {low}'}{high and f' to {high}'}" if low or high else ""
    unit = f", in {metric.unit}" if metric.unit else ""
    source = f" [{metric.source}]" if metric.source else ""
    return f"{metric.title}{unit}; {metric.better} is better{ends}{source}"


def _protocols() -> str:
    lines = ["protocols"]
    for protocol in PROTOCOLS.values():
        lines += entry(protocol.name, protocol.words)
    return "\n".join(lines)


def _datasets() -> str:
    lines = ["data sets"]
    for name in names():
        dataset = get(name)
        if dataset.role == "part":  # there only for others to be composed of
            continue
        lines += entry(name, dataset.title, [f"terms: {dataset.terms}"] if dataset.terms else [])
    return "\n".join(lines)


def _weights() -> str:
    lines = ["weights"]
    for d in all_declarations():
        lines += entry(f"{d.restorer}.{d.tag}", f"{d.label}; trained on {', '.join(d.trained_on)}; {d.licence}")
    return "\n".join(lines)


def _cached() -> str:
    """What is in the cache of data sets and weights, by name and size; whether it is whole, `verify` says."""
    from bench.data.download import cache_dir

    lines = [escape.terminal(f"cached in {cache_dir()}")]
    declared = {f"datasets/{name}": len(get(name)) for name in names()}
    declared |= Counter(f"weights/{d.restorer}" for d in all_declarations() if d.path is None)
    total = 0
    for place, n_declared in declared.items():
        folder = cache_dir() / place
        files = [file for file in folder.iterdir() if file.name[0] != "."] if folder.is_dir() else []
        size = sum(file.stat().st_size for file in files)
        total += size
        lines += entry(place, f"{len(files)} of {n_declared} files, {_megabytes(size)}") if files else []
    lines += entry("in all", _megabytes(total))
    return "\n".join(lines)


def _megabytes(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:.1f} MB"


LISTINGS: dict[str, Callable[[], str]] = {
    "restorers": _restorers,
    "tasks": _tasks,
    "metrics": _metrics,
    "protocols": _protocols,
    "datasets": _datasets,
    "weights": _weights,
}
CACHED: dict[str, Callable[[], str]] = {"cached": _cached}
"""not among what there is, and asked for by name"""


MOST_CHARACTERS = 500
"""of what is said of one thing"""
NAME_WIDTH = 18
MOST_COLUMNS = 100


def entry(name: str, text: str, remarks: Iterable[str] = ()) -> list[str]:
    """A name in a column of its own, the text wrapped beside it, remarks on lines below.

    A name that is wider than its column has a line of its own.
    """
    name, text = escape.terminal(name, MOST_CHARACTERS), escape.terminal(text, MOST_CHARACTERS)
    width = max(60, min(shutil.get_terminal_size().columns, MOST_COLUMNS)) - NAME_WIDTH - 3
    lines = textwrap.wrap(text, width) or [""]
    for remark in remarks:
        told = escape.terminal(remark, MOST_CHARACTERS)
        lines += textwrap.wrap(told, width, initial_indent="! ", subsequent_indent="  ")
    names = [name] if len(name) <= NAME_WIDTH else [name, ""]
    beside = lines if len(names) == 1 else ["", *lines]
    padded = [*names, *[""] * (len(beside) - len(names))]
    return [f"  {left:<{NAME_WIDTH}} {right}".rstrip() for left, right in zip(padded, beside, strict=True)]


def doctor() -> str:
    """What this machine can do, as text."""
    from bench.data.download import cache_dir

    lines = [f"{name:<20} {value}" for name, value in describe().items()]
    lines.append(f"{'threads by default':<20} {n_cores()}")
    lines += [f"{f'device {word}':<20} {_device(word, card)}" for word, card in present().items()]
    if mount := mount_of(Path()):
        lines.append(f"{'this folder is on':<20} {mount.kind}{', where stores go without WAL' * mount.is_network}")
    lines.append(f"{'cache':<20} {cache_dir()}")
    for variable in ("BENCH_CACHE", "BENCH_MIRROR", "BENCH_OFFLINE", "BENCH_TIMEOUT", "BENCH_MAX_PIXELS"):
        lines.append(f"{variable:<20} {os.environ.get(variable, 'not set')}")
    lines += [f"{info.name:<20} {info.unavailable}" for info in infos().values() if info.unavailable]
    return "\n".join(map(escape.terminal, lines))


def _device(word: str, card: str) -> str:
    """`NVIDIA H200, 140 GiB`"""
    if not word.startswith("cuda"):
        return card or describe()["cpu"]
    import torch

    return f"{card}, {torch.cuda.get_device_properties(word).total_memory / 2**30:.0f} GiB"
