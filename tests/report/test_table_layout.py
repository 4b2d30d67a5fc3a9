"""Tables as one wants them: figures, rows, columns, means; who ranks, and what each format makes of it."""

import re
import shutil
import subprocess

import numpy as np
import pytest

import bench
from bench.cli import main
from bench.errors import BenchError, RequestError
from bench.records.files import read_records
from bench.records.record import frame_of
from bench.report.drawing import BEST, SECOND, Table, draw
from bench.report.export import write
from bench.report.ranks import ranks
from tests.report.test_table import cells, columns, record, table


def of(restorer, *psnr_db, weights="", **figures):
    """A record of an image for each PSNR."""
    return [
        record(f"{i}.png", value, restorer=restorer, weights=weights, ssim=value / 50, **figures)
        for i, value in enumerate(psnr_db)
    ]


THREE = [*of("tv", 28.0), *of("bm3d", 30.0), *of("nlm", 29.0)]


# --- figures -----------------------------------------------------------------------------------------


def test_a_comma_makes_two_columns_and_a_slash_one_cell():
    headers, row, *_ = cells(table(*of("tv", 30.0), metrics="psnr,ssim"))
    assert (headers, row) == (["restorer", "photos σ25 PSNR", "photos σ25 SSIM"], ["tv", "30.00", "0.6000"])
    assert cells(table(*of("tv", 30.0), metrics="ssim/psnr")) == [
        ["restorer", "photos σ25"],
        ["tv", "0.6000 / 30.00"],
    ]
    assert cells(table(*of("tv", 30.0), metrics=["psnr"], digits={"psnr": 0})) == [
        ["restorer", "photos σ25"],
        ["tv", "30"],
    ]


def test_costs_and_weights_have_columns_in_the_order_asked_for():
    one = record("1.png", seconds=0.25, params=20_000, macs_per_pixel=5.0, peak_mib=99.0)
    headers, row = cells(table(one, metrics="psnr,memory,seconds,weights,macs,params"))
    assert headers[2:] == ["peak MiB", "s/image", "weights", "MACs/pixel", "params"]
    assert row[2:] == ["99", "0.25", "published", "5", "20k"]
    assert cells(table(one, metrics="params")) == [["restorer", "params"], ["dncnn", "20k"]]


GMSD = '{"gmsd": {"value": %s, "identity": "1", "better": "smaller", "unit": "", "digits": 3}}'


def test_a_metric_of_the_records_is_a_column_and_the_smaller_may_be_the_better():
    records = [
        record("1.png", restorer=name, weights="", metrics=GMSD % value)
        for name, value in (("tv", 0.03), ("bm3d", 0.01), ("nlm", 0.02))
    ]
    text = table(*records, format="markdown", metrics="gmsd")
    assert "gmsd (smaller is better)" in text
    assert re.findall(r"\*+[\d.]+\*+", text) == ["**0.010**", "*0.020*"]


# --- rows and columns ----------------------------------------------------------------------------------

SETS = [
    record("1.png", 30.0 + level / 100, level=level, dataset=dataset)
    for dataset in ("set12", "photos")
    for level in (25.0, 50.0)
]


def test_columns_come_in_the_order_asked_for_and_take_other_names():
    headers, row = cells(table(*SETS, columns="photos:50=Photos,photos:25,set12", metrics="psnr"))
    assert headers[1:] == ["Photos σ50", "photos σ25", "set12 σ25", "set12 σ50"]
    assert row[1:3] == ["30.50", "30.25"]


def test_rows_come_in_the_order_asked_for_and_take_other_names():
    assert [row[0] for row in cells(table(*THREE, rows="nlm,bm3d=BM3D"))[1:]] == ["nlm", "BM3D"]
    twice = [*of("net", 30.0, weights="ours:a.st"), *of("net", 31.0, weights="published:b.mat"), *of("tv", 28.0)]
    assert [row[0] for row in cells(table(*twice, rows="tv,net"))[1:]] == ["tv", "net@ours", "net@published"]


def test_a_row_whose_name_has_an_equals_sign_is_meant_as_it_is():
    records = [*of("mine(radius=3)", 30.0), *THREE]
    assert [row[0] for row in cells(table(*records, rows="mine(radius=3)"))[1:]] == ["mine(radius=3)"]
    assert [row[0] for row in cells(table(*records, rows="mine(radius=3)=Mine"))[1:]] == ["Mine"]


