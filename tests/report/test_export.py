"""Records as files: every figure to the last digit, and infinite told from missing."""

import json
import math

import pandas as pd
import pytest

from bench.records.record import frame_of
from bench.report.export import write
from tests.report.test_table import record

PSNR_DB = [math.inf, None, 30.123456789012344]


def frame():
    return frame_of(record(f'{i} "é\n.png', psnr_db, ssim=None) for i, psnr_db in enumerate(PSNR_DB))


def written(tmp_path, format):
    write(frame(), format, tmp_path / f"records.{format}")
    return tmp_path / f"records.{format}"


def test_json_lines_keep_infinite_missing_and_every_digit(tmp_path):
    rows = [json.loads(line) for line in written(tmp_path, "jsonl").read_text("utf-8").splitlines()]
    assert [row["psnr_db"] for row in rows] == PSNR_DB
    assert [row["image"] for row in rows] == [*frame()["image"]]
    assert [*rows[0]] == [*frame().columns]
    assert rows[0]["ssim"] is None


def test_json_lines_are_json(tmp_path):
    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    for line in written(tmp_path, "jsonl").read_text("utf-8").splitlines():
        json.loads(line, parse_constant=refuse)


def test_no_word_is_taken_for_a_number(tmp_path):
    write(frame_of([record("Infinity", restorer="NaN")]), "jsonl", tmp_path / "r.jsonl")
    row = json.loads((tmp_path / "r.jsonl").read_text("utf-8"))
    assert (row["image"], row["restorer"]) == ("Infinity", "NaN")


@pytest.mark.parametrize("format", ["csv", "jsonl", "parquet"])
def test_pandas_reads_them_back(tmp_path, format):
    if format == "parquet":
        pytest.importorskip("pyarrow")
    read = {"csv": pd.read_csv, "jsonl": lambda file: pd.read_json(file, lines=True), "parquet": pd.read_parquet}
    psnr_db = read[format](written(tmp_path, format))["psnr_db"]
    assert psnr_db[0] == math.inf
    assert math.isnan(psnr_db[1])
    assert psnr_db[2] == pytest.approx(PSNR_DB[2], abs=1e-9)
