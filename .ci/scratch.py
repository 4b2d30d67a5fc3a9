"""Scratch copies of the tree, for faults that are planted on purpose: what `.ci/plant` and `.ci/mutants` share."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LEFT_OUT = (".git", ".asv", ".venv", ".tox", "carry", "__pycache__", "*.sqlite*")


@contextmanager
def scratch_copy() -> Iterator[Path]:
    """A copy of the tree, uncommitted changes included, without what is built; it goes away again."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "bench"
        shutil.copytree(ROOT, root, ignore=shutil.ignore_patterns(*LEFT_OUT))
        for name in ("data", "methods", "results"):  # where they are imported, for PYTHONPATH
            (root / "bench" / name).symlink_to(root / name)
        yield root


def environment_of(root: Path) -> dict[str, str]:
    """In which Python imports the copy instead of the project that is installed."""
    return {**os.environ, "PYTHONPATH": str(root)}


def change(root: Path, file: str, old: str, new: str) -> None:
    """Replace a piece of a file; the script ends where the file no longer has it."""
    path = root / file
    text = path.read_text(encoding="utf-8")
    if old not in text:
        sys.exit(f"{file} no longer has the line that is to be changed: {old}")
    path.write_text(text.replace(old, new), encoding="utf-8")
