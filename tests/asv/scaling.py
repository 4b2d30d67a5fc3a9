"""How long a restorer takes by the number of pixels and of threads, on one machine.

    python tests/asv/scaling.py [--methods dncnn sc lssc] [--sides 64 128] [--threads 1] [--limit 20] [--write]

Gray pictures of `side` x `side` pixels at sigma 25, after a small one that warms up: one call each, or the shortest
of three where it takes less than a second. A side that would take longer than --limit seconds, going by the one
before, is left out. Each number of threads has a process of its own. --write puts the times into
results/scaling.json, which the page of performance draws. All take about ten minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timezone
from time import perf_counter

import numpy as np
from speed import ROOT, commit, others

from bench.measure.environment import describe
from bench.protocol import get_protocol
from bench.restorer import Observation, Setting

METHODS = ("dncnn", "nsr", "sc", "groupsc", "bm3d", "ksvd", "lssc")
SIDES = (64, 128, 256, 512, 1024, 2048)
SETTING = Setting("denoise", 25.0, 1)
SHORT = 1.0  # seconds, below which a call is repeated


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=METHODS)
    parser.add_argument("--sides", nargs="+", type=int, default=SIDES)
    parser.add_argument("--threads", nargs="+", type=int, default=(1, 2))
    parser.add_argument("--limit", type=float, default=20.0, help="seconds of a call (default: 20)")
    parser.add_argument("--write", action="store_true", help="put the times into results/scaling.json")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        for name in options.methods:
            for side, seconds in times(name, options.sides, options.limit):
                print(json.dumps({"restorer": name, "side": side, "seconds": seconds}), flush=True)
        return
    rows = [row for threads in options.threads for row in measured(options, threads)]
    if options.write:
        write(rows)


def measured(options: argparse.Namespace, threads: int) -> Iterator[dict[str, str | float]]:
    """A row a restorer and side, from a process that has so many threads."""
    words = ["--limit", str(options.limit), "--methods", *options.methods, "--sides", *map(str, options.sides)]
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
    environment = {**os.environ, **dict.fromkeys(names, str(threads))}
    command = [sys.executable, __file__, "--one", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        for line in process.stdout:
            row = {**json.loads(line), "threads": threads}
            picture = f"{row['side']}x{row['side']}"
            print(f"{row['restorer']}, {picture}, {threads} threads: {row['seconds']:.3g} s", flush=True)
            yield row
    if process.returncode:
        sys.exit(process.returncode)


def times(name: str, sides: list[int], limit: float) -> Iterator[tuple[int, float]]:
    """(side, seconds) of one restorer, in this process."""
    from bench.plugins.registry import choose, load_class
    from bench.plugins.weights import pick

    spec = choose(name)
    restorer = load_class(spec.info.target)(spec.variant, weights=pick(spec, SETTING).file)
    restorer.prepare(SETTING, "cpu")
    restorer.restore(observed(min(sides)))  # warms up
    seconds_a_pixel = 0.0
    for side in sorted(sides):
        if seconds_a_pixel * side**2 > limit:
            return
        seen, seconds = observed(side), list[float]()
        while len(seconds) < 3 and (not seconds or seconds[0] < SHORT):
            start = perf_counter()
            restorer.restore(seen)
            seconds.append(perf_counter() - start)
        yield side, min(seconds)
        seconds_a_pixel = min(seconds) / side**2


def observed(side: int) -> Observation:
    """Waves, edges and flat parts of the same scale at every size, with noise."""
    rows, columns = np.mgrid[:side, :side].astype(np.float32)
    clean = 0.5 + 0.2 * np.sin(rows / 3) * np.sin(columns / 50) + 0.15 * np.sign(np.sin((rows + 2 * columns) / 40))
    return get_protocol("standard-v1").degrade(clean[..., np.newaxis], SETTING, seed=(0,))[1]


def write(rows: list[dict[str, str | float]]) -> None:
    content = {
        "command": shlex.join(["python", "tests/asv/scaling.py", *sys.argv[1:]]),
        "day": datetime.now(timezone.utc).date().isoformat(),
        "commit": commit(),
        "machine": describe(),
        "cores_busy_with_others": others(),
        "rows": [{**row, "seconds": float(f"{row['seconds']:.3g}")} for row in rows],
    }
    path = ROOT / "results" / "scaling.json"
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
