"""A record as a row: what goes in comes out, to the last bit, and nothing else."""

import json
import math
import tempfile
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.records.record import COLUMNS, Record
from bench.records.sealed import UnsoundError, checksum, record_of, values_of
from bench.records.store import Store
from tests.records.test_store import record

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
finite = st.floats(allow_nan=False, allow_infinity=False)
whole = st.integers(-(2**63), 2**63 - 1)
OF = {
    "str": texts,
    "float | str": texts | finite,
    "int": whole,
    "int | None": st.none() | whole,
    "float | None": st.none() | finite,
}
records = st.builds(Record, **{field.name: OF[field.type] for field in fields(Record)})


@settings(max_examples=15)
@given(st.lists(records, max_size=4, unique_by=lambda record: record.key))
def test_records_come_back_to_the_last_bit(records):
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "s.sqlite") as store:
        store.add(*records)
        found = {one.key: one for one in store.records()}
        assert {key: json.dumps(vars(one)) for key, one in found.items()} == {
            one.key: json.dumps(vars(one)) for one in records
        }
        assert store.find(found) == found


@pytest.mark.parametrize(
    "other",
    [{"level": "25.0"}, {"level": 25.000000000000004}, {"psnr_db": None}, {"psnr_db": -20.25}, {"image": "1.png "},
     {"reason": "None"}, {"channels": 3}],
    ids=str,
)  # fmt: skip
def test_whatever_differs_has_another_checksum(other):
    row = (1, *values_of(record()))
    assert checksum(row) != checksum((1, *values_of(record(**other))))
    assert checksum(row) != checksum((2, *row[1:]))
    assert checksum(row) == checksum((1, *values_of(record())))


def test_a_checksum_is_the_same_on_every_machine_and_python():
    assert checksum((1, "ü\n", 0.1 + 0.2, None, math.inf, 1e-9, 25, 25.0)) == 8779996377298349822


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"psnr_db": 30}, 30.0),
        ({"psnr_db": np.float32(0.5)}, 0.5),
        ({"psnr_db": np.float64(0.1)}, 0.1),
        ({"psnr_db": math.inf}, math.inf),
        ({"ssim": math.nan}, None),
        ({"params": np.int64(7)}, 7),
        ({"level": 25}, 25.0),
        ({"image": np.str_("a")}, "a"),
    ],
    ids=str,
)
def test_numbers_and_texts_of_other_kinds_are_python_s(given, kept):
    values = dict(zip(COLUMNS, values_of(record(**given)), strict=True))
    (name,) = given
    assert values[name] == kept
    assert type(values[name]) is type(kept)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"psnr_db": "abc"}, "psnr_db is 'abc', expected a number or nothing"),
        ({"psnr_db": -math.inf}, "psnr_db is -inf"),
        ({"ssim": math.inf}, "ssim is inf"),
        ({"level": math.nan}, "level is nan"),
        ({"level": None}, "level is None, expected a number or a text"),
        ({"channels": 1.5}, "channels is 1.5, expected a whole number"),
        ({"params": 2**63}, "params is too large"),
        ({"seconds": 10**400}, "seconds is 1"),
        ({"restorer": None}, "restorer is None, expected a text"),
        ({"reason": b"x"}, "reason is b'x', expected a text"),
    ],
    ids=str,
)
def test_values_that_no_record_has_are_refused(wrong, said):
    with pytest.raises(UnsoundError) as told:
        values_of(record(**wrong))
    assert said in str(told.value)


@pytest.mark.parametrize(
    "wrong", [{"psnr_db": "abc"}, {"psnr_db": 30}, {"ssim": math.inf}, {"level": None}, {"reason": b"x"}], ids=str
)
def test_values_that_no_record_has_are_not_read_either(wrong):
    with pytest.raises(UnsoundError):
        record_of(tuple({**vars(record()), **wrong}.values()))
