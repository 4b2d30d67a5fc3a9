"""Where cells run: a process per restorer, which may raise, hang, grow or die without taking the run with it."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType

import numpy as np

from bench.errors import RequestError
from bench.measure.environment import n_cores, overload
from bench.measure.memory import resident_mib
from bench.plugins.boundary import in_a_line
from bench.runner.lifeline import Lifeline, Nursery
from bench.runner.messages import Bring, Failure, Load, Message, Reply, arrays_of, reply_of, written
from bench.runner.said import Said
from bench.runner.wire import (
    PREFIX,
    TOKEN_BYTES,
    BadMessageError,
    frame,
    header_bytes,
    memory_of,
    parsed,
)

__all__ = ["Limits", "Worker"]

POLL_SECONDS = 0.05
START_SECONDS = 120
"""for the interpreter and the plugin's imports; more than any has been seen to need on a cold disk"""

DYING_SECONDS = 2
"""that a process may take to end once its pipe is closed"""

BETWEEN_LINES = 0.1
"""s, at most, between two that a process writes of where it is"""
TELLING_SECONDS = 0.5
"""that a process which is to be ended may take to say where it is"""

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


@dataclass(frozen=True)
class Limits:
    """What one message may cost. seconds: wall time; memory_mib: resident memory of the process, None: no limit."""

    seconds: float = 600.0
    memory_mib: float | None = None

    def __post_init__(self) -> None:
        for option, value in (("--time-limit", self.seconds), ("--memory-limit", self.memory_mib)):
            if value is not None and not value > 0:
                raise RequestError(f"{option} {value:g}: expected a positive number.")


class _EndedError(Exception):
    """The process gave no answer and is to be ended. Says why."""


