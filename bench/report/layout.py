"""What a table shows and in which order, in a user's words; read against what the records have."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bench.errors import RequestError, unknown
from bench.level import Level, format_level
from bench.plugins.names import plain, split
from bench.report.measures import COSTS, Measure

__all__ = ["WEIGHTS", "Layout", "choose_columns", "choose_digits", "choose_metrics", "choose_rows"]

WEIGHTS = "weights"
"""the name of the column that says whose weights a row is of"""

LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9:._/-]*")
MOST_DIGITS = 12


@dataclass(frozen=True)
class Layout:
    """What a table shows, and how.

    metrics  the figures: `psnr/ssim` is one cell, `psnr,ssim` two columns; costs (params, macs, seconds,
             device-seconds, memory) and `weights` have a column of their own. None given: all that the records have,
             those of quality in one cell
    columns  data sets, or a data set at a level as `set12:25`; None given: all
    rows     restorers, as tables call them; None given: all
    digits   decimals by metric, e.g. {"ssim": 3} or "ssim=3"
    mean     further columns: at each level the mean over the data sets
    significance  letters behind the figures: restorers that share one are not told apart by a paired test
    caption  plain text above the table; None: the task and the protocol, in LaTeX the machine as well
    label    what LaTeX and HTML call the table

    A row or column may be given another name: `dncnn=DnCNN`, `set12=Set12`, `set12:25=Set12`.
    """

    metrics: str | Sequence[str] = ()
    columns: str | Sequence[str] = ()
    rows: str | Sequence[str] = ()
    digits: str | Mapping[str, int] = ""
    mean: bool = False
    significance: bool = False
    caption: str | None = None
    label: str | None = None

    def __post_init__(self) -> None:
        if self.label is not None and not LABEL.fullmatch(self.label):
            raise RequestError(f"--label {self.label}: expected letters, digits and : . _ / -, e.g. tab:denoise.")


def _parts(words: str | Sequence[str]) -> list[str]:
    parts = split(words) if isinstance(words, str) else words
    return [part for part in map(plain, parts) if part]


# --- metrics -------------------------------------------------------------------------------------------


def choose_metrics(
    words: str | Sequence[str], known: Mapping[str, Measure]
) -> tuple[list[tuple[Measure, ...]], list[str]]:
    """The cells of quality, each of one or more figures, and the names of costs (and `weights`), in order.

    Raises RequestError for a name that is neither.
    """
    parts = _parts(words)
    if not parts:
        return [tuple(known.values())], [*COSTS, WEIGHTS]
    cells, others = [], []
    for part in parts:
        if part in COSTS or part == WEIGHTS:
            others.append(part)
        else:
            cells.append(tuple(_measure(name, known) for name in part.split("/")))
    return list(dict.fromkeys(cells)), list(dict.fromkeys(others))


def _measure(name: str, known: Mapping[str, Measure]) -> Measure:
    if name in COSTS or name == WEIGHTS:
        raise RequestError(f"--metrics {name}: it is one of a row, and has a column of its own: a comma before it.")
    if name not in known:
        raise RequestError(f"--metrics: {unknown('metric in the records', name, [*known, *COSTS, WEIGHTS])}")
    return known[name]


def choose_digits(words: str | Mapping[str, int], known: Mapping[str, Measure]) -> dict[str, int]:
    """Decimals by metric. Raises RequestError for an unknown metric, or what is no small whole number."""
    pairs = words.items() if isinstance(words, Mapping) else [_pair(part) for part in _parts(words)]
    digits = {}
    for name, given in pairs:
        if name not in known:
            raise RequestError(f"--digits: {unknown('metric in the records', name, known)}")
        if not re.fullmatch("[0-9]{1,2}", str(given)) or int(given) > MOST_DIGITS:
            raise RequestError(f"--digits {name}={given}: expected a whole number from 0 to {MOST_DIGITS}.")
        digits[name] = int(given)
    return digits


def _pair(part: str) -> tuple[str, str]:
    name, sign, number = part.partition("=")
    if not sign:
        raise RequestError(f"--digits {part}: expected a metric and a number, e.g. psnr=2,ssim=3.")
    return name.strip(), number.strip()


# --- rows and columns ----------------------------------------------------------------------------------


def choose_rows(words: str | Sequence[str], labels: Mapping[str, str]) -> dict[str, str]:
    """Labels of rows in the order asked for, each with the name that it is shown by.

    labels  label -> restorer, of all rows; a restorer's name stands for all of its rows
    """
    if not _parts(words):
        return {label: label for label in labels}
    chosen = {}
    for part in _parts(words):
        word, shown = _renamed(part, [*labels, *labels.values()])
        found = [word] if word in labels else [label for label, restorer in labels.items() if restorer == word]
        if not found:
            raise RequestError(f"--rows: {unknown('restorer in the records', word, labels)}")
        if shown and len(found) > 1:
            raise RequestError(f"--rows {part}: that would be the name of {len(found)} rows, {', '.join(found)}.")
        chosen.update({label: shown or label for label in found})
    return chosen


Column = tuple[str, Level]
"""a data set, and a level"""


def choose_columns(words: str | Sequence[str], columns: Sequence[Column]) -> dict[Column, str]:
    """Data sets and levels in the order asked for, each with the name that its data set is shown by.

    columns  all that there are; a data set's name stands for all its levels
    """
    if not _parts(words):
        return {column: column[0] for column in columns}
    spelled = {f"{dataset}:{format_level(level)}": (dataset, level) for dataset, level in columns}
    chosen = {}
    for part in _parts(words):
        word, shown = _renamed(part, [*spelled, *(dataset for dataset, _ in columns)])
        found = [spelled[word]] if word in spelled else [column for column in columns if column[0] == word]
        if not found:
            raise RequestError(f"--columns: {unknown('data set or level in the records', word, _offered(columns))}")
        chosen.update({column: shown or column[0] for column in found})
    return chosen


def _offered(columns: Sequence[Column]) -> Iterable[str]:
    yield from dict.fromkeys(dataset for dataset, _ in columns)
    yield from (f"{dataset}:{format_level(level)}" for dataset, level in columns)


def _renamed(part: str, known: Iterable[str]) -> tuple[str, str]:
    """`dncnn=DnCNN`: what is meant, and the name to show; none where all of it is known, as `mine(radius=3)`."""
    word, _, shown = part.rpartition("=")
    return (part, "") if part in set(known) or not word else (word.strip(), shown.strip())
