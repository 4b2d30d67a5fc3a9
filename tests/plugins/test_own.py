"""Tasks and metrics of one's own: what their source says, without running it, and the line where it will not do."""

import math
from pathlib import Path

import pytest

import bench.plugins.own as own_room
import bench.plugins.tasks as tasks_room
from bench.errors import RequestError, RestorerError
from bench.level import parts_of
from bench.plugins.installed import Point
from bench.plugins.kinds import kind_of
from bench.plugins.metrics import choose_metric, choose_metrics
from bench.plugins.tasks import choose_task, identity
from bench.task import parse_levels
from bench.tasks import TASKS

HERE = Path(__file__).parent
TASK, METRIC = f"{HERE}/tasks.py:", f"{HERE}/metrics.py:"
GOOD = '''
from bench.degradation import Degradation


class Mine(Degradation):
    """Half of it."""

    name, level, levels, span = "mine", "share", (0.5,), (0, 1)

    def observe(self, clean, level, stream):
        return clean * clean.dtype.type(level)
'''


def own(tmp_path, old="", new="", name="Mine"):
    file = tmp_path / "mine.py"
    file.write_text(GOOD.replace(old, new) if old else GOOD, encoding="utf-8")
    return choose_task(f"{file}:{name}")


def test_a_task_is_read_from_its_source(tmp_path):
    task = own(tmp_path)
    assert (task.name, task.title, task.levels, task.like) == ("mine", "Half of it", (0.5,), ("denoise-blind",))
    assert (task.level.name, task.level.option) == ("share", "level")


def test_built_in_tasks_are_found_by_name():
    assert choose_task("denoise") is TASKS["denoise"]
    with pytest.raises(RequestError, match=r"No task named 'denois'\. Did you mean 'denoise'"):
        choose_task("denois")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"mine", ', '"denoise", ', "the name 'denoise' is a built-in task's"),
        ('"mine", ', '"mi/ne", ', "cannot be asked for"),
        ("(0.5,)", "(1.5,)", "`levels` has 1.5; expected a level: share from 0 to 1"),
        ("(0.5,)", "()", "sets `levels`"),
        ("(0, 1)", "(1, 0)", "sets `span`"),
        ("(0, 1)", "(0, max)", "sets `span`"),
        ("(0, 1)", "((0, 1), (0, 1))", "`span` has 2 parts, and `level` names 1"),
        ("(0, 1)\n", "(0, 1)\n    channels = 2\n", "sets `channels` to 2"),
        ("(0, 1)\n", '(0, 1)\n    like = ("denois",)\n', "'denois', which is no built-in task"),
        ("def observe", "def watch", "has no method `observe"),
        ("level, levels, span = ", "levle, levels, span = ", "must set `level` to a literal"),
        ("class Mine", "class Yours", "No class or function named 'Mine'"),
        ("return", "retrun", "not valid Python"),
    ],
)
def test_what_no_task_declares_is_one_line(tmp_path, old, new, said):
    with pytest.raises(RestorerError) as caught:
        own(tmp_path, old, new)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_named():
    with pytest.raises(RestorerError, match=r"No file nowhere\.py"):
        choose_task("nowhere.py:Mine")


@pytest.mark.parametrize(
    ("task", "text", "levels"),
    [
        ("Photons", "4,30,4", (4.0, 30.0)),
        ("Pair", "0.01/0.0004, 1/0", ("0.01/0.0004", "1/0")),
        ("Word", "box-3,a b", ("box-3", "a b")),
    ],
)
def test_levels_of_one_s_own_are_read(task, text, levels):
    assert parse_levels(choose_task(TASK + task), text) == levels


@pytest.mark.parametrize(
    ("task", "text"), [("Photons", "-4"), ("Photons", "nan"), ("Pair", "0.01"), ("Pair", "2/0"), ("Word", "")]
)
def test_levels_out_of_range_name_the_option_and_what_is_expected(task, text):
    with pytest.raises(RequestError, match=rf"--level {text}: \w+ takes a level"):
        parse_levels(choose_task(TASK + task), text)


@pytest.mark.parametrize(
    ("level", "n", "parts"),
    [
        (4.0, 1, (4.0,)),
        ("0.01/0.5", 2, (0.01, 0.5)),
        ("./k/a.png/2.55", 2, ("./k/a.png", 2.55)),
        ("RGGB", 1, ("RGGB",)),
    ],
)
def test_a_level_comes_apart_as_it_was_put_together(level, n, parts):
    assert parts_of(level, n) == parts


