"""What a job names, looked up on the machine that measures, and held to the job's hashes.

A machine of a cluster has code, weights and pictures of its own. What differs from what was planned is
refused, with both named: it is never a figure.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, cast

from bench.data import datasets
from bench.data.datasets import Dataset, ImageEntry
from bench.data.pairs import Crop, Pair, Place
from bench.errors import BenchError
from bench.measure.machine import Machine
from bench.metric import Metric
from bench.plugins.metrics import choose_metric
from bench.plugins.names import read_parameters
from bench.plugins.registry import RestorerInfo, RestorerSpec, info_of_file, infos
from bench.plugins.tasks import choose_task
from bench.plugins.weights import Picked, pick
from bench.protocol import get_protocol
from bench.runner.cell import Cell
from bench.runner.job import Job
from bench.tasks import Setting

if TYPE_CHECKING:
    from bench.restorer import WeightsFile

__all__ = ["ELSEWHERE", "Lookup", "RefusedError"]

T = TypeVar("T")
ELSEWHERE = "where it was to be measured"
"""of the reason of each refusal: another machine, or the same one another day, may measure it"""
LETTERS = 12
"""of a hash in a reason"""


class RefusedError(BenchError):
    """What a job names is not here, or is not what was planned. Says both."""


class Lookup:
    """Finds the cells of jobs. What was found is kept: jobs of a run share most of what they name."""

    _one_at_a_time = threading.Lock()  # sources are parsed: two threads that do so fail by chance in Python 3.11

    def __init__(self) -> None:
        self._found: dict[Hashable, Any] = {}

    def cell_of(self, job: Job, machine: Machine) -> Cell:
        """The job's cell on this machine. Raises RefusedError for what is not here, or is another."""
        try:
            with self._one_at_a_time:
                return self._cell_of(job, machine)
        except RefusedError:
            raise
        except BenchError as error:
            raise RefusedError(f"{ELSEWHERE}: {error}") from None

    def _cell_of(self, job: Job, machine: Machine) -> Cell:
        task = self._kept(("task", job.task, job.task_sha256), lambda: choose_task(job.task))
        setting = Setting(task.name, job.level, job.channels, job.level_name)
        shown = Setting(*job.shown) if job.shown else None
        spec = self._spec(job)
        dataset, entry = self._picture(job)
        cell = Cell(
            spec=spec,
            weights=self._weights(job, spec, shown or setting),
            setting=setting,
            dataset=dataset,
            entry=entry,
            image_sha256=job.image_sha256,
            protocol=get_protocol(job.protocol),
            repeat=job.repeat,
            machine=machine,
            timed=job.timed,
            task=task,
            shown=shown,
            told=job.told,
            metrics=tuple(self._metric(*asked) for asked in job.metrics),
        )
        if cell.task_sha256 != job.task_sha256:
            _refuse(f"the task {task.name}", cell.task_sha256, job.task_sha256, "bring the worker's copy up to date")
        if [*cell.seed] != [*job.seed]:
            _refuse("the noise's seed", str(cell.seed[0]), str(job.seed[0]), "start the workers again")
        return cell

    def _kept(self, key: Hashable, find: Callable[[], T]) -> T:
        if key not in self._found:
            self._found[key] = find()
        return cast(T, self._found[key])

    # --- the restorer and its weights ---

    def _spec(self, job: Job) -> RestorerSpec:
        asked = (job.target, job.variant, job.parameters, job.ensemble, job.inside, job.weights)
        return self._kept(("restorer", *asked, job.code_sha256), lambda: _spec_of(job))

    def _weights(self, job: Job, spec: RestorerSpec, setting: Setting) -> WeightsFile | None:
        picked = self._kept(
            ("weights", spec.name, job.target, job.weights, job.weights_sha256, setting),
            lambda: _picked(job, spec, setting),
        )
        return picked.file

    # --- the picture ---

    def _picture(self, job: Job) -> tuple[Dataset, ImageEntry]:
        if not job.folder:
            dataset = datasets.get(job.dataset)
            entries = self._kept(("set", job.dataset), lambda: {entry.name: entry for entry in dataset.entries})
            entry = entries[job.image]
            if entry.url:  # once on each machine; that it cannot be had is no fault of the restorer
                self._kept(("file", job.dataset, job.image), lambda: datasets.fetch(entry))
            return dataset, entry
        places = [
            Place(Path(path), variable, tuple(index), _crop(crop)) for path, variable, index, crop in job.places
        ]
        for place in places:
            if not place.path.is_file():
                raise RefusedError(
                    f"{place.path} is not {ELSEWHERE}: folders of pictures must be"
                    " there under the same path, as on a disk that all machines share."
                )
        pair = Pair(job.image, places[0], places[1]) if len(places) > 1 else None
        entry = ImageEntry(job.image, job.dataset, None, None, None, 0, path=places[0].path, pair=pair)
        return Dataset(job.dataset, "", "folder", "", 1, (), location=job.folder, found=(entry,)), entry

    def _metric(self, name: str, identity: str) -> Metric:
        metric = self._kept(("metric", name, identity), lambda: choose_metric(name))
        if metric.identity != identity:
            del self._found["metric", name, identity]
            _refuse(f"the metric {metric.name}", metric.identity, identity, "bring the worker's copy up to date")
        return metric


def _spec_of(job: Job) -> RestorerSpec:
    info = _info(job.target)
    inside = RestorerSpec(_info(job.inside[0]), job.inside[1]) if job.inside[0] else None
    parameters = read_parameters(job.parameters) if job.parameters else {}
    spec = RestorerSpec(info, job.variant, "", job.ensemble, parameters, inside)
    if info.unavailable:
        raise RefusedError(f"{ELSEWHERE}: {info.name} {info.unavailable}")
    if spec.code_sha256 != job.code_sha256:
        _refuse(
            f"the code of {spec.name}", spec.code_sha256, job.code_sha256, f"bring {info.source} there up to date"
        )
    return spec


def _info(target: str) -> RestorerInfo:
    """What is known of a restorer by `module:Class` or `path.py:Class`."""
    place, _, class_name = target.rpartition(":")
    if place.endswith(".py"):
        if not Path(place).is_file():
            raise RefusedError(
                f"{place} is not {ELSEWHERE}: a restorer in a file must be there under"
                " the same path, or be an installed package."
            )
        return info_of_file(Path(place), class_name)
    for info in infos().values():
        if info.target == target:
            return info
    raise RefusedError(f"the restorer {target} is not installed {ELSEWHERE}.")


def _picked(job: Job, spec: RestorerSpec, setting: Setting) -> Picked:
    if job.weights.startswith("/") and not Path(job.weights).is_file():
        raise RefusedError(
            f"the weights {job.weights} are not on the machine where it was to be measured: they must be there under"
            " the same path."
        )
    if spec.inside is not None:
        asked = replace(spec, inside=replace(spec.inside, weights=job.weights))
    else:
        asked = replace(spec, weights=job.weights)
    picked = pick(asked, setting)
    found = picked.file.sha256 if picked.file else ""
    if found != job.weights_sha256:
        why = picked.instead_of or "fetch them there"
        _refuse(f"the weights of {spec.name} for {setting}", found, job.weights_sha256, why)
    return picked


def _crop(crop: Any) -> Crop | None:
    return tuple(crop) if crop else None


def _refuse(what: str, found: str, planned: str, remedy: str) -> NoReturn:
    shorter = [text if text.count(" ") else text[:LETTERS] or "none" for text in (found, planned)]
    raise RefusedError(f"{what} is {shorter[0]} {ELSEWHERE}, and {shorter[1]} as planned: {remedy}.")
