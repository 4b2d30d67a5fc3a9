"""`bench check` of tasks and metrics."""

from pathlib import Path

import pytest

import bench
import bench.runner.trials
from bench.metric import METRICS
from bench.runner.trials import check_metric, check_task
from bench.tasks import TASKS
from tests.runner.guests import GuestHere, stay_here

PLUGINS = Path(__file__).parents[1] / "plugins"


def broken(asked):
    return [str(finding) for finding in bench.check(f"{PLUGINS}/{asked}") if not finding.ok]


@pytest.fixture
def here(monkeypatch):
    stay_here(monkeypatch)
    monkeypatch.setattr(bench.runner.trials, "Outsider", GuestHere)


@pytest.mark.parametrize("asked", ["tasks.py:Half", "tasks.py:Pair", "metrics.py:mean_error"])
def test_what_keeps_to_the_contract_passes(asked, here):
    assert broken(asked) == []


def test_a_task_is_tried_in_a_process_of_its_own():
    assert broken("tasks.py:Photons") == []


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("tasks.py:GlobalSeed", "depends on the global random seed: draw from `stream` alone"),
        ("tasks.py:Counts", "shows another picture when asked again"),
        ("tasks.py:Changes", "changed the clean picture"),
        ("tasks.py:Bright", "expected 0 to 1"),
        ("metrics.py:outside", "outside of its range"),
        ("metrics.py:raises", "ValueError: no such thing"),
    ],
)
def test_what_does_not_is_told_what_it_does(asked, said, here):
    found = broken(asked)
    assert found
    assert all(said in finding for finding in found)


@pytest.mark.parametrize(
    ("tasks", "ok", "said"),
    [
        ("denoise", True, ""),
        ("photons", True, "not tried at photons: not one of ours"),
        ("denois", False, "No task named 'denois'. Did you mean 'denoise'?"),
    ],
)
def test_a_restorer_may_name_a_task_of_its_own_and_not_misspell_one(tmp_path, tasks, ok, said):
    file = tmp_path / "mine.py"
    file.write_text(SOURCE.format(tasks=tasks), encoding="utf-8")
    found = next(bench.check(f"{file}:Mine"))
    assert (found.what, found.ok) == ("tasks are known", ok)
    assert found.detail.startswith(said)


SOURCE = """
from bench.restorer import Restorer


class Mine(Restorer):
    name, tasks = "mine", {{"{tasks}"}}

    def restore(self, seen):
        return seen.image
"""


@pytest.mark.parametrize("task", [name for name in TASKS if name not in ("demosaick", "superres", "real")])
def test_the_built_in_tasks_keep_to_it(task):
    assert [finding for finding in check_task(TASKS[task]) if not finding.ok] == []


@pytest.mark.parametrize("metric", ["psnr", "ssim", "gmsd"])
def test_and_so_do_metrics(metric):
    assert [finding for finding in check_metric(METRICS[metric]) if not finding.ok] == []
