"""How long every restorer takes for a picture, and how much memory, at three sizes on this machine.

    python tests/asv/time_and_memory.py [NAME ...] [--sides 256,512,1024] [--threads 2] [--limit 120] [--write]

Each restorer does the first of its tasks in the order of `LEVELS`, on a picture of the sample that is mirrored on and
on to that size; a side is that of the restored picture. Gray pictures, but for restorers of colour alone. Each size
has a process of its own, which restores a small piece first, and then the picture: once, or the shortest of three if
that takes less than a second. The peak is that process's, libraries included. A size that would take longer than
--limit seconds, going by the one before, is left out. A restorer whose weights are not here is run with random ones:
times hardly depend on them. --write puts what was measured into results/time_and_memory.json, in place of the same
restorers' rows; the page of performance shows it.
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
from typing import Any

from peak import clean_picture
from speed import ROOT, commit, others

from bench.errors import BenchError
from bench.measure.environment import describe
from bench.measure.memory import peak_mib
from bench.plugins.registry import choose, infos, load_class
from bench.plugins.weights import pick
from bench.protocol import get_protocol
from bench.restorer import Observation, Restorer, Setting

FILE = ROOT / "results" / "time_and_memory.json"
LEVELS = {"denoise": 25.0, "demosaick": "RGGB", "superres": 2.0, "deblock": 10.0}
COLOUR_ALONE = {"demosaick"}
SHORT = 1.0  # seconds, below which a call is repeated
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


def main() -> None:
    options = _options()
    if options.one is not None:
        print(json.dumps(measured(options.one, options.sides[0])))
        return
    print(f"{'restorer':12}{'task':12}" + "".join(f"{f'{side}²':>22}" for side in options.sides))
    rows = [row for name in options.names if (row := row_of(name, options))]
    if options.write:
        write(rows, options)


def row_of(name: str, options: argparse.Namespace) -> dict[str, Any] | None:
    """Seconds and MiB by side, of one restorer; None if it does none of the tasks."""
    task = next((task for task in LEVELS if task in choose(name).info.tasks), None)
    if task is None:
        return None
    row: dict[str, Any] = {"restorer": name, "task": task, "seconds": {}, "peak_mib": {}}
    print(f"{name:12}{task:12}", end="", flush=True)
    before = 0.0
    for last, side in zip([options.sides[0], *options.sides], options.sides, strict=False):
        if before * (side / last) ** 2 > options.limit:
            break
        command = [sys.executable, __file__, "--one", name, "--sides", str(side)]
        environment = {**os.environ, **dict.fromkeys(THREADS, str(options.threads))}
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            print("   failed", end="", flush=True)
            break
        told = json.loads(done.stdout.splitlines()[-1])
        before = told["seconds"]
        row["seconds"][str(side)], row["peak_mib"][str(side)] = float(f"{before:.3g}"), round(told["peak_mib"])
        print(f"{before:10.3f} s{told['peak_mib']:6.0f} MiB", end="", flush=True)
    print()
    return row


def measured(name: str, side: int) -> dict[str, float | None]:
    restorer, setting = prepared(name)
    restorer.restore(observed(setting, 64))  # compiles
    seen = observed(setting, side)
    readings = [_seconds(restorer, seen)]
    while len(readings) < 3 and readings[0] < SHORT:
        readings.append(_seconds(restorer, seen))
    return {"seconds": min(readings), "peak_mib": peak_mib("cpu")}


def _seconds(restorer: Restorer, seen: Observation) -> float:
    start = perf_counter()
    restorer.restore(seen)
    return perf_counter() - start


def prepared(name: str) -> tuple[Restorer, Setting]:
    """The restorer, with the weights that a user would get, and what it is ready for."""
    spec = choose(name)
    for setting in settings(spec.info.tasks):
        try:
            weights = pick(spec, setting).file
        except BenchError:
            weights = None
        restorer = load_class(spec.info.target)(spec.variant, weights)
        if restorer.why_not(setting) is None:
            restorer.prepare(setting, "cpu")
            return restorer, setting
    raise SystemExit(f"{name} does none of {', '.join(LEVELS)} in gray or colour")


def settings(tasks: frozenset[str]) -> Iterator[Setting]:
    for task, level in LEVELS.items():
        if task in tasks:
            yield from (Setting(task, level, channels) for channels in ((3,) if task in COLOUR_ALONE else (1, 3)))


def observed(setting: Setting, side: int) -> Observation:
    return get_protocol("standard-v1").degrade(clean_picture(side, setting.channels), setting, seed=(0,))[1]


# --- the file ------------------------------------------------------------------------------------------------------


def write(rows: list[dict[str, Any]], options: argparse.Namespace) -> None:
    """These rows into the file, each in place of its restorer's; all of one machine and number of threads."""
    told = {
        "command": shlex.join(["python", "tests/asv/time_and_memory.py", *sys.argv[1:]]),
        "day": datetime.now(timezone.utc).date().isoformat(),
        "commit": commit(),
        "machine": describe(),
        "threads": options.threads,
        "cores_busy_with_others": others(),
    }
    before = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
    same = all(before.get(key) == told[key] for key in ("machine", "threads"))
    kept = {row["restorer"]: row for row in (before["rows"] if before and same else [])}
    all_rows = [*(kept | {row["restorer"]: row for row in rows}).values()]
    content = {**told, "rows": sorted(all_rows, key=lambda row: (list(LEVELS).index(row["task"]), row["restorer"]))}
    FILE.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"wrote {FILE.relative_to(ROOT)}")


def every() -> list[str]:
    """Those that need no file of the user's, no other restorer and no package that is not here."""
    return [name for name, card in infos().items() if not (card.adapts or card.takes_denoiser or card.unavailable)]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: all that can run here")
    parser.add_argument("--sides", default="256,512,1024", help="of the square pictures (default: 256,512,1024)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="default: one for each core")
    parser.add_argument("--limit", type=float, default=120.0, help="seconds of a call (default: 120)")
    parser.add_argument("--write", action="store_true", help=f"put the rows into {FILE.relative_to(ROOT)}")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.sides = sorted(int(side) for side in options.sides.split(","))
    options.names = options.names or every()
    return options


if __name__ == "__main__":
    main()
