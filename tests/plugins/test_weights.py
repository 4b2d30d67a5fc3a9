"""Which of the declared weights a restorer gets."""

from __future__ import annotations

import hashlib
import shutil

import pytest

from bench.errors import OutOfReachError, WeightsError
from bench.plugins.registry import choose
from bench.plugins.weights import candidates, pick
from bench.runner.plan import make_plan
from bench.runner.request import make_request
from bench.tasks import Setting
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
        sha256 = "{zeros}"
        licence = "MIT"
        trained_by = "us"
        trained_on = ["sample"]
        """
    (tmp_path / "weights.toml").write_text(
        entry.format(tag="plain", sigma=25, zeros="0" * 64)
        + 'variants = [""]'
        + entry.format(tag="biased", sigma=25, zeros="0" * 64)
        + 'variants = ["biased"]'
        + entry.format(tag="both", sigma=50, zeros="0" * 64)
    )
    return f"{tmp_path}/net.py:Normalised"


@pytest.mark.parametrize(("variant", "tag"), [("", "plain"), (":biased", "biased")])
def test_a_variant_gets_its_own_weights_or_those_of_all_variants(net, variant, tag):
    spec = choose(net + variant)
    assert [d.tag for d in candidates(spec, GRAY)] == [tag]
    assert [d.tag for d in candidates(spec, Setting("denoise", 50.0, 1))] == ["both"]
    with pytest.raises(OutOfReachError, match="it has sigma 25, 50"):
        pick(spec, Setting("denoise", 15.0, 1))


DECLARED = """
["mine.{tag}"]
settings = [{{ task = "denoise", channels = 1, levels = [25] }}]
path = "{tag}.safetensors"
sha256 = "{sha256}"
licence = "MIT"
trained_by = "{by}"
trained_on = ["sample"]
"""

OPTIONAL = """
from bench.restorer import Restorer

class Mine(Restorer):
    name, tasks = "mine", {"denoise"}
"""


@pytest.fixture
def optional(tmp_path):
    """A restorer that does not need weights but has some: of ours, declared first, and published ones."""
    (tmp_path / "mine.py").write_text(OPTIONAL)
    text = ""
    for tag, by in (("home", "us"), ("theirs", "authors")):
        (tmp_path / f"{tag}.safetensors").write_text(tag)
        text += DECLARED.format(tag=tag, by=by, sha256=hashlib.sha256(tag.encode()).hexdigest())
    (tmp_path / "weights.toml").write_text(text)
    return f"{tmp_path}/mine.py:Mine"


def test_published_weights_come_before_ours_whichever_are_declared_first(optional):
    assert [d.tag for d in candidates(choose(optional), GRAY)] == ["theirs", "home"]
    assert pick(choose(optional), GRAY).file.label == "published:theirs.safetensors"
    assert pick(choose(f"{optional}@ours"), GRAY).file.label == "ours:home.safetensors"


def test_ours_stand_in_where_the_published_ones_cannot_be_had(optional, tmp_path):
    (tmp_path / "theirs.safetensors").write_text("damaged")
    file, declaration, instead_of = pick(choose(optional), GRAY)
    assert (file.label, declaration.tag) == ("ours:home.safetensors", "home")
    assert "weights 'mine.theirs': sha256 of " in instead_of


def test_where_none_of_the_declared_weights_can_be_had_nothing_runs_without_them(optional, tmp_path):
    for tag in ("home", "theirs"):
        (tmp_path / f"{tag}.safetensors").write_text("damaged")
    with pytest.raises(WeightsError, match=r"'mine\.theirs'.* 'mine\.home'"):
        pick(choose(optional), GRAY)


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


def test_a_dry_run_takes_the_weights_that_the_run_will_take(monkeypatch, tmp_path):
    """Published weights that are not here are the run's if it may download them, else ours."""
    spec, setting = choose("groupsc"), Setting("denoise", 25.0, 1)
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    monkeypatch.delenv("BENCH_MIRROR", raising=False)
    monkeypatch.setenv("BENCH_OFFLINE", "0")
    assert pick(spec, setting, download=False).file.label == "published:gray_sigma25_ckpt"
    monkeypatch.setenv("BENCH_OFFLINE", "1")
    picked = pick(spec, setting, download=False)
    assert picked.file.label == "ours:groupsc-gray-25.safetensors"
    assert "gray_sigma25_ckpt is not here, and BENCH_OFFLINE forbids the network" in picked.instead_of
    mirrored = tmp_path / "mirror/weights/groupsc/gray_sigma25_ckpt"
    mirrored.parent.mkdir(parents=True)
    mirrored.write_bytes(b"")
    monkeypatch.setenv("BENCH_MIRROR", str(tmp_path / "mirror"))
    assert pick(spec, setting, download=False).file.label == "published:gray_sigma25_ckpt"
