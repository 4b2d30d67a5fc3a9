"""A job: one cell by value, a few hundred bytes of JSON that any machine can measure and be held to.

What it names (restorer, weights, task, picture, protocol) the measuring side looks up for itself, and holds to the
hashes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.level import Level
from bench.plugins.metrics import OwnMetric
from bench.plugins.names import spelled
from bench.plugins.tasks import OwnTask
from bench.runner.cell import Cell
from bench.runner.worker import Limits
from bench.tasks import Setting

__all__ = ["Job", "job_of"]


@dataclass(frozen=True)
class Job:
    """One measurement to be made, and what it is held to. All of it is plain: text, numbers, lists.

    number         its place among the cells of the run
    target, variant, parameters, ensemble  the restorer: see `bench.runner.messages.Load`
    inside         target and variant of the denoiser inside; "" where there is none
    code_sha256    of the restorer's code
    weights        their origin, or the file of one's own; "" where there are none
    weights_sha256, loader  of the weights, and how they are read
    task           its name; of one's own where its class is
    task_sha256    of the code of a task of one's own, and of files that the level names
    level, channels, level_name  of the setting
    shown          task, level and channels as which the restorer is shown it; None: as it is
    told           the sigma that a restorer of real pictures is told
    dataset, folder, image  folder: "" for a data set that is known by name
    places         of a picture in a folder where its file is; of a pair both: path, variable, index, crop
    image_sha256   of its pixels
    protocol, repeat, seed  seed: of the noise, as the plan has it
    device         `cpu`, `cuda`, …; which card and how many threads the measuring side says
    timed, readings  readings: per cell, None for the usual
    metrics        beside PSNR and SSIM: name, or where the function is, and identity
    seconds, memory_mib  the limits
    keep           whether what is restored is sent back
    """

    number: int
    target: str
    variant: str
    parameters: str
    ensemble: bool
    inside: tuple[str, str]
    code_sha256: str
    weights: str
    weights_sha256: str
    loader: str
    task: str
    task_sha256: str
    level: Level
    channels: int
    level_name: str
    shown: tuple[str, Level, int] | None
    told: float | None
    dataset: str
    folder: str
    image: str
    places: Sequence[tuple[str, str, Sequence[int], Sequence[int] | None]]
    image_sha256: str
    protocol: str
    repeat: int
    seed: Sequence[int]
    device: str
    timed: bool
    readings: int | None
    metrics: Sequence[tuple[str, str]]
    seconds: float
    memory_mib: float | None
    keep: bool

    @property
    def warm(self) -> tuple[object, ...]:
        """What a process is prepared for: jobs that share it are measured quickest one after the other."""
        setting = self.shown or (self.task, self.level, self.channels)
        return self.target, self.variant, self.parameters, self.ensemble, self.inside, self.weights_sha256, setting

    def text(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def of(cls, text: str) -> Job:
        told: dict[str, Any] = json.loads(text)
        shown = told["shown"] and tuple(told["shown"])
        return cls(**{**told, "inside": tuple(told["inside"]), "shown": shown})


def job_of(cell: Cell, number: int, limits: Limits, readings: int | None, *, keep: bool = False) -> Job:
    """The job of a cell."""
    spec, weights, task, shown = cell.spec, cell.weights, cell.task, cell.shown
    return Job(
        number=number,
        target=spec.info.target,
        variant=spec.variant,
        parameters=spelled(spec.parameters),
        ensemble=spec.ensemble,
        inside=(spec.inside.info.target, spec.inside.variant) if spec.inside else ("", ""),
        code_sha256=spec.code_sha256,
        weights=_origin(cell),
        weights_sha256=weights.sha256 if weights else "",
        loader=weights.loader if weights else "",
        task=task.place.target if isinstance(task, OwnTask) else cell.setting.task,
        task_sha256=cell.task_sha256,
        level=cell.setting.level,
        channels=cell.setting.channels,
        level_name=cell.setting.level_name,
        shown=_flat(shown) if shown else None,
        told=cell.told,
        dataset=cell.dataset.name,
        folder=cell.dataset.location,
        image=cell.entry.name,
        places=_places(cell),
        image_sha256=cell.image_sha256,
        protocol=cell.protocol.name,
        repeat=cell.repeat,
        seed=cell.seed,
        device=cell.device,
        timed=cell.timed,
        readings=readings,
        metrics=[
            (one.place.target if isinstance(one, OwnMetric) else one.name, one.identity) for one in cell.metrics
        ],
        seconds=limits.seconds,
        memory_mib=limits.memory_mib,
        keep=keep,
    )


def _flat(setting: Setting) -> tuple[str, Level, int]:
    return setting.task, setting.level, setting.channels


def _origin(cell: Cell) -> str:
    """`published`, `ours`, or where a file of one's own is."""
    if cell.weights is None:
        return ""
    origin = cell.weights.label.partition(":")[0]
    return str(cell.weights.path.resolve()) if origin == "file" else origin


def _places(cell: Cell) -> list[tuple[str, str, Sequence[int], Sequence[int] | None]]:
    entry = cell.entry
    if entry.pair:
        return [(str(one.path), one.variable, one.index, one.crop) for one in (entry.pair.clean, entry.pair.noisy)]
    return [(str(entry.path), "", (), None)] if entry.path else []
