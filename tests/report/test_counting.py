"""A bar for what takes long, and nothing for what does not."""

from __future__ import annotations

import io
import sys

import pytest

from bench.records.counted import along
from bench.report import counting as module
from bench.report.counting import counting


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, seconds: float, *, quiet: bool = False) -> str:
    """What is shown while three records are read, after so many seconds."""
    monkeypatch.setattr(module, "SECONDS", seconds)
    monkeypatch.setattr("bench.records.counted.EVERY", 1)
    monkeypatch.setattr(sys, "stderr", stream)
    with counting(quiet=quiet):
        assert [*along("abc", "reading \x1b[31mred", 3)] == [*"abc"]
    return stream.getvalue()


def test_a_bar_says_what_is_done_and_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(monkeypatch, Terminal(), -1)
    assert "reading \\x1b[31mred" in text
    assert "0/3" in text
    assert "left:" in text


@pytest.mark.parametrize(
    ("stream", "seconds", "quiet"), [(Terminal, 60, False), (io.StringIO, -1, False), (Terminal, -1, True)]
)
def test_nothing_is_shown_of_what_is_soon_done_or_to_no_terminal(
    stream: type[io.StringIO], seconds: float, quiet: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shown(monkeypatch, stream(), seconds, quiet=quiet) == ""
