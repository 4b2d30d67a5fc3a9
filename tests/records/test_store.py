"""The store: one file, many writers, nothing lost, and no other program's file touched."""

import json
import sqlite3
import subprocess
import sys

import pytest

from bench.errors import StoreError
from bench.records.current import current, devices, fastest
from bench.records.layouts import Totals, tables
from bench.records.record import COLUMNS, Record, frame_of
from bench.records.repair import repair
from bench.records.sealed import checksum, values_of
from bench.records.store import Store


def record(key="k-untimed", **figures):
    return Record(
        **{
            "restorer": "noisy",
            "weights": "",
            "task": "denoise",
            "level": 25.0,
            "channels": 1,
            "dataset": "photos",
            "image": "1.png",
            "protocol": "standard-v1",
            "repeat": 0,
            "status": "ok",
            "psnr_db": 20.25,
            "key": key,
            **figures,
        }
    )


def test_a_record_comes_back_as_it_went_in(tmp_path):
    with Store(tmp_path / "s.sqlite") as store:
        store.add(record(level="RGGB", ssim=0.1 + 0.2))
    with Store(tmp_path / "s.sqlite") as store:
        assert store.records() == [record(level="RGGB", ssim=0.1 + 0.2)]


def test_a_record_of_the_same_key_replaces_the_old_one(tmp_path):
    with Store(tmp_path / "s.sqlite") as store:
        store.add(record(psnr_db=1.0))
        store.add(record(psnr_db=2.0))
        assert [r.psnr_db for r in store.records()] == [2.0]


def test_a_timed_record_serves_where_only_quality_is_asked_for(tmp_path):
    with Store(tmp_path / "s.sqlite") as store:
        store.add(record("abc-untimed", psnr_db=1.0))
        store.add(record("abc-123", psnr_db=1.0, seconds=0.5))
        assert store.find_quality(["abc"])["abc"].seconds == 0.5
        assert set(store.find(["abc-123", "abc-456"])) == {"abc-123"}


@pytest.mark.parametrize("order", [1, -1])
def test_of_one_quality_a_good_record_is_found_before_a_failed_one_and_a_timed_one_before_an_untimed(tmp_path, order):
    untimed, timed = record("abc-untimed"), record("abc-123", seconds=0.5)
    failed = record("abc-456", status="failed", psnr_db=None, seconds=0.1)

    def found(*records):
        with Store(tmp_path / f"{len(records)}-{records[0].key}-{records[-1].key}.sqlite") as store:
            for one in records[::order]:
                store.add(one)
            return store.find_quality(["abc"])["abc"]

    assert found(untimed, timed) == timed
    assert found(untimed, failed) == untimed
    assert found(untimed, timed, failed) == timed


def test_the_frame_has_the_columns_of_a_record():
    assert tuple(frame_of([record()]).columns) == COLUMNS
    assert tuple(frame_of([]).columns) == COLUMNS


WRITER = """
import sys
from pathlib import Path
from bench.records.record import Record
from bench.records.store import Store
with Store(Path(sys.argv[1])) as store:
    for i in range(100):
        store.add(Record("noisy", "", "denoise", 25.0, 1, "photos", "1.png", "standard-v1", i, "ok",
                         key=f"{sys.argv[2]}{i}-untimed"))
"""


def test_several_processes_write_at_once_and_nothing_is_lost(tmp_path):
    path = tmp_path / "s.sqlite"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, path, name]) for name in "abcd"]
    assert [writer.wait() for writer in writers] == [0] * 4
    with Store(path) as store:
        assert len(store.records()) == 400


@pytest.mark.parametrize("content", [b"date,psnr\n2020,30.1\n" * 100, b"\x89PNG\r\n\x1a\n" * 100])
def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path, content):
    path = tmp_path / "notes.csv"
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"notes\.csv is not a bench store"):
        Store(path)
    assert path.read_bytes() == content


def test_another_programs_database_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "theirs.sqlite"
    with sqlite3.connect(path) as theirs:
        theirs.execute("CREATE TABLE bookmarks (url)")
    theirs.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="not a bench store"):
        Store(path)
    assert path.read_bytes() == before