def test_costs_are_of_the_columns_that_are_shown():
    records = [record("1.png", level=25.0, seconds=1.0), record("1.png", level=50.0, seconds=3.0)]
    assert columns(table(*records))[0]["s/image"] == "2"
    assert columns(table(*records, columns="photos:50"))[0]["s/image"] == "3"


def test_what_is_told_below_is_of_the_rows_that_are_shown():
    records = [*THREE, record("9.png", None, restorer="tv", weights="", status="failed", reason="bad luck")]
    records.append(record("", None, restorer="tv", status="skipped", reason="tv does not"))
    assert "bad luck" in table(*records, format="text")
    assert "tv does not" in table(*records, format="text")
    told = table(*records, format="text", rows="bm3d")
    assert "bad luck" not in told
    assert "tv does not" not in told


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ({"metrics": "psrn"}, "--metrics: No metric in the records named 'psrn'. Did you mean 'psnr'?"),
        ({"metrics": "psnr/params"}, "--metrics params: it is one of a row"),
        (
            {"columns": "photo"},
            "--columns: No data set or level in the records named 'photo'. Did you mean 'photos",
        ),
        ({"columns": "photos:26"}, "Did you mean 'photos:25'?"),
        ({"rows": "bm3"}, "--rows: No restorer in the records named 'bm3'. Did you mean 'bm3d'?"),
        ({"digits": "3"}, "--digits 3: expected a metric and a number, e.g. psnr=2,ssim=3."),
        ({"digits": "ssim=-1"}, "--digits ssim=-1: expected a whole number from 0 to 12."),
        ({"digits": "ssim=99"}, "--digits ssim=99"),
        ({"digits": {"snr": 2}}, "--digits: No metric in the records named 'snr'."),
        ({"label": "a}b"}, "--label a}b: expected letters"),
    ],
    ids=str,
)
def test_what_the_records_do_not_have_is_an_error_that_names_it(layout, message):
    with pytest.raises(BenchError) as error:
        table(*THREE, **layout)
    assert message in str(error.value)


def test_one_name_for_several_rows_is_an_error():
    twice = [*of("net", 30.0, weights="ours:a.st"), *of("net", 31.0, weights="published:b.mat")]
    with pytest.raises(RequestError, match="the name of 2 rows, net@ours, net@published"):
        table(*twice, rows="net=Net")


# --- means over data sets ----------------------------------------------------------------------------------


def test_a_mean_over_data_sets_counts_each_once_and_is_there_for_levels_that_several_have():
    records = [
        *(record(f"{i}.png", 30.0, dataset="many") for i in range(3)),
        record("1.png", 32.0, dataset="few"),
        record("1.png", 20.0, dataset="few", level=50.0),
    ]
    headers, row = cells(table(*records, mean=True, metrics="psnr"))
    assert headers[1:] == ["many σ25", "few σ25", "few σ50", "mean σ25"]
    assert row[1:] == ["30.00", "32.00", "20.00", "31.00"]


def test_there_is_no_mean_where_one_of_its_parts_is_not_whole():
    others = of("tv", 28.0, 28.0, dataset="a") + of("tv", 28.0, dataset="b")
    part = of("nlm", 29.0, dataset="a") + of("nlm", 29.0, dataset="b")
    tv, nlm = columns(table(*others, *part, mean=True, metrics="psnr"))
    assert (tv["mean σ25"], nlm["a σ25"], nlm["mean σ25"]) == ("28.00", "29.00 (1 of 2)", "–")


# --- ranks ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("figures", "marks"),
    [
        ([30.0, 31.0, 29.0], [SECOND, BEST, None]),
        ([31.0, 31.0, 29.0], [BEST, BEST, SECOND]),
        ([31.0, 30.0, 30.0], [BEST, SECOND, SECOND]),
        ([31.0, 30.0], [BEST, None]),
        ([31.0], [None]),
        ([], []),
        ([31.0, np.nan, 30.0], [BEST, None, None]),
        ([np.inf, 31.0, 30.0], [BEST, SECOND, None]),
    ],
    ids=str,
)
def test_equal_figures_share_a_rank_and_nobody_is_the_best_of_one(figures, marks):
    found = ranks(dict(enumerate(figures)))
    assert [found.get(i) for i in range(len(figures))] == marks


