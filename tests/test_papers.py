"""The papers' tables as data: they read as printed, the audit finds what is wrong in them, verdicts are honest."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pandas as pd
import pytest

from bench.audit import audit
from bench.errors import PaperError
from bench.papers import METRICS, load, names, read
from bench.task import TASKS
from bench.verdict import compare

OUR_RESTORERS = {
    *("noisy", "jpeg", "bicubic", "bm3d", "dncnn", "ksvd", "lssc", "sc", "groupsc", "nlrn", "nsr"),
    *("cscnet", "lidia", "ffdnet", "deep-ksvd"),
}


def figure(paper, **words):
    """The printed text of the one entry that has these words."""
    (entry,) = (e for e in load(paper).entries if all(getattr(e, word) == value for word, value in words.items()))
    return entry.printed


# --- the files -------------------------------------------------------------------------------------


def test_there_are_four_papers_and_a_talk():
    assert names() == ["dncnn-2017", "groupsc-2020", "nlrn-2018", "nsr-2020", "talk-2020"]


def test_an_unknown_paper_gets_the_near_miss_and_the_list():
    with pytest.raises(
        PaperError, match=r"No paper named 'dncn-2017'. Did you mean 'dncnn-2017'\? Known: dncnn-2017, g"
    ):
        load("dncn-2017")


@pytest.mark.parametrize(
    ("paper", "tables"),
    [
        ("dncnn-2017", ("II", "III", "IV", "V")),
        ("groupsc-2020", ("1", "2", "3", "4", "5", "Section 4")),
        ("nlrn-2018", ("1", "2", "3", "4", "5", "6")),
        ("nsr-2020", ("1", "2", "3", "Figure 5", "4", "5", "6")),
        ("talk-2020", ("slides 'Few Recent Examples'", "slides 'Bottom Line'")),
    ],
)
def test_every_results_table_is_there(paper, tables):
    assert load(paper).tables == tables


@pytest.mark.parametrize("name", names())
class TestEveryPaper:
    def test_says_where_it_is_from(self, name):
        paper = load(name)
        assert paper.title
        assert paper.authors
        assert paper.venue
        assert 2007 < paper.year < 2030
        assert str(paper.year) in name
        assert paper.document.endswith(".txt")

    def test_speaks_of_our_tasks_metrics_and_restorers(self, name):
        for entry in load(name).entries:
            assert entry.metric in METRICS, entry.place
            assert entry.task in {*TASKS, ""}, entry.place
            assert entry.restorer.partition(":")[0] in {*OUR_RESTORERS, ""}, entry.place
            assert entry.channels in ((1, 3) if entry.task else (1, 3, 64)), entry.place

    def test_every_quality_figure_has_a_task_a_set_and_a_level_of_that_task(self, name):
        for entry in load(name).entries:
            if entry.metric in ("psnr_db", "ssim"):
                level = TASKS[entry.task].level.parse(str(entry.level))
                assert entry.dataset, entry.place
                assert level == entry.level, entry.place

    def test_every_tolerance_gives_its_reason(self, name):
        for entry in load(name).entries:
            if entry.restorer and entry.metric in ("psnr_db", "ssim"):
                assert 0 < entry.tolerance <= 0.4, entry.place
                assert entry.because, entry.place

    def test_a_method_at_one_task_has_one_restorer_or_none(self, name):
        restorers = {}
        for entry in load(name).entries:
            known = restorers.setdefault((entry.id, entry.task, entry.channels), entry.restorer)
            assert entry.restorer == known, entry.place


@pytest.mark.parametrize(
    ("paper", "words", "printed"),
    [
        ("dncnn-2017", {"table": "II", "id": "dncnn-s", "level": 25}, "29.23"),
        ("dncnn-2017", {"table": "II", "id": "dncnn-b", "task": "denoise-blind", "level": 25}, "29.16"),
        ("dncnn-2017", {"table": "III", "id": "dncnn-s", "level": 50, "image": "04.png"}, "25.70"),
        ("dncnn-2017", {"table": "III", "id": "mlp", "column": "Barbara", "level": 25}, "29.54"),
        ("dncnn-2017", {"table": "III", "id": "bm3d", "level": 15, "image": ""}, "32.372"),
        ("dncnn-2017", {"table": "IV", "id": "tnrd", "variant": "512x512", "metric": "seconds_gpu"}, "0.032"),
        ("dncnn-2017", {"table": "V", "id": "dncnn-3", "dataset": "set14", "level": 4, "metric": "ssim"}, "0.7672"),
        (
            "dncnn-2017",
            {"table": "V", "id": "dncnn-3", "dataset": "live1", "level": 40, "metric": "psnr_db"},
            "33.96",
        ),
        ("groupsc-2020", {"table": "1", "id": "groupsc", "level": 5}, "40.43"),
        ("groupsc-2020", {"table": "2", "id": "cbm3d", "level": 50}, "27.36"),
        ("groupsc-2020", {"table": "2", "id": "rnan", "level": 10}, "36.60"),
        ("groupsc-2020", {"table": "3", "id": "groupsc", "metric": "params"}, "68k"),
        ("groupsc-2020", {"table": "3", "id": "lssc", "level": 15}, "31.28"),
        ("groupsc-2020", {"table": "4", "id": "jpeg", "level": 30}, "31.48"),
        ("groupsc-2020", {"table": "5", "id": "ircnn", "dataset": "cbsd68"}, "39.9"),
        ("nlrn-2018", {"table": "1", "id": "nlrn"}, "30.80"),
        ("nlrn-2018", {"table": "3", "id": "red", "metric": "params"}, "4,131k"),
        ("nlrn-2018", {"table": "4", "id": "nlnet", "dataset": "bsd68", "level": 25}, "29.03"),
        (
            "nlrn-2018",
            {"table": "5", "id": "nlrn-bsd300-mv", "dataset": "bsd200", "level": 50, "metric": "ssim"},
            "0.8429",
        ),
        ("nlrn-2018", {"table": "6", "id": "lapsrn", "dataset": "urban100", "level": 4, "metric": "ssim"}, "0.756"),
        ("nsr-2020", {"table": "3", "id": "wdsr-nsr-16", "variant": "2 blocks"}, "34.17"),
        ("nsr-2020", {"table": "4", "id": "bicubic", "dataset": "bsd100", "level": 3, "metric": "psnr_db"}, "27.21"),
        (
            "nsr-2020",
            {"table": "5", "id": "nsr-sparse+", "dataset": "bsd68", "level": 25, "metric": "psnr_db"},
            "29.35",
        ),
        ("nsr-2020", {"table": "6", "id": "jpeg", "dataset": "live1", "level": 10, "metric": "psnr_db"}, "27.77"),
        ("talk-2020", {"id": "deep-ksvd", "metric": "params"}, "45K"),
        ("talk-2020", {"id": "lidia", "metric": "largest_gap_db"}, "0.1"),
    ],
)
def test_figures_are_as_the_paper_prints_them(paper, words, printed):
    assert figure(paper, **words) == printed


def test_a_misprint_is_kept_marked_and_not_held_against_us():
    (entry,) = (e for e in load("nsr-2020").entries if e.printed == "39.97")
    assert (entry.method, entry.dataset, entry.level) == ("BM3D", "set12", 25)
    assert "misprint for 29.97" in entry.note
    assert "misprint for 29.97" in entry.incomparable


def test_suffixes_and_thousands_are_read():
    sizes = {e.printed: (e.value, e.unit) for n in names() for e in load(n).entries if e.metric == "params"}
    assert sizes["68k"] == (68_000, 1_000)
    assert sizes["8.96M"] == (8_960_000, 10_000)
    assert sizes["4,131k"] == (4_131_000, 1_000)
    assert sizes["5.5e5"] == (550_000, 10_000)


# --- a file of one's own -----------------------------------------------------------------------------

HEAD = """
[paper]
title = "A paper"
authors = "Ours"
venue = "here"
year = 2020
document = "a.txt"

