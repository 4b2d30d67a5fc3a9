"""weights.toml: every entry complete and consistent, with no download."""

from __future__ import annotations

import re
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from bench import methods
from bench.plugins.registry import infos
from bench.tasks import TASKS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MANIFEST = Path(methods.__file__).with_name("weights.toml")
ENTRIES = tomllib.loads(MANIFEST.read_text(encoding="utf-8"))
REQUIRED = {"settings", "licence", "trained_by", "trained_on"}
OPTIONAL = {"folder", "file", "url", "path", "sha256", "git_blob", "bytes", "reproduces", "loader", "variants"}

every_entry = pytest.mark.parametrize("name", ENTRIES)


@every_entry
def test_has_the_fields_and_no_others(name):
    entry = ENTRIES[name]
    assert entry.keys() >= REQUIRED
    assert entry.keys() <= REQUIRED | OPTIONAL
    assert entry["licence"].strip()
    assert entry["trained_by"] in {"authors", "us"}
    assert entry["trained_on"]
    assert all(isinstance(dataset, str) and dataset for dataset in entry["trained_on"])


@every_entry
def test_belongs_to_a_restorer_that_is_installed(name):
    restorer, tag = name.split(".")
    assert restorer in {point.name for point in entry_points(group="bench.methods")}
    assert re.fullmatch(r"[a-z0-9-]+", tag)


@every_entry
def test_is_for_variants_that_can_be_asked_for(name):
    card = infos()[name.split(".")[0]]
    for named in (ENTRIES[name], *ENTRIES[name]["settings"]):
        assert {*named.get("variants", [""])} <= {"", *card.variants}


@every_entry
def test_names_settings_that_can_be_asked_for(name):
    for setting in ENTRIES[name]["settings"]:
        assert setting.keys() - {"variants"} == {"task", "channels", "levels"}
        task, levels = TASKS[setting["task"]], setting["levels"]
        assert setting["channels"] in ({1, 3} if task.channels is None else {task.channels})
        if isinstance(levels, dict):
            assert levels.keys() == {"from", "to"}
            assert levels["from"] < levels["to"]
            levels = list(levels.values())
        assert levels
        assert all(task.level.parse(str(level)) is not None for level in levels)


@every_entry
def test_can_be_had_and_verified(name):
    entry = ENTRIES[name]
    assert entry.keys() & {"sha256", "git_blob"}
    assert re.fullmatch(r"[0-9a-f]{64}", entry.get("sha256", "0" * 64))
    assert re.fullmatch(r"[0-9a-f]{40}", entry.get("git_blob", "0" * 40))
    if "path" in entry:  # shipped with the package
        assert "sha256" in entry
        assert (MANIFEST.parent / entry["path"]).is_file()
    else:
        assert re.fullmatch(r"[\w.-]+", entry["file"])
        assert entry["url"].startswith("https://")
        assert entry.get("bytes", 1) > 0  # of a file known by its git blob id alone, the size is not known


def test_no_two_entries_are_the_same_file():
    for field in ("sha256", "git_blob", "url"):
        values = [entry[field] for entry in ENTRIES.values() if field in entry]
        assert len(values) == len(set(values))


def test_dncnn_has_the_models_of_the_paper():
    settings = {
        (s["task"], s["channels"]) for name in ENTRIES if name.startswith("dncnn.") for s in ENTRIES[name]["settings"]
    }
    gray_and_colour = {(task, channels) for task in ("denoise", "denoise-blind") for channels in (1, 3)}
    assert settings == gray_and_colour | {("deblock", 1), ("superres", 1)}
