"""What a campaign is made of: attempts, each of which does one thing wrong and says what was lost by it.

A campaign is a module with

    ATTEMPTS            how many make it whole
    attempt(try_)       makes one and says what came of it
    SECONDS             that an attempt takes, if that is long: where there is less time, the campaign is left out

An attempt draws from `try_.random` alone and writes below `try_.folder` alone, so that any of them can be repeated.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Protocol

__all__ = [
    "MEMORY_MIB",
    "Campaign",
    "Ended",
    "Outcome",
    "Running",
    "Try",
    "begin_bench",
    "bench",
    "complaint",
    "kill",
    "start",
]

MEMORY_MIB = 600
"""that the runner may hold, whatever it is given"""

PATIENCE_SECONDS = 2
"""for what the runner started to end after it"""

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

MARK = "BENCH_FAULTS_ATTEMPT"
"""In the environment of all that an attempt starts: what still has it afterwards is an orphan."""


@dataclass(frozen=True)
class Try:
    """What an attempt is given: its number, its own random numbers, a folder that is empty."""

    index: int
    random: Random
    folder: Path


@dataclass(frozen=True)
class Outcome:
    """What became of an attempt.

    kind      of fault, in a few words: they are counted
    lost      what it cost and should not have; "" if nothing
    peak_mib  the most that the runner held; 0 if it ran in this process
    """

    kind: str
    lost: str = ""
    peak_mib: float = 0.0


class Campaign(Protocol):
    ATTEMPTS: int

    def attempt(self, try_: Try) -> Outcome: ...


@dataclass(frozen=True)
class Ended:
    """A command that ended. status: negative for a signal; None: it had to be killed at its limit.

    orphans  command lines of what it started and left behind (killed since)
    """

    words: Sequence[str]
    status: int | None
    out: str
    err: str
    seconds: float
    peak_mib: float
    orphans: Sequence[str] = ()


def complaint(ended: Ended, statuses: Iterable[int] = (0, 1, 2)) -> str:
    """What no command may do, whatever it is given: hang, trace back, end oddly, leave processes, grow; or ""."""
    said = [line for line in ended.err.splitlines() if line.strip()] or ["nothing"]
    if ended.status is None:
        return f"hung past {ended.seconds:.0f} s"
    if "Traceback (most recent call last)" in ended.err + ended.out:
        return f"a traceback: {said[-1]}"
    if ended.status not in statuses:
        return f"ended with status {ended.status}: {said[-1]}"
    if ended.orphans:
        return f"left behind: {'; '.join(ended.orphans)}"
    return f"held {ended.peak_mib:.0f} MiB" if ended.peak_mib > MEMORY_MIB else ""


@dataclass
class Running:
    """A command under way; `wait` must be called. `pid` is its process and its process group."""

    pid: int
    words: Sequence[str]
    mark: str
    out: Path
    err: Path
    began: float = field(default_factory=time.monotonic)
    peak_mib: float = 0.0

    def send(self, number: int) -> None:
        """Send it a signal, if it is still there."""
        if self._status is None and not self.is_over():
            os.kill(self.pid, number)

    def is_over(self) -> bool:
        """Whether it has ended; takes note of its memory."""
        if self._status is None:
            self.peak_mib = max(self.peak_mib, _peak_mib(self.pid))
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self._status = os.waitstatus_to_exitcode(status) if pid else None
        return self._status is not None

    def processes(self) -> dict[int, str]:
        """What it has started and is there: the command lines by process id."""
        return {pid: line for pid, line in _marked(self.mark).items() if pid != self.pid}

    def wait(self, limit: float = 60) -> Ended:
        """Wait for its end, or kill it and all that it started at its limit (in seconds since it began)."""
        pause = 0.002
        while not self.is_over() and time.monotonic() - self.began < limit:
            time.sleep(pause)
            pause = min(1.5 * pause, 0.05)
        seconds, status = time.monotonic() - self.began, self._status
        if status is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        orphans = _orphans(self.mark, 0 if status is None else PATIENCE_SECONDS)
        out, err = (path.read_text(errors="replace") for path in (self.out, self.err))
        return Ended(self.words, status, out, err, seconds, self.peak_mib, orphans)

    _status: int | None = None


def start(
    words: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None, inside: Sequence[str] = ()
) -> Running:
    """Start `python WORDS` in a folder, as a shell would: a process group of its own.

    inside  a command that runs another, and becomes it: `ip netns exec NAME`
    """
    out, err, mark = _stream(folder, "out"), _stream(folder, "err"), uuid.uuid4().hex
    with out.open("wb") as to_out, err.open("wb") as to_err, _nothing_ignored():
        process = subprocess.Popen(
            [*inside, sys.executable, *words],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=to_out,
            stderr=to_err,
            env={**os.environ, **(environment or {}), MARK: mark},
            start_new_session=True,
        )
    process.returncode = 0  # waited for here, not there
    return Running(process.pid, words, mark, out, err)


def bench(
    words: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None, limit: float = 60
) -> Ended:
    """`bench WORDS` in a folder, to its end: in a fork of this process, which has imported bench."""
    return begin_bench(words, folder, environment).wait(limit)


def begin_bench(words: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None) -> Running:
    """`bench WORDS` in a folder, begun: in a fork of this process, which has imported bench."""
    import bench.cli.commands

    out, err, mark = _stream(folder, "out"), _stream(folder, "err"), uuid.uuid4().hex
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)  # a signal to the fork is not to unwind what it has of ours
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            for number in ENDING:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
            os.setsid()
            for path, stream in ((out, 1), (err, 2)):
                os.dup2(os.open(path, os.O_WRONLY), stream)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w", errors="backslashreplace")
            os.chdir(folder)
            os.environ.update({**(environment or {}), MARK: mark})
            sys.argv = ["bench", *words]
            bench.cli.main()
            status = 0
        except SystemExit as ending:
            status = ending.code if isinstance(ending.code, int) else int(ending.code is not None)
        except BaseException:
            traceback.print_exc()
        finally:
            for flushed in (sys.stdout, sys.stderr):
                flushed.flush()
            os._exit(status)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
    return Running(pid, words, mark, out, err)


def kill(pid: int) -> None:
    """kill -9, of what may have ended."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


@contextlib.contextmanager
def _nothing_ignored() -> Iterator[None]:
    """What is started here hears signals, though this process may be one of a shell's background or under nohup."""
    ignored = [number for number in ENDING if signal.getsignal(number) == signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, lambda *_: None)  # which does not outlast exec, as ignoring does
    try:
        yield
    finally:
        for number in ignored:
            signal.signal(number, signal.SIG_IGN)


def _stream(folder: Path, name: str) -> Path:
    handle, path = tempfile.mkstemp(f".{name}", ".", folder)
    os.close(handle)
    return Path(path)


def _peak_mib(pid: int) -> float:
    """The most memory that a process has held so far; 0 if it has ended, or where the system does not tell."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)


def _orphans(mark: str, patience: float) -> list[str]:
    """The command lines of what still carries the mark when the patience is over; they are killed."""
    deadline = time.monotonic() + patience
    while left := _marked(mark):
        if time.monotonic() >= deadline:
            break
        time.sleep(0.05)
    for pid in left:
        kill(pid)
    return [*left.values()]


def _marked(mark: str) -> dict[int, str]:
    found, wanted = {}, f"{MARK}={mark}".encode()
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if wanted in (place / "environ").read_bytes().split(b"\0"):
                line = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                if line:  # a zombie has none
                    found[int(place.name)] = line
        except OSError:
            continue
    return found
