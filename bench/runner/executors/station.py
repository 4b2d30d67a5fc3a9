"""What runs in a worker process of a cluster: the slots of this process, and the jobs that are sent to it.

Functions of this module are called by name, with plain text; what they answer is text and raw bytes. Nothing here
knows how it is called: see `bench.runner.executors.cluster`. Each restorer runs in a process of its own, with our
limits, as in a run without a cluster.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from bench.measure.engine import engine
from bench.measure.environment import environment
from bench.measure.machine import Machine
from bench.measure.memory import available_mib
from bench.records.record import Record
from bench.runner.executors.executor import Outcome
from bench.runner.job import Job
from bench.runner.lookup import Lookup, RefusedError
from bench.runner.messages import Restore, question_of, written
from bench.runner.slot import Seen, Slot
from bench.runner.worker import Limits

__all__ = ["About", "Slots", "about", "leave", "measure", "outcome_of"]

IDLE_SECONDS = 120.0
"""after which processes that nobody asks are ended: the head may have been killed"""
LOOK_SECONDS = 1.0
"""between two looks at whether jobs are still wanted"""
ALONE = "measured"
"""the name in a record's environment that says what a time was taken alone on"""


@dataclass(frozen=True)
class About:
    """What a worker process says of itself.

    token      another one for each process
    engine     see `bench.measure.engine`
    host, cores  its machine, and the cores that it may use there
    memory_mib   of the machine, free when this was asked
    cards      of the devices that were asked for, by what CUDA_VISIBLE_DEVICES calls them; {"": ""} for a CPU
    environment  see `bench.measure.environment`
    """

    token: str
    engine: str
    host: str
    cores: tuple[int, ...]
    memory_mib: float | None
    cards: dict[str, str]
    environment: str

    @classmethod
    def of(cls, text: str) -> About:
        told = json.loads(text)
        return cls(**{**told, "cores": tuple(told["cores"])})


LEFT = "the run was left"
"""The reason of a job that comes to a process after the head has left."""

TOKEN = os.urandom(8).hex()


