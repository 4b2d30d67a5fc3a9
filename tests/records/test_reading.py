"""Reading a store in parts: what a condition cannot hold for stays shut, and nothing comes out otherwise for it."""

import contextlib
import itertools
import sqlite3

import pandas as pd
import pytest

import bench
from bench.errors import RequestError, StoreError
from bench.records.current import LOOKED_AT, current
from bench.records.figures import Figure, as_text
from bench.records.layouts import Drawer
from bench.records.reading import reading
from bench.records.record import COLUMNS, frame_of
from bench.records.sealed import checksum
from bench.records.select import may_hold, select
from bench.records.store import Store
from bench.report.export import counted
from bench.report.table import render
from tests.records.test_store import as_layout_6, record

RECORDS = [
    record(
        f"{i:03}-1",
        task=task,
        dataset=dataset,
        restorer=restorer,
        image=f"{image}.png",
        level="RGGB" if task == "demosaick" else 25.0,
        code_sha256=code,
        psnr_db=20.0 + i,
        seconds=None if i % 3 else 0.5,
        threads=None if i % 3 else 4,
        asked_at=f"2026-11-28T09:{(7 * i) % 60:02}:00+00:00",
    )
    for i, (task, dataset, restorer, code, image) in enumerate(
        itertools.product(("denoise", "demosaick"), ("a", "b"), ("sc", "bm3d"), ("old", "new"), range(3))
    )
]


@pytest.fixture
def path(tmp_path):
    with Store(tmp_path / "s.sqlite") as store:
        store.add(*RECORDS)
    return tmp_path / "s.sqlite"


def whole():
    """As it was read before there were drawers: all, then what a condition holds for."""
    return frame_of(sorted(RECORDS, key=lambda one: one.asked_at))


CONDITIONS = [
    "task == 'denoise'",
    "dataset in ['b'] and level == 25",
    "restorer != 'sc' or image == '1.png'",
    "not (task == 'denoise' and dataset == 'a')",
    "not restorer == 'sc' and psnr_db > 25",
    "not (restorer == 'sc' and psnr_db > 25)",
    "'m3' in restorer",
    "task == dataset",
    "dataset == 'none'",
]


@pytest.mark.parametrize("condition", CONDITIONS)
def test_what_is_chosen_of_a_store_is_what_is_chosen_of_all(path, condition):
    expected = select(whole(), condition)
    with reading([path], condition) as records:
        pd.testing.assert_frame_equal(records.frame(), expected, check_dtype=False)  # of levels
        parts = [part for part in records.by_task() if len(part)]
    assert sum(map(len, parts)) == len(expected)
    assert all(part["task"].nunique() == 1 and part.index.is_monotonic_increasing for part in parts)


@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_drawer_that_stays_shut_has_nothing_that_the_condition_holds_for(condition):
    frame = whole()
    told = frame[["task", "dataset", "restorer"]].drop_duplicates()
    opened = {*told[may_hold(told, condition)].itertuples(index=False, name=None)}
    chosen = {*select(frame, condition)[[*told]].itertuples(index=False, name=None)}
    assert chosen <= opened


