"""Careless restorers in one run: each costs its own cells; the others, and the store, know nothing of it."""

import pytest

import bench
from tests.conftest import PLUGINS

CARELESS = PLUGINS / "careless.py"
RIGHT = ["Buffer", "Buffer+", "Keeps", "Labelled", "Counted", "CountedByTorch", "ReplacesRandom", "ForksTwice"]
FAILS = {
    "Sharing": "changed the observation it was given (image): it is to work on a copy",
    "OwnArray": "Own, expected a plain NumPy array",
    "CountsLazily": "n_params() gave <generator",
    "Undecided": "why_not() gave False, expected text or None",
    "RaisesItsOwn": "LocalError: made here",
    "RaisesSurrogates": r"ValueError: caf\udce9",
    "Quits": "SystemExit: ",
    "ClosesStderr": "ValueError: its last words",
    "Babbles": "what came through its pipe cannot be read: it begins as no message does",
}


def test_each_costs_its_own_cells_and_no_others(photos, tmp_path):
    (photos / "2.png").unlink()
    methods = [*(f"{CARELESS}:{name}" for name in (*RIGHT, *FAILS)), "noisy"]
    frame = bench.run(methods, datasets=photos, sigma=25, readings=2, store=tmp_path / "s.sqlite").frame()
    noisy = frame[frame["restorer"] == "noisy"]
    assert len(frame) == 2 * (len(RIGHT) + len(FAILS) + 1)
    for name in RIGHT:
        cells = frame[frame["restorer"] == name_of(name)]
        assert cells["status"].tolist() == ["ok", "ok"], cells["reason"].tolist()
        assert cells["psnr_db"].tolist() == pytest.approx(noisy["psnr_db"].tolist(), abs=1e-3)
    for name, reason in FAILS.items():
        cells = frame[frame["restorer"] == name_of(name)]
        assert cells["status"].tolist() == ["failed", "failed"]
        assert cells["reason"].str.contains(reason, regex=False).all(), cells["reason"].tolist()
    assert frame[frame["restorer"].str.startswith("counted")]["params"].tolist() == [7] * 4

    stored = bench.read(tmp_path / "s.sqlite")
    assert sorted(stored["reason"]) == sorted(frame["reason"])
    assert "counted-by-torch" in bench.table(tmp_path / "s.sqlite")


def name_of(name):
    """`raises-much` of `RaisesMuch`."""
    return "".join(f"-{c.lower()}" if c.isupper() else c for c in name).removeprefix("-")


def test_one_that_closes_its_pipe_and_goes_on_is_not_waited_for(photos, tmp_path):
    (photos / "2.png").unlink()
    (photos / "3.png").unlink()
    frame = bench.run(
        [f"{CARELESS}:ClosesEverything", "noisy"], datasets=photos, sigma=25, store=tmp_path / "s"
    ).frame()
    assert frame["status"].tolist() == ["failed", "ok"]
    assert frame["reason"].iloc[0] == "the process closed its pipe, and went on without it"