def older(path, layout, *records, columns=COLUMNS):
    """A store as layouts up to the fourth had it."""
    with sqlite3.connect(path) as db:
        declared = ", ".join(f"{name} PRIMARY KEY" if name == "key" else name for name in columns)
        db.execute(f"CREATE TABLE records ({declared})")
        for one in records:
            values = [getattr(one, name) for name in columns]
            db.execute(f"INSERT INTO records VALUES ({', '.join('?' * len(columns))})", values)
        db.execute("PRAGMA application_id = 1651401576")
        db.execute(f"PRAGMA user_version = {layout}")
    db.close()


def test_a_store_of_the_first_layout_keeps_its_records_and_gets_the_columns_that_came_later(tmp_path):
    path = tmp_path / "s.sqlite"
    columns = [name for name in COLUMNS[: COLUMNS.index("key") + 1] if name != "estimated_level"]
    older(path, 1, record(key="old"), columns=columns)
    with Store(path) as store:
        store.add(record(key="new", estimated_level=24.5))
        assert {r.key: r.estimated_level for r in store.records()} == {"old": None, "new": 24.5}
    with Store(path) as store:
        assert [r.key for r in store.records()] == ["old", "new"]


def as_layout_5(path, *records):
    """A store as the fifth layout had it: with checksums, and without the columns of tasks and metrics."""
    sealed(path, 5, COLUMNS[: COLUMNS.index("level_name")], records)


def as_layout_6(path, *records):
    """A store as the sixth layout had it: without drawers, and with no index but that of the keys."""
    sealed(path, 6, COLUMNS, records)


def sealed(path, layout, columns, records):
    n = len(columns)
    totals = Totals()
    with sqlite3.connect(path) as db:
        for sql in tables(layout).values():
            db.execute(sql)
        for place, one in enumerate(records, start=1):
            row = (place, *values_of(one)[:n])
            db.execute(f"INSERT INTO records VALUES ({', '.join('?' * (n + 2))})", (checksum(row), *row))
            totals.last = place
            totals.gain(checksum(row))
        db.execute("INSERT INTO totals VALUES (0, 0, 0, 0)")
        totals.write(db)
        db.execute("PRAGMA application_id = 1651401576")
        db.execute(f"PRAGMA user_version = {layout}")
    db.close()


@pytest.mark.parametrize("reading", [True, False])
def test_a_store_of_the_fifth_layout_is_read_and_gets_the_columns_that_came_later(tmp_path, reading):
    path = tmp_path / "s.sqlite"
    as_layout_5(path, record(key="a"), record(key="b", psnr_db=31.5))
    before = path.read_bytes()
    with Store(path, reading=reading) as store:
        assert [(r.key, r.psnr_db, r.metrics) for r in store.records()] == [("a", 20.25, ""), ("b", 31.5, "")]
    assert (path.read_bytes() == before) == reading
    with Store(path) as store:
        store.add(record(key="c", metrics="{}"))
        assert [r.metrics for r in store.records()] == ["", "", "{}"]


@pytest.mark.parametrize(
    ("damage", "kept"),
    [("UPDATE records SET psnr_db = 1.0 WHERE place = 1", ["b"]), ("DELETE FROM totals", ["a", "b"])],
)
def test_a_damaged_store_of_the_fifth_layout_is_known_as_such_and_repaired(tmp_path, damage, kept):
    path = tmp_path / "s.sqlite"
    as_layout_5(path, record(key="a"), record(key="b"))
    with sqlite3.connect(path) as db:
        db.execute(damage)
    db.close()
    with pytest.raises(StoreError, match="damaged"):
        Store(path, reading=True)
    assert [r.key for r in repair(path).records] == kept
    with Store(path) as store:
        assert [r.key for r in store.records()] == kept


def test_a_store_of_a_later_layout_is_refused(tmp_path):
    path = tmp_path / "s.sqlite"
    Store(path).__exit__(None, None, None)
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(StoreError, match="layout 99"):
        Store(path)


def test_a_folder_is_no_store(tmp_path):
    with pytest.raises(StoreError, match="Cannot open the store"):
        Store(tmp_path)


def shown(*records):
    return current(frame_of(records))["psnr_db"].tolist()


