"""Tasks and metrics of one's own, each in a process of its own: what they do wrong costs a cell or a figure.

The built-in ones run in the runner. One of one's own may hang, grow or die, as a restorer may, and is held by the
same means: `bench.runner.worker` has its limits, `bench.runner.guest` is what runs inside.
"""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bench.errors import DataError
from bench.level import Level
from bench.plugins.metrics import OwnMetric
from bench.plugins.tasks import OwnTask
from bench.runner.messages import Bring, Degrade, Degraded, Failure, Judge, Judged, Reply
from bench.runner.process import Process
from bench.runner.worker import Limits
from bench.task import Image, Observation

__all__ = ["Outsider", "Outsiders"]


class Outsider(Process):
    """One task or metric."""

    def __init__(self, one: OwnTask | OwnMetric, limits: Limits, *, watch: bool = False) -> None:
        place, folder = one.place, str(one.place.source.resolve().parent)
        what: Literal["task", "metric"] = "task" if isinstance(one, OwnTask) else "metric"
        bring = Bring(what, place.target, one.name, folder, place.code.held, watch)
        super().__init__(bring, place.code, 1, limits)
        self._lock = threading.Lock()  # a slot degrades the next picture while it scores one

    def degrade(self, image: Image, level: Level, seed: tuple[int, ...], *, disturbed: int = 0) -> Degraded | Failure:
        answer = self._ask(Degrade(image, level, seed, disturbed))
        assert isinstance(answer, (Degraded, Failure))
        return answer

    def judge(self, restored: NDArray[np.float64], clean: NDArray[np.float64]) -> Judged | Failure:
        answer = self._ask(Judge(restored, clean))
        assert isinstance(answer, (Judged, Failure))
        return answer

    def loaded(self) -> Failure | None:
        with self._lock:
            return super().loaded()

    def _ask(self, question: Degrade | Judge) -> Reply:
        with self._lock:
            failed = super().loaded()
            if failed is not None:
                return failed
            assert self._worker is not None
            answer = self._worker.ask(question)
            self._worker.said()
        if isinstance(answer, (Degraded, Judged)):
            self.unseen |= {*answer.unseen}
        return answer


class Outsiders:
    """Those of a plan, each started when it is first needed. Use it in a `with` statement, or close it."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._known: dict[str, Outsider] = {}
        self._is_stopped = False

    def __enter__(self) -> Outsiders:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def degrade(self, task: OwnTask, image: Image, level: Level, seed: tuple[int, ...]) -> tuple[Image, Observation]:
        """The reference, and what is seen of it. Raises DataError with the reason for a task that failed."""
        answer = self._of(task).degrade(image, level, seed)
        if isinstance(answer, Failure):
            raise DataError(f"the task {task.name}: {answer.reason}")
        return answer.clean, Observation(answer.image, task.name, known=answer.known)

    def judge(self, metric: OwnMetric, restored: NDArray[np.float64], clean: NDArray[np.float64]) -> float:
        """The metric's figure. Raises DataError with the reason for one that failed."""
        answer = self._of(metric).judge(restored, clean)
        if isinstance(answer, Failure):
            raise DataError(answer.reason)
        return answer.value

    @property
    def unseen(self) -> set[str]:
        """Files of their own folders that they use, and that their codes' hashes do not know of."""
        return {name for outsider in self._known.values() for name in outsider.unseen}

    def _of(self, one: OwnTask | OwnMetric) -> Outsider:
        outsider = self._known.get(one.place.target)
        if outsider is None:
            outsider = self._known[one.place.target] = Outsider(one, self._limits)
            if self._is_stopped:
                outsider.stop()
        return outsider

    def stop(self) -> None:
        """Have them do nothing more: their processes are killed. From any thread."""
        self._is_stopped = True
        for outsider in [*self._known.values()]:
            outsider.stop()

    def close(self) -> None:
        """End their processes."""
        for outsider in [*self._known.values()]:
            outsider.close()
