"""Jobs on a Dask cluster. Dask carries text and bytes; which worker measures what is decided here.

A worker process has as many slots as it has threads, or GPUs. A slot stays prepared for a restorer and setting: jobs
that share them go to the worker that has them, see `Job.warm`. A time is taken alone on a machine or its GPU, which
the worker sees to: see `bench.runner.executors.station`.

What was sent to a worker that is gone is measured elsewhere. Of the jobs that it was at, one may be what ended it:
each is tried once more, with nothing beside it, and is a failure if that worker ends too. If the scheduler is gone,
or the network to it, what was sent is kept here and sent again once it is back.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, TypeVar

from bench.errors import BenchError, RequestError
from bench.measure.machine import Machine
from bench.runner.executors import station
from bench.runner.executors.connecting import address_of, client_of, started
from bench.runner.executors.executor import Outcome
from bench.runner.executors.roster import Present, Roster, fetch, run_on, slots_of
from bench.runner.executors.station import About, Slots
from bench.runner.job import Job
from bench.runner.lookup import ELSEWHERE

__all__ = ["Cluster", "ClusterError"]

T = TypeVar("T")

LOOK_SECONDS = 1.0
"""between two looks at which workers there are"""
FIRST_SECONDS = 600.0
"""that the first worker may take to come: a queue may be long"""
BACK_SECONDS = 300.0
"""that a scheduler may be away, or all workers"""
AHEAD_SECONDS = 0.5
"""of work that a worker has beyond what its slots are at"""
MOST_AHEAD = 16
"""jobs of a slot that wait at the worker"""
PER_SLOT = 64
"""jobs of a slot that wait here, so that restorers can be told apart"""
SAVERS = 4
"""threads"""
MOST_DEATHS = 2
"""of workers that were at a job"""


class ClusterError(BenchError):
    """A cluster that is gone, or has no worker that can measure."""


@dataclass(eq=False)
class _Task:
    """A job that was submitted. deaths: of workers that were at it."""

    job: Job
    began: Callable[[], None]
    outcome: Future[Outcome]
    deaths: int = 0
    sent: _Sent | None = None
    sent_at: float = 0.0


@dataclass(eq=False)
class _Hand:
    """A worker process: what it is at, the oldest first, and what it is prepared for, the latest last.

    seconds  of a job, from sending to its answer; None: not known yet
    lone     whether it has a job that nothing may be beside
    """

    address: str
    about: About
    slots: Slots
    at: list[_Task] = field(default_factory=list)
    warm: OrderedDict[Hashable, None] = field(default_factory=OrderedDict)
    seconds: float | None = None
    lone: bool = False

    @property
    def n_slots(self) -> int:
        return len(self.slots.cards)

    @property
    def room(self) -> int:
        """How many jobs it may be sent."""
        ahead = 0 if self.seconds is None else min(MOST_AHEAD, int(AHEAD_SECONDS / max(self.seconds, 1e-3)))
        return self.n_slots * (1 + ahead) - len(self.at)


@dataclass(eq=False)
class _Sent:
    """A job on its way. future: Dask's, of the answer."""

    hand: _Hand
    task: _Task
    future: Any

    @property
    def is_wanted(self) -> bool:
        """Whether its answer still is: the job may have been sent to another meanwhile."""
        return self.task.sent is self


