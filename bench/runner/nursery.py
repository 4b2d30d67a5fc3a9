"""A process that has imported what takes long, and is forked for each restorer: seconds become milliseconds.

    python -c "from bench.runner.nursery import main; main()" CONTROL RUNNER MODULE...

CONTROL is a file descriptor, RUNNER the runner's process id. For each message with three file descriptors (the pipe,
the line, and where what is printed goes) it forks a supervisor, which forks the restorer's process: see
bench.runner.supervisor. It ends with the runner. What has begun goes on without it.

No plugin's code ever runs here: the modules are those of NUMERICS. It has one thread whenever it forks, and never
touches an accelerator. A fork is as a new process would be: see `_renew`. Linux alone.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import select
import signal
import socket
import struct
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TypeAlias

from bench.runner import supervisor

__all__ = ["NUMERICS", "main"]

NUMERICS = ("torch", "numba")
"""packages that take long to import, and do nothing by it that a fork could not go on from"""

LOOK_SECONDS = 0.2
"""between looks at whether the runner lives, while something is imported"""

Pages: TypeAlias = "list[tuple[int, int]]"
"""address and length of stretches of memory"""


def main() -> None:
    """Serve until the runner ends. In each restorer's process this returns when that has served."""
    number, runner, *modules = sys.argv[1:]
    death = supervisor.death_of(int(runner))
    if death is None:
        os._exit(1)
    _import(modules, int(runner))
    if not _has_one_thread():
        os._exit(1)
    pages = _pages_of_files()
    gc.freeze()  # a collection in a fork would write to all that they share
    control, started = socket.socket(fileno=int(number)), set[int]()
    while True:
        ready, _, _ = select.select([control.fileno(), death, *started], [], [])
        for ended in started.intersection(ready):
            os.waitid(os.P_PIDFD, ended, os.WEXITED)
            os.close(ended)
            started.remove(ended)
        if death in ready:
            os._exit(0)
        if control.fileno() not in ready:
            continue
        _, given, _, _ = socket.recv_fds(control, 1, 3)
        if len(given) != 3:
            os._exit(0)
        child = os.fork()
        if child == 0:
            control.close()
            for fd in started:
                os.close(fd)
            pipe, line, says = given
            _supervise(pipe, line, says, death, pages)
            return
        started.add(os.pidfd_open(child))
        for fd in given:
            os.close(fd)


def _supervise(pipe: int, line: int, says: int, runner: int, pages: Pages) -> None:
    """Be a supervisor; this returns in the restorer's process, when that has served."""
    os.setsid()
    for fd in (1, 2):
        os.dup2(says, fd)
    os.close(says)
    supervisor.supervise(pipe, line, runner, partial(_serve, pages))


def _serve(pages: Pages, pipe: int) -> None:
    _renew(pages)
    supervisor.serve(pipe)


def _import(modules: Sequence[str], runner: int) -> None:
    """Import the host and these. What cannot be imported says so again in the restorer's process."""

    def look(*_: object) -> None:
        if os.getppid() != runner:
            os._exit(0)

    signal.signal(signal.SIGALRM, look)
    signal.siginterrupt(signal.SIGALRM, False)
    signal.setitimer(signal.ITIMER_REAL, LOOK_SECONDS, LOOK_SECONDS)
    for module in ("bench.runner.host", *modules):
        with contextlib.suppress(Exception):
            importlib.import_module(module)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)


def _has_one_thread() -> bool:
    """Whether it has, once libraries have had the chance to end theirs.

    OpenBLAS starts its threads when it is loaded, ends them before a fork, and starts them when they are next needed.
    """
    if _n_threads() > 1:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 counts them at a fork
            child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
    return _n_threads() == 1


def _n_threads() -> int:
    return len(os.listdir("/proc/self/task"))  # noqa: PTH208


def _renew(pages: Pages) -> None:
    """Have a fork go on as if it had been started and had imported all itself.

    Python's own random numbers begin anew in each fork, and torch's are fixed for each process; NumPy's are neither.
    """
    import numpy as np

    np.random.seed()
    tempfile.tempdir = None  # which may be known from before
    importlib.invalidate_caches()
    _touch(pages)


# --- memory ----------------------------------------------------------------------------------------

PAGE = os.sysconf("SC_PAGE_SIZE")
PRESENT = 1 << 63
"""the bit of a page that is in memory, in proc(5)'s pagemap"""
MADV_POPULATE_READ = 22
"""of Linux 5.14"""


def _pages_of_files() -> Pages:
    """Those of libraries and other files that are in this process's memory.

    The system does not hand them on to a fork, which finds them again one by one. A peak of memory would lack them.
    """
    try:
        with Path("/proc/self/pagemap").open("rb", buffering=0) as pagemap:
            areas = _areas_of_files()
            return [stretch for first, last in areas for stretch in _present(pagemap.fileno(), first, last)]
    except OSError:
        return []


def _areas_of_files() -> list[tuple[int, int]]:
    """First and last address of each area of memory that is a file's and can be read."""
    areas = []
    for line in Path("/proc/self/maps").read_text().splitlines():
        where, rights, *_, name = line.split(maxsplit=5) + [""] * (len(line.split(maxsplit=5)) < 6)
        if rights.startswith("r") and name.startswith("/"):
            first, last = (int(address, 16) for address in where.split("-"))
            areas.append((first, last))
    return areas


def _present(pagemap: int, first: int, last: int) -> Iterator[tuple[int, int]]:
    n_pages = (last - first) // PAGE
    told = os.pread(pagemap, 8 * n_pages, first // PAGE * 8)
    begin = None
    for i, (page,) in enumerate([*struct.iter_unpack("=Q", told), (0,)]):
        is_present = bool(page & PRESENT)
        if is_present and begin is None:
            begin = i
        elif not is_present and begin is not None:
            yield first + begin * PAGE, (i - begin) * PAGE
            begin = None


def _touch(pages: Pages) -> None:
    import ctypes

    advise = ctypes.CDLL(None).madvise
    advise.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    for address, length in pages:
        advise(address, length, MADV_POPULATE_READ)
