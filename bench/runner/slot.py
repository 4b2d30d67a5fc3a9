"""A slot measures cells one after the other: degrade, restore in a worker process, score, record."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

from bench.data.datasets import read
from bench.data.degrade import fingerprint
from bench.errors import DataError
from bench.measure.environment import describe, with_device
from bench.measure.quality import load_libraries
from bench.measure.revision import revision
from bench.plugins.boundary import in_a_line, printable
from bench.plugins.tasks import OwnTask, identity
from bench.records.figures import as_text
from bench.records.record import Record
from bench.runner.answer import remark_on, unseen_in_words
from bench.runner.cell import Cell
from bench.runner.messages import Answer, Failure, Unable
from bench.runner.outsiders import Outsiders
from bench.runner.process import RestorerProcess
from bench.runner.scoring import figures_of
from bench.runner.worker import Limits, Worker
from bench.task import Image, Observation
from bench.tasks import Setting

__all__ = ["Seen", "Slot", "degrade", "record_of"]

FEW_PIXELS = 1 << 14
"""that are degraded sooner than another thread is asked to"""


class Seen(NamedTuple):
    """The pictures of a cell that was measured: the reference, what the restorer was shown, its answer."""

    clean: Image
    observation: Observation
    x_hat: Image


class Slot:
    """Holds one restorer's process at a time, and replaces it when the restorer changes or dies.

    readings  timed calls per cell, None for the usual
    shares    whether other slots work at the same time
    visible   which accelerator its restorers see, as CUDA_VISIBLE_DEVICES says it; "": all
    kind      of worker, see `bench.runner.process`

    seen      the pictures of the cell that `measure` measured last; None if it gave none
    said      what the restorer printed for that cell, its traceback included
    """

    def __init__(
        self,
        limits: Limits,
        readings: int | None,
        *,
        shares: bool = False,
        visible: str = "",
        kind: type[Worker] = Worker,
    ) -> None:
        self.limits = limits
        self.readings = readings
        self.shares = shares
        self.visible = visible
        self.kind = kind
        self.process: RestorerProcess | None = None
        self.seen: Seen | None = None
        self.said = ""
        self._known: dict[tuple[str, str, str, str, int], RestorerProcess] = {}
        self._ahead: tuple[Cell, Future[tuple[Image, Observation]]] | None = None
        self._assistant = ThreadPoolExecutor(1)
        self._outsiders = Outsiders(limits)
        self._is_stopped = False

    def measure(self, cell: Cell, upcoming: Cell | None = None) -> Record:
        """The record of a cell, whatever happens to the restorer.

        upcoming  the cell that will be next: unless it is small, it is degraded while this one is scored. (Not while
                  this one is restored: nothing else of ours runs while a call is timed.)
        """
        process, self.seen, self.said = self._process_for(cell), None, ""
        try:
            clean, seen = self._take_degraded(cell)
        except DataError as error:
            return record_of(cell, status="failed", reason=str(error))
        given = fingerprint(seen.image)
        answer = process.ready(cell.prepared_for, cell.weights) or process.restore(
            seen, timed=cell.timed, readings=self.readings
        )
        self.said = process.said
        if upcoming is not None and upcoming.entry.n_pixels > FEW_PIXELS:
            self._ahead = upcoming, self._assistant.submit(degrade, upcoming, self._outsiders)
        if isinstance(answer, Unable):
            return record_of(cell, status="skipped", reason=answer.reason, input_sha256=given)
        if isinstance(answer, Failure):
            return record_of(cell, status="failed", reason=answer.reason, input_sha256=given)
        self.seen = Seen(clean, seen, answer.x_hat)
        as_another = f"shown as {cell.shown.task}: it does not name {cell.setting.task}" if cell.shown else ""
        says = cell.told is not None and cell.told != cell.setting.level
        told = f"told sigma {cell.told:g} ({cell.setting.level})" if says else ""
        odd = [as_another, told, remark_on(answer.x_hat, seen), unseen_in_words(process.unseen)]
        return self._scored(cell, clean, answer, given, "; ".join(filter(None, odd)))

    def stop(self) -> None:
        """Have it measure nothing more: its processes are killed. From any thread; `measure` ends soon."""
        self._is_stopped = True
        for process in [*self._known.values()]:
            process.stop()
        self._outsiders.stop()
        self._assistant.shutdown(wait=False, cancel_futures=True)

    def close(self) -> None:
        """End its processes."""
        for process in self._known.values():
            process.close()
        self._outsiders.close()

    def _take_degraded(self, cell: Cell) -> tuple[Image, Observation]:
        ahead, self._ahead = self._ahead, None
        return ahead[1].result() if ahead is not None and ahead[0] is cell else degrade(cell, self._outsiders)

    def _process_for(self, cell: Cell) -> RestorerProcess:
        """The cell's restorer in a process, perhaps still loading; that of another restorer is ended."""
        spec = cell.spec
        held = (spec.info.target, spec.name, spec.code_sha256, cell.device, cell.threads)
        process = self._known.get(held)
        if process is None:
            process = RestorerProcess(
                spec, cell.device, cell.threads, self.limits, shares=self.shares, visible=self.visible, kind=self.kind
            )
            self._known[held] = process
            if self._is_stopped:
                process.stop()
        if process is not self.process:
            if self.process is not None:
                self.process.rest()
            self.process = process
        process.start()
        load_libraries()  # those for scoring, while the worker loads its own
        return process

    def _scored(self, cell: Cell, clean: Image, answer: Answer, given: str, odd: str) -> Record:
        try:
            quality = cell.protocol.score(answer.x_hat, clean, cell.setting)
        except DataError as error:
            return record_of(cell, status="failed", reason=str(error), input_sha256=given)
        figures, failures = figures_of(
            cell.metrics, answer.x_hat, clean, cell.setting, cell.protocol, self._outsiders
        )
        odd = "; ".join(filter(None, [odd, *failures]))
        timing = answer.timing
        return record_of(
            cell,
            status="ok",
            reason=odd,
            psnr_db=quality.psnr_db,
            ssim=quality.ssim,
            metrics=as_text(figures),
            estimated_level=answer.estimated_level,
            seconds=timing.seconds if timing else None,
            seconds_spread=timing.spread if timing else None,
            device_seconds=timing.device_seconds if timing else None,
            params=answer.params,
            macs_per_pixel=answer.macs_per_pixel,
            peak_mib=answer.peak_mib,
            input_sha256=given,
        )


