"""A folder for a restorer's temporary files that ends with it: one that is killed leaves them behind.

A lock tells whether a folder is in use. The system lets go of it when its holder ends: what a supervisor could not
remove, being killed itself, the next one does.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

__all__ = ["Scratch", "remove_leftovers"]

PREFIX = "bench-worker-"
TRIES = 5


class Scratch:
    """A new folder below another, locked by this process. Raises OSError if none can be made."""

    def __init__(self, base: Path) -> None:
        for i in range(TRIES):
            self.path = base / f"{PREFIX}{os.getpid()}-{i}"
            with contextlib.suppress(FileExistsError, FileNotFoundError, BlockingIOError):
                self.path.mkdir(0o700)
                self._lock = _locked(self.path)
                return
        raise FileExistsError(f"{base}/{PREFIX}{os.getpid()}-*")

    def let_go(self) -> None:
        """Leave the folder to a process that has it too, a fork of this one."""
        os.close(self._lock)

    def remove(self) -> None:
        """Remove it with all that is in it."""
        _remove(self.path)


def remove_leftovers(base: Path) -> None:
    """Remove those below a folder whose holders have ended, if they are ours."""
    for path in base.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # another's, in use, or just removed
            lock = _locked(path)
            try:
                if os.fstat(lock).st_uid == os.getuid():
                    _remove(path)
            finally:
                os.close(lock)


def _locked(path: Path) -> int:
    """A file descriptor that holds its lock. Raises OSError if another does, or has removed the folder."""
    lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if path.stat().st_ino != os.fstat(lock).st_ino:
            raise FileNotFoundError(path)
    except BaseException:
        os.close(lock)
        raise
    return lock


def _remove(path: Path) -> None:
    try:
        path.rmdir()
    except OSError:  # something is in it
        import shutil

        shutil.rmtree(path, ignore_errors=True)