def bold(text):
    return re.findall(r"\| (\S+)[^|\n]*\|[^\n]*\*\*", text)


def test_figures_that_are_shown_equal_are_equal():
    near = [*of("tv", 30.001), *of("bm3d", 30.004), *of("nlm", 29.0)]
    assert bold(table(*near, format="markdown", metrics="psnr")) == ["tv", "bm3d"]
    assert bold(table(*near, format="markdown", metrics="psnr", digits="psnr=3")) == ["bm3d"]


def test_a_partial_mean_does_not_rank():
    records = [*of("tv", 28.0, 28.0), *of("bm3d", 27.0, 27.0), *of("nlm", 40.0)]
    text = table(*records, format="markdown")
    assert bold(text) == ["tv"]
    assert "means over fewer images do not compete" in text
    failed = record("1.png", None, restorer="nlm", weights="", ssim=None, status="failed", reason="luck")
    assert bold(table(*records, failed, format="markdown")) == ["tv"]


def test_weights_of_ours_do_not_rank_beside_published_ones():
    authors = [*of("dncnn", 30.0, weights="published:a.mat"), *of("bm3d", 29.0)]
    ours = of("sc", 31.0, weights="ours:sc.st")
    text = table(*authors, *ours, format="markdown")
    assert bold(text) == ["dncnn"]
    assert "rows with weights of ours do not compete" in text
    assert "rows with † do not compete" in table(*authors, *ours, format="markdown", metrics="psnr")
    assert bold(table(*authors[1:], *ours, format="markdown")) == ["sc"]
    assert bold(table(*authors, *of("mine", 31.0, weights="file:mine.st"), format="markdown")) == ["mine"]


@pytest.mark.parametrize(
    ("format", "ours", "own"),
    [
        ("latex", r"sc\textsuperscript{\ensuremath{\dagger}}", r"my\_net\textsuperscript{\ensuremath{\ddagger}}"),
        ("html", "sc<sup>†</sup>", "my_net<sup>‡</sup>"),
        ("markdown", "sc †", "my_net ‡"),
        ("text", "sc †", "my_net ‡"),
    ],
)
def test_a_sign_says_whose_weights_they_are_where_no_column_does(format, ours, own):
    records = [*of("sc", 31.0, weights="ours:sc.st"), *of("my_net", 30.0, weights="file:n.st"), *of("tv", 28.0)]
    text = table(*records, format=format, metrics="psnr")
    assert ours in text
    assert own in text
    assert "weights trained by the bench project, not by the authors of the method" in text
    assert "†" not in table(*records, format="text", metrics="psnr,weights")


def test_text_and_csv_have_no_marks():
    for format in ("text", "csv"):
        assert "*" not in table(*THREE, format=format)
        assert "best" not in table(*THREE, format=format)


def test_each_figure_of_a_cell_has_its_own_rank():
    records = [*THREE, record("0.png", 29.5, restorer="x", weights="", ssim=0.9)]
    text = table(*records, format="html", metrics="psnr/ssim")
    assert "<strong>30.00</strong> / <u>0.6000</u>" in text
    assert "<u>29.50</u> / <strong>0.9000</strong>" in text


# --- LaTeX and HTML ------------------------------------------------------------------------------------


def test_latex_groups_the_columns_of_a_data_set_and_of_a_level():
    text = table(*SETS, format="latex", metrics="psnr,ssim,seconds", label="tab:x", caption="50 % & more")
    lines = text.split("\n")
    assert lines[:4] == [r"\begin{table}", r"\centering", r"\caption{50 \% \& more}", r"\label{tab:x}"]
    start = lines.index(r"\toprule")
    assert lines[start + 1 : start + 3] == [
        r" & \multicolumn{4}{c}{set12} & \multicolumn{4}{c}{photos} &  \\",
        r"\cmidrule(lr){2-5}\cmidrule(lr){6-9}",
    ]
    assert lines[start + 3].count(r"\multicolumn{2}{c}{$\sigma$ = 25}") == 2
    assert lines[start + 4] == r"\cmidrule(lr){2-3}\cmidrule(lr){4-5}\cmidrule(lr){6-7}\cmidrule(lr){8-9}"
    assert lines[start + 5].startswith("restorer & PSNR & SSIM & PSNR & SSIM &")


