"""Runs and their workers are killed, ended and interrupted at any moment: nothing measured is lost, nothing stays.

After each, no process is left, the store holds whole and right records alone, among them all that the run has said
were measured, and the same command goes on to the same table as that of a run that nobody disturbed.
"""

from __future__ import annotations

import contextlib
import io
import re
import signal
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
from PIL import Image

import bench
import bench.cli
from bench.measure.quality import load_libraries
from bench.records.store import Store
from bench.report.table import render
from tests.faults.campaign import Ended, Outcome, Running, Try, begin_bench, complaint, kill, start

__all__ = ["ATTEMPTS", "attempt"]

ATTEMPTS = 1000

FAMILY = """
import os
import signal

from bench.restorer import Restorer


def sleep(*, leaves=False, ignores=False):
    if os.fork():
        return
    if leaves:
        os.setsid()
        if os.fork():
            os._exit(0)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if ignores else ():
        signal.signal(number, signal.SIG_IGN)
    os.execvp("sleep", ["sleep", "300"])


class Family(Restorer):
    name, tasks = "family", {"denoise"}

    def prepare(self, setting, device):
        sleep()
        sleep(ignores=True)
        sleep(leaves=True)
        sleep(leaves=True, ignores=True)

    def restore(self, seen):
        return seen.image * 0.5
"""
"""A restorer that starts a child, one that ignores signals, and the same in sessions of their own as orphans."""

PROMPT_SECONDS = 10.0
"""for a run to end after a signal: twenty times what it takes, for the machine may be busy"""

PICTURES = (16, 24)
WORDS = ("--datasets", "photos", "--sigma", "25,50", "--store", "s.sqlite")
HOW = {1: ("--readings", "1"), 2: ("--jobs", "2")}
"""By jobs: cells one after the other, timed; or side by side."""


class Kind(NamedTuple):
    """What is done to a run. number: the signal; twice: and once more; to: the run, its worker, or its nursery."""

    number: signal.Signals
    twice: bool = False
    to: str = "run"

    def __str__(self) -> str:
        return f"{self.number.name}{' twice' if self.twice else ''} to the {self.to}"


KINDS = (
    Kind(signal.SIGKILL),
    Kind(signal.SIGTERM),
    Kind(signal.SIGHUP),
    Kind(signal.SIGINT),
    Kind(signal.SIGINT, twice=True),
    Kind(signal.SIGKILL, to="worker"),
    Kind(signal.SIGKILL, to="nursery"),
)
SHELLS = 25
"""Every so many attempts the run is one of a shell, and not a fork of this process."""


class Whole(NamedTuple):
    """A run that nobody disturbed. figures: by cell; table: without times and memory."""

    figures: dict[tuple[object, ...], tuple[object, ...]]
    table: str
    seconds: float


def attempt(try_: Try) -> Outcome:
    random, folder = try_.random, try_.folder
    kind, jobs = KINDS[try_.index % len(KINDS)], random.choice((1, 1, 2))
    methods = random.choice(("noisy", "./family.py:Family", "./family.py:Family", "noisy,./family.py:Family"))
    words = ["run", "--methods", methods, *WORDS, *HOW[jobs]]
    whole = undisturbed(methods, jobs)
    write(folder)
    is_shells = try_.index % SHELLS == SHELLS - 1
    running = begin_in_a_shell(words, folder) if is_shells else begin_bench(words, folder)
    moment = random.uniform(0, 1.1 * whole.seconds)
    lost = disturb(running, kind, moment, random)
    ended = running.wait(30)
    lost = lost or complaint(ended, expected(kind)) or unlike(kind, ended, folder, whole)
    lost = lost or on_going(words, folder, whole)
    where = f" ({methods}, {jobs} jobs, after {moment:.3f} s)" if lost else ""
    return Outcome(str(kind), lost + where, ended.peak_mib)


def begin_in_a_shell(words: Sequence[str], folder: Path) -> Running:
    """As a shell would, from the moment on when it listens: before that the interpreter itself answers signals."""
    running = start(["-c", "from bench.cli import main; main()", *words], folder)
    while not running.is_over() and not listens(running.pid):
        time.sleep(0.002)
    return running


