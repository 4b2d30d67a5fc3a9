"""Every machine shows restorers the pixels that `data/fingerprints.toml` publishes."""

import os

import pytest
from bench.data.datasets import get

from bench.judge.fingerprints import COVERED, compute, differing, published
from bench.level import format_level
from bench.records.record import Record


def record(digest, **figures):
    fields = {"level": 25.0, "protocol": "standard-v1", "repeat": 0} | figures
    return Record("noisy", "", "denoise", fields["level"], 1, "set12", "01.png", fields["protocol"], fields["repeat"],
                  "ok", input_sha256=digest)  # fmt: skip


def test_every_covered_cell_is_published():
    expected = sum(len(get(dataset)) * len(levels) for _, dataset, levels in COVERED)
    assert len(published()) == expected == 864
    assert all(len(digest) == 64 for digest in published().values())
    assert len(set(published().values())) == expected


def test_a_record_of_other_pixels_is_found():
    right = published()["denoise", "set12", "25", "01.png"]
    assert differing([record(right)]) == []
    assert differing([record("0" * 64)]) == [record("0" * 64)]


def test_what_was_not_published_is_not_judged():
    other = [record("0" * 64, level=30.0), record("0" * 64, protocol="kair-v1"), record("0" * 64, repeat=1)]
    assert differing(other) == []


@pytest.mark.slow
@pytest.mark.parametrize(("task", "dataset", "levels"), COVERED, ids=lambda value: str(value)[:14])
def test_this_machine_makes_the_published_pixels(task, dataset, levels):
    if not os.environ.get("BENCH_MIRROR"):
        pytest.skip("BENCH_MIRROR is not set: this test needs the public images")
    for level in levels:
        made = dict(compute(task, get(dataset), level))
        assert made == {image: published()[task, dataset, format_level(level), image] for image in made}