[[tolerance]]
psnr_db = 0.05
ssim = 0.001
because = "noise"
"""

TABLE = """
[[table]]
number = "1"
caption = "gray denoising"
protocol = "AWGN"
task = "denoise"
dataset = "set12"
channels = 1
metric = "psnr_db/ssim"
columns.level = [15, 25]
rows = [
  { method = "Noisy", id = "noisy", restorer = "noisy", values = "24.61/0.5000 20.17/0.4000" },
  { method = "Ours", id = "dncnn-s", restorer = "dncnn", params = "556k", values = "32.86/0.9000 30.44/0.8600" },
]
"""


@pytest.fixture
def paper(tmp_path):
    """Reads a paper from text: `paper()` is a clean one, `paper(old, new)` one with a change."""

    def made(old="", new=""):
        text = HEAD + TABLE
        assert old in text
        file = tmp_path / "ours-2020.toml"
        file.write_text(text.replace(old, new, 1) if old else text, encoding="utf-8")
        return read(file)

    return made


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[[table]]", "[[table]", r"ours-2020.toml: cannot be read: "),
        ('venue = "here"\n', "", r"ours-2020.toml, \[paper\]: 'venue' is missing"),
        ("year = 2020", 'year = "2020"', r"\[paper\]: 'year' cannot be '2020'"),
        ("caption =", "captoin =", r"Table 1: No key named 'captoin'. Did you mean 'caption'\?"),
        ('"denoise"', '"denois"', r"Table 1, row Noisy, column 15: No task named 'denois'. Did you mean 'denoise'\?"),
        ('"psnr_db/ssim"', '"psnr/ssim"', r"row Noisy, column 15: No metric named 'psnr'. Did you mean 'psnr_db'\?"),
        ("32.86/0.9000 ", "", r"ours-2020.toml, Table 1, row Ours: 1 values for 2 columns"),
        ("32.86/0.9000", "32.86", r"row Ours, column 15: '32.86' should hold psnr_db/ssim"),
        ("32.86", "32,86x", r"row Ours, column 15: '32,86x' is not a figure"),
        ("[15, 25]", "[15, true]", r"Table 1, columns: 'level' cannot be True"),
        ("channels = 1\n", "", r"row Noisy, column 15: 'channels' is missing"),
        ("psnr_db = 0.05\n", "", r"no \[\[tolerance\]\] gives a psnr_db for ours-2020, Table 1, Noisy, 15"),
        ("ssim = 0.001\n", 'ssim = 0.001\nid = "x"\n', r"\[\[tolerance\]\]: nothing is picked by \{'id': 'x'\}"),
    ],
)
def test_a_malformed_file_is_an_error_that_names_the_place(paper, old, new, message):
    with pytest.raises(PaperError, match=message):
        paper(old, new)


def test_the_last_tolerance_that_picks_a_figure_counts(paper):
    rule = (
        '[[tolerance]]\nrestorer = "dncnn"\nlevel = [25, 50]\npsnr_db = 0.2\nbecause = "another network"\n\n[[table]]'
    )
    psnr = {
        (e.id, e.level): (e.tolerance, e.because) for e in paper("[[table]]", rule).entries if e.metric == "psnr_db"
    }
    assert psnr["dncnn-s", 25] == (0.2, "another network")
    assert psnr["dncnn-s", 15] == psnr["noisy", 25] == (0.05, "noise")


# --- the audit -------------------------------------------------------------------------------------------


def without_notes(paper):
    return replace(paper, entries=tuple(replace(entry, note="") for entry in paper.entries))


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
        ("ssim", ("0.8111", "0.8026")),  # two kinds of SSIM in NSR's Table 6
    ],
)
def test_the_audit_finds_what_nobody_named(conflicts, kind, printed):
    assert found(conflicts, kind, *printed)


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


# --- the verdict -------------------------------------------------------------------------------------------

TWO_IMAGES = {"set12": 2}.get


def record(restorer, level, psnr_db, image="01.png", weights="", **others):
    return {
        "restorer": restorer,
        "weights": weights,
        "task": "denoise",
        "level": level,
        "channels": 1,
        "dataset": "set12",
        "image": image,
        "protocol": "standard-v1",
        "repeat": 0,
        "status": "ok",
        "psnr_db": psnr_db,
        "ssim": 0.9,
        "params": 556_032,
        **others,
    }


def both_images(restorer, level, psnr_db, weights="published:a.mat", **others):
    """Two images whose mean is `psnr_db`."""
    pairs = (("01.png", psnr_db - 1), ("02.png", psnr_db + 1))
    return [record(restorer, level, value, image, weights, **others) for image, value in pairs]


def verdict(paper, records, restorer="dncnn", level=25, metric="psnr_db", **options):
    comparison = compare(paper, pd.DataFrame(records), images_in=options.pop("images_in", TWO_IMAGES), **options)
    (found,) = (
        v
        for v in comparison.verdicts
        if (v.entry.restorer, v.entry.metric) == (restorer, metric) and v.entry.level in (level, None)
    )
    return found


def test_a_mean_within_tolerance_is_reproduced(paper):
    got = verdict(paper(), both_images("dncnn", 25.0, 30.484))
    assert (got.verdict, got.measured, got.difference) == ("reproduced", pytest.approx(30.484), 0.04)
    assert got.weights == "published:a.mat"


def test_measured_is_rounded_as_printed_before_it_is_judged(paper):
    assert verdict(paper(), both_images("dncnn", 25.0, 30.4949)).verdict == "reproduced"
    assert verdict(paper(), both_images("dncnn", 25.0, 30.4951)).verdict == "off"


def test_a_mean_beyond_tolerance_is_off(paper):
    comparison = compare(paper(), pd.DataFrame(both_images("dncnn", 25.0, 30.2)), images_in=TWO_IMAGES)
    assert comparison.counts() == {"reproduced": 1, "off": 2, "ours": 0, "not measured": 6}


def test_a_tolerance_of_ones_own_replaces_the_files(paper):
    records = both_images("dncnn", 25.0, 30.2)
    assert verdict(paper(), records, tolerance=0.3).verdict == "reproduced"
    assert verdict(paper(), records, metric="ssim", tolerance=0.3).verdict == "off"


def test_nothing_compared_is_a_failure_that_says_so(paper):
    other_protocol = both_images("dncnn", 25.0, 30.44, protocol="kair-v1")
    for records in (both_images("nlm", 25.0, 30.44), other_protocol):
        comparison = compare(paper(), pd.DataFrame(records), images_in=TWO_IMAGES)
        assert "0 compared" in comparison.summary()
        assert "nothing was compared, which counts as failure" in comparison.summary()


def test_all_that_was_compared_is_reproduced(paper):
    records = both_images("dncnn", 25.0, 30.44, ssim=0.86) + both_images("noisy", 15.0, 24.61, "", ssim=0.5)
    comparison = compare(paper(), pd.DataFrame(records), images_in=TWO_IMAGES)
    assert comparison.summary().startswith("ours-2020 under standard-v1: 5 compared, 5 reproduced, 0 off")


def test_our_weights_never_reproduce_the_authors(paper):
    got = verdict(paper(), both_images("dncnn", 25.0, 30.44, "ours:dncnn-25"))
    assert (got.verdict, got.difference) == ("ours", 0)
    comparison = compare(paper(), pd.DataFrame(both_images("dncnn", 25.0, 20.0, "ours:x")), images_in=TWO_IMAGES)
    assert comparison.compared == 0


def test_published_weights_are_preferred_to_ours(paper):
    records = both_images("dncnn", 25.0, 20.0, "ours:a") + both_images("dncnn", 25.0, 30.44, "published:b")
    got = verdict(paper(), records)
    assert (got.verdict, got.weights) == ("reproduced", "published:b")


@pytest.mark.parametrize(
    ("records", "why"),
    [
        (both_images("noisy", 25.0, 30.0), "no records of dncnn"),
        (both_images("dncnn", 50.0, 30.0), "no records of dncnn at this setting"),
        (both_images("dncnn", 25.0, 30.0)[:1], "incomplete: 1 of 2 images"),
        (both_images("dncnn", 25.0, 30.0, status="failed"), "incomplete: 0 of 2 images"),
        (both_images("dncnn", 25.0, float("nan")), "incomplete: 0 of 2 images"),
    ],
)
def test_what_was_not_measured_says_why(paper, records, why):
    got = verdict(paper(), records)
    assert (got.verdict, got.measured, got.difference, got.why) == ("not measured", None, None, why)


def test_repeats_count_as_one_image(paper):
    first = both_images("dncnn", 25.0, 30.43)
    assert verdict(paper(), [*first, *both_images("dncnn", 25.0, 30.45, repeat=1)]).measured == pytest.approx(30.44)
    half = [first[0], {**first[0], "repeat": 1}]
    assert verdict(paper(), half).why == "incomplete: 1 of 2 images"


def test_levels_read_back_from_a_text_file_are_the_same_levels(paper):
    for level in (25, 25.0, "25", "25.0"):
        assert verdict(paper(), both_images("dncnn", level, 30.44)).verdict == "reproduced"


def test_a_set_that_we_lack_and_a_method_that_we_lack_say_so(paper):
    records = both_images("dncnn", 25.0, 30.44)
    assert verdict(paper(), records, images_in={}.get).why == "we have no data set set12"
    stranger = paper('restorer = "dncnn", ', "")
    assert verdict(stranger, records, restorer="").why == "not one of our restorers"


def test_an_incomparable_figure_says_why(paper):
    rule = '[[incomparable]]\nid = "dncnn-s"\nmetric = "ssim"\nbecause = "another SSIM"\n\n[[table]]'
    got = verdict(paper("[[table]]", rule), both_images("dncnn", 25.0, 30.44), metric="ssim")
    assert (got.verdict, got.why) == ("not measured", "another SSIM")


def test_run_times_are_never_compared():
    records = both_images("dncnn", 25.0, 30.44)
    comparison = compare(load("dncnn-2017"), pd.DataFrame(records), images_in=TWO_IMAGES)
    times = [v for v in comparison.verdicts if v.entry.restorer == "dncnn" and v.entry.table == "IV"]
    assert {v.why for v in times} == {"a run time of another machine"}


@pytest.mark.parametrize(
    ("params", "answer"),
    [
        (555_600, "reproduced"),  # prints as 556k
        (557_000, "off"),
        (float("nan"), "not measured"),
    ],
)
def test_parameters_are_compared_to_the_digits_printed(paper, params, answer):
    assert verdict(paper(), both_images("dncnn", 25.0, 30.44, params=params), metric="params").verdict == answer


def test_several_networks_behind_one_name_have_no_one_size(paper):
    records = [*both_images("dncnn", 15.0, 32.86), *both_images("dncnn", 25.0, 30.44, params=700_000)]
    assert verdict(paper(), records, metric="params").why == "the records have several params"


def test_a_figure_of_one_image_is_held_against_that_image():
    records = [record("dncnn", 25.0, 29.45, "04.png", "published:a")]
    comparison = compare(load("dncnn-2017"), pd.DataFrame(records), images_in={"set12": 12}.get)
    (starfish,) = (v for v in comparison.verdicts if v.measured is not None)
    assert (starfish.entry.column, starfish.entry.printed, starfish.verdict) == ("Starfish", "29.41", "reproduced")
    assert comparison.reasons()["incomplete: not 05.png"] == 1


def test_records_without_a_needed_column_are_refused(paper):
    with pytest.raises(PaperError, match="no column 'psnr_db'"):
        compare(
            paper(), pd.DataFrame(both_images("dncnn", 25.0, 30.44)).drop(columns="psnr_db"), images_in=TWO_IMAGES
        )


def test_rows_show_what_was_measured_and_on_request_everything(paper):
    comparison = compare(paper(), pd.DataFrame(both_images("dncnn", 25.0, 30.484)), images_in=TWO_IMAGES)
    headers, rows = comparison.rows()
    psnr = dict(zip(headers, rows[1], strict=True))
    assert len(rows) == 3
    assert [psnr[h] for h in ("measured", "published", "difference", "verdict")] == [
        "30.48",
        "30.44",
        "+0.04",
        "reproduced",
    ]
    assert (psnr["setting"], psnr["weights"], psnr["why"]) == ("denoise 25 gray set12", "published:a.mat", "noise")
    assert len(comparison.rows(everything=True)[1]) == 9


def test_reading_papers_loads_neither_pandas_nor_torch():
    code = (
        "import sys, bench.papers as p; [p.load(n) for n in p.names()]; print({'pandas', 'torch'} & set(sys.modules))"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
    )
