"""Keys: every part of what can change an answer is in them, each in its place."""

from dataclasses import replace
from pathlib import Path

import pytest
from bench.data.datasets import Dataset, ImageEntry

from bench.measure.machine import Machine
from bench.plugins.registry import RestorerInfo, RestorerSpec
from bench.protocol import get_protocol
from bench.restorer import WeightsFile
from bench.runner.cell import Cell
from bench.tasks import Setting


def cell(code="c" * 64, spec=None, **parts):
    info = RestorerInfo("net", "", Path("/p/net.py"), "/p/net.py:Net", frozenset({"denoise"}), "1")
    spec = spec or RestorerSpec(info)
    spec.__dict__["code_sha256"] = code
    standing = {
        "spec": spec,
        "weights": WeightsFile(Path("/w/best.pth"), "file:best.pth", "w" * 64, "state-dict"),
        "setting": Setting("denoise", 25.0, 1),
        "dataset": Dataset("photos", "", "folder", "", 1, (1,), location="/photos"),
        "entry": ImageEntry("1.png", "photos", 8, 8, 1, 64),
        "image_sha256": "i" * 64,
        "protocol": get_protocol("standard-v1"),
        "repeat": 0,
        "machine": Machine("cpu", 1, "", "{}"),
        "timed": False,
    }
    return Cell(**{**standing, **parts})


BASE = cell()
OTHERS = {
    "the code": cell(code="d" * 64),
    "the version": cell(spec=RestorerSpec(replace(BASE.spec.info, version="2"))),
    "the name": cell(spec=RestorerSpec(replace(BASE.spec.info, name="mesh"))),
    "the variant": cell(spec=RestorerSpec(BASE.spec.info, variant="bf16")),
    "the self-ensemble": cell(spec=RestorerSpec(BASE.spec.info, ensemble=True)),
    "no weights": cell(weights=None),
    "the weights": cell(weights=replace(BASE.weights, sha256="v" * 64)),
    "their reader": cell(weights=replace(BASE.weights, loader="matconvnet")),
    "their origin": cell(weights=replace(BASE.weights, label="published:best.pth")),
    "the task": cell(setting=Setting("denoise-blind", 25.0, 1)),
    "the level": cell(setting=Setting("denoise", 25.00000001, 1)),
    "the channels": cell(setting=Setting("denoise", 25.0, 3)),
    "the set": cell(dataset=replace(BASE.dataset, name="other")),
    "the folder": cell(dataset=replace(BASE.dataset, location="/elsewhere/photos")),
    "the image": cell(entry=replace(BASE.entry, name="2.png")),
    "its pixels": cell(image_sha256="j" * 64),
    "the noise": cell(repeat=1),
    "the protocol": cell(protocol=get_protocol("groupsc-v1")),
}


@pytest.mark.parametrize("what", OTHERS)
def test_the_quality_key_holds(what):
    assert OTHERS[what].quality_key != BASE.quality_key


def test_all_of_them_are_told_apart():
    assert len({other.quality_key for other in OTHERS.values()}) == len(OTHERS)


def test_what_a_thing_is_called_or_where_its_file_lies_is_not_in_it():
    weights = replace(BASE.weights, path=Path("/elsewhere/best.pth"), label="file:other.pth")
    moved = RestorerSpec(replace(BASE.spec.info, source=Path("/q/net.py"), target="/q/net.py:Net"))
    same = [
        cell(weights=weights),
        cell(label="net@best"),
        cell(spec=moved),
        cell(machine=Machine("cpu", 2, "", "{}")),
    ]
    assert {other.quality_key for other in same} == {BASE.quality_key}


def test_keys_are_those_that_stores_hold():
    """A part in another place would set aside every record that there is: then the layout gets a new number."""
    assert BASE.key == "147ba41c2d3e9979e220815c-untimed"
    assert cell(weights=None).quality_key == "c0cd8c4109859ba39fab5e3a"


def test_the_keys_of_layout_3_are_those_of_then():
    info = replace(BASE.spec.info, target="bench.methods.net:Net")
    old = cell(spec=RestorerSpec(info))
    assert old.quality_key_of_layout_3 == "c797911f97e27af90e20aa72"
