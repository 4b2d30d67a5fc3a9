"""Papers as data: the tables of `results/papers/*.toml`.

`bench.judge.audit` looks for what cannot be right in them, `bench.judge.verdict` holds our figures against them.

A file holds `[paper]` (title, authors, venue, year, document) and

    [[table]]        number, part (of a table in several blocks), caption, protocol (the paper's words), under (ours
                     that its figures are held against, if not standard-v1), metric, and what all its figures share:
                     task, channels, dataset, image, level, variant
    columns.<axis>   the values of an axis, e.g. `columns.level = [15, 25, 50]`; several axes are crossed, the last
                     one running fastest. An axis may be any of the shared words, and `metric`
    heads            the columns' names as printed, where they say more than the axes
    rows             method (as printed), id (one name for one method and training in all papers), restorer (ours that
                     can measure it), values (as printed, one cell a column, `-` for none, `37.53/0.9587` for the
                     metric `psnr_db/ssim`), params and macs_per_pixel where printed; a row may override shared words
    notes            what is odd about some of the figures: `says`, and the words that pick them
    [[tolerance]]    how far a measured figure may be off, per metric, `because`, and the words that pick; the last
                     that picks a figure counts
    [[incomparable]] figures that cannot be held against ours: `because`, and the words that pick
    [[off]]          figures that are known to be off, and the cause: `because`, and the words that pick

Words that pick are fields of Entry: a value, a list of values, or "*" for any but the empty one.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from importlib import resources
from itertools import product
from typing import Any

from bench.data.toml import tomllib
from bench.errors import PaperError, unknown
from bench.protocol import PROTOCOLS
from bench.task import TASKS, Level, format_level

if sys.version_info >= (3, 11):
    from importlib.resources.abc import Traversable
else:
    from importlib.abc import Traversable

__all__ = ["METRICS", "QUALITY", "SIZES", "TIMES", "Entry", "Paper", "load", "names", "read"]

QUALITY = ("psnr_db", "ssim")
SIZES = ("params", "macs_per_pixel")
TIMES = ("seconds", "seconds_cpu", "seconds_gpu", "milliseconds")
FACTS = ("max_effective_depth", "training_images", "smallest_gap_db", "largest_gap_db")
METRICS = QUALITY + SIZES + TIMES + FACTS

WORDS = {"task": str, "channels": int, "dataset": str, "image": str, "level": (int, float, str), "variant": str}
"""What a figure is of: the words that a table, a row or a column may set."""


@dataclass(frozen=True)
class Entry:
    """One figure of one paper.

    table, part   e.g. "V", "deblocking"
    under         the protocol of ours that comes nearest to how it was taken
    column        its head as printed, or made from the axes
    method        as printed; `id` is the same for the same method and training in all papers
    restorer      ours that can measure it, or ""
    dataset       our name, "" where the figure belongs to none (params); image "" is the mean over the set
    level         sigma, quality, scale or pattern; None where the figure has none
    variant       anything else that tells two figures apart (a size, a depth)
    printed       the text; `value` is the number, `unit` that of its last digit: 68k is 68000 in units of 1000
    tolerance     how far a measured figure may be off; None where nothing of ours can be compared
    because       why that far
    note          what is odd about it, or ""
    incomparable  why it cannot be held against ours, or ""
    cause         why ours is known to be off, or ""
    """

    paper: str
    table: str
    part: str
    under: str
    column: str
    method: str
    id: str
    restorer: str
    task: str
    channels: int
    dataset: str
    image: str
    level: Level | None
    variant: str
    metric: str
    printed: str
    value: float
    unit: float
    tolerance: float | None = None
    because: str = ""
    note: str = ""
    incomparable: str = ""
    cause: str = ""

    @property
    def place(self) -> str:
        """`dncnn-2017, Table V (deblocking), DnCNN-3, classic5 10`"""
        part = f" ({self.part})" if self.part else ""
        table = self.table if " " in self.table else f"Table {self.table}"
        return f"{self.paper}, {table}{part}, {self.method}, {self.column}"

    @property
    def setting(self) -> str:
        """`deblock 10 gray classic5`, with the image's name where it is of one."""
        level = "" if self.level is None else format_level(self.level)
        kind = {1: "gray", 3: "colour"}.get(self.channels, "")
        return " ".join(word for word in (self.task, level, kind, self.dataset, self.image, self.variant) if word)


@dataclass(frozen=True)
class Paper:
    """A paper's figures, in the order of its file."""

    name: str
    title: str
    authors: str
    venue: str
    year: int
    document: str
    entries: tuple[Entry, ...]

    @property
    def tables(self) -> tuple[str, ...]:
        """The numbers of its tables."""
        return tuple(dict.fromkeys(entry.table for entry in self.entries))


# --- reading -------------------------------------------------------------------------------------


def _folder() -> Traversable:
    return resources.files("bench.results") / "papers"


def names() -> list[str]:
    """The papers that `load` knows."""
    return sorted(file.name.removesuffix(".toml") for file in _folder().iterdir() if file.name.endswith(".toml"))


