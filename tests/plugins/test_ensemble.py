"""`NAME+`: eight views of one scene, the answers turned back and averaged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from bench.data import BAYER_PATTERNS
from bench.data.degrade import bayer

import bench
from bench.errors import RestorerError, TrainingError
from bench.plugins.boundary import BadAnswerError
from bench.plugins.ensemble import VIEWS, SelfEnsemble, turned
from bench.plugins.registry import choose
from bench.restorer import Observation, Restorer
from bench.runner.contract import check
from bench.training.session import train
from tests.conftest import PLUGINS

IMAGE = np.random.default_rng(0).random((5, 8, 1), dtype=np.float32)


class Below(Restorer):
    """Answers with the pixel below, so with another one in each view."""

    name, tasks = "below", {"denoise", "superres"}

    def restore(self, seen):
        scale = seen.scale or 1
        return np.repeat(np.repeat(np.roll(seen.image, -1, axis=0), scale, 0), scale, 1)

    def n_params(self):
        return 3

    def macs_per_pixel(self, seen):
        return seen.image.shape[0]


def test_the_views_are_all_different_and_each_has_its_way_back():
    views = [turn(IMAGE) for turn, _ in VIEWS]
    assert len({view.tobytes() + bytes(view.shape) for view in views}) == 8
    assert all(np.array_equal(back(view), IMAGE) for view, (_, back) in zip(views, VIEWS, strict=True))


def test_the_answers_are_turned_back_and_averaged():
    neighbours = [np.roll(IMAGE, shift, axis) for axis in (0, 1) for shift in (-1, 1)]  # each of them in two views
    got = SelfEnsemble(Below()).restore(Observation(IMAGE, "denoise", sigma=25))
    np.testing.assert_allclose(got, np.mean(neighbours, axis=0), atol=1e-6)
    assert got.dtype == np.float32


def test_answers_may_be_larger_than_the_image():
    seen = Observation(IMAGE, "superres", scale=2)
    assert SelfEnsemble(Below()).restore(seen).shape == seen.restored_shape


def test_what_is_known_turns_with_the_scene():
    known = {"peak": 4.0, "kernel": np.arange(9.0).reshape(3, 3), "mask": IMAGE > 0.5, "weights": IMAGE[..., 0]}
    seen = Observation(IMAGE, "deblur", known=known)
    for turn, back in VIEWS:
        view = turned(seen, turn)
        assert view.known["peak"] == 4.0
        assert all(np.array_equal(back(view.known[name]), known[name]) for name in ("kernel", "mask", "weights"))
        assert np.array_equal(view.mask, turn(seen.mask))


@pytest.mark.parametrize(("name", "shape"), [("kernel", (2, 2)), ("table", (3, 3)), ("curve", (4,))])
def test_what_cannot_be_turned_is_named(name, shape):
    seen = Observation(IMAGE, "deblur", known={name: np.ones(shape)})
    with pytest.raises(BadAnswerError, match=f"cannot turn what is known as '{name}', of shape"):
        turned(seen, VIEWS[1][0])


class Answers(Below):
    """Answers with what each call makes of the image, in memory that it keeps."""

    def __init__(self, make, level=None):
        super().__init__()
        self.make, self.level, self.kept = make, level, np.empty(0)

    def restore(self, seen):
        self.estimated_level = self.level
        if self.kept.shape != seen.image.shape:
            self.kept = np.empty_like(seen.image)
        self.kept[...] = seen.image
        return self.make(seen, self.kept)

    def macs_per_pixel(self, seen):
        return self.level


def test_eight_answers_in_one_memory_are_eight_answers():
    seen = Observation(IMAGE[:5, :5], "denoise", sigma=25)  # of a square all eight views have one shape
    got = SelfEnsemble(Answers(lambda seen, kept: kept)).restore(seen)
    np.testing.assert_allclose(got, seen.image, atol=1e-6)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (
            lambda seen, kept: np.negative(seen.image, out=seen.image),
            r"changed the observation it was given \(image\)",
        ),
        (lambda seen, kept: object.__setattr__(seen, "sigma", 5), r"changed the observation it was given \(sigma\)"),
        (lambda seen, kept: kept.astype(np.float64), "answered with float64, expected float32"),
        (lambda seen, kept: kept[:, :1], r"answered with shape \(5, 1, 1\), expected \(5, 8, 1\)"),
    ],
)
def test_each_call_is_held_to_what_a_single_one_is(make, says):
    seen = Observation(IMAGE.copy(), "denoise", sigma=25)
    with pytest.raises(BadAnswerError, match=says):
        SelfEnsemble(Answers(make)).restore(seen)
    assert seen.sigma == 25
    assert np.array_equal(seen.image, IMAGE)


def test_estimated_levels_are_averaged_and_others_refused():
    seen = Observation(IMAGE, "denoise", sigma=25)
    ensemble = SelfEnsemble(Answers(lambda seen, kept: kept, level=np.float32(20)))
    ensemble.restore(seen)
    assert ensemble.estimated_level == 20.0
    with pytest.raises(BadAnswerError, match=r"estimated_level gave \[20, 30\]"):
        SelfEnsemble(Answers(lambda seen, kept: kept, level=[20, 30])).restore(seen)


def test_multiply_accumulates_that_are_no_number_are_refused():
    seen = Observation(IMAGE, "denoise", sigma=25)
    assert SelfEnsemble(Answers(None, level=np.int64(3))).macs_per_pixel(seen) == 24.0
    with pytest.raises(BadAnswerError, match=r"macs_per_pixel\(\) gave '3'"):
        SelfEnsemble(Answers(None, level="3")).macs_per_pixel(seen)


def test_it_costs_eight_times_as_much_and_has_no_more_parameters():
    ensemble, seen = SelfEnsemble(Below()), Observation(IMAGE, "denoise", sigma=25)
    assert ensemble.macs_per_pixel(seen) == 4 * 5 + 4 * 8
    assert ensemble.n_params() == 3


@pytest.mark.parametrize("pattern", BAYER_PATTERNS)
@pytest.mark.parametrize("size", [(4, 6), (5, 4), (3, 7), (1, 1), (1, 4)])
def test_a_turned_mosaic_is_the_mosaic_of_the_turned_scene(pattern, size):
    scene = np.random.default_rng(0).random((*size, 3), dtype=np.float32)
    mosaic, mask = bayer(scene, pattern)
    seen = Observation(mosaic, "demosaick", pattern=pattern, mask=mask)
    for turn, _ in VIEWS:
        got = turned(seen, turn)
        mosaic, mask = bayer(turn(scene), got.pattern)
        assert np.array_equal(got.image, mosaic)
        assert np.array_equal(got.mask, mask)
        assert got == replace(seen, image=got.image, mask=got.mask, pattern=got.pattern)


@pytest.mark.parametrize("name", ["noisy+", "bicubic+", "malvar+", f"{PLUGINS}/net.py:Affine+"])
def test_it_keeps_to_the_contract(name):
    findings = list(check(choose(name)))
    assert len(findings) > 5
    assert not [finding for finding in findings if not finding.ok]


def test_it_is_asked_for_with_a_plus():
    spec = choose("dncnn:bf16+@published")
    assert (spec.name, spec.variant, spec.weights) == ("dncnn:bf16+", "bf16", "published")
    assert choose("dncnn").name == "dncnn"


def test_a_table_states_its_cost(photos, tmp_path):
    outcome = bench.run("noisy,noisy+", datasets=photos, sigma=25, store=tmp_path / "s.sqlite")
    assert list(outcome.frame()["restorer"]) == ["noisy"] * 3 + ["noisy+"] * 3
    assert "noisy+ averages noisy over 8 flips and rotations, at 8 times its cost" in outcome.table()


def test_it_is_not_trained():
    with pytest.raises(TrainingError, match=r"sc\+ is sc run eight times: train sc\."):
        train("sc+", {"sigma": "25"})


def test_no_restorer_may_have_a_name_that_asks_for_it(tmp_path):
    path = tmp_path / "plus.py"
    path.write_text("class Plus:\n    name, tasks, variants = 'plus', {'denoise'}, ('more+',)\n")
    with pytest.raises(RestorerError, match=r"'more\+' ends in \+, which asks for a self-ensemble"):
        choose(f"{path}:Plus")