def test_neighbours_of_one_level_but_two_data_sets_are_two_groups():
    one = [record("1.png", dataset=name) for name in ("a", "b")]
    text = table(*one, format="html", metrics="psnr,ssim")
    assert text.count('<th colspan="2">σ = 25</th>') == 2
    assert '<th colspan="2">a</th><th colspan="2">b</th>' in text


def test_our_caption_tells_protocol_weights_and_machine():
    where = '{"cpu": "AMD EPYC", "cores": "2", "torch": "2.13.0"}'
    learned = record("1.png", environment=where, threads=1)
    ours = record("1.png", restorer="sc", weights="ours:sc.st", environment=where, threads=1)
    [caption] = re.findall(r"\\caption\{(.*)\}", table(learned, ours, format="latex"))
    assert caption.startswith("Gaussian denoising: PSNR in dB / SSIM. Protocol standard-v1: noise seeded by task")
    assert caption.endswith(
        "Weights are the authors' unless marked. Measured on 2 cores of AMD EPYC, torch 2.13.0, 1 thread."
    )


def test_the_label_is_the_tables_name_in_html():
    assert table(*THREE, format="html", label="tab:x").startswith('<table id="tab:x">\n')


def test_one_caption_is_not_for_two_tables():
    two = [*THREE, *of("tv", 28.0, protocol="kair-v1")]
    with pytest.raises(RequestError, match="--caption and --label are of one table, and there are 2"):
        table(*two, caption="x")
    assert table(*two, format="latex").count(r"\begin{table}") == 2


def test_letters_are_set_above_the_line():
    records = [
        record(f"{i:02}.png", 30.0 - step + i / 9, restorer=name, weights="")
        for name, step in (("a", 0.0), ("b", 0.5))
        for i in range(12)
    ]
    text = table(*records, format="latex", significance=True, metrics="psnr")
    assert r"\textbf{30.61}\textsuperscript{a} \\" in text
    assert r"30.11\textsuperscript{b} \\" in text
    assert "restorers that share a letter" in text.partition(r"\end{table}")[0]


# --- files ---------------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path):
    write(frame_of(THREE), "csv", tmp_path / "r.csv")
    return tmp_path / "r.csv"


def test_a_table_is_written_in_the_format_of_its_suffix_and_never_over_a_file_unless_asked_to(store, tmp_path):
    file = tmp_path / "t.tex"
    text = bench.table(store, output=file)
    assert text.startswith(r"\begin{table}")
    assert file.read_text(encoding="utf-8") == f"{text}\n"
    with pytest.raises(BenchError, match=r"t\.tex: it is there already \(--force writes over it\)"):
        bench.table(store, "markdown", file)
    assert bench.table(store, "markdown", file, force=True).startswith("**Gaussian denoising")
    assert file.read_text(encoding="utf-8").startswith("**Gaussian")
    assert {path.name for path in tmp_path.iterdir()} == {"r.csv", "t.tex"}


def test_the_command_line_has_the_same_options(store, tmp_path, capsys):
    same = {"metrics": "psnr", "rows": "nlm=NLM,tv", "columns": "photos:25=Photos", "digits": "psnr=1"}
    same |= {"label": "x", "caption": "y"}
    words = [word for name, value in same.items() for word in (f"--{name}", value)]
    for more in ([], ["-o", str(tmp_path / "t.tex")]):
        with pytest.raises(SystemExit) as exit:
            main(["table", "--store", str(store), "--format", "latex", *words, *more])
        assert not exit.value.code
    printed, said = capsys.readouterr()
    assert printed == (tmp_path / "t.tex").read_text(encoding="utf-8") == bench.table(store, "latex", **same) + "\n"
    assert said == f"-> {tmp_path / 't.tex'}\n"


