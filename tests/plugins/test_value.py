"""What a thing is that lives in no file: the same for the same code and state, and another for any other."""

import functools
import operator
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch

from bench.errors import RestorerError
from bench.plugins.value import loaded, value_of

CODE = """
    from dataclasses import dataclass
    import numpy as np
    from bench.restorer import Restorer

    K = 3
    TAPS = np.ones(3)

    def helper(x):
        return K * x

    def f(image, sigma, *, more=1):
        '''Says.'''
        return helper(image) + sigma * TAPS.sum()  # adds

    class Base(Restorer):
        def restore(self, seen):
            return super().restore(seen)

    class A(Base):
        name, tasks = "a", {"denoise", "deblock"}
        def __init__(self, radius=2):
            self.radius = radius
        @property
        def twice(self):
            return 2 * self.radius
        @staticmethod
        def other():
            return helper(1)

    @dataclass
    class D(Base):
        name, tasks = "d", {"denoise"}
        radius: int = 2
"""


def made(code=CODE, *changes):
    """The names of a module that is in no file."""
    for old, new in changes:
        assert old in code
        code = code.replace(old, new)
    names = {"__name__": "__main__"}
    exec(compile(textwrap.dedent(code), "<cell>", "exec", dont_inherit=True), names)
    return names


def sha256(thing):
    value = value_of(thing, "it")
    assert not value.why_not
    return value.code.sha256


@pytest.mark.parametrize("name", ["f", "A", "D"])
def test_the_same_code_is_the_same(name):
    assert sha256(made()[name]) == sha256(made()[name])
    assert sha256(made()[name]) == sha256(made(CODE, ("# adds", "# adds much\n\n"))[name])


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("f", "K * x", "K + x"),
        ("f", "K = 3", "K = 4"),
        ("f", "np.ones(3)", "np.ones(4)"),
        ("f", "np.ones(3)", "np.ones(3, np.float32)"),
        ("f", "more=1", "more=2"),
        ("f", ".sum()", ".max()"),
        ("A", "super().restore(seen)", "super().restore(None)"),
        ("A", "2 * self.radius", "3 * self.radius"),
        ("A", "radius=2", "radius=3"),
        ("A", '"deblock"', '"superres"'),
        ("A", "K = 3", "K = 4"),
        ("D", "radius: int = 2", "radius: int = 3"),
        ("D", "super().restore(seen)", "super().restore(None)"),
    ],
)
def test_another_code_is_another(name, old, new):
    assert sha256(made()[name]) != sha256(made(CODE, (old, new))[name])


def test_it_does_not_depend_on_the_seed_of_hashes():
    code = (
        textwrap.dedent(CODE) + "\nfrom bench.plugins.value import value_of\nprint(value_of(A(3), 'a').code.sha256)"
    )
    told = [
        subprocess.run([sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True)
        for seed in "12"
    ]
    assert told[0].stdout == told[1].stdout != b""


def test_state_is_part_of_it():
    A, D = made()["A"], made()["D"]
    assert sha256(A(3)) == sha256(A(3)) != sha256(A(4))
    assert sha256(D(3)) == sha256(D(3)) != sha256(D(4))
    assert sha256(functools.partial(A, radius=3)) != sha256(functools.partial(A, radius=4))


def network(seed=0):
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.ReLU(), torch.nn.BatchNorm2d(2))


def test_of_a_network_its_tensors_and_layers():
    assert sha256(network()) == sha256(network()) == sha256(network().eval())
    assert sha256(network()) != sha256(network(1))
    other = network()
    other[2].running_mean += 1e-3
    assert sha256(network()) != sha256(other)
    other = network()
    other[1] = torch.nn.LeakyReLU()
    assert sha256(network()) != sha256(other)
    assert sha256(torch.ones(2, dtype=torch.bfloat16)) != sha256(torch.ones(2))


def closure(n):
    def inner(image):
        return n * image

    return inner


@pytest.mark.parametrize(
    ("thing", "why"),
    [
        (lambda image: image, "it is a lambda"),
        (functools.partial(map, lambda image: image), "it is a lambda"),
        (closure(2), "inner is a closure, over n"),
        (np.random.default_rng(0), "it holds a numpy.random._generator.Generator"),
        (np.array([1, "a"], object), "an array of objects"),
        (operator.itemgetter(1), "it holds a operator.itemgetter"),
    ],
    ids=["lambda", "uses one", "closure", "generator", "objects", "compiled"],
)
def test_what_cannot_be_told_is_said_and_is_each_time_another(thing, why):
    one, other = value_of(thing, "it"), value_of(thing, "it")
    assert one.why_not.startswith(why) or why in one.why_not
    assert one.code.sha256 != other.code.sha256


def test_it_travels_with_what_it_uses():
    names = made()
    f = loaded(value_of(names["f"], "f").content)
    assert f(np.ones(2), 1).tolist() == [6, 6]
    assert f is not names["f"]
    assert f.__globals__ is not names


def test_what_cannot_travel_is_named(tmp_path):
    with (
        (tmp_path / "x").open("w") as file,
        pytest.raises(RestorerError, match="mine cannot go to a process of its own"),
    ):
        value_of(functools.partial(print, file=file), "mine")
