"""The denoiser inside another restorer: which of its weights it has, and what its calls are held to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.errors import WeightsError
from bench.plugins import weights as weights_module
from bench.plugins.boundary import BadAnswerError
from bench.plugins.inside import DenoiserInside
from bench.plugins.registry import choose
from bench.plugins.weights import pick
from bench.restorer import Restorer, Served, Setting, SeveralWeights, WeightsFile
from bench.runner.messages import Prepare, question_of, written

IMAGE = np.random.default_rng(0).random((6, 5, 3), dtype=np.float32)


def file(name):
    return WeightsFile(Path(name), f"ours:{name}", name * 4)


ONE, MANY = file("a"), file("b")
WEIGHTS = SeveralWeights(
    ONE.path, "ours:a and 1 more", "c" * 8, "", (Served(15, 15, 1, ONE), Served(20, 50, 1, MANY))
)


class Fake(Restorer):
    """Adds its level; a number of parameters that its file's name tells."""

    name, tasks = "fake", {"denoise"}

    def why_not(self, setting):
        return "gray only" if setting.channels == 3 else None

    def prepare(self, setting, device):
        self.level = setting.level

    def restore(self, seen):
        assert seen.sigma == self.level
        return seen.image + np.float32(self.level)

    def n_params(self):
        return {"a": 3, "b": 40}[self.weights.path.name] if self.weights else 0

    def macs_per_pixel(self, seen):
        return self.level


def inside(weights=WEIGHTS, cls=Fake):
    return DenoiserInside(lambda one: cls("", one), weights, "cpu")


@pytest.mark.parametrize(("asked", "served"), [(1, 15), (15, 15), (17, 15), (18, 20), (33.3, 33.3), (99, 50)])
def test_the_nearest_level_that_is_served_is_used(asked, served):
    assert inside().nearest(asked) == served
    np.testing.assert_array_equal(inside()(IMAGE[..., :1], asked), IMAGE[..., :1] + np.float32(served))


@pytest.mark.parametrize("weights", [None, ONE])
def test_without_weights_or_with_a_file_of_the_users_every_level_is_served(weights):
    assert inside(weights).nearest(123.4) == 123.4


def test_one_of_gray_pictures_is_shown_each_colour_alone():
    np.testing.assert_array_equal(inside()(IMAGE, 15), IMAGE + np.float32(15))


def test_a_network_that_serves_several_levels_is_counted_once():
    one = inside()
    for sigma in (15, 20, 30, 40):
        one(IMAGE, sigma)
    assert one.n_params() == 43


def test_the_costs_of_all_calls_are_summed_and_none_is_computed():
    one = inside()
    answers = []

    def do():
        answers.extend([one(IMAGE[..., :1], 15), one(IMAGE, 20)])

    assert one.macs(do) == 30 * (15 + 3 * 20)
    np.testing.assert_array_equal(answers[1], IMAGE)


class Uncounted(Fake):
    def macs_per_pixel(self, seen):
        return None


def test_costs_that_are_not_counted_are_not_made_up():
    one = inside(cls=Uncounted)
    assert one.macs(lambda: one(IMAGE, 15)) is None


class Careless(Fake):
    def restore(self, seen):
        seen.image[:] = 0
        return seen.image


class Wrong(Fake):
    def restore(self, seen):
        return seen.image[1:]


@pytest.mark.parametrize("cls", [Careless, Wrong])
def test_its_calls_are_held_to_what_every_call_is(cls):
    with pytest.raises(BadAnswerError):
        inside(cls=cls)(IMAGE[..., :1], 15)


# --- which weights ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "channels", "spans"),
    [
        ("vst:dncnn@published", 1, [(15, 15), (25, 25), (50, 50)]),
        ("vst:dncnn@published", 3, [(level, level) for level in (5, 10, 15, 25, 35, 50)]),
        ("pnp:ffdnet", 1, [(0, 75)]),
        ("pnp:nsr", 3, [(15, 15), (25, 25), (50, 50)]),  # of gray pictures alone
    ],
)
def test_the_weights_of_all_its_levels_are_one(asked, channels, spans, monkeypatch):
    monkeypatch.setattr(weights_module, "_as_declared", lambda one: WeightsFile(Path(one.file), one.label, one.tag))
    weights = pick(choose(asked), Setting("deblur", "gaussian-1.6/2", channels), download=False).file
    assert [(one.least, one.most) for one in weights.served] == spans
    assert {one.channels for one in weights.served} == {1 if "nsr" in asked else channels}
    assert weights.label.endswith(f" and {len(spans) - 1} more") == (len(spans) > 1)
    assert weights.sha256 not in [one.file.sha256 for one in weights.served]


def test_one_without_weights_needs_none():
    assert pick(choose("vst:bm3d"), Setting("poisson", 4.0, 1)).file is None


def test_one_that_has_no_weights_of_an_origin_is_named():
    with pytest.raises(WeightsError, match="ffdnet has no 'ours' weights"):
        pick(choose("vst:ffdnet@ours"), Setting("poisson", 4.0, 1))


def test_they_pass_to_the_process_as_they_are():
    setting = Setting("deblur", "gaussian-1.6/2", 1)
    told, arrays = written(Prepare(setting, WEIGHTS))
    assert question_of(told, arrays) == Prepare(setting, WEIGHTS)
