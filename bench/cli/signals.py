"""Signals while a command runs: the first ends it with a line that says what is kept, a second one at once."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["StoppedError", "caught", "keeping"]

ASKS = {
    signal.SIGINT: "interrupted",
    signal.SIGTERM: "ended by SIGTERM",
    signal.SIGHUP: "ended by SIGHUP",
}

SAME_SECONDS = 0.3
"""A second signal within these is the first once more: a terminal and a program between send one each."""


class StoppedError(BaseException):
    """A signal asks the command to end. Not a KeyboardInterrupt, of which typer makes a silent exit.

    kept  what is kept of what the command did, a sentence; "" if there is nothing to be said
    """

    kept = ""

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(number)
        self.number = number

    @property
    def status(self) -> int:
        """The exit status that shells know it by."""
        return 128 + self.number

    def __str__(self) -> str:
        return f"{ASKS[self.number]}. {self.kept}".rstrip()


@contextmanager
def caught() -> Iterator[None]:
    """Raise StoppedError in the main thread for Ctrl-C, SIGTERM and SIGHUP; end the process for a second one.

    What is ignored stays so, as under nohup. In another thread than the main one nothing is changed.
    """
    first: list[float] = []

    def stop(number: int, _: FrameType | None) -> None:
        if not first:
            first.append(time.monotonic())
            raise StoppedError(signal.Signals(number))
        if time.monotonic() - first[0] > SAME_SECONDS:
            os._exit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in ASKS}
    ours = [number for number, handler in before.items() if handler not in (signal.SIG_IGN, None)]
    try:
        for number in ours:
            signal.signal(number, stop)
        yield
    finally:
        for number in ours:
            signal.signal(number, before[number])


@contextmanager
def keeping(kept: str) -> Iterator[None]:
    """Say what is kept if the block is stopped."""
    try:
        yield
    except StoppedError as stopped:
        stopped.kept = stopped.kept or kept
        raise
