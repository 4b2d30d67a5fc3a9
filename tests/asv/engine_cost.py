"""What the engine adds to the work itself: `python tests/asv/engine_cost.py`, with nothing else running.

Needs bsd68, set12 and DnCNN's weights (the cache, or BENCH_MIRROR). Prints

1. `noisy` on bsd68: wall time per cell beyond degrading and scoring, in ms;
2. `dncnn` on set12: the whole run against the sum of its restore calls and loading, in per cent;
3. `bench --help` and `bench list`: CPU seconds.

The engine's own clockwork is wrapped from outside; what the product runs is unchanged.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

import bench
from bench.protocol import Protocol
from bench.runner import slot as slot
from bench.runner import worker as workers
from bench.runner.messages import Answer, Prepare


@contextmanager
def stopwatch():
    """Seconds spent in degrading, scoring, loading and restoring while the block runs."""
    spent: dict[str, float] = defaultdict(float)
    degrade, score = slot.degrade, Protocol.score
    loaded, ask = workers.Worker.loaded, workers.Worker.ask

    def timed(name, f):
        def call(*args):
            start = perf_counter()
            value = f(*args)
            spent[name] += perf_counter() - start
            return value

        return call

    def timed_ask(worker, message):
        start = perf_counter()
        answer = ask(worker, message)
        if isinstance(message, Prepare):
            spent["loading"] += perf_counter() - start
        elif isinstance(answer, Answer):
            spent["restoring"] += answer.seconds_restoring
        return answer

    slot.degrade = timed("degrading", degrade)
    Protocol.score = timed("scoring", score)
    workers.Worker.loaded, workers.Worker.ask = timed("loading", loaded), timed_ask
    try:
        yield spent
    finally:
        slot.degrade, Protocol.score = degrade, score
        workers.Worker.loaded, workers.Worker.ask = loaded, ask


def measure(methods: str, dataset: str) -> tuple[float, dict[str, float], int]:
    """Wall seconds of a whole run into a fresh store, where they went, and the number of cells."""
    with tempfile.TemporaryDirectory() as folder, stopwatch() as spent:
        start = perf_counter()
        outcome = bench.run(methods, "denoise", dataset, sigma=25, store=Path(folder) / "s.sqlite")
        wall = perf_counter() - start
        if outcome.failures:
            raise SystemExit(f"{methods} on {dataset} failed: {outcome.failures[0].reason}")
        return wall, spent, len(outcome.records)


def cpu_seconds(*words: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-c", "from bench.cli import main; main()", *words]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    bench.run("noisy", "denoise", "bsd68,set12", sigma=25, store=Path(tempfile.mkdtemp()) / "s.sqlite")  # fetch
    wall, spent, n_cells = measure("noisy", "bsd68")
    beyond = wall - spent["degrading"] - spent["scoring"]  # less than nothing, where the two ran side by side
    print(f"noisy on bsd68: {1000 * wall / n_cells:.1f} ms a cell, {n_cells} cells;", end=" ")
    print(f"{1000 * beyond / n_cells:.1f} ms beyond degrading and scoring")
    print_parts(wall, spent)
    wall, spent, n_cells = measure("dncnn", "set12")
    work = spent["restoring"] + spent["loading"]
    print(f"dncnn on set12: the run takes {100 * (wall / work - 1):.1f} % more than restoring and loading")
    print_parts(wall, spent)
    for word in ("--help", "list"):
        print(f"bench {word}: {cpu_seconds(word):.2f} s of CPU time")


def print_parts(wall: float, spent: dict[str, float]) -> None:
    print(f"  {wall:.2f} s in all: " + ", ".join(f"{name} {seconds:.2f} s" for name, seconds in spent.items()))


if __name__ == "__main__":
    main()
