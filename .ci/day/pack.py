"""`.ci/gpu pack`: all that a day on a bare GPU machine needs, in one folder of at most 60 MB.

wheels/      bench itself, with those weights of ours that the day needs
mirror/      images and published weights, laid out for BENCH_MIRROR
tests/       those that need a GPU
gpu, day/    the command, and what it consists of
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from bench.data import datasets
from day.load import LIMIT, Load, choose_load, is_code, required
from tabulate import tabulate

from bench.plugins.weights import fetch

ON_THE_MACHINE = {
    *("h5py", "numba", "numpy", "pandas", "pillow", "pip", "pytest", "rich", "safetensors", "scikit-image", "scipy"),
    *("setuptools", "tabulate", "torch", "triton", "typer"),
}
PLATFORM = [
    *("--only-binary=:all:", "--python-version=3.12", "--implementation=cp", "--platform=manylinux_2_28_x86_64"),
    *("--platform=manylinux_2_17_x86_64", "--platform=manylinux2014_x86_64"),
]

TESTS = ("tests/__init__.py", "tests/conftest.py", "tests/test_gpu.py")


def pack(root: Path, to: Path) -> int:
    """Make the folder `to` anew from the checkout `root`. The exit status: 1 if it became too heavy."""
    git = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(git, cwd=root, check=True, capture_output=True, text=True).stdout.split("\0")
    files = [name for name in listed if (root / name).is_file()]
    load = choose_load(root, files)
    shutil.rmtree(to, ignore_errors=True)
    build_wheel(root, [name for name in files if is_code(name) or Path(name).name in load.ours], to / "wheels")
    fetch_wheels(required(load), root / "constraints.txt", to / "wheels")
    fill_mirror(load, to / "mirror")
    for name in TESTS:
        copy(root / name, to / name)
    for path in [root / ".ci/gpu", *(root / ".ci/day").glob("*.py")]:
        copy(path, to / path.relative_to(root / ".ci"))
    return report(load, to)


def copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)


def build_wheel(root: Path, files: Iterable[str], to: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        for name in files:
            copy(root / name, Path(scratch, name))
        subprocess.run([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", to, scratch], check=True)


def fetch_wheels(packages: set[str], constraints: Path, to: Path) -> None:
    """Wheels of the packages that the machine lacks, at the versions of constraints.txt."""
    if missing := sorted(packages - ON_THE_MACHINE):
        pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", *PLATFORM]
        subprocess.run([*pip, "-c", constraints, "-d", to, *missing], check=True)


def fill_mirror(load: Load, to: Path) -> None:
    for dataset in map(datasets.get, load.sets):
        for entry, path in zip(dataset.entries, datasets.fetch_all(dataset), strict=True):
            copy(path, to / "datasets" / entry.dataset / entry.name)
    for declaration in load.published:
        copy(fetch(declaration).path, to / "weights" / declaration.restorer / declaration.file)


# --- telling -----------------------------------------------------------------------------------------


def report(load: Load, to: Path) -> int:
    """Print what the folder holds; 1 if that is too much, else 0."""
    parts = sorted({*to.glob("[!m]*"), *to.glob("mirror/*/*")})
    sizes = {str(part.relative_to(to)): file_sizes(part) for part in parts}
    sizes["total"] = file_sizes(to)
    total = sum(sizes["total"])
    rows = [[name, len(of_files), sum(of_files) / 1e6] for name, of_files in sizes.items()]
    print(tabulate(rows, headers=["what", "files", "MB"], floatfmt=".2f"))
    print("\nweights of ours in the wheel: " + ", ".join(sorted(load.ours)) + "\n")
    queue = [[entry.what, entry.data, entry.start, entry.minutes, answer] for entry, answer in load.trainings]
    print(tabulate(queue, headers=["training", "data", "start", "minutes", ""]))
    if total > LIMIT:
        print(f"\n{to} has {total} bytes, more than the {LIMIT} that travel. Leave something out.", file=sys.stderr)
        return 1
    return 0


def file_sizes(part: Path) -> list[int]:
    """Bytes of each file of a folder, or of the one file."""
    return [path.stat().st_size for path in (part, *part.rglob("*")) if path.is_file()]
