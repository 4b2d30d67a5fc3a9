"""One training a folder: the lock that a training holds while it runs."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from bench.checkpoints import shown
from bench.errors import TrainingError

try:
    import fcntl
except ImportError:  # Windows, where nothing is locked
    fcntl = None  # type: ignore[assignment]

__all__ = ["BusyError", "alone_in"]

MOST_BYTES = 200
"""of what a lock says of its holder"""


class BusyError(TrainingError):
    """Another training is under way in the folder."""


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Within it no other training writes in the folder, which is made if it is not there.

    The system takes the lock back when this process ends, however it ends. On a file system that has no locks, none
    is held.

    Raises BusyError if another training holds it, TrainingError if nothing can be written there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / ".lock").open("ab+", buffering=0)
    except FileExistsError:
        raise TrainingError(f"--folder {folder} is a file: expected a folder.") from None
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        reason = getattr(error, "strerror", None) or error
        raise TrainingError(f"--folder {folder}: nothing can be written there ({reason}).") from None
    with file:
        _lock(file, folder)
        for left in folder.glob(".*.part"):  # by a training that was killed while it wrote
            with suppress(OSError):
                left.unlink()
        yield


def _lock(file: IO[bytes], folder: Path) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise BusyError(
            f"Another training is under way in {folder}: {_holder(file)}. Wait for its end, or name another --folder."
        ) from None
    except OSError:  # a file system without locks
        return
    with suppress(OSError):  # only told, to whoever comes next
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}".encode())


def _holder(file: IO[bytes]) -> str:
    try:
        file.seek(0)
        told = file.read(MOST_BYTES).decode(errors="replace")
    except OSError:
        told = ""
    return shown(told)[1:-1] or "a process that does not say its name"
