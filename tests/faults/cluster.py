"""A cluster's workers, nannies, scheduler and head are killed while it measures: nothing is lost, nothing doubled.

An attempt is a run of 2,000 small cells with twenty kill -9, of what chance says and when it says. What is killed is
started again, as a batch system would. In the end the store has the figures of a run that nobody disturbed, to the
last digit; what was in it once was not measured again; no process is left.
"""

from __future__ import annotations

import signal
import sqlite3
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from functools import cache
from math import inf
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from bench.records.store import Store
from tests.faults.campaign import Ended, Outcome, Running, Try, begin_bench, complaint, kill
from tests.faults.kills import figures
from tests.faults.machines import HAS_DASK, Cluster

ATTEMPTS = 5
SECONDS = 120
"""that an attempt takes: where there is less time, the campaign is left out"""

N_PICTURES, N_LEVELS, N_KILLS = 50, 40, 20
N_CELLS = N_PICTURES * N_LEVELS
VICTIMS = ("worker", "nanny", "scheduler", "head")
LEVELS = ",".join(str(5 + level) for level in range(N_LEVELS))
WORDS = ("run", "--methods", "noisy", "--datasets", "photos", "--sigma", LEVELS, "--store", "s.sqlite")
STILL_SECONDS = 120.0
"""without a cell measured, after which a run is taken to stand"""


def attempt(try_: Try) -> Outcome:
    if not HAS_DASK:
        return Outcome("no dask.distributed here")
    random, folder = try_.random, try_.folder
    whole = undisturbed()
    write(folder)
    victims = [random.choice(VICTIMS) for _ in range(N_KILLS)]
    moments = sorted(random.sample(range(N_CELLS), N_KILLS))
    with Cluster(folder) as cluster:
        words = [*WORDS, "--cluster", cluster.address]
        head, lost = disturbed(words, folder, cluster, [*zip(moments, victims, strict=True)], random)
        lost = lost or unlike(folder, whole)
        if not lost:
            again = begin_bench([*words, "--retry-failed"], folder).wait(STILL_SECONDS)
            lost = complaint(again, (0,)) or ("" if figures(folder) == whole else "failures are not made good")
    if not lost and cluster.left():
        lost = f"left behind: {'; '.join(cluster.left())}"
    return Outcome(f"{N_KILLS} kills", lost, head.peak_mib)


def disturbed(
    words: Sequence[str], folder: Path, cluster: Cluster, kills: Sequence[tuple[int, str]], random: Random
) -> tuple[Ended, str]:
    """A run to its end, through kills (after so many cells: whom). The last head that ended, and what was wrong."""
    kills, head, known = [*kills], begin_bench(words, folder), {}
    n_before, since = 0, time.monotonic()
    while not head.is_over():
        cluster.keep()
        n = n_stored(folder)
        if n > n_before:
            n_before, since = n, time.monotonic()
        if kills and n >= kills[0][0] and (victim := process(kills[0][1], head, cluster, random)):
            kills.pop(0)
            told = measured_at(folder)
            if wrong := changed(known, told):
                return head.wait(0), wrong
            known = told
            kill(victim)
            if victim == head.pid:
                if wrong := complaint(ended := head.wait(inf), (-signal.SIGKILL,)):
                    return ended, f"the head {wrong}"
                head = begin_bench(words, folder)
        if time.monotonic() - since > STILL_SECONDS:
            return head.wait(0), f"stands at {n} cells, {len(kills)} kills before the end: {cluster.scheduler.said()}"
        time.sleep(0.05)
    ended = head.wait()
    return ended, complaint(ended, (0, 1)) or changed(known, measured_at(folder))


def process(victim: str, head: Running, cluster: Cluster, random: Random) -> int | None:
    """Its number, if it is there just now."""
    if victim in ("head", "scheduler"):
        return head.pid if victim == "head" else cluster.scheduler.pid
    nanny = random.choice(cluster.workers)
    return nanny.pid if victim == "nanny" else nanny.child


def changed(known: Mapping[str, str], told: Mapping[str, str]) -> str:
    """What is wrong if records that were there are not as they were; by key when they were measured."""
    n = sum(told.get(key) != at for key, at in known.items())
    return f"{n} records that were there were measured again, or are gone" if n else ""


def n_stored(folder: Path) -> int:
    if not (folder / "s.sqlite").exists():
        return 0
    with closing(sqlite3.connect(f"{(folder / 's.sqlite').as_uri()}?mode=ro", uri=True, timeout=60)) as db:
        try:
            return int(db.execute("SELECT count(*) FROM records").fetchone()[0])
        except sqlite3.OperationalError:  # it is just being made
            return 0


def measured_at(folder: Path) -> dict[str, str]:
    """By key, of the records that are there."""
    if not n_stored(folder):
        return {}
    with Store(folder / "s.sqlite", reading=True) as store:
        return {record.key: record.measured_at for record in store.stream() if record.status == "ok"}


def unlike(folder: Path, whole: dict[tuple[object, ...], tuple[object, ...]]) -> str:
    """What the store has that it should not. A job whose worker was killed twice may have failed, and says so."""
    found = figures(folder)
    if missing := len({*whole} - {*found}):
        return f"{missing} cells are missing"
    with Store(folder / "s.sqlite", reading=True) as store:
        if store.count() != N_CELLS:
            return f"{store.count()} records, of {N_CELLS} cells"
    for cell, record in found.items():
        if record != whole[cell] and not (record[0] == "failed" and "worker" in str(record[-1])):
            return f"{cell} has {record}, expected {whole[cell]}"
    return ""


@cache
def undisturbed() -> dict[tuple[object, ...], tuple[object, ...]]:
    """The figures of a run on this machine alone."""
    with TemporaryDirectory() as there:
        folder = Path(there)
        write(folder)
        ended = begin_bench([*WORDS, "--jobs", "2"], folder).wait(STILL_SECONDS)
        assert ended.status == 0, ended.err
        return figures(folder)


def write(folder: Path) -> None:
    """Pictures of 16x12 pixels, each another."""
    (folder / "photos").mkdir()
    for i in range(N_PICTURES):
        pixels = np.random.default_rng(i).integers(0, 256, (12, 16), np.uint8)
        Image.fromarray(pixels).save(folder / f"photos/{i:02}.png")
