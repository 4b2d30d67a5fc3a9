"""A slot measures cells one after the other: degrade, restore in a worker process, score, record."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from bench.data.datasets import read
from bench.data.degrade import fingerprint
from bench.errors import DataError
from bench.measure.devices import card
from bench.measure.environment import with_device
from bench.measure.quality import load_libraries
from bench.measure.revision import revision
from bench.plugins.boundary import in_a_line
from bench.records.record import Record
from bench.runner.answer import remark_on, unseen_in_words
from bench.runner.cell import Cell
from bench.runner.messages import Answer, Failure, Unable
from bench.runner.process import RestorerProcess
from bench.runner.worker import Limits, Worker
from bench.task import Image, Observation

__all__ = ["Seen", "Slot"]


class Seen(NamedTuple):
    """The pictures of a cell that was measured: the reference, what the restorer was shown, its answer."""

    clean: Image
    observation: Observation
    x_hat: Image


class Slot:
    """Holds one restorer's process at a time, and replaces it when the restorer changes or dies.

    readings  timed calls per cell, None for the usual
    shares    whether other slots work at the same time
    kind      of worker, see `bench.runner.process`

    seen      the pictures of the cell that `measure` measured last; None if it gave none
    said      what the restorer printed for that cell, its traceback included
    """

    def __init__(
        self, limits: Limits, readings: int | None, *, shares: bool = False, kind: type[Worker] = Worker
    ) -> None:
        self.limits = limits
        self.readings = readings
        self.shares = shares
        self.kind = kind
        self.process: RestorerProcess | None = None
        self.seen: Seen | None = None
        self.said = ""
        self._known: dict[tuple[str, str, str, int], RestorerProcess] = {}
        self._ahead: tuple[Cell, Future[tuple[Image, Observation]]] | None = None
        self._assistant = ThreadPoolExecutor(1)
        self._is_stopped = False

    def measure(self, cell: Cell, upcoming: Cell | None = None) -> Record:
        """The record of a cell, whatever happens to the restorer.

        upcoming  the cell that will be next: it is degraded while this one is scored. (Not while this one is
                  restored: nothing else of ours runs while a call is timed.)
        """
        process, self.seen, self.said = self._process_for(cell), None, ""
        try:
            clean, seen = self._take_degraded(cell)
        except DataError as error:
            return _record(cell, status="failed", reason=str(error))
        given = fingerprint(seen.image)
        answer = process.ready(cell.setting, cell.weights) or process.restore(
            seen, timed=cell.timed, readings=self.readings
        )
        self.said = process.said
        if upcoming is not None:
            self._ahead = upcoming, self._assistant.submit(degrade, upcoming)
        if isinstance(answer, Unable):
            return _record(cell, status="skipped", reason=answer.reason, input_sha256=given)
        if isinstance(answer, Failure):
            return _record(cell, status="failed", reason=answer.reason, input_sha256=given)
        self.seen = Seen(clean, seen, answer.x_hat)
        odd = [remark_on(answer.x_hat, seen), unseen_in_words(process.unseen)]
        return self._scored(cell, clean, answer, given, "; ".join(filter(None, odd)))

    def stop(self) -> None:
        """Have it measure nothing more: its processes are killed. From any thread; `measure` ends soon."""
        self._is_stopped = True
        for process in [*self._known.values()]:
            process.stop()
        self._assistant.shutdown(wait=False, cancel_futures=True)

    def close(self) -> None:
        """End the process, if there is one."""
        if self.process is not None:
            self.process.close()

    def _take_degraded(self, cell: Cell) -> tuple[Image, Observation]:
        ahead, self._ahead = self._ahead, None
        return ahead[1].result() if ahead is not None and ahead[0] is cell else degrade(cell)

    def _process_for(self, cell: Cell) -> RestorerProcess:
        """The cell's restorer in a process, perhaps still loading; that of another restorer is ended."""
        spec = cell.spec
        held = (spec.info.target, spec.name, cell.device, cell.threads)
        process = self._known.get(held)
        if process is None:
            process = RestorerProcess(
                spec, cell.device, cell.threads, self.limits, shares=self.shares, kind=self.kind
            )
            self._known[held] = process
            if self._is_stopped:
                process.stop()
        if process is not self.process:
            self.close()
            self.process = process
        process.start()
        load_libraries()  # those for scoring, while the worker loads its own
        return process

    def _scored(self, cell: Cell, clean: Image, answer: Answer, given: str, odd: str) -> Record:
        try:
            quality = cell.protocol.score(answer.x_hat, clean, cell.setting)
        except DataError as error:
            return _record(cell, status="failed", reason=str(error), input_sha256=given)
        timing = answer.timing
        return _record(
            cell,
            status="ok",
            reason=odd,
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
    info, now = cell.spec.info, datetime.now(timezone.utc).isoformat(timespec="seconds")
    return Record(
        **{
            **cell.maker._asdict(),
            "label": cell.label,
            "weights_sha256": cell.weights.sha256 if cell.weights else "",
            "task": cell.setting.task,
            "level": cell.setting.level,
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
            "bench_version": version("bench"),
            "revision": revision(Path(__file__), info.source, info.name),
            "measured_at": now,
            "asked_at": now,
            "environment": with_device(card(cell.device)),
            "key": cell.key,
            **figures,
            "reason": in_a_line(figures.get("reason", "")),
        }
    )
