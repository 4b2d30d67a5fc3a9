"""What to cite: each entry is BibTeX and of something that there is; what we measure has one, or no paper."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest
from bench.data.datasets import get, names

from bench.errors import PaperError
from bench.judge.references import of_dataset, of_metric, of_restorer, ours, read
from bench.metric import METRICS
from bench.plugins.registry import infos

NEEDED = {"article": {"journal", "volume", "year"}, "inproceedings": {"booktitle", "year"}, "misc": {"howpublished"}}
WITHOUT = {"bilinear", "jpeg", "noisy"}
"""restorers that are no paper's; nor are those that run any file"""


def fields(bibtex):
    return dict(re.findall(r"^  (\w+) += \{(.*)\},$", bibtex, re.MULTILINE))


@pytest.mark.parametrize("reference", ours(), ids=lambda reference: reference.key)
def test_an_entry_says_what_its_kind_must(reference):
    kind = re.match(r"@(\w+)", reference.bibtex)[1]
    told = fields(reference.bibtex)
    assert len(told) == reference.bibtex.count("\n") - 1
    assert {*told} >= NEEDED[kind] | {"author", "title"}
    if "year" in told:
        assert told["year"] in reference.key
        first = told["author"].partition(",")[0].lower()
        assert reference.key.startswith(re.sub(r"[^a-z]", "", first.replace('{\\"a}', "a")))
    if "pages" in told:
        assert re.fullmatch(r"[\d.]+--[\d.]+|e\d+", told["pages"])


def test_each_is_of_something_that_there_is():
    variants = {f"{name}:{variant}" for name, info in infos().items() for variant in info.variants}
    known = {("restorers", name) for name in {*infos()} | variants}
    known |= {("datasets", name) for name in names()} | {("metrics", name) for name in METRICS}
    assert {named for reference in ours() for named in reference.of} <= known


def test_what_is_measured_has_a_paper():
    built_in = [info for info in infos().values() if info.is_built_in and not info.adapts]
    assert {info.name for info in built_in if not of_restorer(info, ())} <= WITHOUT
    assert [name for name in names() if not of_dataset(name)] == []
    assert [name for name in METRICS if not of_metric(name)] == ["psnr", "psnr_y"]


def test_the_terms_that_ask_for_a_paper_get_it():
    asking = [name for name in names() if "cited" in get(name).terms]
    assert asking == ["live1"]
    assert of_dataset("live1")[0].key == "sheikh2006live"


GOOD = """
[doe2026mine]
restorers = ["mine"]
bibtex = '''
@article{doe2026mine,
  title = {{B} of {c}},
}'''
"""


def plugin(folder, name="mine", fault="", is_built_in=False):
    return SimpleNamespace(name=name, fault=fault, is_built_in=is_built_in, companion=lambda file: folder / file)


def test_a_plugin_brings_its_own(tmp_path):
    assert of_restorer(plugin(tmp_path), ()) == []
    (tmp_path / "references.toml").write_text(GOOD)
    assert [reference.key for reference in of_restorer(plugin(tmp_path), ())] == ["doe2026mine"]
    assert of_restorer(plugin(tmp_path, "other"), ()) == []
    assert of_restorer(plugin(tmp_path, "dncnn"), ()) == []


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("@article{doe2026mine,", "@article{other,", "expected one BibTeX entry of the key doe2026mine"),
        ("@article{doe2026mine,", "article{doe2026mine,", "expected one BibTeX entry"),
        ("{{B} of {c}}", "{{B} of {c}", "expected one BibTeX entry"),
        ("{{B} of {c}},\n}", "{b},\n}\n@misc{b, note = {c}}", "expected one BibTeX entry"),
        ('["mine"]', '"mine"', "restorers: expected a list of names"),
        ("restorers", "restorer", "expected a table of bibtex, restorers, datasets, metrics"),
        ("[doe2026mine]", "doe2026mine = 1\n[x]", "expected a table"),
        ("restorers =", "restorers", "cannot be read"),
    ],
)
def test_what_is_no_reference_is_named(tmp_path, old, new, says):
    file = tmp_path / "references.toml"
    file.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(PaperError, match=re.escape(says)):
        list(read(file))
