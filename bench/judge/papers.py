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
    [[claim]]        what the text says of the figures: see `bench.judge.claims`

Words that pick are fields of Entry: a value, a list of values, or "*" for any but the empty one.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib import resources
from itertools import product
from typing import Any

from bench.data.toml import tomllib
from bench.errors import PaperError, unknown
from bench.judge.claims import Claim, read_claim
from bench.judge.entries import FACTS, METRICS, QUALITY, SIZES, Entry, figure
from bench.judge.picking import PICKERS, WORDS, check, picks
from bench.protocol import PROTOCOLS
from bench.tasks import TASKS

if sys.version_info >= (3, 11):
    from importlib.resources.abc import Traversable
else:
    from importlib.abc import Traversable

__all__ = ["Paper", "load", "names", "read"]


@dataclass(frozen=True)
class Paper:
    """A paper's figures, in the order of its file, and what its text claims of them."""

    name: str
    title: str
    authors: str
    venue: str
    year: int
    document: str
    entries: tuple[Entry, ...]
    claims: tuple[Claim, ...] = ()

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
    check(
        raw,
        {"paper": dict, "table": list},
        dict.fromkeys(("tolerance", "incomparable", "off", "claim"), list),
        file.name,
    )
    head = raw["paper"]
    text = dict.fromkeys(("title", "authors", "venue", "document"), str)
    check(head, {**text, "year": int}, {}, f"{file.name}, [paper]")
    name = file.name.removesuffix(".toml")
    entries = [entry for table in raw["table"] for entry in _read_table(table, name, file.name)]
    for rule in raw.get("tolerance", ()):
        entries = _set_tolerance(entries, rule, f"{file.name}, [[tolerance]]")
    for rule in raw.get("incomparable", ()):
        entries = _set_reason(entries, "incomparable", rule, f"{file.name}, [[incomparable]]")
    for rule in raw.get("off", ()):
        entries = _set_reason(entries, "cause", rule, f"{file.name}, [[off]]")
    __check_tolerances(entries, file.name)
    claims = [read_claim(claim, name, entries, f"{file.name}, [[claim]]") for claim in raw.get("claim", ())]
    return Paper(name, **head, entries=tuple(entries), claims=tuple(claims))


def _read_table(raw: Any, paper: str, file: str) -> list[Entry]:
    where = f"{file}, Table {raw.get('number', '?')}" if isinstance(raw, dict) else file
    required = {"number": str, "caption": str, "protocol": str, "columns": dict, "rows": list}
    optional = dict.fromkeys(("metric", "part", "under", "heads"), str)
    check(raw, required, {**WORDS, **optional, "notes": list}, where)
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
    check(raw, {}, {**dict.fromkeys(WORDS, list), "metric": list}, f"{where}, columns")
    for axis, values in raw.items():
        for value in values:
            check({axis: value}, {}, {**WORDS, "metric": str}, f"{where}, columns")
    return [dict(zip(raw, values, strict=True)) for values in product(*raw.values())]


def _head(column: Mapping[str, Any]) -> str:
    return " ".join(str(word) for word in column.values() if word != "")


def _read_row(
    raw: Any, shared: Mapping[str, Any], columns: list[tuple[str, dict[str, Any]]], at: dict[str, str], where: str
) -> Iterator[Entry]:
    where += f", row {raw.get('method', '?')}" if isinstance(raw, dict) else ""
    sizes = dict.fromkeys(SIZES, str)
    required = {"method": str, "id": str, "values": str}
    check(raw, required, {**WORDS, **sizes, "metric": str, "restorer": str}, where)
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
    value, unit = figure(printed, where)
    tolerance = unit / 2 if words["metric"] in SIZES else None
    text = {word: words.pop(word, "") for word in ("dataset", "image", "variant")}
    level = words.pop("level", None)
    return Entry(**who, **words, **text, level=level, printed=printed, value=value, unit=unit, tolerance=tolerance)


# --- notes, tolerances -----------------------------------------------------------------------------


def _add_note(entries: list[Entry], rule: Any, where: str) -> list[Entry]:
    check(rule, {"says": str}, PICKERS, where)
    picked = picks(entries, rule, where)
    noted = [replace(e, note=f"{e.note}; {rule['says']}" if e.note else rule["says"]) for e in entries]
    return [new if pick else old for old, new, pick in zip(entries, noted, picked, strict=True)]


def _set_reason(entries: list[Entry], field: str, rule: Any, where: str) -> list[Entry]:
    check(rule, {"because": str}, PICKERS, where)
    picked = picks(entries, rule, where)
    return [replace(e, **{field: rule["because"]}) if pick else e for e, pick in zip(entries, picked, strict=True)]


def _set_tolerance(entries: list[Entry], rule: Any, where: str) -> list[Entry]:
    comparable = QUALITY + SIZES
    check(rule, {"because": str}, {**PICKERS, **dict.fromkeys(comparable, (int, float))}, where)
    picked = picks(entries, rule, where)
    limits = {metric: float(rule[metric]) for metric in comparable if metric in rule}
    if not limits:
        raise PaperError(f"{where}: no figure: give one of {', '.join(comparable)}.")
    return [
        replace(e, tolerance=limits[e.metric], because=rule["because"]) if pick and e.metric in limits else e
        for e, pick in zip(entries, picked, strict=True)
    ]


def __check_tolerances(entries: Iterable[Entry], file: str) -> None:
    for entry in entries:
        if entry.restorer and entry.metric in QUALITY and entry.tolerance is None:
            raise PaperError(f"{file}: no [[tolerance]] gives a {entry.metric} for {entry.place}.")
