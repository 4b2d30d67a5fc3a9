"""Files that `bench export` wrote give the same records again, one after the other; others are named."""

import json
import math

import pytest

import bench
from bench.errors import StoreError
from bench.records.exported import SUFFIXES, exported
from bench.records.figures import Figure, as_text
from bench.records.record import Record
from bench.records.store import Store


def record(key="abc-untimed", **figures):
    told = {"restorer": "noisy", "weights": "", "task": "denoise", "level": 25.0, "channels": 1, "dataset": "photos"}
    told |= {"image": "1.png", "protocol": "standard-v1", "repeat": 0, "status": "ok", "psnr_db": 20.25}
    return Record(**{**told, "key": key, **figures})


RECORDS = [
    record(psnr_db=0.1 + 0.2, ssim=1 / 3, params=0, threads=4, seconds=1e-9, environment='{"cpu": "a, \\"b\\""}'),
    record("b-1", level="RGGB", image="=1+1.png", reason="two\nlines, and 'quotes\"", status="failed", psnr_db=None),
    record("c-1", psnr_db=math.inf, image="NA", level="0.01/0.0004", weights="file:x", peak_mib=3.0),
    record("d-1", metrics=as_text({"gmsd": Figure(0.03, "1", "smaller")}), asked_at="2026-11-28T09:30:00+00:00"),
]


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "s.sqlite") as opened:
        opened.add(*RECORDS)
    return tmp_path / "s.sqlite"


@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
def test_what_was_exported_comes_back_as_it_was(store, tmp_path, suffix):
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    file = tmp_path / f"out{suffix}"
    bench.export(store, suffix[1:], file)
    assert [*exported(file)] == RECORDS


def written(tmp_path, **columns):
    told = {"key": "abc-1", "restorer": "noisy", "weights": "", "task": "denoise", "level": 25, "channels": 1}
    told |= {
        "dataset": "d",
        "image": "1.png",
        "protocol": "standard-v1",
        "repeat": 0,
        "status": "ok",
        "psnr_db": 20.5,
    }
    file = tmp_path / "given.jsonl"
    file.write_text(json.dumps(told | columns), encoding="utf-8")
    return file


def test_columns_that_came_later_are_empty(tmp_path):
    assert [*exported(written(tmp_path))] == [record("abc-1", psnr_db=20.5, dataset="d")]


def test_what_was_never_tried_is_passed_over(tmp_path):
    assert [*exported(written(tmp_path, status="skipped", key=""))] == []


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"key": ""}, "record 1 has no key, which records are known by; files of `bench export` have it"),
        ({"image": None}, "record 1 has no image"),
        ({"psnr_db": "high"}, "record 1: psnr_db is 'high', expected a number or nothing"),
        ({"psnr_db": -math.inf}, "record 1: psnr_db is -inf"),
        ({"psnr_db": True}, "record 1: psnr_db is 'True', expected a number"),
        ({"repeat": 0.5}, "record 1: repeat is 0.5, expected a whole number"),
        ({"params": 1e300}, "record 1: params is too large"),
        ({"restorer": 7}, "record 1: restorer is 7, expected a text"),
        ({"metrics": "?"}, r"record 1: A record's metrics are '\?'"),
        ({"asked_at": "soon"}, "record 1: asked_at is 'soon', expected a time"),
    ],
)
def test_what_is_no_record_is_named(tmp_path, columns, says):
    with pytest.raises(StoreError, match=f"given.jsonl, {says}"):
        [*exported(written(tmp_path, **columns))]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("x.csv", b"key,key\n", "two columns 'key'"),
        ("x.csv", b"key,image\na,b,c\n", "line 2: 3 fields, expected 2"),
        ("x.csv", b"key\n\xff\n", "is no CSV file of records: line"),
        ("x.csv", b'key\n"a\n', "is no CSV file of records: line"),
        ("x.jsonl", b"[]\n", "line 1: it is no object"),
        ("x.jsonl", b"{}\n{\n", "record 1 has no key"),
        ("x.jsonl", b"{\n", "line 1: "),
        ("x.jsonl", b"[" * 100_000, "line 1: "),
        ("x.jsonl", b"\xff", "line 1: "),
        ("x.parquet", b"PAR1 or not", "is no Parquet file of records"),
        ("x.csv", None, "No such file"),
    ],
)
def test_a_file_of_something_else_is_named(tmp_path, name, content, says):
    if name == "x.parquet":
        pytest.importorskip("pyarrow")
    file = tmp_path / name
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(StoreError, match=f"{name}.*{says}"):
        [*exported(file)]
