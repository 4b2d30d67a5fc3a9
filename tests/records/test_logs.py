"""What a failed cell printed is kept beside the store, bounded, and under no other name than its record's key."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from bench.records import logs
from bench.records.logs import MOST_BYTES, Logs
from bench.records.record import Record

FAILED = Record("a", "", "denoise", 25.0, 1, "photos", "1.png", "standard-v1", 0, "failed", key="1a-2b")


@pytest.fixture
def kept(tmp_path):
    return Logs(tmp_path / "s.sqlite")


def test_a_log_is_had_by_the_key_of_its_record(kept, tmp_path):
    kept.keep(FAILED, "é\nValueError\n")
    assert kept.of("1a-2b") == "é\nValueError\n"
    assert kept.of("1a-2c") == ""
    assert [file.name for file in (tmp_path / "s.sqlite.logs").iterdir()] == ["1a-2b.txt"]


def test_of_much_the_end_is_kept(kept):
    kept.keep(FAILED, "x" * MOST_BYTES + "the end")
    assert len(kept.of("1a-2b")) == MOST_BYTES
    assert kept.of("1a-2b").endswith("xthe end")


@pytest.mark.parametrize(("status", "text"), [("ok", "all well"), ("failed", "")])
def test_a_cell_that_gave_an_answer_or_printed_nothing_has_no_log_any_more(kept, status, text):
    kept.keep(FAILED, "ValueError")
    kept.keep(replace(FAILED, status=status), text)
    assert kept.of("1a-2b") == ""


def test_where_nothing_failed_there_is_no_folder(kept):
    kept.keep(replace(FAILED, status="ok"), "all well")
    assert not kept.folder.exists()


@pytest.mark.parametrize("key", ["../../secret", "", "a/b", ".", "1a-2b-3c"])
def test_what_is_no_key_names_no_file(kept, tmp_path, key):
    (tmp_path / "secret.txt").write_text("a secret")
    kept.keep(replace(FAILED, key=key), "words")
    assert kept.of(key) == ""
    assert not kept.folder.exists()


def test_the_oldest_logs_go(kept, monkeypatch):
    monkeypatch.setattr(logs, "MOST_LOGS", 2)
    for n in range(3):
        kept.keep(replace(FAILED, key=f"{n}a"), "words")
        os.utime(kept.folder / f"{n}a.txt", (n, n))
    assert [kept.of(f"{n}a") for n in range(3)] == ["", "words", "words"]


def test_a_folder_that_cannot_be_made_costs_no_record(kept, tmp_path):
    (tmp_path / "s.sqlite.logs").write_text("a file in its place")
    kept.keep(FAILED, "words")
    assert kept.of("1a-2b") == ""
