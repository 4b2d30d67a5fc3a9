"""`bench why`: failures are numbered, the last asked for first, and named by restorer, image or both."""

from __future__ import annotations

from dataclasses import replace

import pytest

import bench
from bench.errors import RequestError
from bench.records.logs import Logs
from bench.records.record import Record, frame_of
from bench.records.store import Store
from bench.report.failures import failures

CELL = Record(
    "a", "", "denoise", 25.0, 1, "photos", "1.png", "standard-v1", 0, "failed", "ValueError: a (a.py, line 3)"
)


def records():
    cells = [
        replace(CELL, image="1.png"),
        replace(CELL, image="2.png"),
        replace(CELL, image="2.png", level=50.0),
        replace(CELL, image="3.png", status="ok", reason="", psnr_db=30.0),
        replace(CELL, restorer="b", reason="RuntimeError: b"),
        replace(CELL, restorer="b", reason="RuntimeError: c", image="4.png"),
        replace(CELL, restorer="c", status="skipped", reason="c does not"),
    ]
    times = [f"2026-11-28T09:30:0{n}+00:00" for n in range(len(cells))]
    return [
        replace(cell, label=cell.restorer, plugin=f"p:{cell.restorer}", key=f"{n}a-{n}b", asked_at=at)
        for n, (cell, at) in enumerate(zip(cells, times, strict=True))
    ]


@pytest.fixture
def store(tmp_path):
    path = tmp_path / "s.sqlite"
    with Store(path) as opened:
        opened.add(*records())
    return path


def test_failures_of_one_reason_are_one_and_the_last_come_first():
    told = [(failure.number, failure.restorer, len(failure.cells)) for failure in failures(frame_of(records()))]
    assert told == [(1, "b", 1), (2, "b", 1), (3, "a", 3)]


def test_a_task_of_ones_own_is_told_by_what_it_calls_its_level():
    own = replace(records()[0], task="dim", level=2.0, level_name="share")
    [failure] = failures(frame_of([own]))
    assert failure.cells[0].setting == "dim share 2 gray"


def test_they_are_listed(store):
    assert bench.why(store=store).splitlines() == [
        "  1  b on photos/4.png: RuntimeError: c",
        "  2  b on photos/1.png: RuntimeError: b",
        "  3  a on photos/1.png, photos/2.png: ValueError: a (a.py, line 3)",
    ]


@pytest.mark.parametrize(
    ("which", "numbers"),
    [(1, [1]), ("3", [3]), ("b", [1, 2]), ("b/1.png", [2]), ("photos/1.png", [2, 3]), ("a/photos/2.png", [3])],
)
def test_one_is_asked_for_by_number_restorer_image_or_both(store, which, numbers):
    told = bench.why(which, store)
    assert [int(line.split()[0]) for line in told.splitlines() if " on " in line] == numbers


def test_what_it_printed_is_told_of_the_first_cell_that_has_it(store):
    Logs(store).keep(records()[1], "10 %\r20 %\n\x1b[31mred\n")
    assert bench.why("a", store).splitlines() == [
        "3  a on photos/1.png, photos/2.png: ValueError: a (a.py, line 3)",
        "",
        "Printed on photos/2.png, denoise sigma 25 gray:",
        "  20 %",
        "  \\x1b[31mred",
    ]
    assert bench.why("a/1.png", store).endswith("It printed nothing that is kept.")


@pytest.mark.parametrize("which", ["4", "0", "c", "a/3.png", "9.png"])
def test_what_did_not_fail_is_no_failure(store, which):
    with pytest.raises(RequestError, match=rf"No failure is '{which}'. There are 1 to 3, of b, a: `bench why` lists"):
        bench.why(which, store)


def test_where_nothing_failed_that_is_said(tmp_path):
    with Store(tmp_path / "s.sqlite") as opened:
        opened.add(replace(records()[3]))
    assert bench.why(store=tmp_path / "s.sqlite") == "Nothing has failed."
    with pytest.raises(RequestError, match=r"Nothing has failed\."):
        bench.why(1, tmp_path / "s.sqlite")
