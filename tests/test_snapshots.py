"""What the command line prints, to the letter: the help of every command, and one table in every format.

The texts are files in tests/snapshots. After a change that is meant, renew them and read the difference:

    RENEW_SNAPSHOTS=1 python -m pytest tests/test_snapshots.py && git diff tests/snapshots
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from bench.cli import main
from bench.cli.commands import app
from bench.records.record import frame_of
from bench.report.drawing import FORMATS
from bench.report.table import render

SNAPSHOTS = Path(__file__).parent / "snapshots"


def commands(command: object, words: tuple[str, ...] = ("bench",)) -> Iterator[tuple[str, ...]]:
    """`bench`, `bench run`, …, `bench data list`, …"""
    yield words
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, (*words, name))


COMMANDS = list(commands(typer.main.get_command(app)))


def check(file: str, text: str) -> None:
    """That the snapshot of that name is this text; with RENEW_SNAPSHOTS it becomes it."""
    path = SNAPSHOTS / file
    text = "\n".join(line.rstrip() for line in text.splitlines()) + "\n"
    if os.environ.get("RENEW_SNAPSHOTS"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert path.is_file(), f"no {path.name} in tests/snapshots yet: RENEW_SNAPSHOTS=1 makes it"
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_the_help_of_each_command_is_as_it_was(monkeypatch, words):
    monkeypatch.setenv("COLUMNS", "80")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), pytest.raises(SystemExit) as exit:
        main([*words[1:], "--help"])
    assert not exit.value.code
    check(f"help/{'-'.join(words)}.txt", printed.getvalue())


def test_every_help_that_is_kept_is_of_a_command():
    assert {path.stem for path in (SNAPSHOTS / "help").iterdir()} == {"-".join(words) for words in COMMANDS}


def records() -> Iterator[dict[str, object]]:
    """Two restorers on two pictures at two levels, one cell of them failed, and a third that was skipped."""
    shared = {"task": "denoise", "channels": 1, "dataset": "photos", "protocol": "standard-v1", "repeat": 0}
    figures = {"status": "ok", "reason": "", "ssim": 0.875, "seconds": 0.25, "peak_mib": 64.0}
    for level in (25.0, 50.0):
        for image in ("1.png", "2.png"):
            cell = {**shared, **figures, "level": level, "image": image, "key": "abc-123"}
            yield {**cell, "restorer": "tv", "weights": "", "psnr_db": 30.0 - level / 25, "params": 0}
            weights = {"weights": "ours:net.safetensors", "params": 555_137}
            yield {**cell, "restorer": "my_net", **weights, "psnr_db": 31.5 - level / 25}
    failed = {"status": "failed", "reason": "x < 0 & y_1 > 100 % of $z", "psnr_db": None, "ssim": None}
    yield {**shared, "level": 50.0, "image": "3.png", "key": "abc-123", "restorer": "tv", "weights": "", **failed}
    skipped = {"status": "skipped", "reason": "bm3d is not installed (remedy: pip install bm3d)"}
    yield {**shared, "level": 25.0, "image": "", "key": "", "restorer": "bm3d", "weights": "", **skipped}


@pytest.mark.parametrize("format", FORMATS)
def test_a_table_looks_in_every_format_as_it_did(format):
    check(f"table/{format}.txt", render(frame_of(records()), format))
