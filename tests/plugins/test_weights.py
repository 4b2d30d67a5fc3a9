"""Which of the declared weights a restorer gets."""

from __future__ import annotations

import shutil

import pytest

from bench.errors import OutOfReachError
from bench.plugins.registry import choose
from bench.plugins.weights import candidates, pick
from bench.runner.plan import make_plan
from bench.runner.request import make_request
from bench.task import Setting
from tests.conftest import PLUGINS

GRAY = Setting("denoise", 25.0, 1)


@pytest.fixture
def net(tmp_path):
    """A restorer with weights for its plain variant, for `biased`, and for both."""
    shutil.copy(PLUGINS / "net.py", tmp_path)
    entry = """
        ["affine.{tag}"]
        settings = [{{ task = "denoise", channels = 1, levels = [{sigma}] }}]
        path = "{tag}.safetensors"
        sha256 = "00"
        licence = "MIT"
        trained_by = "us"
        trained_on = ["sample"]
        """
    (tmp_path / "weights.toml").write_text(
        entry.format(tag="plain", sigma=25)
        + 'variants = [""]'
        + entry.format(tag="biased", sigma=25)
        + 'variants = ["biased"]'
        + entry.format(tag="both", sigma=50)
    )
    return f"{tmp_path}/net.py:Normalised"


@pytest.mark.parametrize(("variant", "tag"), [("", "plain"), (":biased", "biased")])
def test_a_variant_gets_its_own_weights_or_those_of_all_variants(net, variant, tag):
    spec = choose(net + variant)
    assert [d.tag for d in candidates(spec, GRAY)] == [tag]
    assert [d.tag for d in candidates(spec, Setting("denoise", 50.0, 1))] == ["both"]
    with pytest.raises(OutOfReachError, match="it has sigma 25, 50"):
        pick(spec, Setting("denoise", 15.0, 1))


def test_a_restorer_that_does_not_need_weights_does_without_where_none_are_declared():
    optional = choose("ksvd")  # in gray only its variant `global` has weights
    assert candidates(optional, GRAY) == []
    assert pick(optional, GRAY) == (None, None, "")
    assert [d.tag for d in candidates(choose("ksvd:global"), GRAY)] == ["gray-8"]
    with pytest.raises(OutOfReachError, match="no ours weights"):
        pick(choose("ksvd@ours"), GRAY)


def test_weights_of_ours_that_stand_in_are_told_once_a_restorer():
    plan = make_plan(make_request(methods="sc,groupsc", task="denoise", levels={"sigma": "15,25"}))
    [note] = plan.notes
    assert note.startswith("groupsc: weights of ours stand in for published ones (ours:groupsc-gray-15.safetensors, ")
    assert note.count("gray_sigma15_ckpt") == 1
