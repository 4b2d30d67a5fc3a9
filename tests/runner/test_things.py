"""Things of Python are measured in processes of their own, and their records answer while they are what they were."""

import functools
import threading

import numpy as np
import pytest
import torch

import bench
from bench.errors import RestorerError
from bench.restorer import Restorer
from bench.runner.request import make_request


def faded(image, sigma, factor=0.5):
    return factor * image


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.taps = torch.nn.Conv2d(1, 1, 1, bias=False)
        torch.nn.init.constant_(self.taps.weight, 0.5)

    def forward(self, y):
        return self.taps(y)


def local(factor):
    """A function and a class as a notebook has them."""

    def own(image, sigma, factor=factor):
        return factor * image

    class Own(Restorer):
        name, tasks = "ownclass", {"denoise"}

        def __init__(self, factor=0.5):
            self.factor = factor

        def restore(self, seen):
            return np.float32(self.factor) * seen.image

    return own, Own


@pytest.fixture
def measured(photos, tmp_path):
    """Measures things on one small picture, without times."""

    def run(*methods, **words):
        store = tmp_path / "store.sqlite"
        return bench.run([*methods], datasets=photos, images="1.png", sigma=25, store=store, jobs=2, **words)

    return run


def test_each_kind_is_measured_and_found_again(measured):
    own, Own = local(0.5)
    methods = [faded, functools.partial(own, factor=0.5), Own(0.5), bench.wrap(Net(), range=1, name="net")]
    result = measured(*methods, "noisy")
    assert [record.reason for record in result.failures] == []
    assert [record.label for record in result.records] == [
        "faded",
        "own(factor=0.5)",
        "ownclass(factor=0.5)",
        "net(range=1)",
        "noisy",
    ]
    halves = {round(record.psnr_db, 3) for record in result.records[:-1]}
    assert len(halves) == 1
    assert (result.n_measured, result.records[3].params) == (5, 1)
    again = measured(*methods, "noisy")
    assert again.n_measured == 0
    other = measured(functools.partial(local(0.25)[0], factor=0.5), Own(0.25))
    assert other.n_measured == 2


class Shared(Restorer):
    name, tasks = "shared", {"denoise"}

    def __init__(self, factor=0.5):
        self.factor = factor

    def restore(self, seen):
        return np.float32(self.factor) * seen.image


def half(image):
    return image / 2


def test_names_and_tasks_that_are_told_hold_in_its_process(photos, tmp_path):
    methods = [
        bench.wrap(Shared(0.25), "other", tasks="salt-pepper"),
        bench.wrap(half, tasks="salt-pepper"),
        bench.wrap(Net(), range=1, name="net", tasks="salt-pepper"),
    ]
    store = tmp_path / "store.sqlite"
    result = bench.run(methods, datasets=photos, images="1.png", task="salt-pepper", level=0.1, store=store, jobs=2)
    assert [(record.label, record.status) for record in result.records] == [
        ("other(factor=0.25)", "ok"),
        ("half", "ok"),
        ("net(range=1)", "ok"),
    ]


def test_a_lambda_is_measured_each_time_and_that_is_said(measured):
    for _ in range(2):
        result = measured(lambda image: image)
        assert (result.n_measured, result.records[0].status) == (1, "ok")
        assert [line for line in result.remarks() if "lambda" in line] == [
            "note: lambda: it is a lambda, or uses one. No record may answer for it: it is measured each time"
        ]


def test_a_failure_of_one_names_its_line_and_costs_nothing_else(measured):
    def broken(image, sigma):
        raise ValueError("not today")

    result = measured(broken, faded)
    assert [record.status for record in result.records] == ["failed", "ok"]
    assert result.records[0].reason.startswith("ValueError: not today (test_things.py, line ")


def test_what_cannot_travel_is_said_before_anything_is_measured(measured):
    lock = threading.Lock()

    def locked(image, sigma):
        with lock:
            return image

    with pytest.raises(RestorerError, match="locked cannot go to a process of its own: TypeError: cannot pickle"):
        measured(locked)


def test_the_contract_is_tried_on_a_thing():
    own, _ = local(0.5)
    findings = [*bench.check(own)]
    assert all(finding.ok for finding in findings)
    assert any("48x32" in finding.what for finding in findings)


def test_one_picture_is_restored_by_a_thing():
    image = np.random.default_rng(0).random((12, 11), np.float32)
    np.testing.assert_array_equal(bench.restore(image, local(0.5)[0], sigma=10), 0.5 * image)


def test_names_and_things_may_be_mixed_and_one_needs_no_list(photos):
    def names(methods):
        return [spec.name for spec in make_request(methods, datasets=photos).specs]

    assert names(faded) == ["faded"]
    assert names("noisy, tv") == ["noisy", "tv"]
    assert names(["noisy", faded, "tv(weight=0.1|0.2)"][:2]) == ["noisy", "faded"]
    assert names(bench.wrap(torch.nn.Sequential(Net()), range=1, name="net")) == ["net(range=1)"]
