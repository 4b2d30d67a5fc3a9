"""A store that is not as it was written says so, in one line that tells what to do; a repair keeps what is whole."""

import contextlib
import os
import sqlite3
import tempfile
from pathlib import Path

import pytest

import bench
from bench.cli import main
from bench.errors import StoreError
from bench.records.layout_3 import built_in
from bench.records.record import COLUMNS
from bench.records.repair import check, repair
from bench.records.sealed import checksum
from bench.records.store import Store
from tests.records.test_store import older, record

PAGE = 4096
RECORDS = [
    record(f"{i:04d}-untimed", image=f"{i}.png", reason="x" * (9000 if i % 10 == 3 else 100), environment="e" * 200)
    for i in range(40)
]  # those with a long reason go on on other pages


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "s.sqlite"
    with Store(path) as store:
        store.add(*RECORDS)
    return path


def edit(path, *statements):
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        for sql in statements:
            db.execute(sql)


def said(path):
    """What a reader is told."""
    with pytest.raises(StoreError) as told:
        bench.read(path)
    text = str(told.value)
    assert path.name in text
    assert len(text.splitlines()) == 1
    return text


def overwrite(path, at, content):
    with path.open("r+b") as file:
        file.seek(at)
        file.write(content)


def left_open(path, records):
    """A store as a killed run leaves it: these records are in its `-wal` alone."""
    with Store(path) as store:
        for one in records:
            store.add(one)
        beside = {suffix: Path(f"{path}{suffix}").read_bytes() for suffix in ("", "-wal")}
    for suffix, content in beside.items():
        Path(f"{path}{suffix}").write_bytes(content)
    return Path(f"{path}-wal")


# --- what is noticed -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("UPDATE records SET psnr_db = 99 WHERE place = 7", "psnr_db is 99, expected a number or nothing"),
        ("UPDATE records SET psnr_db = 99.5 WHERE place = 7", "record 7 is not as it was written"),
        ("UPDATE records SET psnr_db = 'good' WHERE place = 7", "psnr_db is 'good', expected"),
        ("UPDATE records SET image = NULL WHERE place = 7", "image is None, expected a text"),
        ("UPDATE records SET image = x'ff00' WHERE place = 7", "image is b'\\xff\\x00', expected a text"),
        ("UPDATE records SET image = CAST(x'ff' AS TEXT) WHERE place = 7", "Could not decode"),
        ("UPDATE records SET place = 99 WHERE place = 7", "record 99 is not as it was written"),
        ("UPDATE records SET checksum = NULL WHERE place = 7", "record 7 is not as it was written"),
        (
            "DELETE FROM records WHERE place = 7",
            "40 records of noisy on photos, denoise were written and 39 are there",
        ),
        ("UPDATE totals SET n = 39", "how many records it has is not as it was written"),
        ("DELETE FROM totals", "how many records it has is not as it was written"),
        ("INSERT INTO totals SELECT * FROM totals", "how many records it has is not as it was written"),
        ("DELETE FROM drawers", "40 records were written and its drawers have 0"),
        ("UPDATE drawers SET n = 39", "what it says of what its drawers hold is not as it was written"),
        ("UPDATE drawers SET dataset = 'set12'", "what it says of what its drawers hold is not as it was written"),
        ("DROP INDEX by_drawer", "its tables are not a store's"),
        ("DROP TABLE drawers", "its tables are not a store's"),
        ("ALTER TABLE records DROP COLUMN ssim", "its tables are not a store's"),
        ("ALTER TABLE records ADD COLUMN colour", "its tables are not a store's"),
        ("ALTER TABLE records ADD COLUMN more AS (place + 1)", "its tables are not a store's"),
        ("CREATE TABLE bookmarks (url)", "its tables are not a store's"),
        ("CREATE VIEW best AS SELECT * FROM records", "its tables are not a store's"),
        ("CREATE TRIGGER t AFTER INSERT ON records BEGIN DELETE FROM records; END", "its tables are not a store's"),
        ("DROP TABLE records", "its tables are not a store's"),
        ("PRAGMA user_version = 4", "its tables are not those of an earlier layout"),
        ("PRAGMA user_version = 9", "layout 9"),
        ("PRAGMA application_id = 7", "it does not say that it is a store"),
    ],
)
def test_an_edit_behind_our_back_is_noticed(path, sql, why):
    edit(path, sql)
    assert why in said(path)


