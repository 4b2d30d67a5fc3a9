"""How long a run will take: by the store's times per pixel, else by a try on a small picture."""

from __future__ import annotations

import pytest

from bench.records.record import Record
from bench.records.store import Store
from bench.report.preview import in_hours
from bench.runner import estimate as estimates
from bench.runner.estimate import estimate
from bench.runner.plan import make_plan
from bench.runner.request import make_request
from tests.conftest import BAD

SMALL, ODD = 24 * 32, 17 * 19  # pixels of the photos: two of the first, one of the second


def cells_of(methods, photos, **words):
    return make_plan(make_request(methods, datasets=photos, levels={"sigma": 25}, **words)).cells


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "s.sqlite") as opened:
        yield opened


def tries(monkeypatch, speeds):
    """Has restorers tried at these seconds per pixel; who was tried."""
    asked = []

    def tried(cell):
        asked.append(cell.label)
        return speeds.get(cell.label)

    monkeypatch.setattr(estimates, "_tried", tried)
    return asked


def test_a_slow_call_is_made_once_to_warm_up_and_once_for_its_time(photos, store, monkeypatch):
    tries(monkeypatch, {"noisy": 2 / ODD})
    found = estimate(cells_of("noisy", photos), None, store)
    assert found.seconds == pytest.approx(2 * (3 * SMALL + 2 * ODD) / ODD)  # the second of a shape is warm
    assert (found.n_unknown, found.tried) == (0, ["noisy"])


@pytest.mark.parametrize(
    ("words", "readings", "n_calls"),
    [({}, None, (4 + 3, 4)), ({"readings": 10}, 10, (11 + 10, 11)), ({"jobs": 2}, None, (2, 1))],
)
def test_a_quick_call_is_made_as_often_as_it_is_timed(photos, store, monkeypatch, words, readings, n_calls):
    tries(monkeypatch, {"noisy": 1e-6})
    found = estimate(cells_of("noisy", photos, **words), readings, store)
    assert found.seconds == pytest.approx(1e-6 * (n_calls[0] * SMALL + n_calls[1] * ODD))


def test_who_has_times_in_the_store_is_not_tried_and_who_cannot_be_is_unknown(photos, store, monkeypatch):
    setting = ("denoise", 50.0, 1, "photos", "1.png", "standard-v1", 0)
    store.add(Record("noisy", "", *setting, "ok", seconds=2.0, key="a-b", asked_at="2026-11-28T09:30:00+00:00"))
    asked = tries(monkeypatch, {})
    found = estimate(cells_of("noisy,tv,wavelet", photos), None, store)
    assert asked == ["tv", "wavelet"]
    assert (found.n_unknown, found.tried) == (6, [])
    assert found.seconds == pytest.approx(2.0 * 2 + 2.0 * 1 + 3 * (2.0 * ODD / SMALL))


def test_after_a_while_no_other_is_tried(photos, store, monkeypatch):
    asked = tries(monkeypatch, {"noisy": 1.0, "tv": 1.0})
    monkeypatch.setattr(estimates, "ALL_SECONDS", -1.0)
    assert estimate(cells_of("noisy,tv", photos), None, store).n_unknown == 6
    assert asked == []


def test_a_try_takes_a_time_or_gives_up(photos, store):
    cells = cells_of(f"noisy,{BAD}:Raises", photos)
    found = estimate(cells, None, store)
    assert (found.n_unknown, found.tried) == (3, ["noisy"])
    assert 0 < found.seconds < 1


def test_seconds_are_told_in_what_a_person_counts_in():
    assert [in_hours(seconds) for seconds in (0.2, 99, 150, 5000, 9000)] == [
        "0 s",
        "99 s",
        "2 min",
        "83 min",
        "2.5 h",
    ]
