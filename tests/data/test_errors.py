"""What comes from outside is told in one line that can be printed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from bench.data.errors import in_a_line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("plain /a/été.png", "plain /a/été.png"),
        ("two\nlines\r\t", r"two\nlines\r\t"),
        ("\x1b[31m\x07\x00", r"\x1b[31m\x07\x00"),
        (os.fsdecode(b"\xe9.png"), r"\xe9.png"),
        ("\ud800", r"\ud800"),
        ("right\u202eleft\u2028", r"right\u202eleft\u2028"),
        (Path("a b"), "a b"),
    ],
    ids=["plain", "lines", "terminal", "bytes", "surrogate", "direction", "path"],
)
def test_letters_that_cannot_be_printed_are_spelled(text, line):
    assert in_a_line(text) == line
    assert in_a_line(text).isprintable()


def test_long_ones_are_cut():
    assert in_a_line("x" * 100, 10) == "x" * 10 + "…"
    assert in_a_line("x" * 10, 10) == "x" * 10
