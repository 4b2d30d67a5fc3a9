"""The process between the runner and a restorer's: when either ends, all that the restorer has started ends.

    python -c "from bench.runner.supervisor import main; main()" PIPE LINE RUNNER

PIPE and LINE are file descriptors, RUNNER is the runner's process id. It forks the restorer's process, which writes
its process id into the line and serves the pipe. The system closes the line when the runner ends, however that is.
Then, or when the restorer's process ends, the supervisor kills what there is and ends as that process did.

On Linux it adopts what the restorer's children leave behind, in whatever session: none escapes. Elsewhere only the
restorer's process group is killed. The restorer's temporary files go too, for it has a folder of its own for them.
Imports little: the restorer's process is a fork of it.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
from pathlib import Path

from bench.runner.scratch import Scratch, remove_leftovers

__all__ = ["children", "main", "serve"]

LOOK_SECONDS = 1.0
"""between looks at whether the runner lives: another process of its may hold the line open"""

KILLING_SECONDS = 5.0
"""for what was killed to end: a process that waits for a device may never"""

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER = 1, 4, 36


def main() -> None:
    pipe, line, runner = map(int, sys.argv[1:])
    base = Path(os.environ["TMPDIR"])
    scratch = _scratch(base)
    _control(PR_SET_CHILD_SUBREAPER, 1)
    supervisor = os.getpid()
    restorer = os.fork()
    if restorer == 0:
        if scratch is not None:
            scratch.let_go()
        os.setsid()  # a signal to its own group is not the supervisor's
        _control(PR_SET_PDEATHSIG, signal.SIGKILL)
        with open(line, "wb") as told:  # noqa: PTH123  a file descriptor
            told.write(str(os.getpid()).encode())
        if os.getppid() == supervisor:
            serve()
        return
    os.close(pipe)
    nothing = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):  # the restorer's alone: they close with it
        os.dup2(nothing, fd)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    remove_leftovers(base)
    status = _wait(restorer, line, runner)
    _kill_all(restorer)
    if scratch is not None:
        scratch.remove()
    _end_as(status)


def _scratch(base: Path) -> Scratch | None:
    """A folder for temporary files, which the restorer's process will use; None if there is no place for one."""
    try:
        scratch = Scratch(base)
    except OSError:
        return None
    os.environ["TMPDIR"] = str(scratch.path)
    return scratch


def serve() -> None:
    """Be the restorer's process."""
    from bench.runner import host

    host.main()


def _wait(restorer: int, line: int, runner: int) -> int:
    """Until the restorer's process or the runner ends: its status as `waitpid` gives it, SIGKILL for the latter."""
    woken, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(waker)
    while True:
        status = _buried(restorer)
        if status is not None:
            return status
        ready, _, _ = select.select([line, woken], [], [], LOOK_SECONDS)
        if line in ready or os.getppid() != runner:
            return signal.SIGKILL
        if woken in ready:
            os.read(woken, 512)


def _buried(restorer: int) -> int | None:
    """Take note of all children that have ended; the restorer's status, if it is one of them."""
    status = None
    while True:
        try:
            pid, found = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return status
        if pid == 0:
            return status
        if pid == restorer:
            status = found


def _kill_all(restorer: int) -> None:
    """Kill the restorer's group, and one's children, until there are none: a dead child's own are adopted."""
    deadline = time.monotonic() + KILLING_SECONDS
    pause = 0.0005
    while time.monotonic() < deadline:
        _kill(-restorer)
        for pid in children():
            _kill(pid)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(pause)
        pause = min(2 * pause, 0.02)


def _kill(pid: int) -> None:
    with contextlib.suppress(OSError):  # it has ended, or is not ours to kill
        os.kill(pid, signal.SIGKILL)


def children() -> list[int]:
    """Those of this process, adopted ones too; none where there is no /proc."""
    own = os.getpid()
    try:
        return [int(pid) for pid in Path(f"/proc/{own}/task/{own}/children").read_bytes().split()]
    except OSError:  # a kernel without it
        return [pid for pid in _processes() if _parent(pid) == own]


def _processes() -> list[int]:
    try:
        return [int(place.name) for place in Path("/proc").iterdir() if place.name.isdigit()]
    except OSError:
        return []


def _parent(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[1])
    except OSError:
        return None


def _end_as(status: int) -> None:
    """End as the restorer's process did, for the runner to see."""
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        _control(PR_SET_DUMPABLE, 0)  # it has left its core; ours would tell nothing
        if -code not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def _control(option: int, value: int) -> None:
    """prctl(2), where there is one."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
