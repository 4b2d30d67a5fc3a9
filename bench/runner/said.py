"""What a process prints: the end of it is kept, however much there is."""

from __future__ import annotations

import os

__all__ = ["Said"]

MOST_BYTES = 1 << 16
AT_ONCE = 16
"""reads: whoever prints without end is not listened to without end"""


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
        """The last one that is not empty, or what is kept of it; "" if there is none."""
        lines = self._kept.decode(errors="replace").split("\n")
        return next((line for line in reversed(lines) if line.strip()), "")

    def close(self) -> None:
        fd, self.fd = self.fd, None
        if fd is not None:
            os.close(fd)
