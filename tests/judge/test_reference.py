"""The reference run: any record is held against it, and what changed is named."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench.errors import RequestError, StoreError
from bench.judge.holding import compare_with_reference
from bench.judge.papers import load, names, read
from bench.judge.reference import (
    complaints,
    folder,
    read_plan,
    read_reference,
    read_verdicts,
    write,
    write_verdicts,
)
from bench.judge.verdict import compare
from bench.records.current import left_out
from bench.records.files import read_records
from bench.records.record import Record, frame_of
from bench.report import comparing
from bench.runner.request import make_request

HERE = json.dumps({"cpu": "x", "system": "Linux", "torch": "2", "numpy": "2", "python": "3"})
ELSEWHERE = json.dumps({"cpu": "y", "system": "Darwin", "torch": "2", "numpy": "2", "python": "3"})


def records(environment=HERE, **changes):
    """Three restorers on four images; `changes` of fields, by restorer."""
    return frame_of(
        Record(
            **{
                "restorer": name,
                "weights": "published:a.mat" if name == "dncnn" else "",
                "task": "denoise",
                "level": 25.0,
                "channels": 1,
                "dataset": "photos",
                "image": f"{i}.png",
                "protocol": "standard-v1",
                "repeat": 0,
                "status": "ok",
                "psnr_db": 30.0 + i / 7,
                "ssim": 0.8 + i / 70,
                "seconds": 1.0,
                "params": 1000 if name == "dncnn" else 0,
                "input_sha256": f"{i:064d}",
                "weights_sha256": "a" * 64 if name == "dncnn" else "",
                "restorer_version": "1",
                "environment": environment,
                "key": f"{name}{i}-t",
                **changes.get(name, {}),
            }
        )
        for name in ("noisy", "bm3d", "dncnn")
        for i in range(4)
    )


NAN, INF = float("nan"), float("inf")


@pytest.fixture
def reference(tmp_path, monkeypatch):
    """The records as read back from a committed reference."""
    for module in ("reference", "holding"):
        monkeypatch.setattr(f"bench.judge.{module}.folder", lambda: tmp_path)
    monkeypatch.setattr(comparing, "folder", lambda: tmp_path)
    write(records(), tmp_path)
    return read_records(tmp_path / "records.csv")


def test_what_is_measured_anew_replaces_its_records_and_the_rest_stays(reference, tmp_path):
    again = records(ELSEWHERE, bm3d={"psnr_db": 31.0})
    comparing.write_reference(again[(again["restorer"] == "bm3d") & (again["image"] == "2.png")])
    both = read_reference(tmp_path)
    assert len(both) == len(reference)
    anew = (both["restorer"] == "bm3d") & (both["image"] == "2.png")
    assert both[anew]["psnr_db"].tolist() == [31.0]
    assert both[anew]["environment"].tolist() == [ELSEWHERE]
    assert (both[~anew]["environment"] == HERE).all()
    pd.testing.assert_series_equal(both["psnr_db"][~anew], reference["psnr_db"][~anew])


@pytest.mark.parametrize("change", [{"weights_sha256": "b" * 64}, {"restorer_version": "2"}])
def test_what_other_weights_or_another_version_gave_goes(reference, tmp_path, change):
    again = records(dncnn=change)
    comparing.write_reference(again[(again["restorer"] == "dncnn") & (again["image"] == "2.png")])
    both = read_reference(tmp_path)
    assert both[both["restorer"] == "dncnn"]["image"].tolist() == ["2.png"]
    assert len(both) == len(reference) - 3


def test_another_file_of_the_same_origin_replaces_the_one_before_at_its_level_alone(reference, tmp_path):
    own = {"weights": "published:b.mat", "weights_sha256": "b" * 64}
    comparing.write_reference(records(dncnn=own)[lambda frame: frame["image"] == "2.png"])
    both = read_reference(tmp_path)
    assert both[both["restorer"] == "dncnn"]["weights"].tolist() == ["published:b.mat"]
    comparing.write_reference(records(dncnn={**own, "weights": "ours:c", "level": 50.0}))
    assert set(read_reference(tmp_path)["weights"]) == {"", "published:b.mat", "ours:c"}


GPU = json.dumps({**json.loads(HERE), "cores": "16", "gpu": "NVIDIA H200"})
OTHER_GPU = json.dumps({**json.loads(HERE), "cores": "16", "gpu": "NVIDIA H100"})


def on_gpu(environment=GPU, **changes):
    """What the same restorers give on a GPU, a hundred times as fast."""
    frame = records(environment, **changes)
    seconds = frame["seconds"] / 100
    return frame.assign(device="cuda", key="gpu-" + frame["key"], seconds=seconds, device_seconds=seconds / 2)


def test_what_a_gpu_gave_is_kept_beside_the_cpus_records_which_stay_as_they_were(reference, tmp_path):
    before = (tmp_path / "records.csv").read_text().splitlines()
    comparing.write_reference(on_gpu(dncnn={"restorer_version": "2", "weights_sha256": "b" * 64}))
    after = (tmp_path / "records.csv").read_text().splitlines()
    assert [line for line in after if ",cuda," not in line] == before
    both = read_reference(tmp_path)
    assert both[both["device"] == "cuda"]["device_seconds"].tolist() == [0.005] * 12
    assert set(both[both["device"] == "cuda"]["environment"]) == {GPU}


def test_on_a_gpu_too_what_is_measured_anew_replaces_its_records_alone(reference, tmp_path):
    for environment in (GPU, OTHER_GPU):
        comparing.write_reference(on_gpu(environment))
    comparing.write_reference(on_gpu(dncnn={"psnr_db": 31.0}))
    both = read_reference(tmp_path)
    assert len(both) == 36
    anew = both["psnr_db"] == 31.0
    assert set(both[anew]["environment"]) == {GPU}
    assert both[anew]["restorer"].tolist() == ["dncnn"] * 4


def test_times_of_two_devices_are_not_held_against_each_other(reference):
    slow = on_gpu(dncnn={"seconds": 900.0})
    held = compare_with_reference(slow, reference, time_band=1.5)
    assert not held.complaints
    assert [row[-1] for row in held.rows] == ["–"] * 3
    assert held.rows[0][2] == "denoise 25 photos, NVIDIA H200 against cpu"
    assert (held.n_compared, held.n_across) == (12, 12)
    assert "all as in it; 12 of another device are held against the CPU's" in held.summary


def test_how_far_a_gpus_answers_are_from_the_cpus_is_told(reference):
    far = records(GPU)["psnr_db"].iloc[:4].to_numpy() + 0.006
    frame = on_gpu()
    frame.loc[frame["restorer"] == "dncnn", "psnr_db"] = far
    (complaint,) = compare_with_reference(frame, reference).complaints
    assert complaint.startswith(
        "dncnn (published:a.mat), denoise 25 on photos, NVIDIA H200 against cpu: psnr_db differs on 4 of 4 images"
    )
    frame["environment"] = frame["environment"].str.replace('"x"', '"y"')  # the host's own platform matters not
    assert len(compare_with_reference(frame, reference).complaints) == 1


def test_a_gpu_that_the_reference_has_is_held_against_itself(reference, tmp_path):
    # a card that is 0.01 dB from the CPU, and was so in the reference
    shifted = {name: {"psnr_db": 30.01} for name in ("noisy", "bm3d", "dncnn")}
    comparing.write_reference(on_gpu(**shifted))
    reference = read_reference(tmp_path)
    held = compare_with_reference(
        pd.concat([records(), on_gpu(**shifted)], ignore_index=True), reference, time_band=1.5
    )
    assert (held.n_compared, held.n_across, held.complaints) == (24, 0, ())
    assert compare_with_reference(on_gpu(OTHER_GPU), reference).n_across == 12


def test_a_restorer_grown_slow_on_a_gpu_is_told_from_a_slow_cpu(reference, tmp_path):
    long = on_gpu(**{name: {"seconds": 100.0} for name in ("noisy", "bm3d", "dncnn")})
    comparing.write_reference(long)
    slow_on_gpu = long["seconds"].where(long["restorer"] != "dncnn", 3 * long["seconds"])
    both = pd.concat([records().assign(seconds=4.0), long.assign(seconds=slow_on_gpu)], ignore_index=True)
    (complaint,) = compare_with_reference(both, read_reference(tmp_path), time_band=1.5).complaints
    assert complaint == (
        "dncnn, denoise 25 photos, NVIDIA H200: 3.00 times as slow as in the reference, beside the others"
    )


def test_a_reference_without_the_columns_that_came_later_is_read(reference, tmp_path):
    path = tmp_path / "records.csv"
    as_text = pd.read_csv(path, dtype=str, keep_default_na=False)
    as_text.drop(columns="device_seconds").to_csv(path, index=False)
    old = read_records(path)
    assert old["device_seconds"].isna().all()
    assert set(old["environment"]) == {HERE}
    assert not compare_with_reference(records(), old).complaints


def test_other_weights_are_named(reference):
    held = compare_with_reference(records(dncnn={"weights_sha256": "b" * 64}), reference)
    assert held.complaints == (
        "dncnn (published:a.mat), denoise 25 on photos: the weights' sha256 is bbbbbbbb…, the reference's aaaaaaaa…",
    )


def test_a_run_agrees_with_itself(reference):
    held = compare_with_reference(records(), reference)
    assert (held.n_compared, held.complaints, held.n_new) == (12, (), 0)
    assert [row[-1] for row in held.rows] == ["1.00"] * 3


def test_levels_and_empty_weights_come_back_from_the_file(reference):
    assert set(reference["level"]) == {25.0}
    assert set(reference["weights"]) == {"", "published:a.mat"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            {"psnr_db": 30.01},
            "psnr_db differs on 4 of 4 images by more than 0.005 dB, most on 3.png: 30.0100, reference 30.4286"
            " (-0.4186)",
        ),
        (
            {"ssim": 0.8},
            "ssim differs on 3 of 4 images by more than 0.0005, most on 3.png: 0.8000, reference 0.8429 (-0.0429)",
        ),
        ({"params": 1001}, "1001 parameters, the reference has 1000"),
        (
            {"input_sha256": "f" * 64},
            "the degraded pixels are others on 4 of 4 images, 0.png among them: the noise, its seed, the degradation"
            " or the data changed",
        ),
        ({"status": "failed", "reason": "it broke"}, "4 of 4 images failed, 0.png among them: it broke"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_changed_is_named_once_and_nothing_else(reference, change, says):
    held = compare_with_reference(records(dncnn=change), reference)
    assert (held.n_compared, held.n_new) == (12, 0)
    assert held.complaints == (f"dncnn (published:a.mat), denoise 25 on photos: {says}",)


@pytest.mark.parametrize("metric", ["psnr_db", "ssim"])
@pytest.mark.parametrize(("mine", "theirs"), [(NAN, 0.5), (0.5, NAN), (INF, 0.5), (0.5, INF)])
def test_a_figure_that_one_side_lacks_or_that_only_one_has_infinite_is_told(reference, metric, mine, theirs):
    now = records()
    now[metric], reference[metric] = mine, theirs
    held = compare_with_reference(now, reference)
    assert len(held.complaints) == 3
    assert all(f"{metric} differs on 4 of 4 images" in text for text in held.complaints)


@pytest.mark.parametrize("figure", [NAN, INF])
def test_two_that_are_infinite_or_missing_alike_are_equal(reference, figure):
    now = records()
    now["psnr_db"] = reference["psnr_db"] = figure
    held = compare_with_reference(now, reference)
    assert not held.complaints
    assert {row[4] for row in held.rows} == {"+0.0000"}


@pytest.mark.parametrize(
    ("metric", "within", "beyond"), [("psnr_db", 0.0049, 0.0051), ("ssim", 0.00049, 0.00051)], ids=["psnr", "ssim"]
)
@pytest.mark.parametrize("sign", [1, -1])
def test_a_figure_may_differ_by_as_much_as_the_limit_and_no_more(reference, metric, within, beyond, sign):
    def complaints_at(change):
        changed = records()
        changed.loc[5, metric] += sign * change  # bm3d on 1.png
        return compare_with_reference(changed, reference).complaints

    assert not complaints_at(within)
    (complaint,) = complaints_at(beyond)
    assert f"bm3d, denoise 25 on photos: {metric} differs on 1 of 4 images" in complaint
    assert "most on 1.png" in complaint


def test_on_another_platform_last_digits_may_differ(reference):
    change = {"psnr_db": 30.0 + 0.015, "input_sha256": "f" * 64}
    frame = records(dncnn=change)
    frame.loc[frame["restorer"] == "dncnn", "psnr_db"] = reference["psnr_db"].iloc[:4].to_numpy() + 0.015
    assert len(compare_with_reference(frame, reference).complaints) == 2
    frame["environment"] = ELSEWHERE
    assert not compare_with_reference(frame, reference).complaints


def test_a_restorer_grown_slow_beside_the_others_is_told_and_on_request_complained_of(reference):
    slow = records(**{name: {"seconds": 3.0} for name in ("noisy", "bm3d")}, dncnn={"seconds": 6.0})
    assert not compare_with_reference(slow, reference).complaints
    assert compare_with_reference(slow, reference).rows[-1][-1] == "2.00"
    (complaint,) = compare_with_reference(slow, reference, time_band=1.5).complaints
    assert complaint == "dncnn, denoise 25 photos: 2.00 times as slow as in the reference, beside the others"


def test_of_several_times_of_a_cell_the_least_counts(reference):
    disturbed = records(dncnn={"seconds": 2.0})
    both = pd.concat([disturbed, records(bm3d={"seconds": 9.0})], ignore_index=True)
    assert compare_with_reference(disturbed, reference, time_band=1.5).complaints
    assert not compare_with_reference(both, reference, time_band=1.5).complaints
    assert [row[-1] for row in compare_with_reference(both, reference).rows] == ["1.00"] * 3


@pytest.mark.parametrize("change", [{"key": "other-"}, {"threads": 2}])
def test_times_of_another_version_or_number_of_threads_do_not_count(reference, change):
    slow = records(dncnn={"seconds": 2.0})
    both = pd.concat([records().assign(**change), slow], ignore_index=True)
    assert len(compare_with_reference(both, reference, time_band=1.5).complaints) == 1


def test_untimed_records_have_no_time(reference):
    untimed = records().assign(seconds=np.nan)
    assert {row[-1] for row in compare_with_reference(untimed, reference, time_band=1.5).rows} == {"–"}


def test_cells_that_the_reference_lacks_are_counted_and_those_of_others_ignored(reference):
    held = compare_with_reference(records().assign(dataset="others"), reference)
    assert (held.n_compared, held.n_new) == (0, 12)
    assert "nothing was compared, which counts as failure" in held.summary


def test_fewer_cells_than_expected_are_a_failure(reference):
    text, ok = comparing.against_reference(records(), at_least=13)
    assert not ok
    assert "FAILED: 12 cells compared, expected at least 13" in text
    assert comparing.against_reference(records(), at_least=12)[1]


def test_a_file_of_something_else_is_refused(tmp_path):
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    with pytest.raises(StoreError, match="it has no column 'channels'"):
        read_records(tmp_path / "x.csv")


def test_the_readme_shows_the_verdicts_of_the_committed_run():
    """The table is what `bench compare --paper all --store results/reference/records.csv` prints last."""
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    shown = readme.partition("<!-- verdicts -->\n")[2].partition("<!-- end -->")[0]
    records = read_records(folder() / "records.csv")
    assert shown.strip() == comparing.summary_table([compare(load(name), records) for name in names()])


# --- the plan ------------------------------------------------------------------------------------------


def test_a_run_may_have_fewer_pictures_in_ci(tmp_path):
    path = tmp_path / "plan.toml"
    path.write_text('[[run]]\nmethods = "noisy"\nquick = true\nquick_limit = 2\n')
    assert [run.get("limit") for quick in (True, False) for run in read_plan(path, quick=quick)] == [2, None]
    path.write_text('[[run]]\nmethods = "noisy"\nquick_limit = 0\n')
    with pytest.raises(RequestError, match="quick_limit is 0, expected a whole number of at least 1"):
        read_plan(path)


def test_a_plan_of_nothing_quick_is_an_error(tmp_path):
    (tmp_path / "plan.toml").write_text('[[run]]\nmethods = "noisy"\n')
    assert read_plan(tmp_path / "plan.toml") == [{"methods": "noisy", "levels": {}, "timed": True}]
    with pytest.raises(RequestError, match="has no quick run: nothing would be measured"):
        read_plan(tmp_path / "plan.toml", quick=True)


def test_what_ci_holds_to_its_quality_alone_is_timed_when_all_is_measured(tmp_path):
    path = tmp_path / "plan.toml"
    path.write_text('[[run]]\nmethods = "noisy"\nquick = true\n[[run]]\nmethods = "noisy"\nquick = "quality"\n')
    assert [run["timed"] for run in read_plan(path, quick=True)] == [True, False]
    assert [run["timed"] for run in read_plan(path)] == [True, True]


def test_a_plan_is_narrowed_to_some_restorers(tmp_path):
    path = tmp_path / "plan.toml"
    path.write_text('[[run]]\nmethods = "noisy,sc@ours,dncnn:bf16"\n[[run]]\nmethods = "noisy"\n')
    assert [run["methods"] for run in read_plan(path, only=["dncnn:bf16", "sc"])] == ["sc@ours,dncnn:bf16"]
    assert [run["methods"] for run in read_plan(path, only=["noisy"])] == ["noisy", "noisy"]
    with pytest.raises(RequestError, match=r"plan.toml: No restorer named 'nosy'. Did you mean 'noisy'\?"):
        read_plan(path, only=["nosy"])


def test_a_key_that_nobody_knows_is_named(tmp_path):
    (tmp_path / "plan.toml").write_text('[[run]]\nmethod = "noisy"\n')
    with pytest.raises(RequestError, match=r"run 1: No key named 'method'. Did you mean 'methods'\?"):
        read_plan(tmp_path / "plan.toml")


def test_the_committed_plan_can_be_asked_for():
    for quick in (True, False):
        for words in read_plan(folder() / "plan.toml", quick=quick):
            assert words.pop("timed") or quick
            make_request(**words)


# --- verdicts ------------------------------------------------------------------------------------------

PAPER = """
[paper]
title = "T"
authors = "A"
venue = "V"
year = 2000
document = "D"

