"""Tasks and metrics of one's own, run: what they do wrong costs their own cell or figure, and says so in one line."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import bench
from bench.errors import DataError, RequestError
from bench.plugins.metrics import choose_metric
from bench.plugins.tasks import choose_task
from bench.records.figures import figures_in
from bench.records.store import Store
from bench.runner.outsiders import Outsiders
from bench.runner.worker import Limits
from tests.runner.guests import stay_here

PLUGINS = Path(__file__).parents[1] / "plugins"
TASK, METRIC = f"{PLUGINS}/tasks.py:", f"{PLUGINS}/metrics.py:"
IMAGE = np.random.RandomState(0).uniform(size=(12, 15, 3)).astype(np.float32)


@pytest.fixture
def outsiders(monkeypatch):
    """Those of this process."""
    stay_here(monkeypatch)
    with Outsiders(Limits()) as those:
        yield those


@pytest.fixture(scope="module")
def apart():
    """Each in a process of its own."""
    with Outsiders(Limits(seconds=30)) as those:
        yield those


def degraded(outsiders, name, level=4.0):
    return outsiders.degrade(choose_task(TASK + name), IMAGE, level, (1, 2))


def judged(outsiders, name, restored=None):
    clean = 255 * IMAGE.astype(np.float64)
    return outsiders.judge(choose_metric(METRIC + name), clean if restored is None else restored, clean)


def test_a_task_shows_what_it_draws_from_the_seeded_stream(outsiders):
    clean, seen = degraded(outsiders, "Photons")
    expected = (np.random.RandomState((1, 2)).poisson(4.0 * IMAGE) / 4.0).astype(np.float32)
    assert np.array_equal(clean, IMAGE)
    assert np.array_equal(seen.image, expected)
    assert (seen.task, seen.known) == ("photons", {"peak": 4.0})


def test_what_a_task_tells_comes_as_numbers_words_and_arrays(apart):
    _, seen = degraded(apart, "Pair", "0.01/0.0004")
    assert {name: seen.known[name] for name in ("a", "b", "kind")} == {"a": 0.01, "b": 0.0004, "kind": "pair"}
    assert np.array_equal(seen.known["table"], np.eye(3))
    assert seen.sigma == pytest.approx(5.1)


def test_a_level_may_be_a_word(outsiders):
    assert degraded(outsiders, "Word", "box-3")[1].known["called"] == "box-3"


def test_a_task_may_show_a_smaller_picture_if_it_tells_the_scale(outsiders):
    clean, seen = degraded(outsiders, "Half")
    assert (clean.shape, seen.image.shape, seen.restored_shape) == ((12, 14, 3), (6, 7, 3), (12, 14, 3))


def test_a_task_of_one_channel_takes_the_luma(outsiders):
    clean, seen = degraded(outsiders, "Luma")
    assert clean.shape == seen.image.shape == (12, 15, 1)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Changes", "changed the clean picture it was given"),
        ("Doubles", "observe() gave float64, expected float32"),
        ("Cut", "shows 15x11 with 3 channels for a clean one of 15x12 with 3 channels"),
        ("Nan", "540 values of 540 that are not finite"),
        ("TellsTheClean", "tells `peak` as <object "),
        ("Raises", "ValueError: no such thing"),
    ],
)
def test_a_task_that_does_wrong_says_what(outsiders, name, said):
    with pytest.raises(DataError) as caught:
        degraded(outsiders, name)
    assert str(caught.value).startswith(f"the task {choose_task(TASK + name).name}: ")
    assert said in str(caught.value)


def test_a_process_that_died_is_replaced(apart):
    for _ in range(2):
        with pytest.raises(DataError, match="the task dies: the process exited with status 3"):
            degraded(apart, "Dies")


@pytest.mark.parametrize("what", ["task", "metric"])
def test_one_that_hangs_ends_at_the_time_limit(what):
    with Outsiders(Limits(seconds=0.5)) as those, pytest.raises(DataError, match=r"no answer within .* 0\.5 s"):
        degraded(those, "Hangs") if what == "task" else judged(those, "hangs")


def test_a_metric_measures_what_it_is_given(outsiders):
    restored = 255 * IMAGE.astype(np.float64) + 3
    assert judged(outsiders, "mean_error", restored) == pytest.approx(3)


def test_a_metric_may_be_infinite(apart):
    assert judged(apart, "endless") == np.inf


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("array", "answered with array("),
        ("nan", "answered with nan, expected a number"),
        ("raises", "ValueError: no such thing"),
    ],
)
def test_a_metric_that_does_wrong_says_what(outsiders, name, said):
    with pytest.raises(DataError) as caught:
        judged(outsiders, name)
    assert said in str(caught.value)


# --- in a run --------------------------------------------------------------------------------------


def run(photos, methods="noisy", task="denoise", **options):
    options = {"store": photos.parent / "s.sqlite", **options}
    return bench.run(methods, task, photos, **options)


@pytest.fixture
def here(monkeypatch):
    stay_here(monkeypatch)


def test_a_task_and_a_metric_of_one_s_own_go_from_a_file_to_a_table(photos):
    words = {"level": "4,30", "metrics": METRIC + "mean_error", "readings": 1}
    result = run(photos, "noisy,tv", TASK + "Photons", **words)
    frame = result.frame().query("status == 'ok'")
    assert frame["restorer"].tolist() == ["noisy"] * 6
    assert set(frame["level_name"]) == {"peak"}
    assert set(frame["task_plugin"]) == {TASK + "Photons"}
    assert frame["mean_error"].gt(0).all()
    assert frame["reason"].str.contains("shown as denoise-blind").all()
    assert "photons (peak): PSNR in dB / SSIM / mean_error in gray levels (smaller is better)" in result.table()
    assert "skipped: tv does not photons (it does denoise)" in "\n".join(result.remarks())
    assert run(photos, "noisy", TASK + "Photons", **words).n_measured == 0


def test_an_edit_of_a_task_measures_anew(photos, tmp_path, here):
    file = tmp_path / "mine.py"
    source = (PLUGINS / "tasks.py").read_text(encoding="utf-8")
    for content, n in ((source, 3), (f"# said\n{source}", 0), (source.replace("/ level)", "/ level * 1)"), 3)):
        file.write_text(content, encoding="utf-8")
        assert run(photos, "noisy", f"{file}:Photons", level=4).n_measured == n


def test_a_task_that_fails_costs_its_cells_alone(photos, here):
    frame = run(photos, "noisy", f"{TASK}Raises,denoise", level=4).frame()
    assert frame.groupby("task")["status"].unique().map(list).to_dict() == {"denoise": ["ok"], "raises": ["failed"]}


def test_metrics_stand_beside_psnr_and_one_that_fails_costs_itself(photos, here):
    metrics = ["gmsd", METRIC + "mean_error", METRIC + "outside", METRIC + "as_scored", METRIC + "writes"]
    frame = run(photos, metrics=metrics, sigma=25).frame()
    assert (frame["status"] == "ok").all()
    assert frame["gmsd"].between(0, 1).all()
    assert frame["mean_error"].between(10, 25).all()  # 25 sqrt(2 / pi) before clipping
    assert (frame["extremes"] == 1).all()
    assert frame["outside"].isna().all()
    assert frame["reason"].str.contains("no outside: it is 1.7, outside of its range from 0 to 1").all()


def test_a_known_record_that_lacks_a_metric_is_measured_again_and_keeps_all_else(photos, here):
    first = run(photos, sigma=25).records
    result = run(photos, sigma=25, metrics="gmsd")
    assert (result.n_measured, result.n_again, result.n_from_pictures) == (3, 3, 0)
    assert "3 of the store's records lacked a metric, and were measured again for it." in [*result.remarks()]
    for before, after in zip(first, result.records, strict=True):
        assert (after.seconds, after.measured_at, after.key) == (before.seconds, before.measured_at, before.key)
        assert [*figures_in(after.metrics)] == ["gmsd"]
    said = bench.preview("noisy", datasets=photos, sigma=25, metrics="ssim8", store=photos.parent / "s.sqlite")
    assert "3 of them are in the store, and lack a metric." in said
    more = run(photos, sigma=25, metrics=["ssim8", "gmsd"])
    assert all([*figures_in(record.metrics)] == ["gmsd", "ssim8"] for record in more.records)
    assert run(photos, sigma=25, metrics="ssim8").n_measured == 0


@pytest.mark.parametrize(
    ("protocol", "save_float", "n"), [("standard-v1", False, 2), ("groupsc-v1", False, 0), ("groupsc-v1", True, 2)]
)
def test_what_a_record_lacks_comes_from_its_saved_picture_if_that_says_all(photos, here, protocol, save_float, n):
    words = {"sigma": 25, "protocol": protocol, "save": photos.parent / "saved"}
    first = run(photos, **words, save_float=save_float, metrics="gmsd")
    with Store(photos.parent / "s.sqlite") as store:
        store.add(*(replace(record, metrics="") for record in store.records()))
    suffix = "npy" if save_float else "png"
    spoilt = min((photos.parent / "saved").rglob(f"noisy-*.{suffix}"))
    spoilt.write_bytes(max((photos.parent / "saved").rglob(f"noisy-*.{suffix}")).read_bytes())
    result = run(photos, **words, metrics="gmsd")
    assert (result.n_from_pictures, result.n_again) == (n, 3 - n)
    assert result.frame()["gmsd"].tolist() == first.frame()["gmsd"].tolist()


def test_a_metric_may_not_be_named_as_a_column(photos, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text('@metric(better="larger")\ndef seconds(x, y):\n    return 1.0\n', encoding="utf-8")
    with pytest.raises(RequestError, match="records have a column 'seconds'"):
        run(photos, metrics=f"{file}:seconds")


def test_a_metric_whose_code_changed_is_measured_again(photos, tmp_path, here):
    file = tmp_path / "mine.py"
    source = (PLUGINS / "metrics.py").read_text(encoding="utf-8")
    for content, n in ((source, 3), (f"# said\n{source}", 0), (source.replace(".mean()", ".max()"), 3)):
        file.write_text(content, encoding="utf-8")
        assert run(photos, sigma=25, metrics=f"{file}:mean_error").n_measured == n
    with Store(photos.parent / "s.sqlite", reading=True) as store:
        assert len(store.records()) == 3
