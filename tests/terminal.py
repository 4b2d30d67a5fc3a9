"""A terminal of a test's own: a program runs in it as for a person, who reads and types."""

from __future__ import annotations

import os
import pty
import re
import select
import time
from pathlib import Path

CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07|\r")
"""what moves the cursor, colours, and sets titles"""


class Terminal:
    """For a `with` statement. words: the command; seen: all that it has shown, without control sequences."""

    def __init__(self, words: list[str], folder: Path, **environment: str) -> None:
        self.seen, self.status = "", None
        self._read_up_to = 0
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            os.execvpe(words[0], words, {**os.environ, "TERM": "xterm", "COLUMNS": "100", **environment})

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        if self.status is None:
            os.kill(self.pid, 9)
            os.waitpid(self.pid, 0)
        os.close(self.fd)

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def until(self, text: str, seconds: float = 120) -> str:
        """What is shown up to this text, from where the last call ended. Fails if it does not come."""
        deadline = time.monotonic() + seconds
        while (at := self.seen.find(text, self._read_up_to)) < 0:
            if time.monotonic() > deadline or not self._read():
                raise AssertionError(f"{text!r} was not shown, but:\n{self.seen[-2000:]}")
        shown, self._read_up_to = self.seen[self._read_up_to : at], at + len(text)
        return shown

    def end(self, seconds: float = 120) -> int:
        """Wait for the program's end; its exit status."""
        deadline = time.monotonic() + seconds
        while self._read():
            assert time.monotonic() < deadline, self.seen[-2000:]
        _, status = os.waitpid(self.pid, 0)
        self.status = os.waitstatus_to_exitcode(status)
        return self.status

    def _read(self) -> bool:
        """Take what there is, after a while at most; False at the end."""
        ready, _, _ = select.select([self.fd], [], [], 0.5)
        if ready:
            try:
                more = os.read(self.fd, 1 << 16)
            except OSError:  # Linux's way to say so
                return False
            if not more:
                return False
            self.seen += CONTROL.sub("", more.decode(errors="replace"))
        return True
