"""What the speed scripts share: runs in turns, and the file in which a script puts its figures for the pages.

`--write` makes `results/speed/NAME.json`, a file a script, from which docs/generate.py makes the page of performance.
`.ci/speed` runs all of them so.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from statistics import median
from time import perf_counter

from bench.measure.environment import describe

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "results" / "speed"
MEASURED = ("bench", "methods", "data", "tests/asv")
"""What a figure depends on, for the commit that it names: its own file is not among it."""


@dataclass(frozen=True)
class Comparison:
    """Two ways to do the same work, timed in one run.

    work           what was done
    name, seconds  the way in question, and what it took
    other, other_seconds  the alternative
    ratio          how many times as fast the first is
    note           how a time was had that was not simply taken
    bar            the least ratio that was asked for; None: none was
    """

    work: str
    name: str
    seconds: float
    other: str
    other_seconds: float
    ratio: float
    note: str = ""
    bar: float | None = None


def in_turns(runs: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Seconds of each run in each turn but a first one, which warms up.

    In turns, so that whatever else the machine does weighs on all alike.
    """
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(repeats + 1):
        for name, run in runs.items():
            start = perf_counter()
            run()
            if turn > 0:
                seconds[name].append(perf_counter() - start)
    return seconds


def ratio(others: Sequence[float], ours: Sequence[float]) -> float:
    """How many times as fast ours is: the median of the ratios turn by turn."""
    return median(a / b for a, b in zip(others, ours, strict=True))


def write(
    script: str, comparisons: Sequence[Comparison], *, threads: int, packages: Sequence[str] = (), gpu: str = ""
) -> None:
    """Replace the figures of this script, its `__file__`, by these.

    packages  what was compared with, for its version; gpu: its name, if it did the work
    """
    if not comparisons:
        sys.exit(f"{Path(script).name} compared nothing: there is nothing to write.")
    name = Path(script).name
    content = {
        "command": shlex.join(["python", f"tests/asv/{name}", *sys.argv[1:]]),
        "day": datetime.now(timezone.utc).date().isoformat(),
        "commit": commit(),
        "machine": {
            **describe(),
            **{package: version(package) for package in packages},
            **({"gpu": gpu} if gpu else {}),
        },
        "threads": threads,
        "cores_busy_with_others": others(),
        "comparisons": [told(comparison) for comparison in comparisons],
    }
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{Path(name).stem}.json"
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"wrote {path.relative_to(ROOT)}")


def told(comparison: Comparison) -> dict[str, str | float]:
    """What there is to tell of it, figures to four digits: more are noise."""
    there = {key: value for key, value in asdict(comparison).items() if value not in ("", None)}
    return {key: float(f"{value:.4g}") if isinstance(value, float) else value for key, value in there.items()}


def commit() -> str:
    """`57d185d79a70`, with a plus behind it if what is measured has changed since."""
    changed = git("status", "--porcelain", "--", *MEASURED)
    return git("rev-parse", "--short=12", "HEAD") + ("+" if changed else "")


def git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


# --- what else the machine does --------------------------------------------------------------------------


def busy_seconds() -> float | None:
    """Of all cores since the machine started, also those that another guest took; None where Linux does not tell."""
    try:
        words = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:]
    except OSError:
        return None
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, words[:8])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def own_seconds() -> float:
    """CPU time of this process and of its children that have ended."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


START = perf_counter(), busy_seconds(), own_seconds()


def others() -> float | None:
    """How many cores were busy with other work, on average since this script began."""
    start, busy_before, own_before = START
    busy = busy_seconds()
    if busy is None or busy_before is None:
        return None
    return round(max(0.0, busy - busy_before - own_seconds() + own_before) / (perf_counter() - start), 2)


def add_write(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--write", action="store_true", help="put the ratios into results/speed, for the pages")
