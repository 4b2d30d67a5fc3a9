"""Where cells run: a process per restorer, which may raise, hang, grow or die without taking the run with it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from multiprocessing import Pipe
from types import TracebackType
from typing import Any

from bench.errors import RequestError
from bench.measure.memory import resident_mib
from bench.runner.messages import Failure, Load

__all__ = ["Limits", "Worker"]

POLL_SECONDS = 0.05
START_SECONDS = 120
"""for the interpreter and the plugin's imports; more than any has been seen to need on a cold disk"""

DYING_SECONDS = 5
"""that a process may take to end once its pipe is closed"""

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


class Worker:
    """A process that holds one restorer. Use `ask`; after a failure that killed it, `alive` is False.

    It starts to load at once, and the constructor does not wait: `loaded()` does.

    threads  the number of threads that numerical libraries may use in it
    shares   whether it shares the cores with others of its kind
    """

    def __init__(self, load: Load, threads: int, limits: Limits, *, shares: bool = False) -> None:
        self.limits = limits
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  closed by `close`
        ours, theirs = Pipe()
        self._connection = ours
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.runner.host", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=self._stderr,
            stderr=self._stderr,
            env=_environment(threads, shares),
            start_new_session=True,  # its children die with it, and Ctrl-C is the runner's
        )
        theirs.close()
        self.alive = True
        self._loaded: Any = None
        self._send(load)

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def loaded(self) -> Any:
        """The answer to the first message, `Load`: to be had before anything else is asked."""
        if self._loaded is None:
            self._loaded = self._receive(max(START_SECONDS, self.limits.seconds))
        return self._loaded

    def ask(self, message: Any) -> Any:
        """The answer to a message of `bench.runner.messages`, or a Failure that says how the process ended."""
        self._send(message)
        return self._receive(self.limits.seconds)

    def close(self) -> None:
        """End the process and whatever it started."""
        if self.alive:
            self._end()
        self._connection.close()
        self._stderr.close()

    def _send(self, message: Any) -> None:
        with contextlib.suppress(OSError):  # it died: `_receive` finds out how
            self._connection.send(message)

    def _receive(self, seconds: float) -> Any:
        try:
            deadline = time.monotonic() + seconds
            while not self._connection.poll(POLL_SECONDS):
                if time.monotonic() > deadline:
                    return self._fail(f"no answer within the time limit of {seconds:g} s")
                if grown := self._too_large():
                    return self._fail(grown)
            return self._connection.recv()
        except (EOFError, OSError):
            return self._fail(self._how_it_died())
        except Exception as error:  # something of the plugin's wrote to the pipe too
            return self._fail(f"what came through its pipe cannot be read ({type(error).__name__})")

    def _too_large(self) -> str:
        limit = self.limits.memory_mib
        if limit is None:
            return ""
        resident = resident_mib(self._process.pid) or 0
        return f"its resident memory grew past the limit of {limit:g} MiB" if resident > limit else ""

    def _how_it_died(self) -> str:
        try:
            status = self._process.wait(DYING_SECONDS)
        except subprocess.TimeoutExpired:
            return "the process closed its pipe, and went on without it"
        if status >= 0:
            how = f"the process exited with status {status}"
        else:
            how = f"the process was killed by {signal.Signals(-status).name}"
            if -status == signal.SIGKILL:
                how += " (out of memory?)"
        last_words = self._last_words()
        return f"{how}: {last_words}" if last_words else how

    def _last_words(self) -> str:
        self._stderr.seek(0)
        lines = self._stderr.read().decode(errors="replace").split("\n")
        return next((" ".join(line.split()) for line in reversed(lines) if line.strip()), "")

    def _fail(self, reason: str) -> Failure:
        self._end()
        return Failure(reason)

    def _end(self) -> None:
        self.alive = False
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def _environment(threads: int, shares: bool) -> dict[str, str]:
    # OpenMP's threads wait for each other in a busy loop, which is quickest alone; where more threads than cores do
    # so, the one that all wait for does not get to run, and a network was seen to take 25 times as long.
    patience = {"OMP_WAIT_POLICY": "PASSIVE"} if shares else {}
    return {
        **os.environ,
        **patience,
        **dict.fromkeys(THREAD_VARIABLES, str(threads)),
        "PYTHONSAFEPATH": "1",  # a folder ./data of the user's must not stand in for our package
        "PYTHONHASHSEED": "0",
    }