def test_a_task_is_another_when_its_code_or_a_file_that_its_level_names_is(tmp_path):
    first = identity(own(tmp_path), 0.5)
    assert identity(own(tmp_path, "Half of it", "Said otherwise"), 0.5) == first
    assert identity(own(tmp_path, "* clean", "+ clean"), 0.5) != first
    assert identity(TASKS["denoise"], 25.0) == ""


# --- metrics -------------------------------------------------------------------------------------


def test_a_metric_is_read_from_its_decorator():
    metric = choose_metric(METRIC + "mean_error")
    assert (metric.name, metric.title, metric.better) == ("mean_error", "Mean absolute error", "smaller")
    assert (metric.low, metric.high, metric.unit, metric.digits) == (0, math.inf, "gray levels", 2)
    assert choose_metric(METRIC + "as_scored").name == "extremes"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("unmarked", "is not marked as a metric: put @metric"),
        ("which_way", "sets `better` to 'best'; expected a literal such as better=\"larger\""),
        ("unsaid", "must say which figures are better"),
        ("computed", "sets `low` to LOW"),
        ("taken", "the name 'psnr' is a built-in metric's"),
        ("unmraked", "No function named 'unmraked'. Did you mean 'unmarked'?"),
    ],
)
def test_what_is_no_metric_is_one_line(name, said):
    with pytest.raises(RestorerError) as caught:
        choose_metric(f"{HERE}/unmarked.py:{name}")
    assert said in str(caught.value)


def test_psnr_and_ssim_are_measured_anyway_and_others_once():
    found = choose_metrics(["psnr", "gmsd", METRIC + "nan", "gmsd", "ssim"])
    assert [metric.name for metric in found] == ["gmsd", "nan"]
    with pytest.raises(RequestError, match=r"No metric named 'gsmd'\. Did you mean 'gmsd'"):
        choose_metrics(["gsmd"])


def test_two_metrics_of_one_name_are_refused(tmp_path):
    other = tmp_path / "m.py"
    other.write_text('@metric(better="larger")\ndef nan(x, y):\n    return 1.0\n', encoding="utf-8")
    with pytest.raises(RestorerError, match="Two metrics are named 'nan'"):
        choose_metrics([METRIC + "nan", f"{other}:nan"])


@pytest.mark.parametrize(
    ("asked", "kind"),
    [
        ("bm3d", "restorer"),
        ("denoise", "task"),
        ("gmsd", "metric"),
        (TASK + "Photons", "task"),
        (TASK + "Pair", "task"),
        (METRIC + "nan", "metric"),
        (f"{HERE}/unmarked.py:unmarked", "restorer"),
        (f"{HERE}/simple.py:Box", "restorer"),
        ("nowhere.py:Mine", "restorer"),
    ],
)
def test_what_is_checked_is_told_by_its_source(asked, kind):
    assert kind_of(asked) == kind


# --- brought by packages ---------------------------------------------------------------------------


def test_what_packages_bring_is_found_by_name_and_what_is_broken_says_why(monkeypatch):
    points = [
        Point("photons", "tests.plugins.tasks:Photons", "good"),
        Point("other", "tests.plugins.tasks:Pair", "misnamed"),
        Point("gone", "tests.plugins.nowhere:Gone", "gone"),
        Point("denoise", "tests.plugins.tasks:Luma", "taken"),
        Point("photons", "tests.plugins.tasks:Photons", "again"),
    ]
    monkeypatch.setattr(own_room, "brought", lambda group: points)
    found = own_room.installed("bench.tasks", lambda task: task.name, tasks_room._read)
    assert [*found] == ["denoise", "gone", "other", "photons"]
    said = {name: str(one) for name, one in found.items() if isinstance(one, RestorerError)}
    assert "its entry point says 'other'" in said["other"]
    assert "there is no module tests.plugins.nowhere" in said["gone"]
    assert "its entry point says 'denoise'" in said["denoise"]
    assert "two packages bring it" in said["photons"]
    points.pop()
    monkeypatch.setattr(
        tasks_room, "installed_tasks", lambda: own_room.installed("", lambda t: t.name, tasks_room._read)
    )
    assert choose_task("photons").place.module == "tests.plugins.tasks"
    with pytest.raises(RestorerError, match="gone of gone cannot be used"):
        choose_task("gone")
