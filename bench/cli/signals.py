"""Signals while a command runs: the first ends it with a line that says what is kept, a second one at once."""

from __future__ import annotations

import os
import signal
import sys
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


AGAIN_SECONDS = 0.02


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
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    listener = _Listener()
    before = {number: signal.getsignal(number) for number in ASKS}
    ours = [number for number, handler in before.items() if handler not in (signal.SIG_IGN, None)]
    complain, sys.unraisablehook = sys.unraisablehook, listener.swallowed
    try:
        for number in ours:
            signal.signal(number, listener.hear)
        yield
    finally:
        sys.unraisablehook = complain
        for number in ours:
            signal.signal(number, before[number])


class _Listener:
    """Hears signals, and says what is to be done of the first, of an echo of it, and of a second one."""

    def __init__(self) -> None:
        self.heard: float | None = None
        self.complain = sys.unraisablehook

    def hear(self, number: int, _: FrameType | None) -> None:
        if self.heard is None:
            self.heard = time.monotonic()
            raise StoppedError(signal.Signals(number))
        if time.monotonic() - self.heard > SAME_SECONDS:
            os._exit(128 + number)

    def swallowed(self, what: sys.UnraisableHookArgs) -> None:
        """Python drops what is raised where it cannot be, as in the callbacks of each import: ask again soon."""
        if isinstance(what.exc_value, StoppedError):
            self.heard = None
            threading.Timer(AGAIN_SECONDS, os.kill, (os.getpid(), what.exc_value.number)).start()
        else:
            self.complain(what)


@contextmanager
def keeping(kept: str) -> Iterator[None]:
    """Say what is kept if the block is stopped."""
    try:
        yield
    except StoppedError as stopped:
        stopped.kept = stopped.kept or kept
        raise
