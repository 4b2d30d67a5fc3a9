"""What a cluster's parts can carry: runs on a Dask cluster of this machine, in which nothing is measured.

    python tests/asv/cluster_rates.py [--cells 1000,10000,100000] [--write]

All is as in `bench run --cluster`, but a slot answers at once, with a record that it makes up. Of each run it tells
the CPU time that scheduler, head and workers took for a cell: a core gives no more than its inverse, however many
machines there are. It tells what scheduler and head held at most, how fast a store takes records, and how large the
folder of BENCH_MIRROR is, the most that each machine fetches once. 100,000 cells take some five minutes on
two cores. `--write` makes `results/cluster_rates.json`, from which docs/generate.py makes the tables of the page on
clusters.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timezone
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from speed import ROOT, commit

FILE = ROOT / "results" / "cluster_rates.json"
HERE = Path(__file__).parent
N_PICTURES = 100
N_WORKERS, N_SLOTS = 2, 4  # processes, and slots of each
BATCHES = (1, 16, 256)
READY_SECONDS = 60


def dask_setup(worker: object) -> None:
    """What Dask calls in a worker that is started with `--preload cluster_rates`: its slots measure nothing."""
    from bench.runner.slot import Slot, record_of

    def measure(slot: Slot, cell: Any, upcoming: Any = None) -> Any:
        return record_of(cell, status="ok", psnr_db=30.0, ssim=0.9, params=0, peak_mib=40.0, input_sha256="0" * 64)

    Slot.measure = measure  # type: ignore[method-assign]


# --- the cluster ---------------------------------------------------------------------------------


@contextmanager
def running(*words: str, **environment: str) -> Iterator[int]:
    """The process id of a Python that runs these words."""
    told = subprocess.DEVNULL
    started = subprocess.Popen(
        [sys.executable, *words], env=os.environ | environment, stdout=told, stderr=told, start_new_session=True
    )
    try:
        yield started.pid
    finally:
        os.killpg(started.pid, signal.SIGKILL)
        started.wait()


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


@contextmanager
def cluster() -> Iterator[tuple[str, int, list[int]]]:
    """Address of the scheduler, its process id, and those of the workers, once all are there."""
    address, path = f"tcp://127.0.0.1:{free_port()}", os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
    here = ("--host", "127.0.0.1", "--no-dashboard")
    with ExitStack() as held:
        port = address.rpartition(":")[2]
        scheduler = held.enter_context(running("-m", "dask", "scheduler", "--port", port, *here))
        words = ["--nthreads", str(N_SLOTS), "--memory-limit", "0", "--no-nanny", "--preload", "cluster_rates"]
        workers = [
            held.enter_context(running("-m", "dask", "worker", address, *words, *here, PYTHONPATH=path))
            for _ in range(N_WORKERS)
        ]
        from distributed import Client

        with Client(address, timeout=READY_SECONDS, set_as_default=False) as client:
            client.wait_for_workers(N_WORKERS, timeout=READY_SECONDS)
        yield address, scheduler, workers


def cpu_seconds(pid: int) -> float:
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def peak_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


# --- what is measured ----------------------------------------------------------------------------

HEAD = """
import json, resource, sys
import bench
photos, n_levels, address, store = sys.argv[1:]
levels = [1 + level / 1000 for level in range(int(n_levels))]
result = bench.run("noisy", "denoise", [photos], sigma=levels, cluster=address, store=store, progress=False)
assert not result.failures, result.failures[0].reason
spent = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({"n": result.n_measured, "cpu": spent.ru_utime + spent.ru_stime, "mib": spent.ru_maxrss / 1024}))
"""


def run(n_cells: int) -> dict[str, float]:
    """A run of so many cells."""
    with tempfile.TemporaryDirectory() as folder, cluster() as (address, scheduler, workers):
        pictures = Path(folder) / "photos"
        write_pictures(pictures)
        before = [cpu_seconds(pid) for pid in (scheduler, *workers)]
        words = [str(pictures), str(n_cells // N_PICTURES), address, str(Path(folder) / "s.sqlite")]
        start = perf_counter()
        done = subprocess.run([sys.executable, "-c", HEAD, *words], capture_output=True, text=True)
        seconds = perf_counter() - start
        if done.returncode:
            raise SystemExit(done.stderr)
        head = json.loads(done.stdout)
        assert head["n"] == n_cells
        of_scheduler, *of_workers = (
            after - then for after, then in zip(map(cpu_seconds, (scheduler, *workers)), before, strict=True)
        )
        size = sum(path.stat().st_size for path in Path(folder).glob("s.sqlite*"))
        return {
            "cells": n_cells,
            "seconds": seconds,
            "scheduler_ms": 1000 * of_scheduler / n_cells,
            "head_ms": 1000 * head["cpu"] / n_cells,
            "worker_ms": 1000 * sum(of_workers) / n_cells,
            "scheduler_mib": peak_mib(scheduler),
            "head_mib": head["mib"],
            "store_mib": size / 2**20,
        }


def write_pictures(folder: Path) -> None:
    import numpy as np
    from PIL import Image

    folder.mkdir()
    for i in range(N_PICTURES):
        values = np.random.default_rng(i).integers(0, 256, (16, 16), np.uint8)
        Image.fromarray(values).save(folder / f"{i:03}.png")


def store_rates() -> dict[int, float]:
    """Records a second that a store takes, by how many are committed at a time: the median of five."""
    from scale import synthetic

    from bench.records.store import Store

    rates = {}
    with tempfile.TemporaryDirectory(dir=ROOT / "results") as folder, Store(Path(folder) / "s.sqlite") as store:
        made = synthetic(100_000)
        for size in BATCHES:
            seconds = []
            for batch in [[*islice(made, size)] for _ in range(5)]:
                start = perf_counter()
                store.add(*batch)  # type: ignore[arg-type]
                seconds.append(perf_counter() - start)
            rates[size] = size / median(seconds)
    return rates


def staged_mib() -> float:
    """Of all data sets and weights in the mirror."""
    files = [path for path in Path(os.environ["BENCH_MIRROR"]).rglob("*") if path.is_file()]
    return sum(path.stat().st_size for path in files) / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", default="1000,10000,100000", help="of each run (default: 1000,10000,100000)")
    parser.add_argument("--write", action="store_true", help=f"write {FILE.relative_to(ROOT)}")
    options = parser.parse_args()
    if options.write and not Path(os.environ.get("BENCH_MIRROR") or "none").is_dir():
        parser.error("--write needs BENCH_MIRROR, a folder with data sets and weights.")
    rates = store_rates()
    for size, rate in rates.items():
        print(f"the store takes {rate:.0f} records/s, {size} at a time")
    runs = []
    for n_cells in map(int, options.cells.split(",")):
        runs.append({name: float(f"{value:.4g}") for name, value in run(n_cells).items()})
        print(", ".join(f"{name} {value:g}" for name, value in runs[-1].items()), flush=True)
    if options.write:
        write(runs, rates)


def write(runs: list[dict[str, float]], rates: dict[int, float]) -> None:
    from bench.measure.environment import describe

    content = {
        "command": shlex.join(["python", f"tests/asv/{Path(__file__).name}", *sys.argv[1:]]),
        "day": datetime.now(timezone.utc).date().isoformat(),
        "commit": commit(),
        "machine": {**describe(), "distributed": version("distributed")},
        "runs": runs,
        "store": [{"at_a_time": size, "records_per_second": round(rate)} for size, rate in rates.items()],
        "staged_mib": round(staged_mib()),
    }
    FILE.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {FILE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
