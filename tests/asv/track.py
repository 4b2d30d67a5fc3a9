"""asv with a conscience: `asv run` succeeds when it has measured nothing; this does not.

    python tests/asv/track.py run [--quick] [--bench REGEX]
    python tests/asv/track.py continuous [BASE HEAD] [--bench REGEX] [--factor 1.5]

`run` measures this commit in this environment, offline; `continuous` two commits, installed one after the other into
an environment that asv makes.

Exit status 1 if no figure came out, if a benchmark failed, or (continuous) if one got slower by more than the factor.
`asv compare`, `asv publish` and `asv preview` work on what this leaves in .asv/results. The published pages load
their libraries from the network.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / ".asv" / "results"


def main() -> None:
    options = _options()
    _asv("machine", "--yes")
    if options.command == "run":
        commits = [_commit("HEAD")]
        _check_what_is_installed()
        _forget(commits)
        where = ["--environment", f"existing:{sys.executable}", "--set-commit-hash", commits[0]]
        status = _asv("run", *where, "--show-stderr", *(["--quick"] if options.quick else []), *_bench(options))
    else:
        commits = [_commit(options.base), _commit(options.head)]
        _forget(commits)
        os.environ["PIP_CONSTRAINT"] = str(ROOT / "constraints.txt")  # reaches pip in the environments that asv makes
        # By asv's test for significance, what takes seconds is never slower: it has too few readings of it.
        words = ["--no-stats", "--factor", str(options.factor), "--show-stderr", *_bench(options), *commits]
        status = _asv("continuous", *words)
    measured = [_report(commit) for commit in commits]
    if not all(measured):
        sys.exit("FAILED: no benchmark gave a figure")
    if status:
        sys.exit(f"FAILED: asv {options.command} ended with status {status}")


def _asv(*words: str) -> int:
    return subprocess.run([sys.executable, "-m", "asv", *words], cwd=ROOT, stdin=subprocess.DEVNULL).returncode


def _check_what_is_installed() -> None:
    """End the program if this environment has another checkout's bench: asv would measure that one, not this."""
    command = [sys.executable, "-I", "-c", "import bench; print(bench.__file__)"]
    there = Path(subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()).resolve()
    if there != ROOT / "bench" / "__init__.py":
        sys.exit(f"FAILED: what is installed here is {there.parent}, not this checkout: pip install -e {ROOT}")


def _commit(name: str) -> str:
    command = ["git", "rev-parse", "--verify", f"{name}^{{commit}}"]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


def _forget(commits: list[str]) -> None:
    """Remove earlier results of these commits, so that what is found afterwards was measured now."""
    for commit in commits:
        for file in RESULTS.glob(f"*/{commit[:8]}-*.json"):
            file.unlink()


def _report(commit: str) -> int:
    """How many figures there are of a commit. Ends the program if a benchmark failed."""
    figures = list(_figures(commit))
    failed = sorted({name for name, value in figures if value is None})
    there = [name for name, value in figures if value is not None and not math.isnan(value)]
    left_out = len(figures) - len(there) - sum(value is None for _, value in figures)
    print(f"{commit[:8]}: {len(there)} figures, {left_out} left out")
    if failed:
        sys.exit(f"FAILED: {', '.join(failed)}")
    return len(there)


def _figures(commit: str) -> Iterator[tuple[str, float | None]]:
    """(benchmark, figure) for each of its parameters; None: it failed, NaN: it was left out."""
    for file in RESULTS.glob(f"*/{commit[:8]}-*.json"):
        content = json.loads(file.read_text(encoding="utf-8"))
        column = content["result_columns"].index("result")
        for name, row in content["results"].items():
            for value in row[column] or [None]:
                yield name, value


def _bench(options: argparse.Namespace) -> list[str]:
    return ["--bench", options.bench] if options.bench else []


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="this commit, in this environment")
    run.add_argument("--quick", action="store_true", help="each benchmark once")
    continuous = commands.add_parser("continuous", help="two commits against each other")
    continuous.add_argument("base", nargs="?", default="HEAD~1")
    continuous.add_argument("head", nargs="?", default="HEAD")
    continuous.add_argument("--factor", type=float, default=1.5, help="slowness that counts (default: 1.5)")
    for command in (run, continuous):
        command.add_argument("--bench", default="", help="only benchmarks whose name matches")
    return parser.parse_args()


if __name__ == "__main__":
    main()
