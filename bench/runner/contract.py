"""`bench check`: a restorer is tried against what every restorer must keep to.

Run in a worker process, as a benchmark would, on small synthetic images; learned restorers are tried untrained, those
that run a file with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bench.errors import WeightsError, unknown
from bench.level import Level
from bench.plugins.cards import remarks, settings
from bench.plugins.registry import RestorerSpec
from bench.plugins.weights import file_named
from bench.protocol import get_protocol
from bench.runner.answer import unseen_in_words
from bench.runner.messages import Answer, Failure, Unable
from bench.runner.process import RestorerProcess
from bench.runner.worker import Limits, Worker
from bench.task import Image, Observation, Task
from bench.tasks import TASKS, Setting, get_task

if TYPE_CHECKING:
    from bench.restorer import WeightsFile

__all__ = ["Finding", "check"]

SIZES = ((1, 1), (7, 9), (29, 61), (48, 32))

DIFFERENT = "answered differently when asked twice"
SEEDED = (
    "its answer depends on the global random seed (dropout left on? A method that draws numbers on purpose seeds a"
    " generator of its own)"
)


class Finding(NamedTuple):
    """One thing tried. detail: what went wrong, or a remark."""

    what: str
    ok: bool
    detail: str = ""

    def __str__(self) -> str:
        return f"{'ok    ' if self.ok else 'BROKEN'}  {self.what}" + (f": {self.detail}" if self.detail else "")


def check(spec: RestorerSpec, limits: Limits | None = None, kind: type[Worker] = Worker) -> Iterator[Finding]:
    """Try a restorer on every task, channel count and odd size it claims; one finding for each.

    kind  of worker: see bench.runner.process

    Each answer must be a float32 array of the right shape with finite values, the same when asked twice, whatever
    seed the global random generators have, and the observation must be left as it was. That no clean image is peeked
    at needs no trying: the process in which a restorer runs is never given one.
    """
    if spec.info.unavailable:
        yield Finding("available", False, spec.info.unavailable)
        return
    unknown_tasks = sorted(set(spec.info.tasks) - set(TASKS))
    complaints = [unknown("task", name, TASKS) for name in unknown_tasks if get_close_matches(name, TASKS)]
    others = f"not tried at {', '.join(unknown_tasks)}: not one of ours" if unknown_tasks else ""
    yield Finding("tasks are known", not complaints, " ".join(complaints) or others)
    process = RestorerProcess(spec, "cpu", 1, limits or Limits(60), watch=True, kind=kind)
    try:
        failure = process.loaded()
        yield _finding("loads", failure)
        if failure is not None:
            return
        file = file_named(spec) if spec.info.adapts else None
        if spec.weights and file is None:
            yield _check_weights(spec, process.limits)
        for task in (get_task(name) for name in sorted(set(spec.info.tasks) & set(TASKS))):
            for channels in (task.channels,) if task.channels else (1, 3):
                yield from _check_task(process, task, channels, file)
        yield Finding("its code's hash knows what it opens", not process.unseen, unseen_in_words(process.unseen))
    finally:
        process.close()


def _check_weights(spec: RestorerSpec, limits: Limits) -> Finding:
    """Prepare it with the file that was named, at the first setting that the file fits.

    In a process of its own: the file is part of every record, and so not one that is opened unseen.
    """
    what = f"reads {spec.weights}"
    try:
        file = file_named(spec)
    except WeightsError as error:
        return Finding(what, False, str(error))
    if file is None:
        return Finding(f"has {spec.weights} weights", True)
    process = RestorerProcess(spec, "cpu", 1, limits)
    reasons: list[str] = []
    try:
        for setting in settings(spec, file):
            prevented = process.ready(setting, file)
            if prevented is None:
                return Finding(what, True, "; ".join([f"for {setting}", *remarks(spec, file, setting)]))
            if isinstance(prevented, Failure):
                reasons.append(f"for {setting}: {prevented.reason}")
    finally:
        process.close()
    return Finding(what, False, reasons[0] if reasons else "it declines every setting")


def _check_task(process: RestorerProcess, task: Task, channels: int, file: WeightsFile | None) -> Iterator[Finding]:
    """Try the task's middle level, or the first other one that is not declined."""
    middle = _level(task)
    declined: list[str] = []
    for level in dict.fromkeys([middle, *task.levels]):
        setting = Setting(task.name, level, channels)
        prevented = process.ready(setting, file, untrained=True)
        if not isinstance(prevented, Unable):
            yield _finding(f"{setting}: prepares", prevented)
            yield from _check_sizes(process, setting, file)
            return
        declined.append(prevented.reason)
    yield Finding(str(Setting(task.name, middle, channels)), True, f"declined: {declined[0]}")


def _check_sizes(process: RestorerProcess, setting: Setting, file: WeightsFile | None) -> Iterator[Finding]:
    for size in SIZES:
        if process.ready(setting, file, untrained=True) is not None:
            return
        yield _check_size(process, setting, size)


def _check_size(process: RestorerProcess, setting: Setting, size: tuple[int, int]) -> Finding:
    """Ask with two seeds of the global generators; where the answers differ, ask on, to tell why."""
    what = f"{setting}: {size[0]}x{size[1]}"
    seen = observe_disc(setting, size)
    answers = []
    for seed in (0, 1):
        answer = process.restore(seen, seed=seed)
        if isinstance(answer, Failure):
            return Finding(what, False, answer.reason)
        answers.append(answer.x_hat)
    first, other = answers
    if np.array_equal(first, other):
        return Finding(what, True)
    again = [process.restore(seen) for _ in range(2)]  # one that changes at every second call has no seed to thank
    same = all(isinstance(answer, Answer) and np.array_equal(answer.x_hat, first) for answer in again)
    return Finding(what, False, SEEDED if same else DIFFERENT)


def _finding(what: str, failure: Failure | None) -> Finding:
    return Finding(what, failure is None, failure.reason if failure else "")


def _level(task: Task) -> Level:
    return task.levels[len(task.levels) // 2]


def disc(size: tuple[int, int], channels: int) -> Image:
    """A bright disc on a slope, float32 (H, W, C) in [0, 1]: edges, flat parts, and channels that differ."""
    height, width = size
    rows, columns = np.mgrid[:height, :width]
    radius = np.hypot(rows - height / 2, columns - width / 2)
    slope = (rows + columns) / max(height + width, 1)
    gray = np.where(radius < min(size) / 3, 0.8, 0.2 + 0.4 * slope)
    return np.stack([gray * (1 - 0.2 * c) for c in range(channels)], axis=2).astype(np.float32)


def observe_disc(setting: Setting, size: tuple[int, int]) -> Observation:
    """What a restorer is shown of the disc. For super-resolution the size is that of the low-resolution image."""
    factor = int(setting.level) if setting.task == "superres" else 1
    image = disc((size[0] * factor, size[1] * factor), setting.channels)
    protocol = get_protocol("standard-v1")
    _, seen = protocol.degrade(image, setting, protocol.seed(setting, "disc", f"{size}", 0))
    return seen
