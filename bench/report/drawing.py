"""Tables as text: for a terminal, Markdown, LaTeX, HTML, CSV. What is in them may be anyone's, and is escaped."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench import escape
from bench.data.errors import in_a_line
from bench.errors import RequestError, unknown

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "ABOVE",
    "BEST",
    "FORMATS",
    "SECOND",
    "Cell",
    "Piece",
    "Table",
    "check_format",
    "draw",
    "format_of",
    "in_words",
    "plain",
]

BEST, SECOND, ABOVE = "best", "second", "above"
"""Marks: the best figure, the second best, and what is set above the line, as a dagger."""


class Piece(NamedTuple):
    """A part of a cell, of one mark."""

    text: str
    mark: str = ""


Cell = str | tuple[Piece, ...]
"""What is in a cell: text, or pieces that spaces part."""


def plain(cell: Cell) -> str:
    """A cell without marks."""
    return cell if isinstance(cell, str) else " ".join(piece.text for piece in cell)


@dataclass(frozen=True)
class Table:
    """One table, ready to be drawn: rows of text, a title above, notes below.

    notes      what a reader must know
    footnotes  what is odd: failures, what was skipped, what is not shown
    words      the columns that hold words, not figures: they begin at the left
    behind     of each row and column the records (their index in the frame) that the figure is of, in tables of
               records
    parts      of each column its heading part by part, the widest first: in LaTeX and HTML equal ones side by side
               become one. None: the headers as they are
    unranked   what does not compete for the best, if anything is ranked
    caption    what LaTeX sets above; "": the title
    label      what LaTeX and HTML call it; "": it has no name
    """

    title: str
    headers: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    footnotes: Sequence[str] = ()
    words: Container[int] = (0,)
    behind: Sequence[Sequence[pd.Index[int]]] = ()
    notes: Sequence[str] = ()
    parts: Sequence[tuple[str, ...]] | None = None
    unranked: str = ""
    caption: str = ""
    label: str = ""


def in_words(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    """A table without a title, all of whose columns begin at the left."""
    return Table("", headers, [[str(cell) for cell in row] for row in rows], words=range(len(headers)))


# --- formats -------------------------------------------------------------------------------------


def check_format(format: str) -> None:
    """Raise RequestError for a format that there is not: before anything is measured for it."""
    if format not in FORMATS:
        raise RequestError(unknown("table format", format, FORMATS))


def format_of(output: Path | None) -> str:
    """The format of a file, by its suffix; `text` for no file. Raises RequestError for another suffix."""
    if output is None:
        return "text"
    suffix = output.suffix.lower()
    if suffix not in SUFFIXES:
        raise RequestError(f"--output {in_a_line(output)}: expected {', '.join(SUFFIXES)}, or --format beside it.")
    return SUFFIXES[suffix]


SUFFIXES = {".txt": "text", ".md": "markdown", ".tex": "latex", ".html": "html", ".csv": "csv"}


def draw(table: Table, format: str = "text") -> str:
    """A table in one of FORMATS."""
    return FORMATS[format](table)


def _as_text(table: Table) -> str:
    title = [f"{escape.terminal(table.title)}\n"] if table.title else []
    rows = [[escape.terminal(plain(cell)) for cell in row] for row in table.rows]
    notes = [f"  {escape.terminal(note)}" for note in (*table.notes, *table.footnotes)]
    headers = list(map(escape.terminal, table.headers))
    return "\n".join([*title, _lined_up(headers, rows, table.words, "simple"), *_below(notes)])


def _as_markdown(table: Table) -> str:
    title = [f"**{escape.markdown(table.title)}**\n"] if table.title else []
    rows = [[_marked(cell, MARKDOWN, escape.markdown) for cell in row] for row in table.rows]
    notes = [*_ranks(table, MARKDOWN, escape.markdown), *map(escape.markdown, (*table.notes, *table.footnotes))]
    headers = list(map(escape.markdown, table.headers))
    return "\n".join([*title, _lined_up(headers, rows, table.words, "github"), *_below([f"- {n}" for n in notes])])


def _lined_up(headers: Sequence[str], rows: Sequence[Sequence[str]], words: Container[int], layout: str) -> str:
    from tabulate import tabulate

    sides = ["left" if column in words else "right" for column in range(len(headers))]
    return str(tabulate(rows, headers, tablefmt=layout, disable_numparse=True, colalign=sides))


def _below(notes: Sequence[str]) -> list[str]:
    return ["", *notes] if notes else []


def _as_csv(table: Table) -> str:
    import csv
    import io

    text = io.StringIO()
    rows = [table.headers, *([plain(cell) for cell in row] for row in table.rows)]
    shown = ([escape.csv(escape.terminal(cell)) for cell in row] for row in rows)
    csv.writer(text, lineterminator="\n").writerows(shown)
    return text.getvalue().removesuffix("\n")


# --- marks ---------------------------------------------------------------------------------------

Marks = Mapping[str, tuple[str, str]]
"""what stands before and behind a piece, by its mark"""

MARKDOWN: Marks = {BEST: ("**", "**"), SECOND: ("*", "*"), ABOVE: ("", "")}
LATEX: Marks = {BEST: (r"\textbf{", "}"), SECOND: (r"\underline{", "}"), ABOVE: (r"\textsuperscript{", "}")}
HTML: Marks = {BEST: ("<strong>", "</strong>"), SECOND: ("<u>", "</u>"), ABOVE: ("<sup>", "</sup>")}


def _ranks(table: Table, marks: Marks, escaped: Callable[[object], str]) -> list[str]:
    """What the marks of the best and the second say, if there are any."""
    pieces = [piece for row in table.rows for cell in row if not isinstance(cell, str) for piece in cell]
    words = {BEST: "best", SECOND: "second"}
    found = [mark for mark in words if any(piece.mark == mark for piece in pieces)]
    told = [_marked((Piece(words[mark], mark),), marks, escaped) for mark in found]
    return ["; ".join([", ".join(told), *filter(None, [escaped(table.unranked)])])] if told else []


def _marked(cell: Cell, marks: Marks, escaped: Callable[[object], str]) -> str:
    """A cell with its marks. What is above the line has no space before it, where a format can set it there."""
    if isinstance(cell, str):
        return escaped(cell)
    text = ""
    for mark, pieces in groupby(cell, key=lambda piece: piece.mark):
        before, behind = marks.get(mark, ("", ""))
        told = escaped(" ".join(piece.text for piece in pieces))
        space = " " if text and not (mark == ABOVE and before) else ""
        text += f"{space}{before}{told}{behind}"
    return text


# --- headings of several rows ------------------------------------------------------------------------


class Span(NamedTuple):
    """A heading over the columns from `first` to before `end`."""

    text: str
    first: int
    end: int


def _headings(table: Table) -> list[list[Span]]:
    """The rows of headings, the widest first; a column with fewer parts than others has them in the lowest rows."""
    parts = table.parts if table.parts is not None else [(header,) for header in table.headers]
    depth = max(map(len, parts))
    full = [("",) * (depth - len(part)) + tuple(part) for part in parts]
    return [[*_spans(full, row)] for row in range(depth)]


def _spans(full: Sequence[tuple[str, ...]], row: int) -> Iterator[Span]:
    """Equal neighbours in one, if what is above them is equal too; in the lowest row each column has its own."""
    lowest = row == len(full[0]) - 1
    first = 0
    for end in range(1, len(full) + 1):
        if end == len(full) or lowest or not full[first][row] or full[end][: row + 1] != full[first][: row + 1]:
            yield Span(full[first][row], first, end)
            first = end


# --- LaTeX ---------------------------------------------------------------------------------------


def _as_latex(table: Table) -> str:
    r"""A `table` to paste, with `\caption` and `\label`; it needs \usepackage{booktabs}. Footnotes are comments."""
    sides = "".join("l" if column in table.words else "r" for column in range(len(table.headers)))
    lines = [r"\begin{table}", r"\centering"]
    lines += [rf"\caption{{{escape.latex(table.caption or table.title)}}}"] if table.caption or table.title else []
    lines += [rf"\label{{{table.label}}}"] if table.label else []
    lines += [r"\par\smallskip"]  # standard classes leave no room below a caption
    lines += [rf"\begin{{tabular}}{{{sides}}}", r"\toprule", *_headings_in_latex(table), r"\midrule"]
    lines += [_row_in_latex([_marked(cell, LATEX, escape.latex) for cell in row]) for row in table.rows]
    lines += [r"\bottomrule", r"\end{tabular}"]
    notes = [*_ranks(table, LATEX, escape.latex), *map(escape.latex, table.notes)]
    lines += [r"\par\smallskip", rf"{{\footnotesize {'. '.join(notes)}.\par}}"] if notes else []
    lines += [r"\end{table}", *(f"% {escape.latex(note)}" for note in table.footnotes)]
    return "\n".join(lines)


def _headings_in_latex(table: Table) -> Iterator[str]:
    *wide, lowest = _headings(table)
    for spans in wide:
        cells = [
            rf"\multicolumn{{{span.end - span.first}}}{{c}}{{{escape.latex(span.text)}}}" if span.text else ""
            for span in spans
        ]
        yield _row_in_latex(cells)
        yield "".join(rf"\cmidrule(lr){{{span.first + 1}-{span.end}}}" for span in spans if span.text)
    yield _row_in_latex([escape.latex(span.text) for span in lowest])


def _row_in_latex(cells: Sequence[str]) -> str:
    return f"{' & '.join(cells)} \\\\"


# --- HTML ----------------------------------------------------------------------------------------


def _as_html(table: Table) -> str:
    name = f' id="{escape.html(table.label)}"' if table.label else ""
    lines = [f"<table{name}>"]
    lines += [f"<caption>{escape.html(table.title)}</caption>"] if table.title else []
    lines += ["<thead>", *_headings_in_html(table), "</thead>", "<tbody>"]
    for row in table.rows:
        cells = [_marked(cell, HTML, escape.html) for cell in row]
        lines.append("<tr>" + "".join(f"<td{_side(table, i)}>{cell}</td>" for i, cell in enumerate(cells)) + "</tr>")
    lines += ["</tbody>", "</table>"]
    notes = [*_ranks(table, HTML, escape.html), *map(escape.html, (*table.notes, *table.footnotes))]
    return "\n".join([*lines, *(f"<p>{note}</p>" for note in notes)])


def _headings_in_html(table: Table) -> Iterator[str]:
    *wide, lowest = _headings(table)
    for spans in wide:
        yield f"<tr>{''.join(map(_wide_heading, spans))}</tr>"
    cells = [f"<th{_side(table, span.first)}>{escape.html(span.text)}</th>" for span in lowest]
    yield f"<tr>{''.join(cells)}</tr>"


def _wide_heading(span: Span) -> str:
    if not span.text:
        return "<td></td>"
    n = span.end - span.first
    over = f' colspan="{n}"' if n > 1 else ""
    return f"<th{over}>{escape.html(span.text)}</th>"


def _side(table: Table, column: int) -> str:
    return "" if column in table.words else ' style="text-align: right;"'


FORMATS: Mapping[str, Callable[[Table], str]] = {
    "text": _as_text,
    "markdown": _as_markdown,
    "latex": _as_latex,
    "html": _as_html,
    "csv": _as_csv,
}
