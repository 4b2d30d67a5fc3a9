"""A record that is measured again for a metric: what of it is kept."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.metric import METRICS
from bench.records.figures import Figure, as_text, figures_in
from bench.records.record import Record
from bench.runner.completing import merged

CELL = Record("dncnn", "", "denoise", 25.0, 1, "set12", "01.png", "standard-v1", 0, "ok", psnr_db=30.0, ssim=0.8)

VIF, GMSD = METRICS["vif"], METRICS["gmsd"]


def text(**values):
    return as_text(
        {name: Figure(value, METRICS[name].identity, METRICS[name].better) for name, value in values.items()}
    )


OLD = replace(CELL, metrics=text(gmsd=0.1), seconds=2.0, reason="shown as denoise-blind; no vif: too small")
AGAIN = replace(OLD, metrics=text(vif=0.5), seconds=9.0, reason="")


def test_times_and_other_metrics_stay():
    got = merged(OLD, AGAIN, [VIF])
    assert {name: figure.value for name, figure in figures_in(got.metrics).items()} == {"gmsd": 0.1, "vif": 0.5}
    assert (got.seconds, got.psnr_db) == (2.0, OLD.psnr_db)


def test_why_there_was_no_figure_is_gone_with_the_figure():
    assert merged(OLD, AGAIN, [VIF]).reason == "shown as denoise-blind"


def test_why_there_is_none_now_is_said():
    failed = replace(AGAIN, metrics=text(vif=None), reason="odd; no vif: it is nan")
    assert merged(OLD, failed, [VIF]).reason == "shown as denoise-blind; no vif: it is nan"


@pytest.mark.parametrize("status", ["failed", "skipped"])
def test_a_good_record_is_not_lost_when_it_cannot_be_measured_again(status):
    failed = replace(
        OLD, status=status, reason="no answer within the time limit", psnr_db=None, ssim=None, metrics=""
    )
    got = merged(OLD, failed, [VIF, GMSD])
    assert (got.status, got.psnr_db, got.seconds) == ("ok", OLD.psnr_db, 2.0)
    assert {name: figure.value for name, figure in figures_in(got.metrics).items()} == {"gmsd": 0.1, "vif": None}
    assert got.reason == "shown as denoise-blind; no vif: no answer within the time limit"


def test_another_answer_is_another_record():
    assert merged(OLD, replace(AGAIN, psnr_db=1.0), [VIF]) == replace(AGAIN, psnr_db=1.0)
