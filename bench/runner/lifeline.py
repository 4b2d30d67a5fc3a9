"""A process that ends with the runner, and all that it starts with it, however the runner ends.

Between the two stands a supervisor: see bench.runner.supervisor. The line to it is a socket that the system closes
when the runner is gone. That works whichever thread started the process, unlike a signal at the parent's death, which
Linux sends at the death of the thread.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

__all__ = ["Lifeline"]

HOST = (
    sys.executable,
    "-c",
    "import sys; sys.path[:] = filter(None, sys.path); from bench.runner.supervisor import main; main()",
)
"""The command of the process; its first argument will be the pipe's file descriptor. It imports nothing from the
current folder, which may be a stranger's: Python 3.10 does not know PYTHONSAFEPATH."""

START_SECONDS = 60
"""for the supervisor to say which process is the restorer's"""

ENDING_SECONDS = 10
"""for the supervisor to kill what there is: more than it gives itself"""


class Lifeline:
    """A restorer's process, begun.

    pipe         the file descriptor that it is to serve
    says         where what it prints goes
    environment  its own

    supervisor   ends as the restorer's process did, when all that it started has ended
    """

    def __init__(self, pipe: int, says: int, environment: Mapping[str, str]) -> None:
        self._line, theirs = socket.socketpair()
        with theirs:
            numbers = map(str, (pipe, theirs.fileno(), os.getpid()))
            self.supervisor = subprocess.Popen(
                [*HOST, *numbers],
                pass_fds=[pipe, theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=says,
                stderr=says,
                env={**_caches(), **environment, "TMPDIR": tempfile.gettempdir()},
                start_new_session=True,  # Ctrl-C is the runner's to handle
            )
        self._pid: int | None = None

    @property
    def pid(self) -> int | None:
        """The process in which the restorer computes; None if it has ended before it could be said."""
        if self._pid is None:
            self._line.settimeout(START_SECONDS)
            with contextlib.suppress(OSError, ValueError):
                self._pid = int(self._line.recv(32))
        return self._pid

    def cut(self) -> None:
        """Have all killed, without waiting; from any thread."""
        with contextlib.suppress(OSError):  # it has ended
            self._line.shutdown(socket.SHUT_RDWR)
            self.supervisor.send_signal(signal.SIGCONT)  # the restorer may have stopped it

    def end(self) -> None:
        """Kill all, and wait until it has ended."""
        self.cut()
        try:
            self.supervisor.wait(ENDING_SECONDS)
        except subprocess.TimeoutExpired:
            self.supervisor.kill()
            self.supervisor.wait()
        if self.supervisor.returncode == -signal.SIGKILL and self.pid is not None:
            with contextlib.suppress(OSError):  # nothing is left, unless it was the supervisor that was killed
                os.killpg(self.pid, signal.SIGKILL)
        self._line.close()


def _caches() -> dict[str, str]:
    """Where compiled networks are kept: where torch keeps them, and not among the temporary files of one process."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user without a name
        user = str(os.getuid())
    return {"TORCHINDUCTOR_CACHE_DIR": str(Path(tempfile.gettempdir()) / f"torchinductor_{user}")}