def test_a_file_that_cannot_be_written_is_one_line_and_none_of_it_stays(store, tmp_path):
    with pytest.raises(BenchError, match=r"--output .*: that is a folder"):
        bench.table(store, "latex", tmp_path)
    with pytest.raises(BenchError, match=r"expected \.txt, \.md, \.tex, \.html, \.csv, or --format beside it"):
        bench.table(store, output=tmp_path / "t.doc")
    with pytest.raises(BenchError, match="cannot be written"):
        bench.table(store, output=tmp_path / "nowhere" / "t.tex")
    with pytest.raises(BenchError, match="No metric"):
        bench.table(store, output=tmp_path / "t.md", metrics="x")
    assert [path.name for path in tmp_path.iterdir()] == ["r.csv"]
    assert len(read_records(store)) == 3


# --- compiled --------------------------------------------------------------------------------------------

PAPER = r"""\documentclass[10pt]{article}
\usepackage{booktabs}
\usepackage{graphicx}
\usepackage[a4paper,margin=2.5cm]{geometry}
\begin{document}
%s
\begin{figure}
\centering
\includegraphics[width=\linewidth]{crops.pdf}
\caption{Crops of one picture, and their errors.}
\end{figure}
\end{document}
"""

tex = pytest.mark.skipif(
    shutil.which("pdflatex") is None or shutil.which("pdftotext") is None,
    reason="no pdflatex and pdftotext here: apt-get install texlive-latex-recommended poppler-utils",
)


def compiled(text, folder):
    """The words of the PDF that LaTeX makes of it, and how many pages it has; no error is passed over."""
    (folder / "paper.tex").write_text(text, encoding="utf-8")
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "-no-shell-escape", "paper.tex"]
    for _ in range(2):  # labels are known the second time
        done = subprocess.run(command, cwd=folder, capture_output=True, timeout=120)
        assert done.returncode == 0, done.stdout[-3000:]
    log = (folder / "paper.log").read_text(encoding="utf-8", errors="replace")
    words = subprocess.run(["pdftotext", "-layout", "paper.pdf", "-"], cwd=folder, capture_output=True, check=True)
    return words.stdout.decode(), int(re.search(r"Output written on paper\.pdf \((\d+) page", log)[1])


@tex
@pytest.mark.slow
def test_a_table_and_a_panel_of_crops_make_a_page_of_a_paper(tmp_path):
    result = bench.run("noisy,nlm,tv", datasets="sample", sigma=[25, 50], store=tmp_path / "s.sqlite", readings=1)
    made = result.table("latex", metrics="psnr,ssim,seconds", rows="noisy=Noisy,tv=TV,nlm=NLM", label="tab:x")
    bench.plot_crops(tmp_path / "crops.pdf", "noisy,tv,nlm", sigma=25)
    words, n_pages = compiled(PAPER % f"See Table~\\ref{{tab:x}}.\n{made}", tmp_path)
    assert n_pages == 1
    assert "Table 1: Gaussian denoising: PSNR in dB, SSIM. Protocol standard-v1" in " ".join(words.split())
    assert "See Table 1." in words
    best = max(result.frame().query("level == 25").groupby("restorer")["psnr_db"].mean())
    assert f"{best:.2f}" in words


LATIN = "\\ { } $ & # % _ ^ ~ < > [5cm] * | † ‡ – … × σ é \\input{x} ^^41 -- % end"


@tex
@pytest.mark.slow
def test_whatever_names_are_the_table_compiles_as_pasted(tmp_path):
    records = [*THREE, *of(LATIN, 31.0, dataset=LATIN, weights="file:x"), *of("sc", 27.0, weights="ours:x")]
    texts = [
        table(*records, format="latex"),
        table(*records, format="latex", metrics="psnr,ssim", mean=True, caption=LATIN, label="tab:a.b_c/d"),
        draw(Table(LATIN, [LATIN, "[b]"], [[LATIN, "[x]"], ["[y]", "*"]], [LATIN]), "latex"),
    ]
    body = "\n\n".join(rf"\resizebox{{\textwidth}}{{!}}{{\parbox{{3\textwidth}}{{x}}}}{text}" for text in texts)
    words, _ = compiled(PAPER.replace(r"\includegraphics[width=\linewidth]{crops.pdf}", "") % body, tmp_path)
    assert "[5cm]" in words
    assert "input{x}" in words
