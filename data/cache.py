"""Places in the cache: a file is written beside its own, and moved there in one step when it is whole.

Any number of processes may want the same file. One of them writes it, the others wait for that one as long as it goes
on, and nobody ever sees half of a file. What a killed process had written is removed by the next that comes by.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import IO

from bench.data.errors import DataError, in_a_line

try:
    import fcntl
except ImportError:  # no POSIX: nothing is locked, and two processes may fetch the same file
    fcntl = None  # type: ignore[assignment]

__all__ = ["CacheError", "cache_dir", "folder_of", "place"]

_DAY = 86_400.0
_POLL_SECONDS = 0.1


class CacheError(DataError):
    """The cache folder cannot be written."""


def cache_dir() -> Path:
    """The folder that downloads are kept in: BENCH_CACHE, or the user's cache folder. Raises DataError."""
    chosen = folder_of("BENCH_CACHE")
    if chosen is not None:
        return chosen.absolute()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local") / "bench" / "bench" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library/Caches/bench"
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser().absolute() / "bench"


def folder_of(variable: str) -> Path | None:
    """The folder that a variable of the environment names, or None if it is not set. Raises DataError."""
    named = os.environ.get(variable)
    try:
        return Path(named).expanduser() if named else None
    except RuntimeError as error:  # ~ of nobody
        raise DataError(f"{variable} is '{in_a_line(named, 200)}', which is no folder ({error}).") from None


@contextlib.contextmanager
def place(
    target: Path, is_there: Callable[[], bool], patience: float, stop: threading.Event
) -> Iterator[IO[bytes] | None]:
    """An empty file to write to, which is moved to its place at the end, unless the body raised.

    is_there  whether the file is in its place already, whole
    patience  seconds to wait for another process that writes it and does not go on
    stop      set by another thread to wait no longer
    Answer    None if another process has put the file there meanwhile
    Raises CacheError, and DataError for the `stop`.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _sweep(target.parent)
        part = _claimed(target, patience, stop)
    except (OSError, ValueError) as error:
        raise _unwritable(error) from None
    try:
        if is_there():  # the one that was waited for has done it
            yield None
            return
        yield part
        part.flush()
        Path(part.name).chmod(0o644)
        Path(part.name).replace(target)
    except OSError as error:
        raise _unwritable(error) from None
    finally:
        _give_up(part)


def _claimed(target: Path, patience: float, stop: threading.Event) -> IO[bytes]:
    """The locked file `.NAME.part`. One of another name where there are no locks, or its owner does not go on."""
    path, size, deadline = target.with_name(f".{target.name}.part"), -1, time.monotonic() + patience
    while fcntl is not None:
        part = path.open("a+b")
        try:
            if _lock(part) and _is_still_there(part):
                part.truncate(0)
                return part
            grown = os.fstat(part.fileno()).st_size
        except OSError:  # a file system without locks
            part.close()
            break
        part.close()
        if stop.wait(_POLL_SECONDS):
            raise DataError(f"{target.name} was not waited for.")
        if grown != size:
            size, deadline = grown, time.monotonic() + patience
        elif time.monotonic() > deadline:
            break
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    os.close(handle)
    part = Path(name).open("r+b")  # noqa: SIM115  the caller closes it
    if fcntl is not None:
        with contextlib.suppress(OSError):
            _lock(part)
    return part


def _lock(part: IO[bytes]) -> bool:
    """Whether it is ours now. Raises OSError where there are no locks."""
    try:
        fcntl.flock(part, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_still_there(part: IO[bytes]) -> bool:
    """Whether the name still means this file: its last owner may have moved it between our opening and locking."""
    try:
        return os.path.samestat(os.fstat(part.fileno()), os.stat(part.name))  # noqa: PTH116
    except FileNotFoundError:
        return False


def _give_up(part: IO[bytes]) -> None:
    """Remove it, if it has not been moved, and only then let others have it."""
    with contextlib.suppress(OSError):
        if _is_still_there(part):
            Path(part.name).unlink()
    if fcntl is not None:
        with contextlib.suppress(OSError):  # a fork may hold it too
            fcntl.flock(part, fcntl.LOCK_UN)
    with contextlib.suppress(OSError):  # what could not be written is tried once more
        part.close()


@cache
def _sweep(folder: Path) -> None:
    """Remove what dead processes left behind: what nobody holds, or what is a day old where there are no locks."""
    for path in folder.glob(".*.part"):
        with contextlib.suppress(OSError), path.open("r+b") as part:
            if _is_left_behind(part):
                path.unlink()


def _is_left_behind(part: IO[bytes]) -> bool:
    if fcntl is not None:
        with contextlib.suppress(OSError):
            return _lock(part) and _is_still_there(part)
    return time.time() - os.fstat(part.fileno()).st_mtime > _DAY


def _unwritable(error: Exception) -> CacheError:
    reason = (error.strerror if isinstance(error, OSError) else None) or error
    folder = in_a_line(cache_dir())
    return CacheError(
        f"The cache folder {folder} cannot be written ({reason}). Set BENCH_CACHE to a folder that can."
    )