def load(name: str) -> Paper:
    """The paper of that name. Raises PaperError with the nearest name."""
    if name not in names():
        raise PaperError(unknown("paper", name, names()))
    return read(_folder() / f"{name}.toml")


def read(file: Traversable) -> Paper:
    """The paper in one TOML file. Raises PaperError naming file, table, row and what is wrong."""
    try:
        raw = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise PaperError(f"{file.name}: cannot be read: {error}") from None
    _check(raw, {"paper": dict, "table": list}, dict.fromkeys(("tolerance", "incomparable", "off"), list), file.name)
    head = raw["paper"]
    text = dict.fromkeys(("title", "authors", "venue", "document"), str)
    _check(head, {**text, "year": int}, {}, f"{file.name}, [paper]")
    name = file.name.removesuffix(".toml")
    entries = [entry for table in raw["table"] for entry in _read_table(table, name, file.name)]
    for rule in raw.get("tolerance", ()):
        entries = _set_tolerance(entries, rule, f"{file.name}, [[tolerance]]")
    for rule in raw.get("incomparable", ()):
        entries = _set_reason(entries, "incomparable", rule, f"{file.name}, [[incomparable]]")
    for rule in raw.get("off", ()):
        entries = _set_reason(entries, "cause", rule, f"{file.name}, [[off]]")
    _check_tolerances(entries, file.name)
    return Paper(name, **head, entries=tuple(entries))


def _check(raw: Any, required: Mapping[str, Any], optional: Mapping[str, Any], where: str) -> None:
    """That `raw` is a table with the required keys, no unknown ones, and values of the types named."""
    if not isinstance(raw, dict):
        raise PaperError(f"{where}: should be a table of keys, but is {raw!r}.")
    known = {**required, **optional}
    for key, value in raw.items():
        if key not in known:
            raise PaperError(f"{where}: {unknown('key', key, known)}")
        if not isinstance(value, known[key]) or isinstance(value, bool):
            raise PaperError(f"{where}: '{key}' cannot be {value!r}.")
    if missing := required.keys() - raw.keys():
        raise PaperError(f"{where}: '{min(missing)}' is missing.")


def _read_table(raw: Any, paper: str, file: str) -> list[Entry]:
    where = f"{file}, Table {raw.get('number', '?')}" if isinstance(raw, dict) else file
    required = {"number": str, "caption": str, "protocol": str, "columns": dict, "rows": list}
    optional = dict.fromkeys(("metric", "part", "under", "heads"), str)
    _check(raw, required, {**WORDS, **optional, "notes": list}, where)
    columns = _read_columns(raw["columns"], where)
    heads = raw["heads"].split() if "heads" in raw else [_head(column) for column in columns]
    if len(heads) != len(columns):
        raise PaperError(f"{where}: {len(heads)} heads for {len(columns)} columns.")
    under = raw.get("under", "standard-v1")
    if under not in PROTOCOLS:
        raise PaperError(f"{where}: {unknown('protocol', under, PROTOCOLS)}")
    at = {"paper": paper, "table": raw["number"], "part": raw.get("part", ""), "under": under}
    shared = {word: raw[word] for word in (*WORDS, "metric") if word in raw}
    entries = [
        e for row in raw["rows"] for e in _read_row(row, shared, list(zip(heads, columns, strict=True)), at, where)
    ]
    for note in raw.get("notes", ()):
        entries = _add_note(entries, note, f"{where}, notes")
    return entries


def _read_columns(raw: dict[str, Any], where: str) -> list[dict[str, Any]]:
    """The words that each column sets: the axes crossed, the last one running fastest."""
    _check(raw, {}, {**dict.fromkeys(WORDS, list), "metric": list}, f"{where}, columns")
    for axis, values in raw.items():
        for value in values:
            _check({axis: value}, {}, {**WORDS, "metric": str}, f"{where}, columns")
    return [dict(zip(raw, values, strict=True)) for values in product(*raw.values())]


def _head(column: Mapping[str, Any]) -> str:
    return " ".join(str(word) for word in column.values() if word != "")


def _read_row(
    raw: Any, shared: Mapping[str, Any], columns: list[tuple[str, dict[str, Any]]], at: dict[str, str], where: str
) -> Iterator[Entry]:
    where += f", row {raw.get('method', '?')}" if isinstance(raw, dict) else ""
    sizes = dict.fromkeys(SIZES, str)
    required = {"method": str, "id": str, "values": str}
    _check(raw, required, {**WORDS, **sizes, "metric": str, "restorer": str}, where)
    who = {"method": raw["method"], "id": raw["id"], "restorer": raw.get("restorer", ""), **at}
    words = {**shared, **{word: raw[word] for word in (*WORDS, "metric") if word in raw}}
    for size in SIZES:
        if size in raw:
            yield _entry(raw[size], {**who, "column": size}, {**words, "metric": size}, where)
    cells = raw["values"].split()
    if len(cells) != len(columns):
        raise PaperError(f"{where}: {len(cells)} values for {len(columns)} columns.")
    for cell, (head, column) in zip(cells, columns, strict=True):
        yield from _read_cell(cell, {**who, "column": head}, {**words, **column}, f"{where}, column {head}")