def test_a_bit_of_a_figure_is_noticed_by_tables_runs_and_checks(path):
    before = b"12.pngstandard-v1ok" + b"x" * 100
    at = path.read_bytes().index(before) + len(before) + 3  # of its PSNR
    overwrite(path, at, bytes([path.read_bytes()[at] ^ 1]))
    assert "`bench store repair" in said(path)
    with Store(path) as store, pytest.raises(StoreError, match="not as it was written"):
        store.find([one.key for one in RECORDS])
    assert not bench.check_store(path).ok


@pytest.mark.parametrize("n", [1, 100, PAGE, 3 * PAGE + 7])
def test_a_store_that_was_cut_is_not_an_empty_one(path, n):
    content = path.read_bytes()[:n]
    path.write_bytes(content)
    said(path)
    with pytest.raises(StoreError, match=r"s\.sqlite"):
        Store(path).records()
    assert path.read_bytes()[:n] == content


@pytest.mark.parametrize("content", [b"x", b"\0", b"\n" * 600])
def test_a_file_of_a_few_bytes_is_no_store_and_is_left_alone(tmp_path, content):
    path = tmp_path / "s.sqlite"
    path.write_bytes(content)
    assert "is not a bench store" in said(path)
    with pytest.raises(StoreError, match="is not a bench store"):
        Store(path)
    assert path.read_bytes() == content


def test_an_empty_file_has_no_records_to_read_and_becomes_a_store_when_a_run_begins(tmp_path):
    path = tmp_path / "s.sqlite"
    path.touch()
    assert "it is empty" in said(path)
    with Store(path) as store:
        assert store.records() == []


def test_an_empty_file_whose_records_are_beside_it_is_left_alone(path):
    wal = left_open(path, [record("new-1")])
    content = wal.read_bytes()
    path.write_bytes(b"")
    assert "damaged" in said(path)
    with pytest.raises(StoreError, match="damaged"):
        Store(path)
    assert wal.read_bytes() == content


def test_a_store_that_is_not_there_is_neither_read_nor_made(tmp_path):
    for does in (bench.read, check, repair):
        with pytest.raises(StoreError, match=r"There is no store .*none\.sqlite"):
            does(tmp_path / "none.sqlite")
    assert not [*tmp_path.iterdir()]


def test_a_pipe_is_no_store(tmp_path):
    os.mkfifo(tmp_path / "s.sqlite")
    assert "it is not a file" in said(tmp_path / "s.sqlite")


def test_pages_that_lead_in_circles_come_to_an_end(path):
    """Each interior page names one child many times: more leaves than there are pages."""
    content = bytearray(path.read_bytes())
    for start in range(PAGE, len(content), PAGE):
        if content[start] == 5:  # an interior page of the table: after its header, where its children are
            n = int.from_bytes(content[start + 3 : start + 5], "big")
            first = content[start + 12 : start + 14]
            for i in range(n):
                content[start + 12 + 2 * i : start + 14 + 2 * i] = first
    path.write_bytes(content)
    said(path)


def test_a_stranger_who_knows_the_checksum_still_keeps_to_the_types(path):
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        row = db.execute(f"SELECT place, {', '.join(COLUMNS)} FROM records WHERE place = 7").fetchone()
        values = {**dict(zip(("place", *COLUMNS), row, strict=True)), "seconds": "soon"}
        db.execute("UPDATE records SET seconds = 'soon', checksum = ?", (checksum(tuple(values.values())),))
    assert "seconds is 'soon', expected a number or nothing" in said(path)


