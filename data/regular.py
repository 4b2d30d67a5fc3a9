"""Files as files: a pipe, a device or a socket of that name is never waited for."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

__all__ = ["NotRegularError", "open_regular"]

_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


class NotRegularError(OSError):
    """What has the name of a file is none. `strerror` says what it is."""


def open_regular(path: Path) -> BinaryIO:
    """Open a file to be read. Raises OSError; NotRegularError for what is no regular file, nor a link to one."""
    _check(path.stat().st_mode, path)  # a device may act on being opened
    opened = os.fdopen(os.open(path, _FLAGS), "rb")
    try:
        _check(os.fstat(opened.fileno()).st_mode, path)  # it may have been replaced
    except BaseException:
        opened.close()
        raise
    return opened


def _check(mode: int, path: Path) -> None:
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "something else")
        raise NotRegularError(None, f"it is {kind} and not a file", str(path))