def test_a_condition_on_a_data_set_opens_its_drawers_alone(path):
    """The other's are not even looked at: their damage is found by a check."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("UPDATE records SET psnr_db = 99.5 WHERE dataset = 'a'")
    assert len(bench.read(path, "dataset == 'b' and psnr_db > 0")) == 24
    with pytest.raises(StoreError, match="not as it was written"):
        bench.read(path, "psnr_db > 0")
    assert not bench.check_store(path).ok


def test_a_record_that_is_gone_is_missed_by_whoever_reads_its_drawer(path):
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("DELETE FROM records WHERE key = '000-1'")
    assert len(bench.read(path, "task == 'demosaick'")) == 24
    for condition in ("task == 'denoise'", "psnr_db > 30"):
        with pytest.raises(StoreError, match="6 records of sc on a, denoise were written and 5 are there"):
            bench.read(path, condition)
    with pytest.raises(StoreError, match="48 records were written and 47 are there"), Store(path) as store:
        store.records()


def test_what_is_none_of_a_condition_is_told_although_nothing_is_read(path):
    for condition, said in (("levl == 25", "No column named 'levl'"), ("task ==", "invalid syntax"),
                            ("task == 'x' and psnr_db > 'a'", "psnr_db is a number")):  # fmt: skip
        with pytest.raises(RequestError, match=said):
            bench.read(path, condition)


def test_which_records_count_is_told_task_by_task_as_of_all(path):
    with reading([path]) as records:
        parts = [current(part, by_device=True) for part in records.by_task(LOOKED_AT)]
    expected = current(whole(), by_device=True)
    assert pd.concat(parts).sort_index()["key"].tolist() == expected["key"].tolist()
    with reading([path]) as records:
        assert render(records.by_task()) == render(whole())


def test_several_files_are_read_one_after_the_other(path, tmp_path):
    more = [record("x-1", dataset="c", asked_at="2026-11-28T08:00:00+00:00"), record("y-1", task="deblock")]
    with Store(tmp_path / "t.sqlite") as store:
        store.add(*more)
    bench.export(path, "csv", tmp_path / "s.csv")
    both = [tmp_path / "s.csv", tmp_path / "t.sqlite"]
    assert bench.read(both)["key"].tolist() == [*whole()["key"], "y-1", "x-1"]
    assert bench.read(both, "current")["key"].tolist() == [*current(whole())["key"]]
    assert bench.table(both) == bench.table([path, tmp_path / "t.sqlite"])


@pytest.mark.parametrize("condition", [None, "task == 'denoise' and image != '0.png'"])
def test_an_export_says_which_records_count_of_those_that_are_exported(path, condition):
    expected = whole() if condition is None else select(whole(), condition)
    with reading([path], condition) as records:
        written = pd.concat(counted(records))
    assert written["key"].tolist() == expected["key"].tolist()
    assert written[written["current"]]["key"].tolist() == current(expected, by_device=True)["key"].tolist()


def test_a_metric_has_one_column_over_all_tasks_of_the_identity_last_asked_for(tmp_path):
    def figure(value, identity):
        return as_text({"gmsd": Figure(value, identity, "smaller")})

    at = "2026-11-28T09:00:0{}+00:00".format
    given = [
        record("a-1", metrics=figure(0.1, "1"), asked_at=at(1)),
        record("b-1", metrics=figure(0.2, "2"), asked_at=at(3), task="deblock"),
        record("c-1", metrics=figure(0.3, "1"), asked_at=at(2)),
    ]
    path = tmp_path / "s.sqlite"
    with Store(path) as store:
        store.add(*given)
    expected = frame_of([given[0], given[2], given[1]])
    assert expected["gmsd"].isna().tolist() == [True, True, False]
    pd.testing.assert_frame_equal(bench.read(path), expected)
    assert bench.read(path, "gmsd < 0.25")["key"].tolist() == ["b-1"]
    with reading([path]) as records:
        pd.testing.assert_frame_equal(pd.concat(counted(records))[[*expected]], expected)


def test_an_export_of_many_records_goes_to_its_file_in_parts_and_is_whole_or_not_there(path, tmp_path, monkeypatch):
    import bench.records.reading

    for format in ("csv", "jsonl"):
        bench.export(path, format, tmp_path / f"all.{format}")
    monkeypatch.setattr(bench.records.reading, "BATCH", 7)
    for format in ("csv", "jsonl"):
        bench.export(path, format, tmp_path / f"parts.{format}")
        assert (tmp_path / f"parts.{format}").read_text() == (tmp_path / f"all.{format}").read_text()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("DELETE FROM records WHERE key = '000-1'")
    with pytest.raises(StoreError):
        bench.export(path, "csv", tmp_path / "parts.csv")
    assert (tmp_path / "parts.csv").read_text() == (tmp_path / "all.csv").read_text()
    assert not [*tmp_path.glob("*.part")]


def test_whole_numbers_stay_whole_where_some_records_have_none(path, tmp_path):
    bench.export(path, "csv", tmp_path / "r.csv")
    assert {*pd.read_csv(tmp_path / "r.csv", dtype=str)["threads"].dropna()} == {"4"}


def test_drawers_follow_what_is_added_renewed_and_replaced(path):
    drawer = Drawer("denoise", "a", "sc")
    with Store(path) as store:
        assert store.drawers()[drawer] == 6
        store.renew({"000-1": record("000-1", task="deblock")})
        store.add(record("001-1", task="denoise", dataset="a", restorer="sc", psnr_db=1.0))
        assert store.drawers()[drawer] == 5
        assert store.drawers()["deblock", "photos", "noisy"] == 1
        store.add(*(record(f"00{i}-1", task="deblock") for i in range(1, 6)))
        assert drawer not in store.drawers()
        assert sum(store.drawers().values()) == store.count() == len(store.records()) == 48
    assert bench.check_store(path).n == 48


@pytest.mark.parametrize("reading_only", [True, False])
def test_a_store_of_the_sixth_layout_is_read_and_gets_drawers_and_indices(tmp_path, reading_only):
    path = tmp_path / "s.sqlite"
    as_layout_6(path, *RECORDS)
    before = path.read_bytes()
    with Store(path, reading=reading_only) as store:
        assert store.records() == sorted(RECORDS, key=lambda one: one.asked_at)
        assert len(store.drawers()) == 8
    assert (path.read_bytes() == before) == reading_only
    assert bench.check_store(path).n == 48


def test_records_are_found_by_pictures_keys_and_qualities(path):
    with Store(path) as store:
        found = store.of_pictures([(Drawer("denoise", "a", "sc"), "1.png"), (Drawer("denoise", "c", "sc"), "1.png")])
        assert {one.key for one in found} == {"001-1", "004-1"}
        assert {*store.find(["001-1", "001-", "none"])} == {"001-1"}
        assert {*store.find_quality(["001", "00", "", "001-1"])} == {"001"}


def test_columns_of_a_store_have_numbers_where_a_record_has_none(path):
    frame = bench.read(path)
    assert [*frame] == [*COLUMNS]
    assert str(frame["device_seconds"].dtype) == "float64"
    assert frame["level"].tolist() == whole()["level"].tolist()


def test_a_check_notices_drawers_that_have_each_others_records_counted(path):
    """Together they have as many as there are."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        told = {row[:3]: row[3:5] for row in db.execute("SELECT * FROM drawers WHERE task = 'denoise'")}
        (one, of_one), (other, of_other) = [*told.items()][:2]
        for drawer, held in ((one, of_other), (other, of_one)):
            row = (*drawer, *held)
            db.execute("REPLACE INTO drawers VALUES (?, ?, ?, ?, ?, ?)", (*row, checksum(row)))
    assert "drawers hold" in bench.check_store(path).damage
    with pytest.raises(StoreError, match="or not the same"):
        bench.read(path)