def listens(pid: int) -> bool:
    """Whether a process handles SIGTERM."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    caught = next((line.split()[1] for line in status.splitlines() if line.startswith("SigCgt")), "0")
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)


def disturb(running: Running, kind: Kind, moment: float, random: Random) -> str:
    """Send the signals, `moment` seconds from now; what is wrong with how the run takes it."""
    time.sleep(moment)
    if kind.to != "run":
        processes = {pid: line for pid, line in running.processes().items() if "bench.runner" in line}
        parents = {pid: parent(pid) for pid in processes}
        if kind.to == "nursery":
            those = [pid for pid, line in processes.items() if "nursery" in line and parents[pid] not in processes]
        else:  # what has no children of the kind, and is no nursery or supervisor that has just begun
            least = {pid: 2 if "nursery" in line else 1 for pid, line in processes.items()}
            those = [pid for pid in processes if depth(pid, parents) >= least[pid] and pid not in parents.values()]
        if those:
            kill(random.choice(those))
        return ""
    running.send(kind.number)
    if kind.twice:
        time.sleep(random.uniform(0, 0.5))
        running.send(kind.number)
    began = time.monotonic()
    while not running.is_over():
        if time.monotonic() - began > PROMPT_SECONDS:
            return f"went on for {PROMPT_SECONDS:g} s after the signal"
        time.sleep(0.002)
    return ""


def parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def depth(pid: int, parents: Mapping[int, int]) -> int:
    """How many of those that it descends from are among them."""
    return 1 + depth(parents[pid], parents) if parents[pid] in parents else 0


def expected(kind: Kind) -> tuple[int, ...]:
    """The statuses that a run may have: 0 if it was over, that of the signal alone if it had just begun or ended."""
    if kind.to == "nursery":
        return (0,)
    if kind.to == "worker":
        return 0, 1
    return (0, -kind.number) if kind.number == signal.SIGKILL else (0, -kind.number, 128 + kind.number)


def unlike(kind: Kind, ended: Ended, folder: Path, whole: Whole) -> str:
    """What is not as it should be in the store, and in what was said; "" if all is."""
    found, failed = figures(folder), {}
    if kind.to == "worker":
        failed = {cell: record for cell, record in found.items() if record[0] == "failed"}
        if wrong := [record for record in failed.values() if "SIGKILL" not in str(record[-1])]:
            return f"failed for another reason: {wrong[0][-1]}"
    for cell, record in found.items():
        if cell not in failed and record != whole.figures.get(cell):
            return f"{cell} has {record}, expected {whole.figures.get(cell)}"
    for name, level in re.findall(r"^measured (\w+), denoise sigma (\d+) gray", ended.err, re.MULTILINE):
        there = [cell for cell in found if cell[:2] == (name, float(level))]
        if len(there) < len(PICTURES):
            return f"{name} at sigma {level} was said to be measured, and {len(there)} of its cells are there"
    return said_wrong(kind, ended, len(found), len(whole.figures))


def said_wrong(kind: Kind, ended: Ended, n_found: int, n_cells: int) -> str:
    """What is wrong with the words of a run that a signal has ended."""
    *before, last = ended.err.splitlines() or [""]
    if ended.status != 128 + kind.number:
        return "" if not last.startswith("bench: ") else f"ended with status {ended.status} and {last!r}"
    how = "interrupted" if kind.number == signal.SIGINT else f"ended by {kind.number.name}"
    if any(not line.startswith("measured ") for line in before):
        return f"more than a line: {ended.err!r}"
    if kind.twice and not last.startswith("bench: "):
        return ""
    if re.fullmatch(rf"bench: {how}\.( What was measured is kept; .*)?", last):
        return ""  # it had not begun, or was over
    kept = re.fullmatch(rf"bench: {how}\. (\d+) of {n_cells} cells are kept in s\.sqlite; .*", last)
    if kept is None:
        return f"said {last!r}"
    if int(kept[1]) != n_found:
        return f"said that {kept[1]} cells are kept, and {n_found} are"
    if (n_found > 0 and kind.number == signal.SIGINT) != ("PSNR in dB" in ended.out):
        return f"kept {n_found} cells, and printed {ended.out!r}"
    return ""


def on_going(words: Sequence[str], folder: Path, whole: Whole) -> str:
    """What is wrong with the same command's run afterwards."""
    again = begin_bench([*words, "--retry-failed"], folder).wait(30)
    if wrong := complaint(again, (0,)):
        return f"the next run {wrong}"
    if figures(folder) != whole.figures:
        return f"the next run has other records: {figures(folder)}"
    return "" if untimed_table(folder) == whole.table else f"another table: {untimed_table(folder)}"


@cache
def undisturbed(methods: str, jobs: int) -> Whole:
    words = ["run", "--methods", methods, *WORDS, *HOW[jobs]]
    with TemporaryDirectory() as folder:
        write(Path(folder))
        warm_up(Path(folder))
        ended = begin_bench(words, Path(folder)).wait()
        assert ended.status == 0, ended.err
        return Whole(figures(Path(folder)), untimed_table(Path(folder)), ended.seconds)


def warm_up(folder: Path) -> None:
    """Import here what runs need, each of which is a fork of this process; without a thread."""
    load_libraries()
    words = ["run", "--methods", f"noisy,{folder}/family.py:Family", "--datasets", str(folder / "photos")]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        bench.cli.main([*words, "--dry-run", "--store", str(folder / "other.sqlite")])


def write(folder: Path) -> None:
    """Two pictures and the plugin."""
    (folder / "photos").mkdir()
    for n_rows in PICTURES:
        rows, columns = np.mgrid[:n_rows, :20]
        Image.fromarray((3 * columns + 7 * rows).astype(np.uint8)).save(folder / f"photos/{n_rows}.png")
    (folder / "family.py").write_text(FAMILY)


def figures(folder: Path) -> dict[tuple[object, ...], tuple[object, ...]]:
    """(restorer, level, picture) -> what was measured, to the last digit, and the reason of a failure."""
    if not (folder / "s.sqlite").exists():
        return {}
    with Store(folder / "s.sqlite") as store:
        records = store.records()
    return {(r.restorer, r.level, r.image): (r.status, r.psnr_db, r.ssim, r.input_sha256, r.reason) for r in records}


def untimed_table(folder: Path) -> str:
    frame = bench.read(folder / "s.sqlite")
    return render(frame.assign(seconds=None, seconds_spread=None, peak_mib=None), "text")
