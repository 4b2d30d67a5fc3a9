"""The papers' tables as data: they read as printed, and a malformed file is named."""

from __future__ import annotations

import contextlib
import math
import subprocess
import sys
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import PaperError
from bench.judge import entries, papers
from bench.judge.entries import METRICS
from bench.judge.papers import load, names
from bench.tasks import TASKS

OUR_RESTORERS = {
    *("noisy", "jpeg", "bicubic", "bm3d", "dncnn", "ksvd", "lssc", "sc", "groupsc", "nlrn", "nsr"),
    *("cscnet", "lidia", "ffdnet", "deep-ksvd", "vdsr", "n3net", "wnnm", "epll"),
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
        ("nsr-2020", ("1", "Section 4.2", "2", "3", "Figure 5", "4", "5", "6")),
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


@st.composite
def printed_figures(draw):
    """A figure as a paper may print it, its value, and the unit of its last digit."""
    whole, places = draw(st.integers(0, 99_999_999)), draw(st.integers(0, 4))
    suffix, factor = draw(st.sampled_from([("", 1), ("k", 1000), ("K", 1000), ("M", 1_000_000)]))
    comma = "," if draw(st.booleans()) else ""
    fraction = f".{draw(st.integers(0, 10**places - 1)):0{places}}" if places else ""
    unit = Fraction(factor, 10**places)
    return f"{whole:{comma}}{fraction}{suffix}", float(Fraction(f"{whole}{fraction}") * factor), float(unit)


@given(figures=st.lists(st.tuples(st.none() | printed_figures(), st.none() | printed_figures()), min_size=1))
def test_a_row_of_figures_is_read_back_as_it_is_printed(figures):
    """A cell holds a figure a metric, `-` where there is none, or `-` alone where there are none at all."""
    cells = ["/".join("-" if figure is None else figure[0] for figure in cell) for cell in figures]
    cells = ["-" if cell == "-/-" else cell for cell in cells]
    words = {"metric": "psnr_db/ssim", "task": "denoise", "channels": 1, "dataset": "set12"}
    columns = [(str(level), {"level": level}) for level in range(len(cells))]
    row = {"method": "M", "id": "m", "values": " ".join(cells)}
    at = {"paper": "p", "table": "1", "part": "", "under": "standard-v1"}
    found = [
        (e.level, e.metric, e.printed, e.value, e.unit) for e in papers._read_row(row, words, columns, at, "here")
    ]
    assert found == [
        (level, metric, *figure)
        for level, cell in enumerate(figures)
        for metric, figure in zip(("psnr_db", "ssim"), cell, strict=True)
        if figure is not None
    ]


@given(text=st.text(alphabet="0123456789.,-+eEkKM/_nainf ", max_size=8))
def test_any_other_text_is_a_figure_or_a_named_error(text):
    with contextlib.suppress(PaperError):
        value, unit = entries.figure(text, "here")
        assert unit > 0
        assert not math.isnan(value)


# --- a file of one's own -----------------------------------------------------------------------------


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
        ("[[table]]", '[[table]]\nunder = "dncn-v1"', "Table 1: No protocol named 'dncn-v1'"),
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


def test_reading_papers_loads_neither_pandas_nor_torch():
    code = (
        "import sys, bench.judge.papers as p; [p.load(n) for n in p.names()]; "
        "print({'pandas', 'torch'} & set(sys.modules))"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
    )