class Worker:
    """A process that holds one restorer, task or metric. Use `ask`; after a failure that killed it, `alive` is False.

    It starts to load at once, and the constructor does not wait: `loaded()` does.

    threads  the number of threads that numerical libraries may use in it
    shares   whether it shares the cores with others of its kind
    modules  that it will import, of those that take long: see `bench.runner.nursery`
    died     whether it ended of itself, and not for a limit or for what it sent
    nursery  of which its process is a fork; None where it is of none
    """

    def __init__(
        self,
        load: Load | Bring,
        threads: int,
        limits: Limits,
        *,
        shares: bool = False,
        modules: Sequence[str] | None = (),
    ) -> None:
        self.limits = limits
        self.alive, self.died = True, False
        self._load, self._environment = load, _environment(threads, shares)
        self._is_cut = False
        self._looked = 0.0
        self._number = 0
        self._loaded: Reply | None = None
        self._start(modules)

    @property
    def nursery(self) -> Nursery | None:
        return self._line.nursery

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def loaded(self) -> Reply:
        """The answer to the first message, `Load`: to be had before anything else is asked."""
        if self._loaded is None:
            seconds = max(START_SECONDS, self.limits.seconds)
            self._loaded = self._finish(seconds)
            if self._has_failed_to_begin():
                self._start(None)
                self._loaded = self._finish(seconds)
        return self._loaded

    def ask(self, message: Message) -> Reply:
        """The answer to a message of `bench.runner.messages`, or a Failure that says how the process ended."""
        self._begin(message)
        return self._finish(self.limits.seconds)

    def said(self) -> str:
        """What was printed since this was last asked, tracebacks included: the end of it, if there is much."""
        return self._said.take()

    def cut(self) -> None:
        """Have the process and whatever it started killed, without waiting; from any thread."""
        self._is_cut = True
        self._line.cut()

    def close(self) -> None:
        """End the process and whatever it started."""
        if self.alive:
            self._end()
        self._pipe.close()
        self._said.close()

    # --- its beginning ---

    def _start(self, modules: Sequence[str] | None) -> None:
        self._said = Said()
        self._pipe, theirs = socket.socketpair()
        self._pipe.setblocking(False)
        with theirs:
            self._line = Lifeline(theirs.fileno(), self._said.other, self._environment, modules)
        os.close(self._said.other)
        if self._is_cut:
            self._line.cut()
        self._begin(self._load)

    def _has_failed_to_begin(self) -> bool:
        """Whether the nursery ended before there was a process of the restorer's. What is left of it is closed."""
        nursery = self._line.nursery
        if not self.died or nursery is None or self._line.pid is not None or self._is_cut:
            return False
        nursery.give_up()
        self.close()
        self.alive, self.died = True, False
        return True

    # --- a question and its answer ---

    def _begin(self, message: Message) -> None:
        """Send what the pipe takes at once; `_finish` sends the rest."""
        self._number += 1
        self._asked, self._token = message, os.urandom(TOKEN_BYTES)
        fields, arrays = written(message)
        shapes = [(array.dtype.name, array.shape) for array in arrays]
        question = {**fields, "arrays": shapes, "number": self._number, "token": self._token.hex()}
        self._unsent = deque(frame(question, arrays, self._token))
        with contextlib.suppress(OSError):  # it is full, or the process died: `_finish` finds out
            self._send()

    def _finish(self, seconds: float) -> Reply:
        deadline = time.monotonic() + seconds
        try:
            while self._unsent:
                if self._wait(select.POLLOUT, deadline, seconds) & select.POLLIN and self._is_readable():
                    raise BadMessageError("it wrote before it had read the question")
                with contextlib.suppress(BlockingIOError):
                    self._send()
            return self._reply(deadline, seconds)
        except BadMessageError as error:
            return self._fail(f"what came through its pipe cannot be read: {error}")
        except _EndedError as ended:
            return self._fail(str(ended))
        except (OSError, ValueError):  # its end of the pipe is closed, or ours by another thread
            return self._fail(self._how_it_died())

    def _send(self) -> None:
        while self._unsent:
            n_bytes = self._pipe.send(self._unsent[0])
            if n_bytes == len(self._unsent[0]):
                self._unsent.popleft()
            else:
                self._unsent[0] = self._unsent[0][n_bytes:]

    def _reply(self, deadline: float, seconds: float) -> Reply:
        """The answer to the last question. Each size is known, and bounded, before there is memory for it."""

        def read(into: bytearray | memoryview) -> bytes:
            left = memoryview(into)
            while left:
                try:
                    n_bytes = self._pipe.recv_into(left)
                except BlockingIOError:
                    self._wait(select.POLLIN, deadline, seconds)
                    continue
                if not n_bytes:
                    raise ConnectionResetError
                left = left[n_bytes:]
            return bytes(into) if isinstance(into, bytearray) else b""

        length = header_bytes(read(bytearray(PREFIX.size)))
        reply = reply_of(parsed(read(bytearray(length))), self._number, self._asked)
        for array in arrays_of(reply):
            read(memory_of(array))
        if read(bytearray(TOKEN_BYTES)) != self._token:
            raise BadMessageError("something was written in between")
        if self._is_readable():
            raise BadMessageError("more came than was asked for")
        for array in arrays_of(reply):
            if array.dtype == np.bool_:
                np.not_equal(array.view(np.uint8), 0, out=array)  # any other byte is no truth
            elif not np.isfinite(array).all():
                raise BadMessageError("values that are not finite")
        return reply

    def _is_readable(self) -> bool:
        try:
            return bool(self._pipe.recv(1, socket.MSG_PEEK))
        except OSError:
            return False

    # --- waiting ---

    def _wait(self, wanted: int, deadline: float, seconds: float) -> int:
        """Until the pipe is `wanted` or can be read; takes what is printed meanwhile. Returns what it is ready for.

        Raises _EndedError when the process died, grew or is past the deadline.
        """
        while True:
            now = time.monotonic()
            if now > deadline:
                self._ask_where()
                raise _EndedError(f"no answer within the time limit of {seconds:g} s")
            if now - self._looked > POLL_SECONDS:
                self._looked = now
                self._check_memory()
            waiting = select.poll()
            waiting.register(self._pipe, wanted | select.POLLIN)
            for fd in (self._said.fd, self._line.fd):
                if fd is not None:
                    waiting.register(fd, select.POLLIN)
            ready = dict(waiting.poll(1000 * POLL_SECONDS))
            if self._said.fd in ready:
                self._said.listen()
            if self._pipe.fileno() in ready:
                return ready[self._pipe.fileno()]
            if self._line.status() is not None and not self._is_readable():
                raise _EndedError(self._how_it_died())

    def _ask_where(self) -> None:
        """Have the process print where it is: its host has registered faulthandler for this signal."""
        if self._line.pid is None or self._said.fd is None:
            return
        self._said.listen()
        with contextlib.suppress(OSError):
            os.kill(self._line.pid, signal.SIGUSR1)
        waiting = select.poll()
        waiting.register(self._said.fd, select.POLLIN)
        end, patience = time.monotonic() + TELLING_SECONDS, TELLING_SECONDS
        while self._said.fd is not None and waiting.poll(1000 * min(patience, max(0, end - time.monotonic()))):
            self._said.listen()
            patience = BETWEEN_LINES

    def _check_memory(self) -> None:
        limit = self.limits.memory_mib
        if limit is None or self._line.pid is None:
            return
        if (resident_mib(self._line.pid) or 0) > limit:
            raise _EndedError(f"its resident memory grew past the limit of {limit:g} MiB")

    def _how_it_died(self) -> str:
        status = self._line.wait(DYING_SECONDS)
        if status is None:
            return "the process closed its pipe, and went on without it"
        self.died = True
        if status >= 0:
            how = f"the process exited with status {status}"
        else:
            how = f"the process was killed by {_name_of(-status)}"
            if -status == signal.SIGKILL:
                how += " (out of memory?)"
        self._said.listen()
        last_words = self._said.last_line()
        return f"{how}: {last_words}" if last_words else how

    # --- its end ---

    def _fail(self, reason: str) -> Failure:
        self._end()
        return Failure(in_a_line(reason))

    def _end(self) -> None:
        self.alive = False
        self._line.end()


def _name_of(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # real-time signals have none
        return f"signal {number}"


def _environment(threads: int, shares: bool) -> dict[str, str]:
    # OpenMP's threads wait for each other in a busy loop, which is quickest alone; where more threads than cores do
    # so, the one that all wait for does not get to run, and a network was seen to take 25 times as long.
    patience = {"OMP_WAIT_POLICY": "PASSIVE"} if shares or threads > n_cores() or overload() else {}
    return {
        **patience,
        **os.environ,
        **dict.fromkeys(THREAD_VARIABLES, str(threads)),
        "PYTHONSAFEPATH": "1",  # a folder ./data of the user's must not stand in for our package
        "PYTHONHASHSEED": "0",
    }
