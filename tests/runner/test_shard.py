"""Parts of a plan: disjoint, all there is, of equal length, the same on every machine."""

import numpy as np
import pytest

import bench
from bench.errors import RequestError
from bench.runner import pace
from bench.runner.pace import expected_seconds
from bench.runner.plan import make_plan
from bench.runner.request import make_request
from bench.runner.shard import Shard, cuts, fingerprint, parse_shard


def parts_of(seconds, makers, count):
    cells = range(len(seconds))
    return [[*Shard(number, count).of(cells, seconds, makers)] for number in range(1, count + 1)]


@pytest.mark.parametrize("count", [1, 2, 3, 8, 40])
def test_parts_are_disjoint_and_all_there_is_in_the_plans_order(count):
    seconds = [*np.random.default_rng(0).lognormal(sigma=2, size=40)]
    parts = parts_of(seconds, ["one"] * 40, count)
    assert [cell for part in parts for cell in part] == [*range(40)]
    assert all(parts)


def test_parts_take_equally_long_to_a_cell():
    seconds = [*np.random.default_rng(1).uniform(0.5, 1.5, size=1000)]
    sums = [sum(seconds[cell] for cell in part) for part in parts_of(seconds, ["one"] * 1000, 8)]
    assert max(sums) - min(sums) < 1.5


def test_a_cell_longer_than_a_share_is_a_part_of_its_own():
    assert parts_of([100, 1, 1, 1], "abcd", 4) == [[0], [1], [2], [3]]
    assert parts_of([1, 1, 1, 100], "abcd", 2) == [[0, 1, 2], [3]]


def test_a_restorer_stays_together_where_that_costs_no_balance():
    makers = ["slow"] * 101 + ["quick"] * 99
    assert cuts([1.0] * 200, makers, 2) == [0, 101, 200]
    assert cuts([1.0] * 200, ["slow"] * 120 + ["quick"] * 80, 2) == [0, 100, 200]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("0/8", r"--shard 0/8: expected 1/8 to 8/8; parts are counted from 1\."),
        ("9/8", r"--shard 9/8: expected 1/8 to 8/8"),
        ("3", r"--shard 3: expected a part of a number of parts up to 10000, e\.g\. 3/8\."),
        ("1/0", "e.g. 3/8"),
        ("3/8/9", "e.g. 3/8"),
        ("-1/8", "e.g. 3/8"),
        ("1/99999", "up to 10000"),
        ("٣/٨", "e.g. 3/8"),
    ],
)
def test_what_is_no_part_is_named(text, says):
    with pytest.raises(RequestError, match=says):
        parse_shard(text)


def test_a_part_is_read_with_spaces():
    assert parse_shard(" 3 / 8 ") == Shard(3, 8)


# --- of a plan ---------------------------------------------------------------------------------------------


def plan_of(photos, shard="", methods="noisy,tv", **words):
    return make_plan(make_request(methods, datasets=photos, levels={"sigma": [15, 25]}, shard=shard, **words))


def test_the_parts_of_a_plan_are_all_its_cells_with_their_keys_and_labels(photos):
    whole = [(cell.key, cell.label) for cell in plan_of(photos).cells]
    parts = [plan_of(photos, f"{number}/5") for number in range(1, 6)]
    assert [(cell.key, cell.label) for plan in parts for cell in plan.cells] == whole
    assert all(plan.cells for plan in parts)


def test_a_part_says_which_it_is_and_of_what_plan(photos):
    notes = [plan_of(photos, f"{number}/2").notes[-1] for number in (1, 2)]
    assert notes[0].startswith("shard 1/2: 6 of 12 cells, about ")
    plans = {note.rpartition("plan ")[2] for note in notes}
    assert len(plans) == 1
    assert len(plans.pop()) == 8


def test_a_fingerprint_is_of_what_is_measured_and_not_of_where(photos, tmp_path):
    here = fingerprint(plan_of(photos).cells)
    moved = (tmp_path / "elsewhere").resolve()
    moved.mkdir()
    photos.rename(moved / "photos")
    assert fingerprint(plan_of(moved / "photos", threads=3).cells) == here
    assert fingerprint(plan_of(moved / "photos", methods="noisy").cells) != here
    (moved / "photos" / "1.png").unlink()
    assert fingerprint(plan_of(moved / "photos").cells) != here