def test_tables_show_what_the_last_version_gave():
    assert shown(record("old-123", psnr_db=1.0, seconds=0.5), record("new-untimed", psnr_db=2.0)) == [2.0]


def test_of_one_version_the_timed_record_is_shown():
    frame = current(frame_of([record("abc-123", seconds=0.5), record("abc-untimed")]))
    assert frame["seconds"].tolist() == [0.5]


def test_a_version_that_fails_now_is_not_hidden_by_an_older_one():
    frame = current(frame_of([record("old-123"), record("new-123", status="failed", psnr_db=None)]))
    assert frame["status"].tolist() == ["failed"]


def test_cells_that_differ_are_all_shown():
    assert len(shown(record("a-1"), record("b-1", repeat=1), record("c-1", level=15.0))) == 3


def on(card, key="gpu-1", device="cuda", **figures):
    return record(key, device=device, environment=json.dumps({"cpu": "x", "gpu": card}), **figures)


def test_a_device_is_a_word_and_a_card():
    cards = [
        on("NVIDIA H200"),
        on("NVIDIA H200", device="cuda:1"),
        on("NVIDIA H100"),
        record(environment='{"cpu": "x"}'),
    ]
    assert devices(frame_of(cards)).tolist() == ["NVIDIA H200", "NVIDIA H200 (cuda:1)", "NVIDIA H100", "cpu"]


@pytest.mark.parametrize("environment", ["", "0", "[]", "not JSON", None])
def test_a_device_of_which_no_card_is_told_is_its_word(environment):
    assert devices(frame_of([record(device="cuda", environment=environment)])).tolist() == ["cuda"]


def test_each_device_keeps_its_record_of_a_cell():
    frame = frame_of([record("a-1", seconds=2.0), on("NVIDIA H200", seconds=0.1), on("NVIDIA H100", seconds=0.2)])
    assert current(frame, by_device=True)["seconds"].tolist() == [2.0, 0.1, 0.2]


@pytest.mark.parametrize("order", [1, -1])
def test_of_several_devices_the_cpu_answers_for_the_quality(order):
    records = [record(psnr_db=30.0), on("NVIDIA H200", psnr_db=30.001)]
    assert shown(*records[::order]) == [30.0]
    failed = [record(status="failed", psnr_db=None), on("NVIDIA H200", psnr_db=30.001)]
    assert shown(*failed[::order]) == [30.001]


def test_the_least_time_is_sought_among_those_of_one_device():
    frame = frame_of(
        [
            record("a-1", seconds=2.0),
            record("a-2", seconds=3.0),
            on("NVIDIA H200", seconds=0.1, device_seconds=0.05),
            on("NVIDIA H200", "gpu-2", seconds=0.2, device_seconds=0.04),
        ]
    )
    least = fastest(frame)
    assert least["seconds"].tolist() == [2.0, 0.1]
    assert least["device_seconds"].tolist()[1] == 0.04


@pytest.mark.parametrize("asked", ["the new code last", "the old code last"])
def test_records_of_two_versions_of_a_task_never_share_a_table(asked):
    first, last = ("old", "new") if asked == "the new code last" else ("new", "old")
    told = {"task": "photons", "task_plugin": "/p.py:P"}
    records = [
        record(key="a-", restorer="nlm", task_sha256=first, asked_at="2026-11-27T10:00:00+00:00", **told),
        record(key="b-", task_sha256=first, level=4.0, asked_at="2026-11-27T10:00:01+00:00", **told),
        record(key="c-", task_sha256=last, asked_at="2026-11-28T10:00:00+00:00", **told),
        record(key="d-", asked_at="2026-11-26T10:00:00+00:00"),
    ]
    assert current(frame_of(records))["key"].tolist() == ["c-", "d-"]


def test_of_a_level_s_file_the_content_last_asked_for_counts_and_other_levels_stay():
    records = [
        record(key="a-", level="./k.png", task_sha256=".1", asked_at="2026-11-27T10:00:00+00:00"),
        record(key="b-", level="uniform-9", asked_at="2026-11-27T10:00:01+00:00"),
        record(key="c-", level="./k.png", task_sha256=".2", restorer="nlm", asked_at="2026-11-28T10:00:00+00:00"),
    ]
    assert current(frame_of(records))["key"].tolist() == ["b-", "c-"]
