"""What a process prints: the end of it is kept, however much there is."""

from __future__ import annotations

import os
import re
from pathlib import Path

__all__ = ["Said"]

MOST_BYTES = 1 << 16
AT_ONCE = 16
"""reads: whoever prints without end is not listened to without end"""
CRASH = "Fatal Python error: "
"""begins what faulthandler prints of a crash"""
HERE = re.escape(str(Path(__file__).resolve().parents[1]))
OURS = rf'File "{HERE}/(runner|measure)/|File "<string>", line 1 in <module>'
ENGINE = re.compile(rf"^(  ({OURS}).*|Extension modules: .*)\n?", re.MULTILINE)
"""lines of it that tell nothing of the restorer"""


class Said:
    """Reads the pipe that a process prints into. `fd` is its end, None once the other is closed."""

    def __init__(self) -> None:
        fd, self.other = os.pipe()
        os.set_blocking(fd, False)
        self.fd: int | None = fd
        self._kept = b""

    def listen(self) -> None:
        """Take what is there; does not wait."""
        for _ in range(AT_ONCE):
            if self.fd is None:
                return
            try:
                more = os.read(self.fd, MOST_BYTES)
            except BlockingIOError:
                return
            if more:
                self._kept = (self._kept + more)[-MOST_BYTES:]
            else:
                self.close()

    def last_line(self) -> str:
        """The last one that is not empty, or what is kept of it; "" if there is none. Where it crashed is no line."""
        text = self._kept.decode(errors="replace").partition(CRASH)[0]
        return next((line for line in reversed(text.split("\n")) if line.strip()), "")

    def take(self) -> str:
        """What is kept, which is forgotten then."""
        self.listen()
        kept, self._kept = self._kept, b""
        return ENGINE.sub("", kept.decode(errors="replace"))

    def close(self) -> None:
        fd, self.fd = self.fd, None
        if fd is not None:
            os.close(fd)