def about(device: str) -> str:
    """`About`, as text."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    cards = {"": ""} if device == "cpu" else _cards(device)
    told = About(TOKEN, engine(), socket.gethostname(), tuple(cores), available_mib(), cards, environment())
    return json.dumps(asdict(told))


@cache
def _cards(device: str) -> dict[str, str]:
    """Asked in another process: this one is to hold nothing of a device."""
    code = (
        "import sys; sys.path[:] = filter(None, sys.path); import json; from bench.measure.devices import present;"
        " print(json.dumps(present()))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    there = [card for word, card in json.loads(said.stdout.splitlines()[-1]).items() if word.startswith(device)]
    named = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    names = named.split(",") if named else map(str, range(len(there)))
    return dict(zip(names, there, strict=False))


# --- the slots of a run --------------------------------------------------------------------------


class _Place:
    """A slot, its part of the machine, what CUDA_VISIBLE_DEVICES calls its card, and what it is prepared for.

    is_wanted  whether somebody still waits for the job that it is at
    """

    def __init__(self, make: Callable[[], Slot], machine: Machine, visible: str) -> None:
        self.make, self.machine, self.visible = make, machine, visible
        self.slot, self.is_stopped = make(), False
        self.is_wanted: Callable[[], bool] = lambda: True
        self.warm: tuple[object, ...] | None = None


@dataclass(frozen=True)
class Slots:
    """Slots that a run has in one process.

    device, threads  of each
    cards    one for each slot: what CUDA_VISIBLE_DEVICES calls its device, and the card; ("", "") for a CPU
    """

    device: str
    threads: int
    cards: Sequence[tuple[str, str]]

    def text(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def of(cls, text: str) -> Slots:
        return cls(**json.loads(text))


class _Crew:
    """The slots of one run in this process, at work."""

    def __init__(self, slots: Slots, limits: Limits) -> None:
        os.environ.pop(
            "MALLOC_TRIM_THRESHOLD_", None
        )  # Dask's, for its own process: with it memory takes longer to get
        self._wanted = threading.Condition()
        self._places = []
        for visible, card in slots.cards:
            make = partial(Slot, limits, None, shares=len(slots.cards) > 1, visible=visible)
            machine = Machine(slots.device, slots.threads, card, environment())
            self._places.append(_Place(make, machine, visible))
        self._free = [*self._places]
        self._lookup = Lookup()
        self._is_closed = False
        self.last_used = time.monotonic()

    def measure(self, job: Job, is_wanted: Callable[[], bool]) -> Outcome:
        """Wait for a slot, one that is prepared for the job if there is one, and measure."""
        with self._taken(job.warm) as place:
            if place is None:
                return Outcome(None, "", reason=LEFT)
            place.is_wanted = is_wanted
            try:
                cell = self._lookup.cell_of(job, place.machine)
            except RefusedError as error:
                return Outcome(None, "", reason=str(error))
            with _alone(place.visible, job.timed, lambda: self._is_closed) as alone_on:
                place.slot.readings = job.readings
                record = place.slot.measure(cell)
            if record.seconds is not None:
                record = replace(record, environment=_with(record.environment, f"alone on its {alone_on}"))
            return Outcome(record, place.slot.said, place.slot.seen if job.keep else None)

    @contextlib.contextmanager
    def _taken(self, warm: tuple[object, ...]) -> Iterator[_Place | None]:
        with self._wanted:
            while not self._free and not self._is_closed:
                self._wanted.wait()
            if self._is_closed:
                place = None
            else:
                fit = [place for place in self._free if place.warm == warm]
                cold = [place for place in self._free if place.warm is None]
                place = [*fit, *cold, *self._free][0]
                self._free.remove(place)
        try:
            yield place
        finally:
            with self._wanted:
                self.last_used = time.monotonic()
                if place is not None and self._is_closed:
                    place.slot.close()
                elif place is not None:
                    place.is_wanted, place.warm = (lambda: True), warm
                    if place.is_stopped:
                        place.slot.close()
                        place.slot, place.is_stopped, place.warm = place.make(), False, None
                    self._free.append(place)  # behind those that were used before it
                    self._wanted.notify()

    @property
    def is_idle(self) -> bool:
        return len(self._free) == len(self._places) and time.monotonic() - self.last_used > IDLE_SECONDS

    def stop_the_unwanted(self) -> None:
        """Kill what is at jobs whose answers nobody waits for any more: the head was killed, or has given them up."""
        with self._wanted:
            for place in self._places:
                if place not in self._free and not place.is_wanted():
                    place.is_stopped = True
                    place.slot.stop()

    def close(self) -> None:
        """Kill what runs. A job that is measured has a failed record soon."""
        with self._wanted:
            self._is_closed = True
            self._wanted.notify_all()
            free = [*self._free]
        for place in self._places:
            place.slot.stop()
        for place in free:
            place.slot.close()


def _with(environment: str, alone: str) -> str:
    return json.dumps({**json.loads(environment), ALONE: alone}, sort_keys=True)


@contextlib.contextmanager
def _alone(card: str, timed: bool, is_left: Any) -> Iterator[str]:
    """Hold the machine, or its card, for a time to be taken alone; or share it with others that take none.

    Of all that bench measures for this user on a cluster's machine. Says what is held.
    """
    what = f"gpu-{card}" if card else "machine"
    path = Path(tempfile.gettempdir()) / f"bench-{os.getuid()}-{''.join(filter(str.isalnum, what))}.lock"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        while not is_left():
            try:
                fcntl.flock(fd, (fcntl.LOCK_EX if timed else fcntl.LOCK_SH) | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(0.02)
        yield "GPU" if card else "machine"
    finally:
        os.close(fd)


# --- what is called ------------------------------------------------------------------------------

_crews: dict[str, _Crew] = {}
_left: set[str] = set()
_lock = threading.Lock()


def measure(run: str, slots: str, job: str) -> list[bytes]:
    """The outcome of a job, as `outcome_of` reads it.

    slots  `Slots` of the run here, as text: they begin with the first job, and again when they were ended, being idle
    """
    asked = Job.of(job)
    with _lock:
        if run in _left:
            return _packed(Outcome(None, "", reason=LEFT))
        if run not in _crews:
            _crews[run] = _Crew(Slots.of(slots), Limits(asked.seconds, asked.memory_mib))
            threading.Thread(target=_look_after, args=(run,), daemon=True).start()
        crew = _crews[run]
        crew.last_used = time.monotonic()
    return _packed(crew.measure(asked, _wanted_by_dask()))


def _wanted_by_dask() -> Callable[[], bool]:
    """Whether Dask still wants what this thread has been called for; where it was not Dask that called, always."""
    try:
        from distributed import get_worker

        worker = get_worker()
    except (ImportError, ValueError):
        return lambda: True
    key = worker.get_current_task()

    def is_wanted() -> bool:
        task = worker.state.tasks.get(key)
        return task is not None and task.state != "cancelled"

    return is_wanted


def leave(run: str) -> None:
    """End the slots of a run, for good."""
    with _lock:
        _left.add(run)
        crew = _crews.pop(run, None)
    if crew is not None:
        crew.close()


def _look_after(run: str) -> None:
    """End what nobody asks for any more."""
    while run in _crews:
        time.sleep(LOOK_SECONDS)
        with _lock:
            crew = _crews.get(run)
            if crew is None:
                return
            crew.stop_the_unwanted()
            if not crew.is_idle:
                continue
            del _crews[run]
        crew.close()


# --- outcomes as bytes ---------------------------------------------------------------------------


def _packed(outcome: Outcome) -> list[bytes]:
    told: dict[str, Any] = {
        "record": outcome.record and asdict(outcome.record),
        "said": outcome.said,
        "reason": outcome.reason,
    }
    arrays: list[Any] = []
    if outcome.seen is not None:
        clean, observation, x_hat = outcome.seen
        told["seen"], arrays = written(Restore(observation, False, None))
        arrays = [clean, x_hat, *arrays]
    told["arrays"] = [(array.dtype.name, array.shape) for array in arrays]
    return [json.dumps(told).encode(), *(np.ascontiguousarray(array).tobytes() for array in arrays)]


def outcome_of(packed: Sequence[bytes]) -> Outcome:
    """What `measure` answered."""
    told = json.loads(packed[0])
    arrays = [
        np.frombuffer(content, dtype).reshape(shape)
        for content, (dtype, shape) in zip(packed[1:], told["arrays"], strict=True)
    ]
    record = told["record"] and Record(**told["record"])
    seen = None
    if arrays:
        clean, x_hat, *of_observation = arrays
        restore = question_of(told["seen"], of_observation)
        assert isinstance(restore, Restore)
        seen = Seen(clean, restore.seen, x_hat)
    return Outcome(record, told["said"], seen, told["reason"])
