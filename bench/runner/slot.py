"""A slot measures cells one after the other: degrade, restore in a worker process, score, record."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from bench.data.datasets import read
from bench.data.degrade import fingerprint
from bench.errors import DataError
from bench.measure.devices import card
from bench.measure.environment import with_device
from bench.measure.quality import load_libraries
from bench.records.store import Record
from bench.runner.messages import Answer, Failure, Load, Prepare, Restore, Unable
from bench.runner.plan import Cell
from bench.runner.worker import Limits, Worker
from bench.task import Image, Observation, Setting

if TYPE_CHECKING:
    from bench.restorer import WeightsFile

__all__ = ["Slot"]

Held = tuple[Load, int]
"""what a worker holds: the class's target, the variant, the device, the threads"""


class Slot:
    """Holds one worker process at a time, and replaces it when the restorer changes or dies.

    readings  timed calls per cell, None for the usual
    shares    whether other slots work at the same time
    """

    def __init__(self, limits: Limits, readings: int | None, *, shares: bool = False) -> None:
        self.limits = limits
        self.readings = readings
        self.shares = shares
        self.worker: Worker | None = None
        self.held: Held | None = None
        self.prepared: tuple[Setting, WeightsFile | None] | None = None
        # What could not be loaded or prepared, so that it is tried once and not for every image:
        self.hopeless: dict[Any, Failure | Unable] = {}
        self._ahead: tuple[Cell, Future[tuple[Image, Observation]]] | None = None
        self._assistant = ThreadPoolExecutor(1)

    def measure(self, cell: Cell, upcoming: Cell | None = None) -> Record:
        """The record of a cell, whatever happens to the restorer.

        upcoming  the cell that will be next: it is degraded while this one is scored. (Not while this one is
                  restored: nothing else of ours runs while a call is timed.)
        """
        held = _held_for(cell)
        self._start(held)
        try:
            clean, seen = self._take_degraded(cell)
        except DataError as error:
            return _record(cell, status="failed", reason=str(error))
        given = fingerprint(seen.image)
        answer = self._ready(held, cell) or self._current.ask(Restore(seen, cell.timed, self.readings))
        if upcoming is not None:
            self._ahead = upcoming, self._assistant.submit(degrade, upcoming)
        if isinstance(answer, Unable):
            return _record(cell, status="skipped", reason=answer.reason, input_sha256=given)
        if isinstance(answer, Failure):
            return _record(cell, status="failed", reason=answer.reason, input_sha256=given)
        return self._scored(cell, clean, answer, given)

    def close(self) -> None:
        """End the worker, if there is one."""
        if self.worker is not None:
            self.worker.close()
            self.worker = None

    def _take_degraded(self, cell: Cell) -> tuple[Image, Observation]:
        ahead, self._ahead = self._ahead, None
        return ahead[1].result() if ahead is not None and ahead[0] is cell else degrade(cell)

    def _start(self, held: Held) -> None:
        """Have a process for the restorer, perhaps still loading."""
        if held in self.hopeless or (self.worker is not None and self.worker.alive and self.held == held):
            return
        self.close()
        self.prepared = None
        self.held = held
        self.worker = Worker(*held, self.limits, shares=self.shares)
        load_libraries()  # those for scoring, while the worker loads its own

    def _ready(self, held: Held, cell: Cell) -> Failure | Unable | None:
        """Have the cell's restorer loaded and prepared; what prevents it, if anything does."""
        setting = (cell.setting, cell.weights)
        hopeless = self.hopeless.get(held) or self.hopeless.get((held, setting))
        if hopeless is not None:
            return hopeless
        loaded = self._current.loaded()
        if isinstance(loaded, Failure):
            self.hopeless[held] = loaded
            return loaded
        if loaded.needs_weights and cell.weights is None:  # the plan reads one file, not those of its base classes
            return Unable(f"{cell.spec.name} needs weights, and none are declared for {cell.setting}")
        if self.prepared == setting:
            return None
        self.prepared = None
        answer = self._current.ask(Prepare(*setting))
        if isinstance(answer, (Failure, Unable)):
            self.hopeless[held, setting] = answer
            return answer
        self.prepared = setting
        return None

    @property
    def _current(self) -> Worker:
        assert self.worker is not None
        return self.worker

    def _scored(self, cell: Cell, clean: Image, answer: Answer, given: str) -> Record:
        quality = cell.protocol.score(answer.x_hat, clean, cell.setting)
        timing = answer.timing
        return _record(
            cell,
            status="ok",
            psnr_db=quality.psnr_db,
            ssim=quality.ssim,
            estimated_level=answer.estimated_level,
            seconds=timing.seconds if timing else None,
            seconds_spread=timing.spread if timing else None,
            device_seconds=timing.device_seconds if timing else None,
            params=answer.params,
            macs_per_pixel=answer.macs_per_pixel,
            peak_mib=answer.peak_mib,
            input_sha256=given,
        )


def _held_for(cell: Cell) -> Held:
    spec = cell.spec
    return Load(spec.info.target, spec.variant, spec.ensemble, cell.device), cell.threads


def degrade(cell: Cell) -> tuple[Image, Observation]:
    """The reference image of a cell, and what its restorer is shown. Raises DataError."""
    image = read(cell.dataset, cell.entry)
    if image.sha256 != cell.image_sha256:
        raise DataError(
            f"{cell.dataset.name}/{cell.entry.name} has other pixels than planned: it changed meanwhile,"
            " or this machine's JPEG decoder differs."
        )
    return cell.protocol.degrade(image.pixels, cell.setting, cell.seed)


def _record(cell: Cell, **figures: Any) -> Record:
    return Record(
        **{
            "restorer": cell.spec.name,
            "weights": cell.weights.label if cell.weights else "",
            "weights_sha256": cell.weights.sha256 if cell.weights else "",
            "task": cell.setting.task,
            "level": cell.setting.level,
            "channels": cell.setting.channels,
            "dataset": cell.dataset.name,
            "image": cell.entry.name,
            "protocol": cell.protocol.name,
            "repeat": cell.repeat,
            "device": cell.device,
            "threads": cell.threads,
            "restorer_version": cell.spec.info.version,
            "environment": with_device(card(cell.device)),
            "key": cell.key,
            **figures,
        }
    )
