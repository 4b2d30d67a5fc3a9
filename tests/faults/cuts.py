"""Machines of a cluster that share no folder are cut off for half a minute: the run goes on, and has all cells once.

Head, scheduler and two workers are in network namespaces of their own, with a bridge between them. Each has its own
copy of pictures and plugin under the same path, its own cache and its own temporary folder. A cut takes a machine
from the bridge: nothing is refused, packets are lost. Needs Linux, root and `ip`; elsewhere nothing is tried.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.faults.campaign import Outcome, Running, Try, bench, complaint, start
from tests.faults.cluster import STILL_SECONDS, changed, measured_at, n_stored, write
from tests.faults.kills import figures
from tests.faults.machines import HAS_DASK, Cluster

ATTEMPTS = 4
SECONDS = 120
"""that an attempt takes: where there is less time, the campaign is left out"""

CUT_SECONDS = 30.0
KINDS = (("worker-0",), ("worker-0", "worker-1"), ("head",), ("scheduler",))
"""Who is cut off from all others."""
HOSTS = {"scheduler": "10.77.61.1", "head": "10.77.61.2", "worker-0": "10.77.61.3", "worker-1": "10.77.61.4"}

PLUGIN = """
import time

from bench.restorer import Restorer


class Slow(Restorer):
    name, tasks = "slow", {"denoise"}

    def restore(self, seen):
        time.sleep(0.2)
        return seen.image * 0.5
"""
LEVELS = "5,10,15,20,25,30,35,40"
WORDS = ("run", "--methods", "./slow.py:Slow", "--datasets", "photos", "--sigma", LEVELS, "--store", "s.sqlite")
N_BEFORE = 40
"""cells that are measured before the cut; what is left takes longer than it"""


def attempt(try_: Try) -> Outcome:
    cut_off = KINDS[try_.index % len(KINDS)]
    if not HAS_DASK or not may_have_namespaces():
        return Outcome("no namespaces here, or no dask.distributed")
    own = {name: try_.folder / name for name in HOSTS}
    for folder in own.values():
        furnish(folder)
    there = try_.folder / "there"
    there.mkdir()
    environment = {"BENCH_CACHE": str(there / "cache"), "TMPDIR": str(there / "tmp"), "BENCH_OFFLINE": "1"}
    with network() as spaces:
        inside = {name: within(spaces[name], own[name], there) for name in HOSTS}
        with Cluster(there, HOSTS, inside, environment) as cluster:
            words = ["-c", "from bench.cli import main; main()", *WORDS, "--cluster", cluster.address]
            head = start(words, there, environment, inside["head"])
            lost = went_on(head, cluster, own["head"], lambda: cut(spaces, cut_off), lambda: heal(spaces, cut_off))
            ended = head.wait(0 if lost else inf)
    lost = lost or complaint(ended, (0,))
    if not lost and figures(own["head"]) != undisturbed():
        lost = "other records than those of a run on one machine"
    if not lost and cluster.left():
        lost = f"left behind: {'; '.join(cluster.left())}"
    return Outcome(f"{' and '.join(cut_off)} cut off", lost, ended.peak_mib)


def went_on(head: Running, cluster: Cluster, folder: Path, cut: Callable[[], None], heal: Callable[[], None]) -> str:
    """Cut and heal in mid-run; why the run did not go on to its end, or ""."""
    n_before, since, healing, known = 0, time.monotonic(), 0.0, {}
    while not head.is_over():
        cluster.keep()
        n, now = n_stored(folder), time.monotonic()
        if n > n_before:
            n_before, since = n, now
        if n >= N_BEFORE and not known:
            known = measured_at(folder)
            cut()
            healing = now + CUT_SECONDS
        if healing and now > healing:
            heal()
            healing = 0.0
        if now - since > STILL_SECONDS:
            return f"stands at {n} cells: {head.err.read_text()[-1000:]}"
        time.sleep(0.1)
    return changed(known, measured_at(folder))


# --- machines ------------------------------------------------------------------------------------


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def may_have_namespaces() -> bool:
    return os.geteuid() == 0 and shutil.which("ip") is not None


@contextlib.contextmanager
def network() -> Iterator[dict[str, str]]:
    """The names of a network namespace for each host, and of one for the bridge between them."""
    spaces = {name: f"bench-{os.getpid()}-{name}" for name in (*HOSTS, "bridge")}
    try:
        for space in spaces.values():
            ip("netns", "add", space)
        bridge = spaces["bridge"]
        ip("-n", bridge, "link", "add", "br0", "type", "bridge")
        ip("-n", bridge, "link", "set", "br0", "up")
        for name, address in HOSTS.items():
            space = spaces[name]
            ip("-n", bridge, "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", space)
            ip("-n", bridge, "link", "set", name, "master", "br0", "up")
            ip("-n", space, "addr", "add", f"{address}/24", "dev", "eth0")
            ip("-n", space, "link", "set", "eth0", "up")
            ip("-n", space, "link", "set", "lo", "up")
        yield spaces
    finally:
        for space in spaces.values():
            subprocess.run(["ip", "netns", "delete", space], capture_output=True)


def within(space: str, own: Path, there: Path) -> list[str]:
    """Words that run a command in a namespace, where `there` is its own folder."""
    script = f'mount --bind "{own}" "{there}" && cd "{there}" && exec "$@"'
    return ["ip", "netns", "exec", space, "sh", "-c", script, "sh"]


def cut(spaces: Mapping[str, str], names: Sequence[str]) -> None:
    for name in names:
        ip("-n", spaces["bridge"], "link", "set", name, "nomaster")


def heal(spaces: Mapping[str, str], names: Sequence[str]) -> None:
    for name in names:
        ip("-n", spaces["bridge"], "link", "set", name, "master", "br0")


# --- what is measured ----------------------------------------------------------------------------


def furnish(folder: Path, plugin: str = PLUGIN) -> None:
    """What each machine has of its own."""
    folder.mkdir(exist_ok=True)
    write(folder)
    (folder / "slow.py").write_text(plugin)
    (folder / "tmp").mkdir()


@cache
def undisturbed() -> dict[tuple[object, ...], tuple[object, ...]]:
    """The figures of a run on this machine alone, which does not wait."""
    with TemporaryDirectory() as there:
        furnish(Path(there), PLUGIN.replace("time.sleep(0.2)", "pass"))
        ended = bench([*WORDS, "--jobs", "2"], Path(there), limit=STILL_SECONDS)
        assert ended.status == 0, ended.err
        return figures(Path(there))
