"""Stages that hand strips of an image on to each other, on threads that each take a stage whose turn it is.

Where all threads work on one stage at a time, they wait for each other at its end, and again for what one of them
does between two stages. Here a stage goes on as soon as what it needs of the one before is there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from threading import Condition
from typing import Any

from bench.methods.fast.threads import Workers
from torch import Tensor

__all__ = ["Pipeline", "Stage"]

AHEAD = 1  # strips that a stage makes before the next one can use them: more need memory, and hardly save time


class Stage(ABC):
    """Makes strips of rows, one after the other, from those of the stage before, if there is one.

    n  strips that are made
    """

    def __init__(self, strips: Sequence[range], before: Stage | None = None) -> None:
        self.strips, self.before = strips, before
        self.after: Stage | None = None
        self.made: deque[Tensor] = deque()  # those that the next stage has not taken
        self.n = 0
        if before is not None:
            before.after = self

    @abstractmethod
    def needs(self, n: int) -> int:
        """How many rows of the stage before must be there for the n-th strip."""

    @abstractmethod
    def make(self, n: int) -> Tensor | None:
        """The n-th strip, with the help of `take`; None if the next stage knows where it is."""

    @property
    def rows(self) -> int:
        """How many rows are made."""
        return self.strips[self.n - 1].stop if self.n else 0

    @property
    def finished(self) -> bool:
        return self.n == len(self.strips)

    @property
    def ready(self) -> bool:
        """Whether there is a strip to make, what it needs is there, and the next stage will want it soon."""
        if self.finished or (self.before is not None and self.before.rows < self.needs(self.n)):
            return False
        next_one = self.after
        return next_one is None or self.rows < next_one.needs(min(next_one.n + AHEAD, len(self.strips) - 1))

    def take(self) -> Tensor:
        """The next strip of the stage before."""
        return self.before.made.popleft()

    def advance(self) -> None:
        strip = self.make(self.n)
        if strip is not None and self.after is not None:
            self.made.append(strip)
        self.n += 1


@dataclass(eq=False)
class _Share:
    """Pieces of a stage's work that any thread may take, and how many other threads are at it."""

    one: Callable[[Any], object]
    pieces: deque[Any]
    helpers: int = 0

    def do(self) -> None:
        while True:
            try:
                piece = self.pieces.popleft()
            except IndexError:
                return
            self.one(piece)


class Pipeline:
    """Stages and the threads that work on them.

    A thread takes the last stage that is ready, so that little is held between them. Where none is, it helps another
    thread with the pieces that this one works on (`do`).
    """

    def __init__(self, workers: Workers) -> None:
        self.workers = workers
        self.changed = Condition()
        self.stages: list[Stage] = []
        self.at_work: set[Stage] = set()
        self.shares: list[_Share] = []
        self.failed = False

    def run(self, last: Stage) -> None:
        """Make all strips of a stage, and of those before it."""
        stage: Stage | None = last
        while stage is not None:
            self.stages.append(stage)
            stage = stage.before
        try:
            self.workers.do(self._work, range(self.workers.n))
        finally:  # what refers to each other in a circle would keep its memory until Python looks for circles
            for stage in self.stages:
                stage.after = None
            self.stages.clear()

    def do(self, one: Callable[[Any], object], pieces: Iterable[Any]) -> None:
        """`one` of all pieces, in any order: what a stage does that can be divided."""
        share = _Share(one, deque(pieces))
        with self.changed:
            self.shares.append(share)
            self.changed.notify()
        share.do()
        with self.changed:
            self.shares.remove(share)
            self.changed.wait_for(lambda: not share.helpers or self.failed)

    def _work(self, _: int) -> None:
        try:
            while (task := self._next()) is not None:
                task()
        except BaseException:
            with self.changed:
                self.failed = True  # the others stop
                self.changed.notify_all()
            raise

    def _next(self) -> Callable[[], None] | None:
        with self.changed:
            while not self.failed:
                stages = [stage for stage in self.stages if not stage.finished]
                if not stages:
                    return None
                for stage in stages:
                    if stage not in self.at_work and stage.ready:
                        self.at_work.add(stage)
                        return partial(self._advance, stage)
                for share in self.shares:
                    if share.pieces:
                        share.helpers += 1
                        return partial(self._help, share)
                self.changed.wait()
            return None

    def _advance(self, stage: Stage) -> None:
        stage.advance()
        with self.changed:
            self.at_work.remove(stage)
            self.changed.notify_all()

    def _help(self, share: _Share) -> None:
        share.do()
        with self.changed:
            share.helpers -= 1
            self.changed.notify_all()