def test_more_parts_than_cells_are_refused_on_every_machine(photos):
    for shard in ("1/13", "13/13"):
        with pytest.raises(RequestError, match=f"--shard {shard}: there are 12 cells, which make no 13 parts"):
            plan_of(photos, shard)


# --- how long cells take -----------------------------------------------------------------------------------


def test_the_reference_says_how_long_a_pixel_takes(photos):
    seconds = {}
    for cell, of_cell in zip(cells := plan_of(photos, jobs=2).cells, expected_seconds(cells, None), strict=True):
        seconds.setdefault((cell.spec.name, cell.entry.name), of_cell)
    assert seconds["tv", "1.png"] > seconds["noisy", "1.png"] >= pace.BESIDE
    assert (seconds["tv", "1.png"] - pace.BESIDE) / (seconds["tv", "3.png"] - pace.BESIDE) == pytest.approx(
        24 * 32 / (17 * 19)
    )


def test_a_restorer_that_the_reference_lacks_is_taken_for_a_middling_one(photos, tmp_path):
    (tmp_path / "mine.py").write_text(
        "from bench.restorer import Restorer\n"
        "class Mine(Restorer):\n"
        "    name, tasks = 'mine', {'denoise'}\n"
        "    def restore(self, seen):\n"
        "        return seen.image\n"
    )
    methods = f"noisy,{tmp_path}/mine.py:Mine,groupsc,tv+"
    cells = plan_of(photos, methods=methods, jobs=2).cells
    per_pixel = {}
    for cell, of_cell in zip(cells, expected_seconds(cells, None), strict=True):
        per_pixel[cell.spec.name] = (of_cell - pace.BESIDE) / (cell.entry.width * cell.entry.height)
    assert per_pixel["noisy"] < per_pixel["mine"] < per_pixel["groupsc"]
    assert per_pixel["tv+"] > 7 * per_pixel["noisy"]


def test_without_the_reference_pixels_alone_count(photos, monkeypatch):
    monkeypatch.setattr(pace, "_paces", dict)
    cells = plan_of(photos, jobs=2).cells
    pictures = [(cell.spec.name, cell.entry.name) for cell in cells]
    seconds = dict(zip(pictures, expected_seconds(cells, None), strict=True))
    assert seconds["noisy", "1.png"] == seconds["tv", "1.png"] > seconds["noisy", "3.png"]


# --- put together --------------------------------------------------------------------------------------

OF_THE_RUN = ["seconds", "seconds_spread", "peak_mib", "measured_at", "asked_at"]
"""what two measurements of a cell do not share"""


def in_parts(count, tmp_path, methods, **words):
    """The records of one run, and those of its parts, merged."""
    whole = tmp_path / "whole.sqlite"
    stores = [tmp_path / f"part-{number}.sqlite" for number in range(1, count + 1)]
    bench.run(methods, **words, store=whole)
    for number, store in enumerate(stores, start=1):
        bench.run(methods, **words, shard=f"{number}/{count}", store=store)
    merged = bench.merge(stores, tmp_path / "merged.sqlite")
    assert merged.ok
    assert all(source.n == source.n_new > 0 for source in merged.sources)
    return (bench.read(store).sort_values("key", ignore_index=True) for store in (whole, merged.into))


def test_the_parts_of_a_run_merged_are_the_run(photos, tmp_path):
    whole, merged = in_parts(2, tmp_path, "noisy", datasets=photos, sigma=[15, 25], jobs=2)
    assert len(whole) == 6
    assert merged.drop(columns=OF_THE_RUN).equals(whole.drop(columns=OF_THE_RUN))


@pytest.mark.slow
def test_eight_parts_of_a_run_merged_are_the_run_and_nothing_is_left_to_measure(tmp_path):
    words = {"datasets": "set12", "sigma": "15,25", "jobs": 2}
    methods = "noisy,bm3d,tv,wavelet"
    whole, merged = in_parts(8, tmp_path, methods, **words)
    assert len(whole) == 96
    assert merged.drop(columns=OF_THE_RUN).equals(whole.drop(columns=OF_THE_RUN))
    assert bench.table(tmp_path / "merged.sqlite", rows=methods, metrics="psnr,ssim") == bench.table(
        tmp_path / "whole.sqlite", rows=methods, metrics="psnr,ssim"
    )
    assert bench.run(methods, **words, store=tmp_path / "merged.sqlite").n_measured == 0
