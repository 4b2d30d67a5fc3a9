"""Records as CSV: what `bench export` wrote comes back, anything else is one line."""

import io

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import bench
from bench.errors import StoreError
from bench.records.files import read_records
from bench.records.record import frame_of
from bench.records.store import Store
from tests.records.test_store import record

RECORDS = [
    record("a-1", restorer="mine", psnr_db=float("inf"), seconds=0.1 + 0.2, params=0, image="NA"),
    record("b-1", restorer="mine", level="RGGB", status="failed", reason='said "no",\nthen left', psnr_db=None),
]
HEADER, FIRST, *_ = frame_of(RECORDS[:1]).to_csv(index=False).splitlines()


def changed(column, value):
    row = pd.read_csv(io.StringIO(f"{HEADER}\n{FIRST}\n"), dtype=str, keep_default_na=False)
    row[column] = value
    return row.to_csv(index=False)


def test_what_export_wrote_comes_back(tmp_path):
    with Store(tmp_path / "s.sqlite") as store:
        store.add(*RECORDS)
    bench.export(tmp_path / "s.sqlite", "csv", tmp_path / "s.csv")
    frame = bench.read(tmp_path / "s.csv").drop(columns="current")
    there = frame.astype(object).where(frame.notna(), None).to_dict("records")
    assert there == [vars(one) for one in RECORDS]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no CSV file of records"),
        (b"\n\n", "no CSV file of records"),
        (b"\xff\xfe\x00", "it is not UTF-8 at byte 0"),
        (f"{HEADER}\n{FIRST}\n".encode().replace(b"photos", b"ph\xe4tos"), "it is not UTF-8 at byte"),
        (f"{HEADER}\n{FIRST}\n".encode().replace(b"photos", b"ph\0tos"), "it has a NUL in line 2"),
        (f"{HEADER},psnr_db\n{FIRST},1\n".encode(), "it has two columns 'psnr_db'"),
        (f"{HEADER}\n{FIRST},1,2\n".encode(), "no CSV file of records"),
        (f"{HEADER}\n{FIRST}\n{FIRST},1\n".encode(), "no CSV file of records"),
        (f'{HEADER}\n{FIRST}\n"{FIRST}'.encode(), "no CSV file of records"),
        (changed("psnr_db", "thirty").encode(), "psnr_db is 'thirty' in record 1, expected a number"),
        (changed("psnr_db", "True").encode(), "psnr_db is 'True' in record 1, expected a number"),
        (changed("psnr_db", "-inf").encode(), "psnr_db is '-inf' in record 1, expected a finite number"),
        (changed("ssim", "inf").encode(), "ssim is 'inf' in record 1, expected a finite number"),
        (changed("channels", "1.5").encode(), "channels is '1.5' in record 1, expected a whole number"),
        (changed("channels", "").encode(), "channels is 'nan' in record 1, expected a number"),
        (changed("params", "9" * 400).encode(), "params is '9"),
    ],
    ids=range(16),
)  # fmt: skip
def test_what_is_no_file_of_records_is_told_in_one_line(tmp_path, content, said):
    path = tmp_path / "s.csv"
    path.write_bytes(content)
    with pytest.raises(StoreError) as told:
        read_records(path)
    assert said in str(told.value)
    assert "s.csv" in str(told.value)
    assert len(str(told.value).splitlines()) == 1
    assert len(str(told.value)) < 500


def test_a_folder_is_no_file_of_records(tmp_path):
    with pytest.raises(StoreError, match="it is not a file"):
        read_records(tmp_path)


@pytest.mark.parametrize("content", ["{", "7", "[" * 100_000])
def test_machines_that_cannot_be_read_are_told(tmp_path, content):
    (tmp_path / "environments.json").write_text(content)
    (tmp_path / "s.csv").write_text(changed("environment", "0"))
    with pytest.raises(StoreError, match=r"environments\.json"):
        read_records(tmp_path / "s.csv")


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, len(f"{HEADER}\n{FIRST}\n")), put=st.binary(max_size=8), cut=st.integers(0, 200))
def test_a_file_that_was_written_over_is_read_or_refused(tmp_path, at, put, cut):
    content = f"{HEADER}\n{FIRST}\n".encode()
    (tmp_path / "s.csv").write_bytes(content[:at] + put + content[at + cut :])
    try:
        read_records(tmp_path / "s.csv")
    except StoreError as error:
        assert "s.csv" in str(error)  # noqa: PT017