def degrade(cell: Cell, outsiders: Outsiders) -> tuple[Image, Observation]:
    """The reference image of a cell, and what its restorer is shown. Raises DataError."""
    image = read(cell.dataset, cell.entry)
    if image.sha256 != cell.image_sha256:
        raise DataError(
            f"{cell.dataset.name}/{cell.entry.name} has other pixels than planned: it changed meanwhile,"
            " or this machine's JPEG decoder differs."
        )
    task, level = cell.task, cell.setting.level
    if task and task.files(level) and identity(task, level) != cell.task_sha256:
        raise DataError(f"a file that the level {level} names changed since the run was planned: run again")
    if isinstance(task, OwnTask):
        clean, seen = outsiders.degrade(task, image.pixels, level, cell.seed)
    elif image.noisy is not None and cell.setting.task == "real":
        known = {} if cell.told is None else {"sigma": cell.told}
        clean, seen = image.pixels, Observation(image.noisy, "real", known=known)
    else:
        clean, seen = cell.protocol.degrade(image.pixels, cell.setting, cell.seed)
    return clean, _shown_as(seen, cell.shown, clean.shape)


def _shown_as(seen: Observation, shown: Setting | None, shape: tuple[int, ...]) -> Observation:
    """What a restorer that does not name the task is shown: the picture, as an observation of one that it names."""
    if shown is None:
        return seen
    if seen.image.shape != shape:
        raise DataError(f"{seen.task} shows a picture of another size, which is not {shown.task}")
    if shown.task != "denoise":
        return Observation(seen.image, shown.task)
    if seen.sigma is None:
        raise DataError(f"{seen.task} does not tell sigma, which {shown.task} does")
    return Observation(seen.image, shown.task, sigma=seen.sigma)


def record_of(cell: Cell, **figures: Any) -> Record:
    """The record of a cell as it was measured on this machine, with its figures."""
    info, now = cell.spec.info, datetime.now(timezone.utc).isoformat(timespec="seconds")
    return Record(
        **{
            **cell.maker._asdict(),
            "label": cell.label,
            "weights_sha256": cell.weights.sha256 if cell.weights else "",
            "task": cell.setting.task,
            "level": cell.setting.level,
            "level_name": cell.setting.level_name,
            "task_plugin": printable(cell.task.place.target) if isinstance(cell.task, OwnTask) else "",
            "task_sha256": cell.task_sha256,
            "channels": cell.setting.channels,
            "dataset": cell.dataset.name,
            "folder": cell.dataset.location,
            "image": cell.entry.name,
            "protocol": cell.protocol.name,
            "repeat": cell.repeat,
            "device": cell.device,
            "threads": cell.threads,
            "code_sha256": cell.spec.code_sha256,
            "restorer_version": info.version,
            "bench_version": describe()["bench"],
            "revision": revision(Path(__file__), info.source, info.name),
            "measured_at": now,
            "asked_at": now,
            "environment": with_device(cell.machine.card),
            "key": cell.key,
            **figures,
            "reason": in_a_line(figures.get("reason", "")),
        }
    )
