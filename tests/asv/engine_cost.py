"""What the engine adds to the work itself: `python tests/asv/engine_cost.py [--write]`, with nothing else running.

Needs bsd68, set12 and DnCNN's weights (the cache, or BENCH_MIRROR). Prints

1. `noisy` on bsd68: wall time per cell beyond degrading and scoring, in ms;
2. `dncnn` on set12: the whole run against the sum of its restore calls and loading, in per cent;
3. `bench --help` and `bench list`: CPU seconds, and those of Python alone.

The engine's own clockwork is wrapped from outside; what the product runs is unchanged.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter

from speed import Comparison, add_write, write

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


def cpu_seconds(code: str, *words: str) -> float:
    """Of a Python that runs this code, the median of three."""
    spent = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", code, *words], stdout=subprocess.DEVNULL, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return median(spent)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_write(parser)
    options = parser.parse_args()
    bench.run("noisy", "denoise", "bsd68,set12", sigma=25, store=Path(tempfile.mkdtemp()) / "s.sqlite")  # fetch
    wall, spent, n_cells = measure("noisy", "bsd68")
    work = spent["degrading"] + spent["scoring"]
    beyond = wall - work  # less than nothing, where the two ran side by side
    print(f"noisy on bsd68: {1000 * wall / n_cells:.1f} ms a cell, {n_cells} cells;", end=" ")
    print(f"{1000 * beyond / n_cells:.1f} ms beyond degrading and scoring")
    print_parts(wall, spent)
    comparisons = [
        against("noisy on bsd68", "the whole run", wall, "degrading and scoring, one after the other", work)
    ]
    wall, spent, n_cells = measure("dncnn", "set12")
    work = spent["restoring"] + spent["loading"]
    print(f"dncnn on set12: the run takes {100 * (wall / work - 1):.1f} % more than restoring and loading")
    print_parts(wall, spent)
    comparisons.append(against("dncnn on set12", "the whole run", wall, "loading and restoring alone", work))
    python = cpu_seconds("pass")
    for word in ("--help", "list"):
        seconds = cpu_seconds("from bench.cli import main; main()", word)
        print(f"bench {word}: {seconds:.2f} s of CPU time, Python alone {python:.2f} s")
        comparisons.append(
            against("a command starts", f"bench {word}", seconds, "Python alone", python, note="seconds of CPU")
        )
    if options.write:
        write(__file__, comparisons, threads=os.cpu_count() or 1)


def against(work: str, name: str, seconds: float, other: str, others: float, note: str = "") -> Comparison:
    return Comparison(work, name, seconds, other, others, others / seconds, note)


def print_parts(wall: float, spent: dict[str, float]) -> None:
    print(f"  {wall:.2f} s in all: " + ", ".join(f"{name} {seconds:.2f} s" for name, seconds in spent.items()))


if __name__ == "__main__":
    main()
