"""What a command prints arrives, or that is one line; or none, if nobody reads it any more."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from bench.errors import BenchError
from bench.escape import terminal

__all__ = ["flush", "open_up", "say", "silence", "tried", "what_failed"]

T = TypeVar("T")

NO_PLACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def say(line: str) -> None:
    """Print `bench: line` to the standard error stream, if that can be written."""
    with contextlib.suppress(OSError, ValueError):
        print(f"bench: {terminal(line)}", file=sys.stderr, flush=True)


def tried(do: Callable[[], T]) -> T | None:
    """What it gives; None if it will not do, which is said in a line. For one of several that are asked for."""
    try:
        return do()
    except BenchError as error:
        say(str(error))
        return None


def open_up() -> None:
    """Let the streams take any text: what their encoding lacks is written as its code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def flush() -> None:
    """Write what was printed. Raises OSError if that cannot be."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # it was closed before the command began
            stream.flush()


def silence() -> None:
    """Drop what cannot be written, or the interpreter complains of it at its end."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            with contextlib.suppress(OSError, ValueError):  # a stream without a file
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def what_failed(error: OSError) -> str:
    """In a line, which file the system could not serve, or that there is no place; "" if the error is another."""
    if error.errno in NO_PLACE:
        where = error.filename or "to the standard output"
        return f"Cannot write {where}: {error.strerror}."
    if isinstance(error.filename, (str, bytes)):
        return f"{os.fsdecode(error.filename)}: {error.strerror}."
    if error.errno == errno.ENOENT and _is_nowhere():
        return "The current folder is gone. Go to one that is there."
    return ""


def _is_nowhere() -> bool:
    try:
        Path.cwd()
    except OSError:
        return True
    return False
