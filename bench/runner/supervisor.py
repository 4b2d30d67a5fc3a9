"""The process between the runner and a restorer's: when either ends, all that the restorer has started ends.

    python -c "from bench.runner.supervisor import main; main()" PIPE LINE RUNNER

PIPE and LINE are file descriptors, RUNNER is the runner's process id. Where the system can, `bench.runner.nursery`
forks a supervisor instead. A supervisor forks the restorer's process, which serves the pipe. Into the line it writes
three numbers, a line each: its own process id, the restorer's, and how that ended. The system closes the line when
the runner ends, however that is. Then, or when the restorer's process ends, the supervisor kills what there is.

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
from collections.abc import Callable
from pathlib import Path

from bench.runner.scratch import Scratch, remove_leftovers

__all__ = ["children", "death_of", "main", "serve", "supervise"]

LOOK_SECONDS = 1.0
"""between looks at whether the runner lives, where the system does not tell of its death"""

KILLING_SECONDS = 5.0
"""for what was killed to end: a process that waits for a device may never"""

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36


def main() -> None:
    pipe, line, runner = map(int, sys.argv[1:])
    death = death_of(runner)
    supervise(pipe, line, runner if death is None else death, serve, is_pid=death is None)


def supervise(pipe: int, line: int, runner: int, serve: Callable[[int], None], *, is_pid: bool = False) -> None:
    """Fork the restorer's process, in which this returns when it has served the pipe, and end with it.

    runner  what `death_of` gave; is_pid: the process id of the runner, whose child this is
    """
    base = Path(os.environ["TMPDIR"])
    try:
        _say(line, os.getpid())
    except OSError:  # nobody wants it any more
        os._exit(0)
    scratch = _scratch(base)
    _control(PR_SET_CHILD_SUBREAPER, 1)
    supervisor = os.getpid()
    restorer = os.fork()
    if restorer == 0:
        if scratch is not None:
            scratch.let_go()
        os.setsid()  # a signal to its own group is not the supervisor's
        _control(PR_SET_PDEATHSIG, signal.SIGKILL)
        os.close(line)
        if not is_pid:
            os.close(runner)
        sys.argv[1:] = []
        if os.getppid() == supervisor:
            serve(pipe)
        return
    try:
        os.close(pipe)
        nothing = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):  # the restorer's alone: they close with it
            os.dup2(nothing, fd)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        with contextlib.suppress(OSError):  # the runner is gone: that is seen below
            _say(line, restorer)
        remove_leftovers(base)
        status = _wait(restorer, line, runner, is_pid)
        _kill_all(restorer)
        if scratch is not None:
            scratch.remove()
        with contextlib.suppress(OSError):
            _say(line, os.waitstatus_to_exitcode(status))
    finally:
        os._exit(0)


def serve(pipe: int) -> None:
    """Be the restorer's process."""
    from bench.runner import host

    host.main(pipe)


def death_of(pid: int) -> int | None:
    """What can be read once this process, the caller's parent, is dead; None where the system has no such thing."""
    try:
        death = os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None
    if os.getppid() != pid:  # it has died, and the process id may be another's
        os._exit(0)
    return death


def _say(line: int, number: int) -> None:
    os.write(line, b"%d\n" % number)


def _scratch(base: Path) -> Scratch | None:
    """A folder for temporary files, which the restorer's process will use; None if there is no place for one."""
    try:
        scratch = Scratch(base)
    except OSError:
        return None
    os.environ["TMPDIR"] = str(scratch.path)
    return scratch


def _wait(restorer: int, line: int, runner: int, is_pid: bool) -> int:
    """Until the restorer's process or the runner ends: its status as `waitpid` gives it, SIGKILL for the latter."""
    woken, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(waker)
    watched = [line, woken] if is_pid else [line, woken, runner]
    while True:
        status = _buried(restorer)
        if status is not None:
            return status
        ready, _, _ = select.select(watched, [], [], LOOK_SECONDS if is_pid else None)
        if line in ready or runner in ready or (is_pid and os.getppid() != runner):
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


def _control(option: int, value: int) -> None:
    """prctl(2), where there is one."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