class Cluster:
    """Slots of a cluster: an Executor. Use it in a `with` statement.

    words    see `bench.runner.executors.connecting`
    device   of each slot: cpu, cuda or mps
    threads  of each slot; None: its share of the cores
    timed    whether times are taken: then a machine has one slot, or one for each of its GPUs
    memory_mib  that a restorer may hold: a machine has no more slots than have room
    told     is given a line when workers come, go or cannot be used

    machines  one of each kind, once it is entered
    """

    def __init__(
        self,
        words: str,
        device: str = "cpu",
        threads: int | None = None,
        *,
        timed: bool = False,
        memory_mib: float | None = None,
        told: Callable[[str], None] = lambda line: None,
    ) -> None:
        if device not in ("cpu", "cuda", "mps"):
            raise RequestError(f"--device {device}: each slot of a cluster sees one GPU: expected cpu, cuda or mps.")
        self.words, self.device, self.threads, self.timed = words, device, threads, timed
        self.memory_mib, self.told = memory_mib, told
        self.run = os.urandom(6).hex()
        self._events: SimpleQueue[tuple[str, Any]] = SimpleQueue()
        self._answers: SimpleQueue[_Sent | None] = SimpleQueue()
        self._hands: dict[str, _Hand] = {}
        self._groups: OrderedDict[Hashable, deque[_Task]] = OrderedDict()
        self._suspects: deque[_Task] = deque()
        self._refused: set[tuple[str, str]] = set()
        self._roster = Roster(self.device)
        self._numbers = itertools.count()
        self._is_closed = threading.Event()
        self._savers = ThreadPoolExecutor(SAVERS)
        self._alone_since: float | None = None
        self._fault: BaseException | None = None
        self._held = contextlib.ExitStack()

    # --- its life ------------------------------------------------------------------------------

    def __enter__(self) -> Cluster:
        with contextlib.ExitStack() as held:
            self._address = held.enter_context(started(self.words))
            self._client = client_of(self._address)
            held.callback(self._disconnect)
            self._wait_for_the_first()
            self._held = held.pop_all()
        threading.Thread(target=self._work, daemon=True).start()
        threading.Thread(target=self._take, daemon=True).start()
        threading.Thread(target=self._look, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._is_closed.set()
        self._events.put(("close", None))
        self._answers.put(None)
        self._savers.shutdown(wait=False, cancel_futures=True)
        self._held.close()

    def _disconnect(self) -> None:
        with contextlib.suppress(Exception):  # it may be away
            run_on(self._client, 5, station.leave, self.run)
        with contextlib.suppress(Exception):
            self._client.close(timeout=2)

    def _wait_for_the_first(self) -> None:
        """Raises ClusterError if no worker comes that can measure."""
        until, is_told = time.monotonic() + FIRST_SECONDS, False
        while True:
            there = self._roster.look(self._client)
            self._meet(there)
            if self._hands:
                return self.told(self.in_words())
            if there:
                raise ClusterError(f"--cluster {self.words}: none of its workers can measure.")
            if time.monotonic() > until:
                raise ClusterError(f"--cluster {self.words}: no worker has come for {FIRST_SECONDS:g} s.")
            if not is_told:
                self.told(f"waiting for workers at {self._address}")
                is_told = True
            time.sleep(LOOK_SECONDS / 2)

    # --- what there is -------------------------------------------------------------------------

    @property
    def machines(self) -> tuple[Machine, ...]:
        """One of each kind."""
        kinds = {
            Machine(self.device, hand.slots.threads, card, hand.about.environment)
            for hand in self._hands.values()
            for _, card in hand.slots.cards
        }
        return tuple(sorted(kinds, key=repr))

    @property
    def window(self) -> int:
        return PER_SLOT * max(1, self._n_slots)

    @property
    def _n_slots(self) -> int:
        return sum(hand.n_slots for hand in [*self._hands.values()])

    def in_words(self) -> str:
        """`4 slots in 4 workers on 2 machines (node1, node2), 2 threads each`"""
        hands = [*self._hands.values()]
        hosts = [*dict.fromkeys(hand.about.host for hand in hands)]
        cards = Counter(card for hand in hands for _, card in hand.slots.cards if card)
        threads = sorted({hand.slots.threads for hand in hands})
        each = " to ".join(map(str, dict.fromkeys([threads[0], threads[-1]]))) if threads else "0"
        named = ", ".join(hosts[:4]) + (", …" if len(hosts) > 4 else "")
        gpus = "".join(f", {n} {card}" for card, n in cards.items())
        return (
            f"{_n(self._n_slots, 'slot')} in {_n(len(hands), 'worker')} on {_n(len(hosts), 'machine')} ({named}),"
            f" {each} thread{'s' * (each != '1')} each{gpus}"
        )

    # --- submitting ----------------------------------------------------------------------------

    def submit(self, job: Job, began: Callable[[], None]) -> Future[Outcome]:
        task = _Task(job, began, Future())
        self._events.put(("job", task))
        if self._fault is not None:  # nobody listens any more
            self._refuse_what_comes()
        return task.outcome

    # --- one thread decides --------------------------------------------------------------------

    def _work(self) -> None:
        try:
            while not self._is_closed.is_set():
                for what, of_it in _drained(self._events):
                    if what == "job":
                        self._groups.setdefault(of_it.job.warm, deque()).append(of_it)
                    elif what == "answer":
                        self._receive(*of_it)
                    elif what == "workers":
                        self._meet(of_it)
                    elif what == "away":
                        self._lose_all()
                        of_it.set()
                    elif what == "over":
                        raise of_it
                self._send()
        except BaseException as error:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        """Nothing more will be measured, of what was submitted nor of what will be."""
        if self._is_closed.is_set():
            return
        self._fault = error
        at = [task for hand in self._hands.values() for task in hand.at]
        waiting = [task for group in self._groups.values() for task in group]
        for task in [*at, *self._suspects, *waiting]:
            task.outcome.set_exception(error)
        self._refuse_what_comes()
        self._is_closed.set()

    def _refuse_what_comes(self) -> None:
        with contextlib.suppress(Empty):
            while True:
                what, of_it = self._events.get_nowait()
                if what == "job":
                    of_it.outcome.set_exception(self._fault)

    def _take(self) -> None:
        """Fetch the answers that have come, several at a time; one that does not come is asked for again."""
        while not self._is_closed.is_set():
            asked = [one for one in _drained(self._answers) if one is not None and one.is_wanted]
            answers = self._fetched(asked)
            if len(answers) < len(asked):  # one at a time, then: a worker is gone, or the network
                answers = [content for one in asked for content in self._fetched([one]) or [None]]
            for one, content in zip(asked, answers, strict=True):
                if content is not None:
                    self._events.put(("answer", (one, content)))
                elif one.is_wanted:
                    self._is_closed.wait(LOOK_SECONDS / len(asked))
                    self._answers.put(one)

    def _fetched(self, asked: Sequence[_Sent]) -> list[Any]:
        """The answers, or none at all if one cannot be had now."""
        if not asked:
            return []
        try:
            found = [one.future for one in asked if one.future.status == "finished"]
            contents = iter(fetch(self._client, found) if found else [])
            return [next(contents) if one.future in found else _failed(one.future) for one in asked]
        except Exception:  # of many kinds, as a network may fail
            return []

    def _receive(self, sent: _Sent, content: Any) -> None:
        """An answer: bytes, or what Dask raised."""
        if not sent.is_wanted:
            return
        if isinstance(content, BaseException):
            said = " ".join(f"{type(content).__name__}: {content}".split())[:300]
            host = sent.hand.about.host
            outcome = Outcome(None, "", reason=f"{ELSEWHERE}, on {host}, Dask failed with {said}")
        else:
            outcome = station.outcome_of(content)
        self._finish(sent.hand, sent.task, outcome)

    def _finish(self, hand: _Hand, task: _Task, outcome: Outcome) -> None:
        seconds = (time.monotonic() - task.sent_at) / max(1, len(hand.at) / hand.n_slots)
        hand.seconds = seconds if hand.seconds is None else 0.7 * hand.seconds + 0.3 * seconds
        self._let_go(hand, task)
        if outcome.seen is None:
            task.outcome.set_result(outcome)
        else:  # its pictures are saved, which takes a while
            self._savers.submit(task.outcome.set_result, outcome)

    def _let_go(self, hand: _Hand, task: _Task) -> None:
        hand.at.remove(task)
        hand.lone = hand.lone and bool(hand.at)
        task.sent = None

    # --- sending -------------------------------------------------------------------------------

    def _send(self) -> None:
        """Fill the hands. A job that may have ended a worker goes to one that is at nothing, alone."""
        hands = [hand for hand in self._hands.values() if not hand.lone]
        if self._suspects and hands:
            emptiest = min(hands, key=lambda hand: len(hand.at))
            hands.remove(emptiest)  # it is left to end what it is at
            if not emptiest.at:
                emptiest.lone = True
                self._send_to(emptiest, self._suspects.popleft())
        for hand in sorted(hands, key=lambda hand: len(hand.at) / hand.n_slots):
            while hand.room > 0 and self._groups:
                self._send_to(hand, self._next_for(hand))

    def _next_for(self, hand: _Hand) -> _Task:
        """One that the hand is prepared for, or of the kind that has most waiting for each hand that is at it."""
        warm = next((kind for kind in reversed(hand.warm) if kind in self._groups), None)
        if warm is None:
            at_it = Counter(kind for other in self._hands.values() for kind in other.warm)
            warm = max(self._groups, key=lambda kind: len(self._groups[kind]) / (1 + at_it[kind]))
        group = self._groups[warm]
        task = group.popleft()
        if not group:
            del self._groups[warm]
        return task

    def _send_to(self, hand: _Hand, task: _Task) -> None:
        hand.warm[task.job.warm] = None
        hand.warm.move_to_end(task.job.warm)
        while len(hand.warm) > hand.n_slots:
            hand.warm.popitem(last=False)
        hand.at.append(task)
        task.sent_at = time.monotonic()
        future = self._client.submit(
            station.measure,
            self.run,
            hand.slots.text(),
            task.job.text(),
            key=f"bench-{self.run}-{next(self._numbers)}",
            workers=[hand.address],
            pure=False,
        )
        task.sent = _Sent(hand, task, future)
        future.add_done_callback(partial(self._note, task.sent))
        task.began()

    def _note(self, sent: _Sent, future: Any) -> None:
        self._answers.put(sent)

    # --- workers come and go -------------------------------------------------------------------

    def _look(self) -> None:
        """Tell the other thread which workers there are, and whether the scheduler answers."""
        while not self._is_closed.wait(LOOK_SECONDS):
            try:
                if self._client.status != "running":
                    raise ConnectionError
                self._events.put(("workers", self._roster.look(self._client)))
            except Exception:  # of many kinds, as a network may fail
                if not self._is_closed.is_set():
                    self._reconnect()

    def _reconnect(self) -> None:
        """A new client, once the scheduler answers again. What was sent is lost, and will be sent again."""
        is_noted = threading.Event()
        self._events.put(("away", is_noted))
        is_noted.wait()
        self.told(f"the scheduler at {self._address} is gone, or the network to it: waiting for it")
        until = time.monotonic() + BACK_SECONDS
        with contextlib.suppress(Exception):
            self._client.close(timeout=1)
        while not self._is_closed.wait(LOOK_SECONDS):
            try:
                self._address = address_of(self.words) or self._address
                self._client = client_of(self._address)
                self._roster = Roster(self.device)
                return self.told(f"the scheduler at {self._address} is back")
            except BenchError as error:
                if time.monotonic() > until:
                    gone = f"the scheduler at {self._address} was gone for {BACK_SECONDS:g} s. {error}"
                    self._events.put(("over", ClusterError(gone)))
                    return None
        return None

    def _lose_all(self) -> None:
        for hand in [*self._hands.values()]:
            self._lose(hand, is_dead=False)

    def _meet(self, there: Mapping[str, Present]) -> None:
        """Take in the workers that are new, and let go of those that are gone."""
        for address, hand in [*self._hands.items()]:
            if address not in there or there[address].about != hand.about:
                self._lose(hand, is_dead=True)
        for address, worker in there.items():
            if address not in self._hands and self._is_fit(address, worker):
                slots = slots_of(worker, there.values(), self.device, self.threads, self.timed, self.memory_mib)
                assert worker.about is not None
                self._hands[address] = _Hand(address, worker.about, slots)
        self._check_that_somebody_is_there()

    def _is_fit(self, address: str, worker: Present) -> bool:
        """Whether it can measure; if it cannot, why is told, once."""
        why = worker.why_not(self.device)
        if why and (address, why) not in self._refused:
            self._refused.add((address, why))
            self.told(f"warning: the worker {address} is not used: {why}")
        return not why

    def _check_that_somebody_is_there(self) -> None:
        if self._hands or not (self._groups or self._suspects):
            self._alone_since = None
        elif self._alone_since is None:
            self._alone_since = time.monotonic()
            self.told("no worker is left: waiting for one")
        elif time.monotonic() - self._alone_since > BACK_SECONDS:
            raise ClusterError(f"--cluster {self.words}: it has had no worker for {BACK_SECONDS:g} s.")

    def _lose(self, hand: _Hand, *, is_dead: bool) -> None:
        """What it was at will be measured elsewhere; if it is dead, those that may have ended it once more."""
        del self._hands[hand.address]
        if is_dead:
            self.told(f"the worker {hand.address} on {hand.about.host} is gone: its jobs are measured elsewhere")
        for place, task in enumerate(hand.at):
            with contextlib.suppress(Exception):
                if task.sent is not None:
                    task.sent.future.cancel(force=True)
            task.sent = None
            if is_dead and place < hand.n_slots:
                task.deaths += 1
            if task.deaths >= MOST_DEATHS:
                task.outcome.set_result(Outcome(None, "", reason=DEADLY))
            elif task.deaths:
                self._suspects.append(task)
            else:
                self._groups.setdefault(task.job.warm, deque()).appendleft(task)
        hand.at.clear()


DEADLY = "the worker of the cluster that measured it ended, and so did the one that was asked then (out of memory?)"


def _n(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _failed(future: Any) -> BaseException:
    """What a call raised. Raises if it is not over, or its answer is lost."""
    if future.status != "error":
        raise LookupError(future.status)
    error = future.exception(timeout=LOOK_SECONDS)
    assert isinstance(error, BaseException)
    return error


def _drained(queue: SimpleQueue[T]) -> Iterator[T]:
    """What is in the queue, at least one."""
    yield queue.get()
    with contextlib.suppress(Empty):
        while True:
            yield queue.get_nowait()
