"""Text from outside cannot act where it is printed, whatever it is; and it is still what it was."""

import csv
import html.parser
import io
import re
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bench
from bench import escape
from bench.records.files import read_records
from bench.records.record import Record, frame_of
from bench.records.store import Store
from bench.report.drawing import Table, draw
from bench.report.export import write
from bench.report.layout import Layout
from bench.report.table import render
from tests.report.test_table import record

NASTY = [
    *(
        "\\input{/etc/passwd}",
        "a\n\\input{x}",
        "a\r\\input{x}",
        "x^^0dy",
        "% comment",
        "$x$",
        "a & b \\\\ c",
        "{",
        "}",
        "#1",
    ),
    *(
        "[5cm]",
        "*",
        "~",
        "_",
        "^",
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "&lt;b&gt;",
        "'\"><b>",
    ),
    *(
        "| a | b |",
        "`code`",
        "![x](http://x)",
        "[x](javascript:x)",
        "<http://x.org>",
        "https://x.org",
        "www.x.org",
        "**b**",
    ),
    *(
        "# head",
        "- item",
        "+ item",
        "1. item",
        "> quote",
        "---",
        "===",
        "```",
        "~~~",
        "    code",
        "\\",
        "a\\",
        "\\|",
        "$$x$$",
    ),
    *("=1+1", "+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "'=1", "''=1", "'", "＝1", "-5", "\n=1"),
    *(
        "\x1b[2J",
        "\x1b]0;x\x07",
        "\x07",
        "\x9b2J",
        "\u202eabc",
        "\u2066x",
        "\u2028x",
        "\udcff",
        "\ud800",
        "\0",
        "a\u200bb",
    ),
    *("", " ", "\t", "\n", "x" * 10_000, "שלום", "é", "e\u0301", "👩\u200d🔬", "σ × – …", "\ufeff", "\x0b", "\x85"),
]

texts = st.one_of(st.text(st.characters(codec=None), max_size=40), st.sampled_from(NASTY)) | st.lists(
    st.sampled_from(NASTY), min_size=2, max_size=4
).map("".join)


def is_seen(line):
    """Whether a line holds only what is printed: no control, no direction mark, no surrogate."""
    return not any(unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Zl", "Zp") for letter in line)


# --- each function ---------------------------------------------------------------------------------


@given(texts)
def test_a_terminal_gets_one_line_of_what_can_be_printed(text):
    line = escape.terminal(text)
    assert is_seen(line)
    line.encode()
    assert len(line) <= escape.MOST_CHARACTERS + 1
    if text.isprintable() and len(text) <= escape.MOST_CHARACTERS:
        assert line == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [("\x1b[2J", r"\x1b[2J"), ("a\nb", r"a\nb"), ("\udcff.png", r"\xff.png"), ("\u202ea", r"\u202ea"), ("é", "é")],
    ids=ascii,
)
def test_what_cannot_be_printed_becomes_its_code(text, shown):
    assert escape.terminal(text) == shown


COMMAND = re.compile(
    r"\\(?:(?:textbackslash|textasciitilde|textbar|\^|ldots)\{\}|ensuremath\{(?:[<>]|\\d?dagger)\}|[{}$&#%_])"
    r"|\$\\(?:sigma|times)\$|\{[][*]\}|--"
)
BACK = {r"\textbackslash{}": "\\", r"\textasciitilde{}": "~", r"\^{}": "^", r"\ensuremath{<}": "<", "--": "–"}
BACK |= {r"\textbar{}": "|", r"\ensuremath{\dagger}": "†", r"\ensuremath{\ddagger}": "‡"}
BACK |= {r"\ensuremath{>}": ">", r"$\sigma$": "σ", r"$\times$": "×", r"\ldots{}": "…"}
BACK |= {f"\\{sign}": sign for sign in "{}$&#%_"} | {f"{{{sign}}}": sign for sign in "[]*"}


@given(texts)
def test_latex_has_no_special_character_but_in_our_own_commands(text):
    made = escape.latex(text)
    assert is_seen(made)
    assert not set("\\{}$&#%_^~<>[]*") & set(COMMAND.sub("", made))
    back = COMMAND.sub(lambda found: BACK[found[0]], made)
    assert back == escape.terminal(text).replace("--", "–") or "--" in text


class Tags(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.texts, self.cells = [], [], 0

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.cells += tag in ("td", "th")

    def handle_data(self, data):
        self.texts.append(data)

    def handle_comment(self, data):
        raise AssertionError(data)

    handle_decl = handle_pi = unknown_decl = handle_comment


def parsed(text):
    parser = Tags()
    parser.feed(text)
    parser.close()
    return parser


@given(texts)
def test_html_is_text_between_tags_and_in_an_attribute(text):
    parser = parsed(f'<p title="{escape.html(text)}">{escape.html(text)}</p>')
    assert parser.tags == [("p", {"title": escape.terminal(text)})]
    assert "".join(parser.texts) == escape.terminal(text)


@given(texts)
def test_markdown_is_text_as_its_readers_have_it(text):
    markdown_it = pytest.importorskip("markdown_it")
    reader = markdown_it.MarkdownIt("gfm-like", {"linkify": False})
    for made in (f"- {escape.markdown(text)}", f"**x {escape.markdown(text)} x**"):
        tokens = reader.parse(made)
        kinds = {token.type for token in tokens} | {c.type for token in tokens for c in token.children or ()}
        known = {
            "bullet_list_open",
            "list_item_open",
            "paragraph_open",
            "inline",
            "text",
            "strong_open",
            "text_special",
        }
        assert {kind.replace("_close", "_open") for kind in kinds} <= known
    shown = "".join(c.content for token in reader.parse(f"- {escape.markdown(text)}") for c in token.children or ())
    assert shown == escape.terminal(text).strip(" ")


@given(texts)
def test_a_cell_of_csv_is_no_formula_and_comes_back(text):
    assert escape.csv(text)[:1] not in (*"=+-@\t\r\n＝＋－＠",) or not text
    assert escape.from_csv(escape.csv(text)) == text


def test_an_apostrophe_that_guards_nothing_stays():
    assert escape.csv("'tis") == escape.from_csv("'tis") == "'tis"
    assert escape.from_csv("'=1") == "=1"


# --- tables -------------------------------------------------------------------------------------------

FIELDS = st.fixed_dictionaries(dict.fromkeys(("restorer", "dataset", "image", "reason", "protocol"), texts))


def tables(fields):
    """Of two restorers, one of which failed at a second picture: the text of each format."""
    mine = {key: value for key, value in fields.items() if key != "image"}
    good = record("1.png", **{**mine, "reason": ""})
    other = record("1.png", **{**mine, "restorer": "tv", "weights": ""})
    failed = record(f"2{fields['image']}", None, ssim=None, status="failed", **mine)
    return lambda format, **layout: render(frame_of([good, failed, other]), format, Layout(**layout))


MARK = re.compile(r"\\(?:textbf|underline)\{([\d.]+)\}|\\textsuperscript\{(\\ensuremath\{\\dagger\})\}")
"""what we put around a figure, and behind a name"""


def is_inert_latex(text):
    return is_seen(text) and not set("\\{}$#%_^~<>[]*|") & set(COMMAND.sub("", text))


@settings(max_examples=10)
@given(FIELDS)
def test_a_table_in_latex_has_its_rows_and_columns_and_nothing_live(fields):
    for layout in ({}, {"metrics": "psnr,ssim,params", "caption": fields["reason"], "label": "x"}):
        lines = tables(fields)("latex", **layout).split("\n")
        captions = [line for line in lines if line.startswith(r"\caption{")]
        assert len(captions) == (layout.get("caption") != "")
        assert all(is_inert_latex(caption[len(r"\caption{") : -1]) for caption in captions)
        [begin] = [line for line in lines if line.startswith(r"\begin{tabular}")]
        n_columns = len(re.search(r"\{([lr]+)\}$", begin)[1])
        rows = lines[lines.index(r"\midrule") + 1 : lines.index(r"\bottomrule")]
        assert len(rows) == 2 or fields["restorer"] == "tv"
        for row in rows:
            assert row.endswith(r" \\")
            assert len(re.split(r"(?<!\\)&", row)) == n_columns
            assert is_inert_latex(MARK.sub(r"\1\2", row[:-3]).replace(r"\&", "").replace("&", ""))
        end = lines.index(r"\end{table}")
        assert all(line.startswith("% ") and is_seen(line) for line in lines[end + 1 :])


@settings(max_examples=10)
@given(FIELDS)
def test_a_table_in_markdown_has_its_rows_and_columns(fields):
    lines = tables(fields)("markdown").split("\n")
    n = lines.index("", 2)
    counts = {len(re.findall(r"(?<!\\)\|", line)) for line in lines[2:n]}
    assert len(counts) == 1
    assert n == 2 + 4 or fields["restorer"] == "tv"
    assert all(line.startswith("- ") for line in lines[n + 1 :])
    assert all(is_seen(line) and "<" not in line for line in lines)


@settings(max_examples=10)
@given(FIELDS)
def test_a_table_in_html_has_the_tags_of_a_table_alone(fields):
    parser = parsed(tables(fields)("html", metrics="psnr,ssim", caption=fields["reason"], label="x"))
    known = {"p", "table", "caption", "thead", "tbody", "tr", "th", "td", "strong", "u", "sup"}
    assert {tag for tag, _ in parser.tags} <= known
    assert {tuple(attributes) for _, attributes in parser.tags} <= {(), ("style",), ("colspan",), ("id",)}
    tags = [tag for tag, _ in parser.tags]
    assert tags.count("tr") == 3 + 2 or fields["restorer"] == "tv"
    assert tags.count("td") >= 3 * 2 or fields["restorer"] == "tv"


@settings(max_examples=10)
@given(FIELDS)
def test_a_table_in_csv_comes_back_and_holds_no_formula(fields):
    rows = list(csv.reader(io.StringIO(tables(fields)("csv"))))
    assert len({len(row) for row in rows}) == 1
    assert not any(cell[:1] in (*"=+-@",) for row in rows for cell in row if cell)
    labels = {escape.from_csv(row[0]) for row in rows[1:]}
    assert {escape.terminal(fields["restorer"]), "tv"} <= labels or fields["restorer"] == "tv"


@settings(max_examples=10)
@given(FIELDS)
def test_a_table_for_a_terminal_has_no_line_of_anyone_elses(fields):
    text = tables(fields)("text")
    assert all(is_seen(line) for line in text.split("\n"))
    assert len(text.split("\n")) <= 5 + 6


@settings(max_examples=20)
@given(st.lists(texts, min_size=2, max_size=2), st.lists(texts, min_size=2, max_size=2), texts)
def test_headers_titles_and_notes_are_held_so_too(headers, row, told):
    for format in ("text", "markdown", "latex", "html", "csv"):
        assert all(is_seen(line) for line in draw(Table(told, headers, [row], [told]), format).split("\n"))


def test_a_cell_without_end_is_cut():
    assert len(draw(Table("x" * 10**6, ["a"], [["y" * 10**6]], ["z" * 10**6]))) < 20 * escape.MOST_CHARACTERS


# --- export, and back -----------------------------------------------------------------------------------


@settings(max_examples=20)
@given(st.lists(texts, min_size=1, max_size=4))
def test_what_is_exported_as_csv_comes_back_to_the_letter(tmp_path_factory, several):
    file = tmp_path_factory.mktemp("csv") / "r.csv"
    given = [text.encode("utf-8", "backslashreplace").decode().replace("\0", "") for text in several]
    write(frame_of(record(text, restorer=text, reason=text) for text in given), "csv", file)
    back = read_records(file)
    assert [*back["image"]] == [*back["restorer"]] == [*back["reason"]] == given
    assert [*back["psnr_db"]] == [30.0] * len(given)
    cells = [cell for row in csv.reader(io.StringIO(file.read_text("utf-8"), newline="")) for cell in row]
    assert not [cell for cell in cells if re.match(r"[=+\-@\t\r＝＋－＠]", cell) and not is_number(cell)]


def is_number(cell):
    try:
        float(cell)
    except ValueError:
        return False
    return True


def test_what_is_no_text_at_all_is_written_as_its_code(tmp_path):
    write(frame_of([record("a\0b\udcff")]), "csv", tmp_path / "r.csv")
    assert [*read_records(tmp_path / "r.csv")["image"]] == [r"a\x00b\udcff"]


def test_an_export_to_a_terminal_is_shown_and_not_obeyed(tmp_path, capsys, monkeypatch):
    figures = {key: value for key, value in record("\x1b[2J.png", reason="a\nb").items() if key != "label"}
    with Store(tmp_path / "s.sqlite") as store:
        store.add(Record(**figures))
    bench.export(tmp_path / "s.sqlite")
    assert "\x1b[2J.png" in capsys.readouterr().out
    monkeypatch.setattr("bench.report.export._is_seen", lambda: True)
    bench.export(tmp_path / "s.sqlite")
    assert r"\x1b[2J.png" in capsys.readouterr().out
