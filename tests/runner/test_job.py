"""Jobs: cells by value, which any machine finds again, or refuses with what differs."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from bench.measure.engine import engine
from bench.measure.machine import Machine
from bench.runner.job import Job, job_of
from bench.runner.lookup import ELSEWHERE, Lookup, RefusedError
from bench.runner.plan import make_plan
from bench.runner.request import make_request
from bench.runner.worker import Limits

HERE = Machine.here("cpu", 1)
MINE = """
from bench.restorer import Restorer

class Mine(Restorer):
    name, tasks = "mine", {"denoise"}

    def __init__(self, factor=1):
        self.factor = factor

    def restore(self, seen):
        return seen.image * self.factor
"""
TASK = """
from bench.degradation import Degradation

class Dark(Degradation):
    name, level, levels = "dark", "share", (0.5,)

    def observe(self, clean, level, stream):
        return clean * level
"""
METRIC = """
from bench.metric import metric

@metric(better="smaller", low=0)
def distance(restored, clean):
    return abs(restored - clean).mean()
"""


def cells_of(methods, datasets, **words):
    words = {"levels": {"sigma": 25}, **words}
    return make_plan(make_request(methods, datasets=datasets, threads=1, **words)).cells


def jobs_of(cells):
    return [job_of(cell, number, Limits(60, 500), None) for number, cell in enumerate(cells)]


@pytest.fixture
def mine(tmp_path):
    (tmp_path / "mine.py").write_text(MINE)
    return f"{tmp_path}/mine.py:Mine"


def test_a_job_is_text_of_a_few_hundred_bytes(photos, mine):
    for job in jobs_of(cells_of(["noisy", f"{mine}(factor=2)", "tv+"], [photos, "set12"])):
        assert Job.of(job.text()) == replace(job, seed=[*job.seed], places=json.loads(json.dumps(job.places)))
        assert len(job.text()) < 1500


def pairs(folder):
    for part in ("clean", "noisy"):
        (folder / part).mkdir(parents=True)
        Image.fromarray(np.full((16, 16), 99, np.uint8)).save(folder / part / "1.png")
    return folder


def asked(what, photos, tmp_path, mine):
    """methods, data sets and other words of a request"""
    (tmp_path / "task.py").write_text(TASK)
    (tmp_path / "metric.py").write_text(METRIC)
    return {
        "built-in": ("noisy,nlm", photos, {}),
        "averaged over flips": ("tv+", photos, {}),
        "in a file, with parameters": (f"{mine}(factor=0.5)", photos, {}),
        "inside another": ("vst:dncnn@ours", photos, {"task": "poisson", "levels": {"level": "30"}}),
        "with weights": ("dncnn@ours", photos, {}),
        "a known set": ("noisy", "set12", {}),
        "a pair": ("noisy", pairs(tmp_path / "pairs"), {"task": "real", "levels": {"level": "5"}}),
        "shown as another task": ("nlm", photos, {"task": "denoise8"}),
        "a task of one's own": ("noisy", photos, {"task": f"{tmp_path}/task.py:Dark", "levels": {}}),
        "a metric of one's own": ("noisy", photos, {"metrics": f"gmsd,{tmp_path}/metric.py:distance"}),
        "another protocol": ("noisy", photos, {"protocol": "kair-v1", "repeats": 2}),
    }[what]


KINDS = [
    "built-in",
    "averaged over flips",
    "in a file, with parameters",
    "inside another",
    "with weights",
    "a known set",
    "a pair",
    "shown as another task",
    "a task of one's own",
    "a metric of one's own",
    "another protocol",
]


@pytest.mark.parametrize("what", KINDS)
def test_what_a_job_names_is_found_and_has_the_key_that_was_planned(what, photos, tmp_path, mine, monkeypatch):
    monkeypatch.setattr("bench.data.datasets.fetch", lambda entry: entry.name)
    methods, datasets, words = asked(what, photos, tmp_path, mine)
    cells = cells_of(methods, datasets, **words)
    lookup = Lookup()
    for cell, job in zip(cells, jobs_of(cells), strict=True):
        found = lookup.cell_of(Job.of(job.text()), HERE)
        assert found.key == cell.key
        assert (found.setting, found.shown, found.told) == (cell.setting, cell.shown, cell.told)
        assert [metric.identity for metric in found.metrics] == [metric.identity for metric in cell.metrics]


REFUSED = [
    ({"code_sha256": "c" * 64}, "the code of mine is "),
    ({"target": "/no/such.py:Mine"}, "/no/such.py is not"),
    ({"target": "package.module:Class"}, "the restorer package.module:Class is not installed"),
    ({"weights_sha256": "w" * 64}, "the weights of mine for denoise sigma 25 gray is none"),
    ({"weights": "/no/such.pth"}, "the weights /no/such.pth are not"),
    ({"places": [("/no/such.png", "", (), None)]}, "/no/such.png is not"),
    ({"task_sha256": "t" * 64}, "the task denoise is none"),
    ({"seed": [1, 2]}, "the noise's seed is "),
    ({"metrics": [("gmsd", "another")]}, "the metric gmsd is "),
    ({"metrics": [("no-such-metric", "1")]}, "No metric named 'no-such-metric'"),
    ({"task": "no-such-task"}, "No task named 'no-such-task'"),
]


@pytest.mark.parametrize(
    ("changed", "said"), REFUSED, ids=[f"{n}-{next(iter(c))}" for n, (c, _) in enumerate(REFUSED)]
)
def test_what_differs_is_refused_with_both_named(changed, said, photos, mine):
    job = jobs_of(cells_of(mine, photos))[0]
    with pytest.raises(RefusedError) as refused:
        Lookup().cell_of(replace(job, **changed), HERE)
    assert said in str(refused.value)
    assert ELSEWHERE in str(refused.value)


def test_a_file_that_is_edited_between_two_runs_is_found_as_it_is_then(photos, mine, tmp_path):
    lookup = Lookup()
    [job, *_] = jobs_of(cells_of(mine, photos))
    lookup.cell_of(job, HERE)
    (tmp_path / "mine.py").write_text(MINE.replace("* self.factor", "+ self.factor"))
    [edited, *_] = jobs_of(cells_of(mine, photos))
    assert lookup.cell_of(edited, HERE).spec.code_sha256 == edited.code_sha256 != job.code_sha256


def test_the_engine_says_its_version_and_a_hash():
    assert engine().startswith("0.")
    assert engine()[-1] == ")"


def test_a_picture_that_cannot_be_had_is_no_fault_of_the_restorer(monkeypatch, tmp_path):
    [job, *_] = jobs_of(cells_of("noisy", "set12", limit=1))
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    monkeypatch.setenv("BENCH_OFFLINE", "1")
    monkeypatch.delenv("BENCH_MIRROR", raising=False)
    with pytest.raises(RefusedError, match=f"{ELSEWHERE}: datasets/set12/01.png is not in the cache"):
        Lookup().cell_of(job, HERE)
