"""What a record holds of metrics that were asked for beside PSNR and SSIM, and what becomes of it in a frame."""

import math

import pytest

from bench.errors import StoreError
from bench.records.figures import RESERVED, Figure, as_text, figures_in, metrics_of
from bench.records.record import COLUMNS, Record, frame_of


def record(metrics="", **words):
    words = {"key": "k", "image": "01.png", **words}
    return Record(
        "bm3d",
        "",
        "denoise",
        25.0,
        1,
        "set12",
        protocol="standard-v1",
        repeat=0,
        status="ok",
        metrics=metrics,
        **words,
    )


GMSD = Figure(0.031, "1", "smaller")


@pytest.mark.parametrize("value", [0.1 + 0.2, math.inf, -math.inf, None, 3])
def test_figures_are_read_back_as_they_were_written(value):
    figures = {"gmsd": GMSD, "mine": Figure(value, "ab12", "larger", "dB", 2)}
    assert figures_in(as_text(figures)) == figures


def test_no_figures_are_no_text():
    assert as_text({}) == ""
    assert figures_in("") == {}


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "[]",
        "[1]",
        '{"a": 1}',
        '{"a": {"value": 1}}',
        '{"a": {"value": "1", "identity": "1", "better": "larger"}}',
        '{"a": {"value": true, "identity": "1", "better": "larger"}}',
        '{"a": {"value": NaN, "identity": "1", "better": "larger"}}',
        '{"a": {"value": 1, "identity": 1, "better": "larger"}}',
        '{"a": {"value": 1, "identity": "1", "better": "larger", "digits": 1e9}}',
        '{"a": {"value": 1, "identity": "1", "better": "larger", "more": 1}}',
        "[" * 100_000,
    ],
    ids=range(12),
)
def test_what_holds_no_figures_is_named(text):
    with pytest.raises(StoreError, match="these are no figures"):
        figures_in(text)


def test_no_metric_stands_in_the_place_of_a_record_s_column():
    assert {*COLUMNS} < RESERVED
    forged = as_text({"psnr_db": Figure(99.0, "1", "larger"), "gmsd": GMSD})
    frame = frame_of([record(forged, psnr_db=30.0)])
    assert [*frame.columns] == [*COLUMNS, "gmsd"]
    assert frame["psnr_db"].tolist() == [30.0]


def test_a_frame_has_a_column_for_each_metric_and_the_others_of_a_record_alone():
    frame = frame_of([record(as_text({"gmsd": GMSD})), record()])
    assert [*frame.columns] == [*COLUMNS, "gmsd"]
    assert frame["gmsd"].fillna(-1).tolist() == [0.031, -1]
    assert metrics_of(frame) == {"gmsd": Figure(None, "1", "smaller")}


def test_figures_of_two_versions_of_a_metric_are_never_in_one_column():
    old, new = (as_text({"mine": Figure(value, code, "larger")}) for value, code in ((1.0, "a"), (2.0, "b")))
    frame = frame_of(
        [record(new, asked_at="2026-11-28T10:00:00+00:00"), record(old, asked_at="2026-11-27T10:00:00+00:00")]
    )
    assert frame["mine"].fillna(-1).tolist() == [2.0, -1]
    frame = frame_of(
        [record(new, asked_at="2026-11-28T10:00:00+00:00"), record(old, asked_at="2026-11-29T10:00:00+00:00")]
    )
    assert frame["mine"].fillna(-1).tolist() == [-1, 1.0]