def _read_cell(cell: str, who: dict[str, Any], words: dict[str, Any], where: str) -> Iterator[Entry]:
    if "metric" not in words:
        raise PaperError(f"{where}: 'metric' is missing.")
    metrics = words["metric"].split("/")
    parts = ["-"] * len(metrics) if cell == "-" else cell.split("/")
    if len(parts) != len(metrics):
        raise PaperError(f"{where}: '{cell}' should hold {words['metric']}.")
    for metric, part in zip(metrics, parts, strict=True):
        if part != "-":
            yield _entry(part, who, {**words, "metric": metric}, where)


def _entry(printed: str, who: dict[str, Any], words: dict[str, Any], where: str) -> Entry:
    if words["metric"] not in METRICS:
        raise PaperError(f"{where}: {unknown('metric', words['metric'], METRICS)}")
    if words.setdefault("task", "") not in {*TASKS, ""}:
        raise PaperError(f"{where}: {unknown('task', words['task'], TASKS)}")
    if "channels" not in words:
        raise PaperError(f"{where}: 'channels' is missing.")
    if words["metric"] in SIZES + FACTS:  # of the network, whatever it is run on
        words = {**words, "dataset": "", "image": "", "level": None}
    value, unit = _figure(printed, where)
    tolerance = unit / 2 if words["metric"] in SIZES else None
    text = {word: words.pop(word, "") for word in ("dataset", "image", "variant")}
    level = words.pop("level", None)
    return Entry(**who, **words, **text, level=level, printed=printed, value=value, unit=unit, tolerance=tolerance)


def _figure(printed: str, where: str) -> tuple[float, float]:
    """Number and the unit of its last digit: `31.50` is 31.5 in units of 0.01, `4,131k` 4131000 in units of 1000."""
    factor = {"k": 1000, "K": 1000, "M": 1_000_000}.get(printed[-1:], 1)
    try:
        number = Decimal(printed.rstrip("kKM").replace(",", ""))
        unit = Decimal(1).scaleb(int(number.as_tuple().exponent))
    except (InvalidOperation, ValueError):
        raise PaperError(f"{where}: '{printed}' is not a figure.") from None
    return float(number * factor), float(unit * factor)


# --- notes, tolerances -----------------------------------------------------------------------------

PICKERS = dict.fromkeys(("table", "part", "method", "id", "restorer", "metric", *WORDS), (str, int, float, list))


def _picked(entries: Sequence[Entry], rule: Mapping[str, Any], where: str) -> list[bool]:
    """Which entries the rule picks. Raises PaperError if none: a rule for nothing is a slip."""
    wanted = {word: rule[word] for word in PICKERS if word in rule}
    picked = [all(_fits(getattr(entry, word), value) for word, value in wanted.items()) for entry in entries]
    if not any(picked):
        raise PaperError(f"{where}: nothing is picked by {wanted}.")
    return picked


def _fits(found: object, wanted: object) -> bool:
    if wanted == "*":
        return found not in ("", None)
    return found in wanted if isinstance(wanted, list) else found == wanted


def _add_note(entries: list[Entry], rule: Any, where: str) -> list[Entry]:
    _check(rule, {"says": str}, PICKERS, where)
    picked = _picked(entries, rule, where)
    noted = [replace(e, note=f"{e.note}; {rule['says']}" if e.note else rule["says"]) for e in entries]
    return [new if pick else old for old, new, pick in zip(entries, noted, picked, strict=True)]


def _set_reason(entries: list[Entry], field: str, rule: Any, where: str) -> list[Entry]:
    _check(rule, {"because": str}, PICKERS, where)
    picked = _picked(entries, rule, where)
    return [replace(e, **{field: rule["because"]}) if pick else e for e, pick in zip(entries, picked, strict=True)]


def _set_tolerance(entries: list[Entry], rule: Any, where: str) -> list[Entry]:
    comparable = QUALITY + SIZES
    _check(rule, {"because": str}, {**PICKERS, **dict.fromkeys(comparable, (int, float))}, where)
    picked = _picked(entries, rule, where)
    limits = {metric: float(rule[metric]) for metric in comparable if metric in rule}
    if not limits:
        raise PaperError(f"{where}: no figure: give one of {', '.join(comparable)}.")
    return [
        replace(e, tolerance=limits[e.metric], because=rule["because"]) if pick and e.metric in limits else e
        for e, pick in zip(entries, picked, strict=True)
    ]


def _check_tolerances(entries: Iterable[Entry], file: str) -> None:
    for entry in entries:
        if entry.restorer and entry.metric in QUALITY and entry.tolerance is None:
            raise PaperError(f"{file}: no [[tolerance]] gives a {entry.metric} for {entry.place}.")
