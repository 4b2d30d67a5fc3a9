"""What a thing is that lives in no file: the same for the same code and state, and another for any other."""

import functools
import operator
import subprocess
import sys
import textwrap
from collections import defaultdict

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
    assert sha256(network()) == sha256(network()) != sha256(network().eval())
    assert sha256(network()) != sha256(network(1))
    other = network()
    other[2].running_mean += 1e-3
    assert sha256(network()) != sha256(other)
    other = network()
    other[1] = torch.nn.LeakyReLU()
    assert sha256(network()) != sha256(other)
    assert sha256(torch.ones(2, dtype=torch.bfloat16)) != sha256(torch.ones(2))


DERIVED = """
    from collections import namedtuple
    from enum import Enum
    import numpy as np

    class Words(dict):
        def one(self):
            return 1

    class Kind(Enum):
        A = 1
        def one(self):
            return 1

    class Number(int):
        def one(self):
            return 1

    class Taps(np.ndarray):
        def one(self):
            return 1

    Pair = namedtuple("Pair", "a b")
    words, kind, number, taps, pair = Words(a=1), Kind.A, Number(3), np.ones(2).view(Taps), Pair(1, 2)
    words.more = 1
"""


@pytest.mark.parametrize("name", ["words", "kind", "number", "taps"])
def test_of_what_derives_from_a_plain_kind_the_class_counts(name):
    assert sha256(made(DERIVED)[name]) == sha256(made(DERIVED)[name])
    assert sha256(made(DERIVED)[name]) != sha256(made(DERIVED.replace("return 1", "return 2"))[name])


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("words", "more = 1", "more = 2"),
        ("words", "Words(a=1)", "Words(a=2)"),
        ("number", "Number(3)", "Number(4)"),
        ("pair", "Pair(1, 2)", "Pair(1, 3)"),
        ("pair", '"a b"', '"b a"'),
    ],
)
def test_of_what_derives_from_a_plain_kind_the_values_count(name, old, new):
    assert sha256(made(DERIVED)[name]) != sha256(made(DERIVED, (old, new))[name])


def test_the_code_of_a_module_that_cannot_be_looked_up_counts():
    def function_and_class(body):
        names = {"__name__": "in_no_place"}
        exec(f"def f(image):\n return {body}\nclass A:\n def f(self, image):\n  return {body}", names)
        return names["f"], names["A"]

    for one, same, other in zip(*map(function_and_class, ["image", "image", "image * 0"]), strict=True):
        assert sha256(one) == sha256(same) != sha256(other)


def test_a_module_that_is_imported_inside_counts(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    names = made("def f(image):\n  from own_package import inner\n  import zipfile\n  return inner.one(image)\n")
    (tmp_path / "own_package").mkdir()
    (tmp_path / "own_package" / "__init__.py").touch()
    told = []
    for body in ("image", "image", "image * 10"):
        (tmp_path / "own_package" / "inner.py").write_text(f"def one(image):\n    return {body}\n")
        for name in ("own_package", "own_package.inner"):
            sys.modules.pop(name, None)
        told.append(sha256(names["f"]))
    assert told[0] == told[1] != told[2]
    for name in ("own_package", "own_package.inner"):
        sys.modules.pop(name)
    none = made("def f(image):\n    import no_such_module\n")
    assert "it imports no_such_module, which cannot be read" in value_of(none["f"], "f").why_not


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
        (defaultdict(int), "it holds a collections.defaultdict"),
    ],
    ids=["lambda", "uses one", "closure", "generator", "objects", "compiled", "defaultdict"],
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
