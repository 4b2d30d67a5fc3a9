"""What a record says of its machine: every library that can change an answer."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest

from bench.measure.environment import (
    PACKAGES,
    PACKAGES_OF_LAYOUT_3,
    describe,
    environment,
    of_layout_3,
    overload,
    with_device,
)


def test_the_libraries_that_compute_are_named_with_their_versions():
    told = describe()
    assert told["numpy"] == np.__version__
    for library in ("numba", "llvmlite", "PyWavelets", "safetensors", "bm4d", "blas"):
        assert re.search(r"\d+\.\d+", told[library]), library
    assert {*PACKAGES} >= {*PACKAGES_OF_LAYOUT_3}


def test_numpys_blas_is_the_one_it_was_built_with():
    built = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    assert describe()["blas"] == f"{built['name']} {built['version']}"


def test_a_numpy_that_does_not_tell_its_blas_costs_nothing(monkeypatch):
    monkeypatch.setattr(np, "show_config", lambda mode: {"Build Dependencies": {}})
    describe.cache_clear()
    assert "blas" not in describe()
    describe.cache_clear()


def test_a_library_that_is_not_installed_is_left_out():
    assert "no-such-library" not in describe(("numpy", "no-such-library"))


def test_the_environment_of_the_third_layout_is_as_it_was():
    """Keys of old records are computed from it: the words, their order and their blanks."""
    told = json.loads(of_layout_3(environment()))
    packages = ("bench", "torch", "numpy", "scipy", "scikit-image", "pillow", "bm3d", "colour-demosaicing")
    assert packages == PACKAGES_OF_LAYOUT_3
    assert {*told} - {*packages} == {"cpu", "cores", "system", "python"}
    assert of_layout_3(environment()) == json.dumps(told, sort_keys=True)


def test_a_card_is_named_beside_the_machine():
    assert json.loads(with_device("NVIDIA H200")) == {**describe(), "gpu": "NVIDIA H200"}
    assert with_device("") == environment()


def test_two_processes_tell_the_same():
    code = "from bench.measure.environment import environment; print(environment(), end='')"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told == environment()


@pytest.mark.parametrize(("load", "told"), [(0.1, 0.0), (4.0, 0.0), (4.4, 0.0), (5.1, 5.1)])
def test_a_load_counts_that_is_above_the_cores(monkeypatch, load, told):
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    monkeypatch.setattr("os.getloadavg", lambda: (load, 9.0, 9.0))
    assert overload() == told


def test_a_system_that_tells_no_load_has_none(monkeypatch):
    def refuse():
        raise OSError

    monkeypatch.setattr("os.getloadavg", refuse)
    assert overload() == 0.0