def test_a_time_that_is_none_is_noticed_before_a_run_reckons_with_it(path):
    with Store(path) as store:
        store.add(record("new-1", asked_at="tomorrow"))
        with pytest.raises(StoreError, match="'tomorrow', which is no time"):
            store.last_asked()
    assert "'tomorrow', which is no time" in check(path).damage
    assert repair(path).records == RECORDS
    assert check(path).ok


def test_of_a_wal_more_than_the_last_transaction_may_not_be_missing(path):
    wal = left_open(path, [record(f"new{i}-1") for i in range(5)])
    content = wal.read_bytes()
    step = len(content) // 5
    last = bytearray(content)
    last[-100] ^= 1
    wal.write_bytes(last)
    assert len(bench.read(path)) == 44  # as after a power cut
    first = bytearray(content)
    first[step // 2] ^= 1
    wal.write_bytes(first)
    assert "pages of its -wal" in said(path)
    with pytest.raises(StoreError, match="pages of its -wal"):
        Store(path)
    assert len(check(path).records) == 45


@pytest.mark.parametrize("share", [0.0, 0.3, 0.77, 1.0])
def test_after_a_power_cut_there_is_what_was_flushed(path, share):
    ends = [0]
    with Store(path) as store:
        for i in range(4):
            store.add(record(f"new{i}-1"))
            ends.append(Path(f"{path}-wal").stat().st_size)
        file, wal = path.read_bytes(), Path(f"{path}-wal").read_bytes()
    at = int(share * len(wal))
    path.write_bytes(file)
    Path(f"{path}-wal").write_bytes(wal[:at])
    flushed = sum(end <= at for end in ends) - 1
    assert [one for one in bench.read(path)["key"] if one.startswith("new")] == [f"new{i}-1" for i in range(flushed)]


# --- what can only be read -----------------------------------------------------------------------------------


@contextlib.contextmanager
def by_somebody_who_may_not_write(folder):
    for file in folder.iterdir():
        file.chmod(0o444)
    folder.chmod(0o555)
    root = os.getuid() == 0
    if root:
        os.setresuid(65534, 65534, 0)
    try:
        yield
    finally:
        if root:
            os.setresuid(0, 0, 0)
        folder.chmod(0o755)


@pytest.fixture
def shelf():
    """A folder that others may enter, which pytest's are not."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        (Path(folder) / "shelf").mkdir()
        yield Path(folder) / "shelf"


@pytest.mark.skipif(not hasattr(os, "setresuid"), reason="as another user: Linux")
@pytest.mark.parametrize("beside", ["nothing", "a wal", "an older layout"])
def test_what_cannot_be_written_can_be_read_and_is_left_alone(shelf, beside):
    path = shelf / "s.sqlite"
    if beside == "an older layout":
        older(path, 4, *RECORDS[:3])
    else:
        with Store(path) as store:
            store.add(*RECORDS[:2])
        left_open(path, RECORDS[2:3]) if beside == "a wal" else Store(path).add(RECORDS[2])
    built_in()  # what it needs is imported by somebody who may
    before = {file.name: file.read_bytes() for file in shelf.iterdir() if not file.name.endswith("-shm")}
    with by_somebody_who_may_not_write(shelf):
        with Store(path, reading=True) as store:
            assert store.records() == RECORDS[:3]
        with pytest.raises(StoreError, match="Cannot open the store"):
            Store(path)
    assert {f.name: f.read_bytes() for f in shelf.iterdir() if not f.name.endswith("-shm")} == before


def test_reading_leaves_a_store_and_its_folder_as_they_were(path, tmp_path):
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert len(bench.read(path)) == 40
    older(tmp_path / "old.sqlite", 4, *RECORDS)
    before |= {"old.sqlite": (tmp_path / "old.sqlite").read_bytes()}
    assert len(bench.read(tmp_path / "old.sqlite")) == 40
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


# --- what is repaired ----------------------------------------------------------------------------------------


def test_a_store_that_is_whole_is_left_as_it_is(path, capsys):
    before = path.read_bytes()
    with pytest.raises(SystemExit) as exit:
        main(["store", "check", str(path)])
    assert exit.value.code == 0
    assert "40 records, whole." in capsys.readouterr().out
    assert repair(path).kept_as is None
    assert path.read_bytes() == before
    assert len([*path.parent.iterdir()]) == 1


def test_a_repair_keeps_what_is_whole_names_what_is_not_and_keeps_the_damaged_file(path, capsys):
    edit(path, "UPDATE records SET psnr_db = 99.5 WHERE image = '12.png'")
    damaged = path.read_bytes()
    with pytest.raises(SystemExit) as exit:
        main(["store", "check", str(path)])
    assert exit.value.code == 1
    told = capsys.readouterr().out
    assert "record 13 is not as it was written" in told
    assert "39 records can be kept." in told
    assert "noisy, denoise 25.0, photos/12.png" in told
    with pytest.raises(SystemExit):
        main(["store", "repair", str(path)])
    told = capsys.readouterr().out
    assert f"39 records kept. The damaged file is {path}.damaged." in told
    assert "1 record cannot be read; `bench run` measures it again." in told
    assert Path(f"{path}.damaged").read_bytes() == damaged
    with Store(path) as store:
        assert store.records() == [one for one in RECORDS if one.image != "12.png"]
        store.add(RECORDS[12])
    assert check(path).ok


def test_each_repair_keeps_its_own_damaged_file(path):
    for n in (39, 38):
        edit(path, f"DELETE FROM records WHERE place = {n}")
        assert len(repair(path).records) == n
    assert {file.name for file in path.parent.iterdir()} == {"s.sqlite", "s.sqlite.damaged", "s.sqlite.damaged-2"}


@pytest.mark.parametrize("page", range(0, 12, 2))
def test_a_page_of_zeros_costs_its_own_records(path, page):
    overwrite(path, page * PAGE, bytes(PAGE))
    assert not check(path).ok
    found = repair(path)
    assert {*found.records} <= {*RECORDS}
    assert len(found.records) >= 28
    assert found.n_lost == 40 - len(found.records)
    assert check(path).ok


def test_records_of_a_damaged_wal_are_found(path):
    wal = left_open(path, [record(f"new{i}-1") for i in range(5)])
    overwrite(wal, 40, b"\xff\xff\xff")
    found = repair(path)
    assert len(found.records) == 45
    assert not wal.exists()
    assert Path(f"{path}.damaged-wal").exists()


def test_of_a_record_that_was_renewed_the_later_version_is_kept(path):
    with Store(path) as store:
        store.renew({RECORDS[5].key: record(RECORDS[5].key, image="5.png", asked_at="2026-11-28T09:00:00+00:00")})
    edit(path, "DELETE FROM totals")
    assert {one.key: one.asked_at for one in repair(path).records}[RECORDS[5].key].startswith("2026")


def test_an_earlier_layout_that_is_damaged_keeps_what_sqlite_finds(tmp_path):
    path = tmp_path / "s.sqlite"
    older(path, 4, *RECORDS)
    edit(path, "UPDATE records SET psnr_db = 'good' WHERE image = '12.png'")
    assert "psnr_db is 'good'" in said(path)
    assert [one.image for one in repair(path).records] == [one.image for one in RECORDS if one.image != "12.png"]
    assert check(path).ok


def test_a_store_at_which_a_run_is_at_work_is_not_repaired(path):
    edit(path, "DELETE FROM records WHERE place = 1")
    pid = os.fork()
    if pid == 0:  # a run in another process, which has the store open
        db = sqlite3.connect(path)
        db.execute("SELECT count(*) FROM records").fetchone()
        os.kill(os.getpid(), 19)
        os._exit(0)
    os.waitpid(pid, os.WUNTRACED)
    try:
        with pytest.raises(StoreError, match="a run is at work on it"):
            repair(path)
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
    assert len(repair(path).records) == 39


@pytest.mark.parametrize("content", [b"date,psnr\n" * 500, b"", b"\0" * 9000])
def test_what_is_no_store_is_not_repaired(tmp_path, content):
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"notes\.txt"):
        repair(path)
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]
