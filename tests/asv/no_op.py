"""What an engine costs where the work is nothing: `python tests/asv/no_op.py [--benchopt PYTHON] [--write]`.

N pictures of 32x32 are made noisy, handed to a restorer that returns them, and scored by their PSNR: by `bench run
--methods noisy`, and by benchopt with one solver, in an environment of its own whose Python is named. Each is a whole
command, turn by turn; the seconds of a cell are the slope between two N, the start is what is left.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image
from speed import Comparison, add_write, write

FEW, MANY, TRIES = 50, 450, 3

OBJECTIVE = """
import numpy as np
from benchopt import BaseObjective

class Objective(BaseObjective):
    name = "PSNR"

    def set_data(self, clean, noisy):
        self.clean, self.noisy = clean, noisy

    def get_objective(self):
        return {"noisy": self.noisy}

    def evaluate_result(self, x_hat):
        return {"value": -10 * np.log10(((x_hat - self.clean) ** 2).mean())}

    def get_one_result(self):
        return {"x_hat": self.noisy}
"""
DATASET = """
import numpy as np
from benchopt import BaseDataset

class Dataset(BaseDataset):
    name = "tiny"
    parameters = {"seed": [*range(N)]}

    def get_data(self):
        stream = np.random.default_rng(self.seed)
        clean = stream.random((32, 32, 1), dtype=np.float32)
        noise = stream.standard_normal(clean.shape, dtype=np.float32)
        return {"clean": clean, "noisy": clean + np.float32(25 / 255) * noise}
"""
SOLVER = """
from benchopt import BaseSolver

class Solver(BaseSolver):
    name, sampling_strategy = "noisy", "run_once"

    def set_objective(self, noisy):
        self.noisy = noisy

    def run(self, _):
        self.x_hat = self.noisy

    def get_result(self):
        return {"x_hat": self.x_hat}
"""
BENCHOPT = ("-c", "from benchopt.cli import benchopt; benchopt()", "run", ".")
BENCH = ("-c", "from bench.cli import main; main()", "run", "--methods", "noisy", "--datasets", "pictures")


def bench(folder: Path, n: int) -> None:
    """Measure `noisy` on n pictures, into a fresh store."""
    pictures = folder / "pictures"
    if not pictures.exists():
        pictures.mkdir(parents=True)
        stream = np.random.default_rng(0)
        for i in range(n):
            Image.fromarray(stream.integers(0, 256, (32, 32), np.uint8)).save(pictures / f"{i:04}.png")
    (folder / "s.sqlite").unlink(missing_ok=True)
    command(folder, sys.executable, *BENCH, "--sigma", "25", "--readings", "1", "--store", "s.sqlite")


def benchopt(python: str) -> Callable[[Path, int], None]:
    def run(folder: Path, n: int) -> None:
        for name, text in (("objective", OBJECTIVE), ("datasets/tiny", DATASET), ("solvers/noisy", SOLVER)):
            file = folder / f"{name}.py"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text.replace("N", str(n)) if name == "datasets/tiny" else text)
        command(folder, python, *BENCHOPT, "-n", "1", "-r", "1", "--no-plot", "--no-html", "--no-cache")

    return run


def command(folder: Path, *words: str) -> None:
    ended = subprocess.run(words, cwd=folder, capture_output=True, text=True)
    if ended.returncode:
        raise SystemExit(f"{' '.join(words)}\n{ended.stdout}{ended.stderr}")


def main() -> None:
    """Print the table, in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--benchopt", metavar="PYTHON", help="of an environment in which benchopt is installed")
    add_write(parser)
    options = parser.parse_args()
    if options.write and not options.benchopt:
        parser.error("--write needs --benchopt: figures of one engine alone compare nothing")
    engines = {"bench": bench, **({"benchopt": benchopt(options.benchopt)} if options.benchopt else {})}
    seconds: dict[tuple[str, int], list[float]] = {(name, n): [] for name in engines for n in (FEW, MANY)}
    with tempfile.TemporaryDirectory() as scratch:
        for _ in range(TRIES):
            for name, n in seconds:
                folder = Path(scratch, name, str(n))
                folder.mkdir(parents=True, exist_ok=True)
                began = time.perf_counter()
                engines[name](folder, n)
                seconds[name, n].append(time.perf_counter() - began)
    print(f"| engine | {FEW} cells, s | {MANY} cells, s | a cell, ms | the start, s |\n|---|---:|---:|---:|---:|")
    cells, starts = {}, {}
    for name in engines:
        few, many = (median(seconds[name, n]) for n in (FEW, MANY))
        cells[name] = (many - few) / (MANY - FEW)
        starts[name] = few - FEW * cells[name]
        print(f"| {name} | {few:.2f} | {many:.2f} | {1000 * cells[name]:.1f} | {starts[name]:.2f} |")
    print(f"\nThe median of {TRIES}, {os.cpu_count()} cores.")
    if options.write:
        works = {"a cell that does nothing": cells, "a command that measures no cell": starts}
        note = f"of whole commands with {FEW} and {MANY} cells of 32x32"
        comparisons = [
            Comparison(work, "bench", of["bench"], "benchopt", of["benchopt"], of["benchopt"] / of["bench"], note)
            for work, of in works.items()
        ]
        sys.argv[1:] = ["--benchopt", "PYTHON", "--write"]  # where somebody's environment lies is not written
        write(__file__, comparisons, threads=os.cpu_count() or 1)


if __name__ == "__main__":
    main()