[[tolerance]]
psnr_db = 0.1
because = "noise"

[[table]]
number = "I"
caption = "C"
protocol = "P"
metric = "psnr_db"
task = "denoise"
channels = 1
dataset = "photos"
columns.level = [25]
rows = [
    { method = "BM3D", id = "bm3d", restorer = "bm3d", values = "30.21" },
    { method = "DnCNN", id = "dncnn", restorer = "dncnn", values = "30.21" },
]
"""


def verdicts(tmp_path, text, frame):
    (tmp_path / "p.toml").write_text(text)
    return compare(read(tmp_path / "p.toml"), frame, images_in=lambda dataset: 4)


def test_a_reproduced_figure_that_is_off_now_or_gone_is_named(tmp_path):
    before = verdicts(tmp_path, PAPER, records())
    write(records(), tmp_path)
    write_verdicts([before], tmp_path)
    recorded = read_verdicts(tmp_path / "verdicts.csv")
    assert list(recorded.values()) == ["reproduced", "reproduced"]
    assert not complaints(before, recorded)

    (complaint,) = complaints(verdicts(tmp_path, PAPER, records(dncnn={"psnr_db": 29.0})), recorded)
    assert complaint.startswith("p, Table I, DnCNN, 25: psnr_db of denoise 25 gray photos was reproduced")
    assert complaint.endswith("is off by -1.21")

    without = PAPER.replace('{ method = "BM3D", id = "bm3d", restorer = "bm3d", values = "30.21" },', "")
    (complaint,) = complaints(verdicts(tmp_path, without, records()), recorded)
    assert "Table I, BM3D" in complaint
    assert complaint.endswith("the paper's file no longer has it")


def test_a_new_level_of_changed_code_leaves_the_verdicts_of_the_others(reference, tmp_path, monkeypatch):
    """Of two devices one code counts, and in a store it is the one last asked for: the reference has no codes."""
    (tmp_path / "p.toml").write_text(PAPER)
    monkeypatch.setattr(comparing, "names", lambda: ["p"])
    monkeypatch.setattr(comparing, "load", lambda name: read(tmp_path / f"{name}.toml"))
    monkeypatch.setattr(comparing, "compare", partial(compare, images_in=lambda dataset: 4))
    changed = {"level": 50.0, "plugin": "bench.methods.bm3d:BM3D", "code_sha256": "c" * 64, "asked_at": "2026-11-28"}
    anew = records(bm3d=changed, noisy={"device": "cuda"})
    comparing.write_reference(anew[anew["restorer"] != "dncnn"])
    assert list(read_verdicts(tmp_path / "verdicts.csv").values()) == ["reproduced", "reproduced"]


def test_cells_that_no_longer_count_beside_another_version_are_told(reference):
    """A table's row is of one version: what was measured of the other one vanishes from the verdicts."""
    levels = pd.concat([records().assign(level=level) for level in (25.0, 50.0)], ignore_index=True)
    assert "do not count" not in comparing.write_reference(levels)
    anew = records(dncnn={"restorer_version": "2", "weights": "published:b.mat", "level": 75.0})
    told = comparing.write_reference(anew).splitlines()[1]
    assert told == (
        "dncnn, denoise: 8 cells do not count beside those of another version (photos 25, photos 50)."
        " Measure them anew: bench reference --only dncnn"
    )
    whole = pd.concat([anew.assign(level=level) for level in (25.0, 50.0)], ignore_index=True)
    assert "do not count" not in comparing.write_reference(whole[whole["restorer"] == "dncnn"])


def test_every_cell_of_the_committed_reference_counts():
    assert left_out(read_reference(folder())).empty


def test_a_figure_that_was_off_in_the_reference_run_is_no_news(tmp_path):
    off = verdicts(tmp_path, PAPER, records(dncnn={"psnr_db": 29.0}))
    write(records(), tmp_path)
    write_verdicts([off], tmp_path)
    assert not complaints(off, read_verdicts(tmp_path / "verdicts.csv"))


def test_a_figure_off_with_a_known_cause_is_counted_and_fails_nothing(tmp_path):
    known = PAPER + '\n[[off]]\nrestorer = "dncnn"\nbecause = "they rounded otherwise"\n'
    frame = records(dncnn={"psnr_db": 29.0})
    assert len(complaints(verdicts(tmp_path, PAPER, frame), {})) == 1
    comparison = verdicts(tmp_path, known, frame)
    assert not complaints(comparison, {})
    assert "1 off (1 explained)" in comparison.summary()
    assert comparison.rows()[1][1][-1] == "they rounded otherwise"
