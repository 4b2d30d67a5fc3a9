"""What is said where spandrel or deepinv cannot be imported, as beside a torchvision made for another torch."""

from __future__ import annotations

import sys

import pytest
import torch
from bench.methods.deepinv import DeepInverse
from bench.methods.spandrel import Spandrel

from bench.plugins.registry import choose
from bench.restorer import RestorerError, Setting
from tests.methods.exported_files import weights_of

SETTING = Setting("denoise", 25.0, 1)


@pytest.fixture
def file(tmp_path):
    torch.save({"layer.weight": torch.zeros(3, 3)}, tmp_path / "net.pth")
    return weights_of(tmp_path / "net.pth")


def test_spandrel_names_the_torchvision_that_it_needs(monkeypatch, file):
    monkeypatch.setitem(sys.modules, "spandrel", None)
    with pytest.raises(RestorerError) as said:
        Spandrel(weights=file).why_not(SETTING)
    assert str(said.value).startswith("spandrel cannot be imported (ModuleNotFoundError: ")
    assert str(said.value).endswith(f"It needs the torchvision that goes with torch {torch.__version__}.")


def test_deepinv_says_why_it_is_not_there(monkeypatch):
    monkeypatch.setitem(sys.modules, "deepinv", None)
    with pytest.raises(RestorerError, match=r"^deepinv cannot be imported \(ModuleNotFoundError: "):
        DeepInverse("DRUNet").network(SETTING)


def test_options_are_checked_before_a_library_is_looked_for(file):
    with pytest.raises(
        RestorerError, match=r"^spandrel:net\.pth: repeat_gray=3, expected true or false; task=x, exp"
    ):
        Spandrel(weights=file, repeat_gray=3, task="x")


def test_each_is_asked_for_as_it_is_listed():
    assert choose("spandrel:net.pth(levels=25)").name == "spandrel(levels=25)"
    assert choose("deepinv:DRUNet").info.needs_weights
    with pytest.raises(RestorerError, match="no variant 'drunet'"):
        choose("deepinv:drunet")
