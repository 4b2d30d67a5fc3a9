"""What a run says of itself meanwhile: what failed is never said to be measured."""

from __future__ import annotations

import io
import sys
from types import SimpleNamespace

import pytest

from bench.records.record import Record
from bench.report import progress
from bench.report.progress import BarProgress, CellProgress, LineProgress, Progress, printed_lines, watch


def cell(number, label="tv"):
    return SimpleNamespace(
        label=label,
        setting="denoise sigma 25 gray",
        dataset=SimpleNamespace(label="photos"),
        entry=SimpleNamespace(name=f"{number}.png"),
    )


def record(status, **figures):
    return Record("tv", "", "denoise", 25.0, 1, "photos", "1.png", "standard-v1", 0, status, **figures)


OK = record("ok", psnr_db=29.104, seconds=0.2512)
FAILED = record("failed", reason="ValueError: \x1bno")
SKIPPED = record("skipped", reason="tv declines")


def told(watcher, capsys, *records):
    cells = [cell(number) for number in range(len(records))]
    with watcher:
        watcher.fetching("set12", 1, 2)
        watcher.started(cells)
        for one, its_record in zip(cells, records, strict=True):
            watcher.measuring(one)
            watcher.printed(one, "step 1\rstep 2\n\ttwo\n")
            watcher.measured(one, its_record)
    return capsys.readouterr().err.splitlines()


@pytest.mark.parametrize(
    ("records", "line"),
    [
        ([OK, OK], "measured tv, denoise sigma 25 gray, photos"),
        ([FAILED, FAILED], "failed tv, denoise sigma 25 gray, photos"),
        ([SKIPPED, SKIPPED], "skipped tv, denoise sigma 25 gray, photos"),
        ([OK, FAILED, OK], "measured tv, denoise sigma 25 gray, photos: 1 of 3 failed"),
        ([SKIPPED, FAILED, OK], "measured tv, denoise sigma 25 gray, photos: 1 of 3 failed, 1 of 3 skipped"),
        ([FAILED, SKIPPED], "failed tv, denoise sigma 25 gray, photos: 1 of 2 skipped"),
    ],
)
def test_in_a_log_a_line_says_how_a_group_of_cells_ended(capsys, records, line):
    assert told(LineProgress(), capsys, *records) == [line]


def test_in_words_there_is_a_line_for_each_cell_below_what_it_printed(capsys):
    assert told(CellProgress(), capsys, OK, FAILED) == [
        "set12: 1 of 2 files",
        "  step 2",
        "          two",
        "tv, denoise sigma 25 gray, photos/0.png: 29.10 dB, 0.251 s",
        "  step 2",
        "          two",
        r"tv, denoise sigma 25 gray, photos/1.png: failed: ValueError: \x1bno",
    ]


def test_quiet_it_says_nothing(capsys):
    assert told(watch(quiet=True), capsys, OK, FAILED) == []


@pytest.mark.parametrize(
    ("words", "is_terminal", "kind"),
    [
        ({}, False, LineProgress),
        ({}, True, BarProgress),
        ({"verbose": True}, True, CellProgress),
        ({"quiet": True}, True, Progress),
    ],
)
def test_what_watches_fits_the_error_stream(monkeypatch, words, is_terminal, kind):
    stream = io.StringIO()
    stream.isatty = lambda: is_terminal
    monkeypatch.setattr(sys, "stderr", stream)
    assert type(watch(**words)) is kind


def test_the_bar_counts_what_failed(monkeypatch, capsys):
    with BarProgress() as watcher:
        cells = [cell(number) for number in range(3)]
        watcher.started(cells)
        for one, its_record in zip(cells[:2], (OK, FAILED), strict=True):
            watcher.measuring(one)
            watcher.measured(one, its_record)
        watcher.measuring(cells[2])
        assert watcher.bar.tasks[0].description == "tv, denoise sigma 25 gray, photos (1 failed)"
        assert watcher.bar.tasks[0].completed == 2


def test_of_a_line_that_was_written_over_the_last_is_shown():
    assert list(printed_lines("10 %\r20 %\r\n\x1b[2Jtwo\n\n")) == ["20 %", r"\x1b[2Jtwo"]


@pytest.mark.parametrize(
    ("records", "n_doubts"), [([OK, FAILED], 1), ([FAILED], 0), ([record("ok", psnr_db=29.0)], 0)]
)
def test_a_busy_machine_is_said_if_a_time_was_taken(monkeypatch, records, n_doubts):
    for watcher in (Progress(), LineProgress(), CellProgress(), BarProgress()):
        monkeypatch.setattr(progress, "overload", iter([3.25, 7.5]).__next__)
        with watcher:
            watcher.started([cell(n) for n in range(len(records))])
            for n, one in enumerate(records):
                watcher.measured(cell(n), one)
        assert len([*watcher.doubts()]) == n_doubts
        assert all("a load of 3.2 on" in doubt for doubt in watcher.doubts())


def test_an_idle_machine_is_no_doubt(monkeypatch):
    monkeypatch.setattr(progress, "overload", lambda: 0.0)
    watcher = Progress()
    watcher.measured(cell(1), OK)
    assert [*watcher.doubts()] == []
