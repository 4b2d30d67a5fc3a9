"""The audit of the papers' tables: it finds what is wrong in them, known and planted, and nothing else."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from bench.errors import PaperError
from bench.judge.audit import audit
from bench.judge.papers import load, names
from tests.conftest import TABLE


def without_notes(paper):
    claims = tuple(replace(claim, note="") for claim in paper.claims)
    return replace(paper, entries=tuple(replace(entry, note="") for entry in paper.entries), claims=claims)


def found(conflicts, kind, *printed):
    """The conflicts of that kind whose figures include all these."""
    return [c for c in conflicts if c.kind == kind and set(printed) <= {entry.printed for entry in c.entries}]


@pytest.fixture(scope="module")
def conflicts():
    """What the audit finds in the real files when nobody has written a note."""
    return audit(without_notes(load(name)) for name in names())


def test_the_audit_finds_the_known_misprints_without_reading_notes(conflicts):
    assert found(conflicts, "order", "39.97", "32.37")  # NSR, Table 5, BM3D on Set12 at 25
    assert found(conflicts, "disagree", "39.97", "29.97", "29.969")
    (tnrd,) = (c for c in found(conflicts, "not above input", "30.12") if c.entries[0].id == "tnrd")
    assert tnrd.entries[0].place == "groupsc-2020, Table 4, TNRD[6], 20"
    assert found(conflicts, "disagree", "30.12", "31.47")


@pytest.mark.parametrize(
    ("kind", "printed"),
    [
        ("disagree", ("31.07", "31.08")),  # DnCNN's Tables II and V
        ("disagree", ("37.56", "37.53")),  # VDSR
        ("disagree", ("556k", "554k", "550K")),
        ("disagree", ("33.77", "33.75")),
        ("average", ("32.696",)),
        ("not above input", ("31.47", "31.48")),
        ("ssim", ("0.7214", "0.8429")),  # NLRN's Table 5
    ],
)
def test_the_audit_finds_what_nobody_named(conflicts, kind, printed):
    assert found(conflicts, kind, *printed)


def test_two_kinds_of_ssim_are_not_held_against_each_other(conflicts):
    assert not found(conflicts, "ssim", "0.8111", "0.8026")  # NSR's Table 6: AR-CNN's by windows of 8x8


def test_one_figure_printed_with_more_digits_is_no_conflict(conflicts):
    assert not found(conflicts, "disagree", "32.372")  # 32.37 elsewhere
    assert not found(conflicts, "disagree", "30.436")  # 30.44 elsewhere


def test_every_conflict_in_our_files_has_been_looked_at():
    assert [str(c) for c in audit(load(name) for name in names()) if not c.explained] == []


def test_a_clean_paper_has_no_conflicts(paper):
    assert audit([paper()]) == []


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        ("30.44/0.8600", "33.44/0.8600", "order"),
        ("30.44/0.8600", "30.44/0.9100", "order"),
        ("30.44/0.8600", "20.17/0.4100", "not above input"),
        ("32.86/0.9000", "32.86/9.0000", "impossible"),
        ("32.86/0.9000", "328.6/0.9000", "impossible"),
    ],
)
def test_a_planted_misprint_is_found(paper, old, new, kind):
    assert kind in {conflict.kind for conflict in audit([paper(old, new)])}


def test_a_wrong_average_is_found(paper):
    row = 'level = 25\nmetric = "psnr_db"\ncolumns.image = ["01.png", "02.png", ""]\n'
    row += 'rows = [{ method = "Ours", id = "ours", values = "30.00 32.00 31.02" }]\n'
    wrong = paper(TABLE[TABLE.index('metric = "psnr_db/ssim"') :], row)
    (conflict,) = audit([wrong])
    assert "31.02, but its 2 images have mean 31.0000" in str(conflict)
    assert audit([replace(wrong, entries=wrong.entries[:2])]) == []


def test_papers_that_disagree_are_told_with_all_the_places(paper):
    ours, theirs = paper(), paper("30.44/", "30.41/")
    theirs = replace(theirs, entries=tuple(replace(entry, paper="theirs") for entry in theirs.entries))
    (conflict,) = audit([ours, theirs])
    assert conflict.kind == "disagree"
    assert [entry.place for entry in conflict.entries] == [
        "ours-2020, Table 1, Ours, 25",
        "theirs, Table 1, Ours, 25",
    ]
    assert conflict.explained == ""


TIMES = """
[[table]]
number = "2"
caption = "run times"
protocol = "one thread"
task = "denoise"
channels = 1
level = 25
metric = "seconds"
columns.variant = ["512x512", "1024x1024", "96x96"]
rows = [{ method = "Ours", id = "dncnn-s", values = "2.0 9.0 0.1" }]
"""


def test_a_time_that_falls_with_the_size_is_found(paper):
    assert audit([paper(TABLE, TABLE + TIMES)]) == []
    (conflict,) = audit([paper(TABLE, TABLE + TIMES.replace("0.1", "3.1"))])
    assert conflict.kind == "time"
    assert [entry.printed for entry in conflict.entries] == ["2.0", "3.1"]


CLAIM = """
[[claim]]
place = "Section 9"
says = "it is 10.3 dB above its input"
printed = "10.3"
how = "difference"
of = { id = "dncnn-s", metric = "psnr_db", level = 25 }
to = { id = "noisy" }
"""


@pytest.mark.parametrize(("printed", "holds"), [("10.3", True), ("10.27", True), ("10.2", False), ("10.29", False)])
def test_a_claim_is_held_against_its_figures(paper, printed, holds):
    """30.44 less 20.17 is 10.27, give or take 0.01."""
    claiming = paper(TABLE, TABLE + CLAIM.replace("10.3", printed))
    conflicts = audit([claiming])
    assert [conflict.kind for conflict in conflicts] == ([] if holds else ["claim"])
    assert claiming.claims[0].found() == [pytest.approx(10.27)]


def test_a_ratio_is_held_with_what_the_rounding_of_its_figures_leaves(paper):
    ratio = CLAIM.replace("difference", "ratio")
    assert audit([paper(TABLE, TABLE + ratio.replace("10.3", "1.51"))]) == []
    (conflict,) = audit([paper(TABLE, TABLE + ratio.replace("10.3", "1.52"))])
    assert "the figures give 1.51" in conflict.says
    assert not conflict.explained


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"difference"', '"sum"', "'how' is 'sum', and should be one of ratio, difference"),
        ('to = { id = "noisy" }', "", "give both 'of' and 'to', or neither"),
        ("level = 25", "level = 26", "nothing is picked by"),
        ('"noisy"', '"noisy", level = 15', "no figure of 'of' has the setting of one of 'to'"),
        ('"10.3"', '"ten"', "'ten' is not a figure"),
    ],
)
def test_a_claim_that_will_not_do_is_named(paper, old, new, says):
    with pytest.raises(PaperError, match=re.escape(says)):
        paper(TABLE, TABLE + CLAIM.replace(old, new))


def test_a_claim_without_figures_is_kept_for_a_run_of_ours():
    assert [claim.printed for claim in load("groupsc-2020").claims if not claim.pairs] == ["0.15"]
    assert [claim.printed for claim in load("talk-2020").claims] == ["47"]
