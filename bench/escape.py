r"""Text from outside, for each format that it is printed in: nothing of it can act there, and it is seen as it is.

A name, reason, path or title may be of a plugin, a file or a store of somebody else's. Whatever is printed of it goes
through one of these. `in_words` comes first, except for CSV, where text is data and is kept to the letter.
"""

from __future__ import annotations

import re

from bench.data.errors import in_a_line

__all__ = ["csv", "from_csv", "html", "latex", "markdown", "terminal"]

MOST_CHARACTERS = 2_000
"""of one text: of a longer one the middle is left out"""


def terminal(text: object, most: int = MOST_CHARACTERS) -> str:
    r"""One line that a terminal shows and does not obey: what cannot be printed becomes its code, as `\x1b`.

    That is control characters, line breaks, marks that turn the direction of writing, what is invisible, and
    surrogates.
    """
    return _cut(in_a_line(_cut(str(text), most)), most)


def _cut(text: str, most: int) -> str:
    """The text, or its beginning and its end, where an error says what was wrong."""
    n = most // 4
    return text if len(text) <= most else f"{text[: most - n]}…{text[-n:]}"


# --- markup --------------------------------------------------------------------------------------


def latex(text: object) -> str:
    """Text as LaTeX sets it, in a cell or behind a `%`."""
    return "".join(map(_in_latex, terminal(text)))


def _in_latex(letter: str) -> str:
    return LATEX.get(letter, letter)


LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\^{}",
    "~": r"\textasciitilde{}",
    "<": r"\ensuremath{<}",
    ">": r"\ensuremath{>}",
    "[": "{[}",  # behind the \\ of the row above it would be that row's distance
    "]": "{]}",
    "*": "{*}",
    "σ": r"$\sigma$",
    "×": r"$\times$",
    "–": "--",
    "|": r"\textbar{}",
    "†": r"\ensuremath{\dagger}",  # \textdagger may be a bitmap font, which publishers refuse
    "‡": r"\ensuremath{\ddagger}",
    "…": r"\ldots{}",
}


def markdown(text: object) -> str:
    """Text as Markdown shows it, in a cell or at the beginning of a line: no markup, HTML, link or new cell."""
    line = MARKS.sub(_in_markdown, terminal(text).strip(" "))
    line = ADDRESS.sub(lambda found: f"{found[1]}&#{ord(found[2])};", line)
    if NUMBERED.match(line):
        return NUMBERED.sub(r"\1\\\2", line, count=1)
    return f"\\{line}" if AT_THE_START.match(line) else line


MARKS = re.compile(r"[\\`*\[\]|~$<&]|(?<![^\W_])_|_(?![^\W_])")
ADDRESS = re.compile(r"(?i)(https?(?=:)|ftp(?=:)|mailto(?=:)|xmpp(?=:)|www(?=\.))(.)")
"""of which GitHub makes a link"""
AT_THE_START = re.compile(r"[#>=%(:]|[-+](?!\d)")
NUMBERED = re.compile(r"(\d+)([.)])(?!\S)")
"""what begins a heading, quotation, list, target or comment, at the beginning of a line"""


def _in_markdown(mark: re.Match[str]) -> str:
    return {"<": "&lt;", "&": "&amp;"}.get(mark[0], f"\\{mark[0]}")


def html(text: object) -> str:
    """Text as HTML shows it, between tags or in a quoted attribute."""
    return terminal(text).translate(HTML)


HTML = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#x27;"})
"""`html.escape`, whose module takes longer to import than a listing may"""


# --- CSV -----------------------------------------------------------------------------------------


def csv(text: str) -> str:
    """A cell of text that a spreadsheet takes for text, not for a formula: behind an apostrophe, if need be.

    `from_csv` gives the text back. Quotes and commas are the CSV writer's business, and numbers are not text.
    """
    return f"'{text}" if ACTS_IN_A_SPREADSHEET.match(text) else text


def from_csv(cell: str) -> str:
    """The text that `csv` made the cell of."""
    return cell[1:] if cell.startswith("'") and ACTS_IN_A_SPREADSHEET.match(cell[1:]) else cell


ACTS_IN_A_SPREADSHEET = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")
