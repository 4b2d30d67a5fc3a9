"""Restorers that are things of Python: what is in a file is that file, what is in none travels by value."""

import functools
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from bench.methods.bm3d import BM3D
from bench.methods.nlm import NonLocalMeans

from bench.errors import RestorerError
from bench.plugins.names import spelled
from bench.plugins.registry import choose
from bench.plugins.things import revived, spec_of, told_apart, wrap
from bench.plugins.value import loaded
from bench.restorer import Observation, Restorer, Setting

SEEN = Observation(np.random.default_rng(0).random((8, 9, 1), np.float32), "denoise", sigma=25.0)


def halved(image, sigma, factor=0.5):
    """Half of it."""
    return factor * image


class Scaled(Restorer):
    """Scales."""

    name, tasks, variants = "scaled", {"denoise"}, ("twice",)

    def __init__(self, variant="", weights=None, factor=0.5, taps=(1,)):
        super().__init__(variant, weights)
        self.factor, self.taps = factor, taps

    def restore(self, seen):
        return np.float32(self.factor) * seen.image


def run(spec):
    """What it answers, made anew from what goes to its process."""
    cls, make = revived(
        loaded(spec.info.value.content), spec.info.target, spec.info.name, spec.variant, spec.parameters
    )
    assert issubclass(cls, Restorer)
    return make(None).restore(SEEN)


# --- what is in a file ---


