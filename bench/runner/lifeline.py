"""A process that ends with the runner, and all that it starts with it, however the runner ends.

Between the two stands a supervisor: see bench.runner.supervisor. The line to it is a socket that the system closes
when the runner is gone. That works whichever thread started the process, unlike a signal at the parent's death, which
Linux sends at the death of the thread.

On Linux the supervisor is a fork of a nursery, which has imported what takes long: see bench.runner.nursery. It is a
Python of its own elsewhere, and where a nursery has failed.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

__all__ = ["Lifeline", "Nursery"]

FIRST = "import sys; sys.path[:] = filter(None, sys.path); "
"""Nothing is imported from the current folder, a stranger's perhaps: Python 3.10 does not know PYTHONSAFEPATH."""
HOST = (sys.executable, "-c", f"{FIRST}from bench.runner.supervisor import main; main()")
NURSERY = (sys.executable, "-c", f"{FIRST}from bench.runner.nursery import main; main()")

ENDING_SECONDS = 10
"""for the supervisor to kill what there is: more than it gives itself"""


class Lifeline:
    """A restorer's process, begun.

    pipe         the file descriptor that it is to serve
    says         where what it prints goes
    environment  its own
    modules      that it will import: it may be a fork of a nursery that has; None: it is to be no fork of one

    nursery      of which it is a fork; None where it is of none
    """

    def __init__(
        self, pipe: int, says: int, environment: Mapping[str, str], modules: Sequence[str] | None = ()
    ) -> None:
        given = {**_caches(), **environment, "TMPDIR": tempfile.gettempdir()}
        self._line, theirs = socket.socketpair()
        self._line.setblocking(False)
        self._heard = b""
        self._has_ended = False
        self._own: subprocess.Popen[bytes] | None = None
        self.nursery = None if modules is None else Nursery.of(given, modules)
        with theirs:
            if self.nursery is not None and not self.nursery.fork(pipe, theirs.fileno(), says):
                self.nursery = None
            if self.nursery is None:
                numbers = map(str, (pipe, theirs.fileno(), os.getpid()))
                self._own = subprocess.Popen(
                    [*HOST, *numbers],
                    pass_fds=[pipe, theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=says,
                    stderr=says,
                    env=given,
                    start_new_session=True,  # Ctrl-C is the runner's to handle
                )

    @property
    def supervisor(self) -> int | None:
        """The supervisor's process id; None if it has not said so."""
        return self._told(0)

    @property
    def pid(self) -> int | None:
        """The process in which the restorer computes; None if it was not said."""
        return self._told(1)

    @property
    def fd(self) -> int | None:
        """What can be read when there is something to be known of the supervisor; None when it has ended."""
        return None if self._has_ended else self._line.fileno()

    def status(self) -> int | None:
        """How the restorer's process ended; None while it, or anything that it started, lives."""
        self._listen()
        if not self._has_ended:
            return None
        told = self._told(2)
        return -signal.SIGKILL if told is None else told  # the supervisor itself was killed

    def wait(self, seconds: float) -> int | None:
        """`status`, once there is one, or after so many seconds."""
        deadline = time.monotonic() + seconds
        while (status := self.status()) is None and (left := deadline - time.monotonic()) > 0:
            waiting = select.poll()
            waiting.register(self._line, select.POLLIN)
            waiting.poll(1000 * left)
        return status

    def cut(self) -> None:
        """Have all killed, without waiting; from any thread."""
        with contextlib.suppress(OSError):  # it has ended
            self._line.shutdown(socket.SHUT_WR)
        self._signal(signal.SIGCONT)  # the restorer may have stopped it

    def end(self) -> None:
        """Kill all, and wait until it has ended."""
        self.cut()
        if self.status() is None and self.supervisor is None:
            with contextlib.suppress(OSError):  # whoever cannot say that it is the supervisor starts nothing
                self._line.shutdown(socket.SHUT_RDWR)
        if self.wait(ENDING_SECONDS) is None:
            self._signal(signal.SIGKILL)
            self.wait(ENDING_SECONDS)
        if self._told(2) is None and self.pid is not None:
            with contextlib.suppress(OSError):  # nothing is left, unless it was the supervisor that was killed
                os.killpg(self.pid, signal.SIGKILL)
        if self._own is not None:
            self._own.wait()
        self._line.close()

    def _told(self, which: int) -> int | None:
        """Of the numbers that the supervisor says."""
        self._listen()
        numbers = self._heard.split(b"\n")[:-1]
        return int(numbers[which]) if which < len(numbers) else None

    def _listen(self) -> None:
        while not self._has_ended:
            try:
                said = self._line.recv(64)
            except BlockingIOError:
                return
            except OSError:
                said = b""
            self._heard += said
            self._has_ended = not said

    def _signal(self, number: int) -> None:
        if not self._has_ended and (supervisor := self.supervisor) is not None:
            with contextlib.suppress(OSError):
                os.kill(supervisor, number)


class Nursery:
    """The process that `bench.runner.nursery` is about. It lives as long as there is somebody who holds this.

    modules  that it imports
    """

    def __init__(self, key: tuple[object, ...], environment: Mapping[str, str], modules: Sequence[str]) -> None:
        self.key = key
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.setblocking(False)
        with theirs:
            process = subprocess.Popen(
                [*NURSERY, str(theirs.fileno()), str(os.getpid()), *modules],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=dict(environment),
                start_new_session=True,
            )
        self.pid = process.pid
        weakref.finalize(self, _end, process, self._control, os.getpid())

    @classmethod
    def of(cls, environment: Mapping[str, str], modules: Sequence[str]) -> Nursery | None:
        """The one for processes with this environment that import these modules; None if there can be none."""
        if not _can_be():
            return None
        try:
            place = os.getcwd()  # noqa: PTH109
        except OSError:
            return None
        key = (os.getpid(), place, frozenset(os.sched_getaffinity(0)), frozenset(environment.items()), *modules)
        with _lock:
            if key in _unfit:
                return None
            nursery = _nurseries.get(key)
            if nursery is None:
                nursery = _nurseries[key] = cls(key, environment, modules)
            return nursery

    def fork(self, pipe: int, line: int, says: int) -> bool:
        """Ask for a supervisor; does not wait. False if it has ended."""
        try:
            socket.send_fds(self._control, [b"1"], [pipe, line, says])
        except OSError:
            self.give_up()
            return False
        return True

    def give_up(self) -> None:
        """Have it, and others like it, not be asked again: it did not do what it was asked."""
        with _lock:
            _unfit.add(self.key)
            _nurseries.pop(self.key, None)


_lock = threading.Lock()
_nurseries: weakref.WeakValueDictionary[tuple[object, ...], Nursery] = weakref.WeakValueDictionary()
_unfit: set[tuple[object, ...]] = set()


@cache
def _can_be() -> bool:
    """Whether the system tells of the death of a process that is not one's child."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return False
    return True


def _end(process: subprocess.Popen[bytes], control: socket.socket, owner: int) -> None:
    control.close()
    if os.getpid() == owner:  # and not a fork of it
        process.kill()
        process.wait()


def _caches() -> dict[str, str]:
    """Where compiled networks are kept: where torch keeps them, and not among the temporary files of one process."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user without a name
        user = str(os.getuid())
    return {"TORCHINDUCTOR_CACHE_DIR": str(Path(tempfile.gettempdir()) / f"torchinductor_{user}")}
