"""Wrong arguments of the API are named, with the nearest right one; what the package says of itself."""

import inspect
from importlib.metadata import version
from pathlib import Path

import pytest

import bench
from bench.arguments import WrongArgumentError
from bench.errors import RequestError


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: bench.run(method="noisy"), "bench.run: No argument named 'method'. Did you mean 'methods'"),
        (lambda: bench.run("noisy", sigmas=25), "bench.run: No argument named 'sigmas'. Did you mean 'sigma'"),
        (lambda: bench.run(), "bench.run: missing a required argument: 'methods'"),
        (lambda: bench.why(1, 2, 3), "bench.why: too many positional arguments"),
        (
            lambda: bench.preview("noisy", sigmas=25),
            "bench.preview: No argument named 'sigmas'. Did you mean 'sigma'",
        ),
        (lambda: bench.debug("noisy", repeat=2), "bench.debug: No argument named 'repeat'. Did you mean 'repeats'"),
        (lambda: bench.train("dncnn", minuts=1), "bench.train: No argument named 'minuts'. Did you mean 'minutes'"),
        (lambda: bench.plot("levels", "x.pdf", overs="noisy"), "No argument named 'overs'. Did you mean 'over'"),
        (lambda: bench.plot_crops("x.pdf", "noisy", devices="cpu"), "named 'devices'. Did you mean 'device'"),
    ],
)
def test_a_wrong_argument_gets_the_nearest_right_one(call, says):
    with pytest.raises(WrongArgumentError, match=says):
        call()


def test_it_is_one_of_the_errors_a_person_can_act_on_and_one_of_pythons():
    assert issubclass(WrongArgumentError, RequestError)
    assert issubclass(WrongArgumentError, TypeError)


@pytest.mark.parametrize("name", bench.__all__)
def test_every_function_of_the_api_keeps_its_signature_and_names_wrong_arguments(name):
    function = getattr(bench, name)
    assert inspect.getdoc(function)
    assert function.__wrapped__.__name__ == name


def test_the_version_is_the_packages():
    assert bench.__version__ == version("bench")
    with pytest.raises(AttributeError, match="module 'bench' has no attribute 'versoin'"):
        _ = bench.versoin


def test_types_are_told_to_type_checkers():
    assert (Path(bench.__file__).parent / "py.typed").is_file()