@pytest.mark.parametrize(
    ("thing", "words"),
    [
        (halved, "halved"),
        (functools.partial(halved, factor=2), "halved(factor=2)"),
        (Scaled, "Scaled"),
        (Scaled(), "Scaled"),
        (Scaled(factor=2), "Scaled(factor=2)"),
        (Scaled("twice", factor=np.float64(2)), "Scaled:twice(factor=2.0)"),
        (Scaled(taps=(1, 2)), "Scaled(taps=(1, 2))"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_it_is_what_its_file_has(thing, words):
    found, asked = spec_of(thing), choose(f"{__file__}:{words}")
    assert (found.name, found.info.target, found.code_sha256) == (asked.name, asked.info.target, asked.code_sha256)
    assert (found.variant, spelled(found.parameters)) == (asked.variant, spelled(asked.parameters))
    assert found.info.value is None


def test_one_that_comes_with_the_engine_is_known_by_its_name():
    assert spec_of(BM3D).info == choose("bm3d").info
    assert spec_of(NonLocalMeans()).name == "nlm"
    assert spec_of("nlm").name == "nlm"


# --- what is in none ---


@pytest.fixture
def local():
    """As a notebook defines them."""

    def smooth(image, sigma, factor=0.25):
        return factor * image

    @dataclass
    class Own(Restorer):
        name, tasks = "own", {"denoise"}
        factor: float = 0.5

        def restore(self, seen):
            return np.float32(self.factor) * seen.image

    return smooth, Own


def test_functions_classes_and_instances_travel(local):
    smooth, Own = local
    for thing, name, factor in [
        (smooth, "smooth", 0.25),
        (functools.partial(smooth, factor=0.5), "smooth(factor=0.5)", 0.5),
        (Own, "own", 0.5),
        (Own(0.75), "own(factor=0.75)", 0.75),
        (wrap(Own, factor=0.75), "own(factor=0.75)", 0.75),
    ]:
        spec = spec_of(thing)
        assert spec.name == name
        np.testing.assert_array_equal(run(spec), np.float32(factor) * SEEN.image)


def test_an_instance_that_was_changed_travels_as_it_is():
    changed = Scaled()
    changed.factor = 0.125
    spec = spec_of(changed)
    assert spec.info.value is not None
    np.testing.assert_array_equal(run(spec), np.float32(0.125) * SEEN.image)
    assert spec.code_sha256 != spec_of(Scaled(factor=np.ones(1))).code_sha256


def test_an_instance_made_with_what_is_no_text_travels_as_it_is():
    spec = spec_of(Scaled(factor=np.full(1, 0.25)))
    assert (spec.name, spec.info.value.why_not) == ("scaled", "")
    np.testing.assert_array_equal(run(spec), np.float32(0.25) * SEEN.image)


def test_what_shares_a_name_gets_a_number(local):
    smooth, Own = local
    specs = [*map(spec_of, [smooth, lambda image: image, lambda image: 2 * image, smooth, Own, "nlm"])]
    assert [spec.name for spec in told_apart(specs)] == ["smooth", "lambda", "lambda#2", "smooth", "own", "nlm"]


def test_a_lambda_is_not_kept(local):
    assert "lambda" in spec_of(lambda image: image).info.value.why_not
    assert not spec_of(local[0]).info.value.why_not


def test_a_name_and_tasks_can_be_told(local):
    spec = wrap(halved, name="mine", tasks="deblock", factor=2, weights="w.pt")
    assert (spec.name, spec.info.tasks, spec.weights) == ("mine(factor=2)", {"deblock"}, "w.pt")
    np.testing.assert_array_equal(run(spec), 2 * SEEN.image)


def test_what_it_is_told_to_be_for_it_does(local):
    smooth, Own = local
    network = wrap(torch.nn.Sequential(Halving()), range=1, tasks="poisson")
    for spec in (*(wrap(one, tasks={"poisson"}) for one in (smooth, Own, Own(0.75), Scaled(), Scaled)), network):
        cls, make = revived(
            loaded(spec.info.value.content), spec.info.target, spec.info.name, spec.variant, spec.parameters
        )
        assert make(None).why_not(Setting("poisson", 25.0, 1)) is None
        assert "does not denoise" in make(None).why_not(Setting("denoise", 25.0, 1))
        assert cls.tasks != {"poisson"}
    assert wrap(smooth, tasks="poisson").code_sha256 != wrap(smooth).code_sha256


def test_an_instance_of_a_file_can_have_another_name():
    spec = wrap(Scaled(factor=0.25), "other")
    assert (spec.name, spec.info.target.rpartition(":")[2]) == ("other(factor=0.25)", "Scaled")
    np.testing.assert_array_equal(run(spec), np.float32(0.25) * SEEN.image)


# --- networks ---


class Halving(torch.nn.Module):
    def forward(self, y):
        return y / 2


def test_a_network_is_told_by_its_options():
    spec = wrap(torch.nn.Sequential(Halving()), range=255, name="half")
    assert (spec.name, spec.info.value.why_not) == ("half(range=255)", "")
    _, make = revived(loaded(spec.info.value.content), spec.info.target, "half", "", spec.parameters)
    restorer = make(None)
    assert restorer.why_not(Setting("denoise", 25.0, 1)) is None
    restorer.prepare(Setting("denoise", 25.0, 1), "cpu")
    np.testing.assert_allclose(restorer.restore(SEEN), SEEN.image / 2, rtol=1e-6)
    assert restorer.n_params() == 0


@pytest.mark.parametrize(
    ("thing", "says"),
    [
        (Halving(), r"Halving is a network, .* bench\.wrap\(network, range=1\) for 0 to 1, or range=255"),
        (Halving, r"Halving is a class of networks; expected one with its weights, bench\.wrap\(network, …\)"),
        (5, "An object of builtins.int is no restorer; expected a name, a class"),
        (dict, "dict is not a class derived from bench.restorer.Restorer"),
        ("nml", "Did you mean 'nlm'"),
        (functools.partial(halved, factro=2), "halved has no parameter 'factro'. Did you mean 'factor'"),
    ],
    ids=["network", "its class", "number", "class", "name", "parameter"],
)
def test_what_is_none_is_said(thing, says):
    with pytest.raises(RestorerError, match=says):
        spec_of(thing)


def test_a_wrong_option_of_a_network_is_said():
    with pytest.raises(RestorerError, match=r"Halving has no parameter 'sigma_chanel'. Did you mean 'sigma_channel'"):
        wrap(Halving(), range=1, sigma_chanel=True)


def test_a_name_that_is_taken_is_said():
    def bm3d(image): ...

    with pytest.raises(RestorerError, match=r"'bm3d' is a built-in restorer's. Give another: bench.wrap"):
        spec_of(bm3d)
    assert wrap(bm3d, name="mine").name == "mine"


def test_an_instance_with_parameters_beside_it_is_said():
    with pytest.raises(RestorerError, match="An instance has its parameters"):
        wrap(Scaled(), factor=2)
