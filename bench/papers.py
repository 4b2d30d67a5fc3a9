"""Papers as data: the tables of `results/papers/*.toml`, what is odd in them, and the verdict against them.

A file holds `[paper]` (title, authors, venue, year, document) and

    [[table]]        number, part (of a table in several blocks), caption, protocol (the paper's words), metric, and
                     what all its figures share: task, channels, dataset, image, level, variant
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

Words that pick are fields of Entry: a value, a list of values, or "*" for any but the empty one.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from importlib import resources
from itertools import combinations, pairwise, product
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from bench.errors import PaperError, unknown
from bench.task import TASKS, Level, format_level

if sys.version_info >= (3, 11):
    from importlib.resources.abc import Traversable

    import tomllib
else:
    from importlib.abc import Traversable

    import tomli as tomllib

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Comparison", "Conflict", "Entry", "Paper", "Verdict", "audit", "compare", "load", "names", "read"]

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
    """

    paper: str
    table: str
    part: str
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
    return resources.files("results") / "papers"


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
    _check(raw, {"paper": dict, "table": list}, {"tolerance": list, "incomparable": list}, file.name)
    head = raw["paper"]
    text = dict.fromkeys(("title", "authors", "venue", "document"), str)
    _check(head, {**text, "year": int}, {}, f"{file.name}, [paper]")
    name = file.name.removesuffix(".toml")
    entries = [entry for table in raw["table"] for entry in _read_table(table, name, file.name)]
    for rule in raw.get("tolerance", ()):
        entries = _set_tolerance(entries, rule, f"{file.name}, [[tolerance]]")
    for rule in raw.get("incomparable", ()):
        entries = _set_incomparable(entries, rule, f"{file.name}, [[incomparable]]")
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
    _check(raw, required, {**WORDS, "metric": str, "part": str, "heads": str, "notes": list}, where)
    columns = _read_columns(raw["columns"], where)
    heads = raw["heads"].split() if "heads" in raw else [_head(column) for column in columns]
    if len(heads) != len(columns):
        raise PaperError(f"{where}: {len(heads)} heads for {len(columns)} columns.")
    at = {"paper": paper, "table": raw["number"], "part": raw.get("part", "")}
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


def _set_incomparable(entries: list[Entry], rule: Any, where: str) -> list[Entry]:
    _check(rule, {"because": str}, PICKERS, where)
    picked = _picked(entries, rule, where)
    return [replace(e, incomparable=rule["because"]) if pick else e for e, pick in zip(entries, picked, strict=True)]


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


# --- what cannot be right ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Conflict:
    """Figures that cannot all be right, found without being told."""

    kind: str
    entries: tuple[Entry, ...]
    says: str

    @property
    def explained(self) -> str:
        """What the notes on these figures say, or "" where nobody has looked yet."""
        return "; ".join(dict.fromkeys(entry.note for entry in self.entries if entry.note))

    def __str__(self) -> str:
        places = "".join(f"\n    {entry.printed:<8} {entry.place}" for entry in self.entries)
        return f"{self.kind}: {self.entries[0].setting}, {self.says}{places}\n    note: {self.explained or 'none'}"


PLACE = ("paper", "table", "part")
SETTING = ("task", "dataset", "image", "level", "channels", "variant")
FALLS_WITH_LEVEL = {"denoise": True, "denoise-blind": True, "superres": True, "deblock": False}
DEGRADED = ("noisy", "jpeg", "bicubic")


def audit(papers: Iterable[Paper]) -> list[Conflict]:
    """Every conflict within and between the papers, notes or no notes."""
    entries = [entry for paper in papers for entry in paper.entries]
    checks = (_disagreements, _impossible, _wrong_order, _not_above_input, _wrong_means, _ssim_out_of_step)
    return [conflict for check in checks for conflict in check(entries)]


def _by(entries: Iterable[Entry], *fields: str) -> dict[Any, list[Entry]]:
    groups: dict[Any, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(attrgetter(*fields)(entry), []).append(entry)
    return groups


def _disagreements(entries: Sequence[Entry]) -> Iterator[Conflict]:
    """One method, one setting, one metric, but figures that do not round to each other."""
    for same in _by(entries, "id", *SETTING, "metric").values():
        if not all(_agree(a, b) for a, b in combinations(same, 2)):
            printed = " against ".join(dict.fromkeys(entry.printed for entry in same))
            yield Conflict("disagree", tuple(same), f"{same[0].metric} {printed}")


def _agree(a: Entry, b: Entry) -> bool:
    """Equal, or one the rounding of the other."""
    slack = 0 if a.unit == b.unit else (a.unit + b.unit) / 2
    return abs(a.value - b.value) <= slack + 1e-9


def _impossible(entries: Sequence[Entry]) -> Iterator[Conflict]:
    for entry in entries:
        low, high = (0, 1) if entry.metric == "ssim" else (0, 99) if entry.metric == "psnr_db" else (0, float("inf"))
        if not low <= entry.value <= high:
            yield Conflict("impossible", (entry,), f"{entry.metric} {entry.printed} is not between {low} and {high}")


def _wrong_order(entries: Sequence[Entry]) -> Iterator[Conflict]:
    """Quality falls with sigma and scale and rises with the JPEG quality; so it must within a row."""
    rows = _by(_quality(entries), *PLACE, "method", "id", *SETTING[:3], "channels", "variant", "metric")
    for row in rows.values():
        if row[0].task not in FALLS_WITH_LEVEL:
            continue
        falls = FALLS_WITH_LEVEL[row[0].task]
        for easier, harder in pairwise(sorted(row, key=lambda e: float(e.level or 0), reverse=not falls)):
            if harder.value >= easier.value:
                says = f"{harder.metric} {harder.printed} is not below {easier.printed} of the milder degradation"
                yield Conflict("order", (harder, easier), says)


def _not_above_input(entries: Sequence[Entry]) -> Iterator[Conflict]:
    """A restorer's figure that does not reach that of the degraded image in the same table."""
    for same in _by(_quality(entries), *PLACE, *SETTING, "metric").values():
        for given in (entry for entry in same if entry.id in DEGRADED):
            for entry in same:
                if entry is not given and entry.value <= given.value:
                    says = f"{entry.metric} {entry.printed} is not above the input's {given.printed}"
                    yield Conflict("not above input", (entry, given), says)


def _wrong_means(entries: Sequence[Entry]) -> Iterator[Conflict]:
    """A printed average that rounding cannot make of the images beside it."""
    for row in _by(_quality(entries), *PLACE, "id", "task", "dataset", "level", "channels", "metric").values():
        images = [entry for entry in row if entry.image]
        means = [entry for entry in row if not entry.image]
        if not (images and means):
            continue
        mean = sum(entry.value for entry in images) / len(images)
        for entry in means:
            if abs(entry.value - mean) > (entry.unit + images[0].unit) / 2 + 1e-9:
                says = f"{entry.metric} {entry.printed}, but its {len(images)} images have mean {mean:.4f}"
                yield Conflict("average", (entry,), says)


def _ssim_out_of_step(entries: Sequence[Entry]) -> Iterator[Conflict]:
    """Nearly the same PSNR but another SSIM: a misprint, or another SSIM than the neighbour's."""
    for same in _by(_quality(entries), *PLACE, *SETTING).values():
        methods = [{e.metric: e for e in method} for method in _by(same, "method", "id").values()]
        both = sorted((m for m in methods if len(m) == 2), key=lambda m: m["psnr_db"].value)
        for low, high in pairwise(both):
            rise = high["ssim"].value - low["ssim"].value
            step = high["psnr_db"].value - low["psnr_db"].value
            if rise > 0.02 + 0.05 * step or (step >= 0.2 and rise < -0.005):
                says = f"SSIM {low['ssim'].printed} and {high['ssim'].printed} at {low['psnr_db'].printed} and "
                figures = (low["ssim"], high["ssim"], low["psnr_db"], high["psnr_db"])
                yield Conflict("ssim", figures, f"{says}{high['psnr_db'].printed} dB")


def _quality(entries: Iterable[Entry]) -> Iterator[Entry]:
    return (entry for entry in entries if entry.metric in QUALITY)


# --- the verdict ---------------------------------------------------------------------------------------

REPRODUCED, OFF, OURS, NOT_MEASURED = "reproduced", "off", "ours", "not measured"
HEADERS = ("table", "method", "setting", "metric", "measured", "published", "difference", "verdict", "weights", "why")
RECORD_COLUMNS = {
    "restorer",
    "weights",
    "task",
    "level",
    "channels",
    "dataset",
    "image",
    "protocol",
    "status",
    *QUALITY,
}


@dataclass(frozen=True)
class Verdict:
    """One figure of the paper beside ours.

    verdict   reproduced (within tolerance), off, ours (measured with weights that this project trained: never a
              reproduction of the authors' figure, whatever the difference), or not measured
    measured  unrounded, None where not measured; `why` then says why
    """

    entry: Entry
    verdict: str
    measured: float | None = None
    weights: str = ""
    why: str = ""

    @property
    def difference(self) -> float | None:
        """Measured, rounded as the paper prints, minus published."""
        return None if self.measured is None else _difference(self.measured, self.entry)


@dataclass(frozen=True)
class Comparison:
    """The verdict on every figure of a paper."""

    paper: str
    protocol: str
    verdicts: tuple[Verdict, ...]

    def counts(self) -> dict[str, int]:
        """How many figures got each verdict."""
        found = Counter(verdict.verdict for verdict in self.verdicts)
        return {verdict: found[verdict] for verdict in (REPRODUCED, OFF, OURS, NOT_MEASURED)}

    def reasons(self) -> dict[str, int]:
        """Why figures were not measured, the commonest reason first."""
        return dict(Counter(v.why for v in self.verdicts if v.verdict == NOT_MEASURED).most_common())

    @property
    def compared(self) -> int:
        """How many figures were held against the authors': ours-weights do not count."""
        counts = self.counts()
        return counts[REPRODUCED] + counts[OFF]

    @property
    def exit_status(self) -> int:
        """0 when something was compared and nothing is off, else 1."""
        return int(self.compared == 0 or self.counts()[OFF] > 0)

    def summary(self) -> str:
        """`dncnn-2017 under standard-v1: 12 compared, 12 reproduced, 0 off, 0 ours, 300 not measured`"""
        counts = self.counts()
        told = ", ".join(f"{counts[verdict]} {verdict}" for verdict in counts)
        failure = "" if self.compared else "; nothing was compared, which counts as failure"
        return f"{self.paper} under {self.protocol}: {self.compared} compared, {told}{failure}"

    def rows(self, *, everything: bool = False) -> tuple[list[str], list[list[str]]]:
        """Headers, and one line a figure: the measured ones, or `everything`."""
        shown = (v for v in self.verdicts if everything or v.verdict != NOT_MEASURED)
        return list(HEADERS), [_row(verdict) for verdict in shown]


def _row(verdict: Verdict) -> list[str]:
    entry, measured, difference = verdict.entry, verdict.measured, verdict.difference
    digits = _decimals(entry)
    table = f"{entry.table} ({entry.part})" if entry.part else entry.table
    figures = ("", entry.printed, "")
    if measured is not None and difference is not None:
        figures = (f"{measured:.{digits}f}", entry.printed, f"{difference:+.{digits}f}")
    why = verdict.why or (entry.because if verdict.verdict == REPRODUCED and difference else entry.note)
    return [table, entry.method, entry.setting, entry.metric, *figures, verdict.verdict, verdict.weights, why]


def _decimals(entry: Entry) -> int:
    """How many decimals the paper prints."""
    return max(0, -int(Decimal(str(entry.unit)).normalize().as_tuple().exponent))


def _difference(measured: float, entry: Entry) -> float:
    digits = _decimals(entry)
    return round(round(measured, digits) - entry.value, digits)


def compare(
    paper: Paper,
    records: pd.DataFrame,
    tolerance: float | None = None,
    protocol: str = "standard-v1",
    images_in: Callable[[str], int | None] | None = None,
) -> Comparison:
    """Hold the records (one row per measured image, the columns of DESIGN.md) against the paper.

    tolerance  of PSNR in dB, instead of the paper file's
    images_in  data set's name -> how many images it has, None if we have no such set; default: the data room's
    """
    if missing := RECORD_COLUMNS - set(records.columns):
        raise PaperError(f"The records have no column '{min(missing)}', which comparing needs.")
    bench = _Bench(records[records["protocol"] == protocol], images_in or _images_in)
    entries = paper.entries
    if tolerance is not None:
        entries = tuple(replace(e, tolerance=tolerance) if e.metric == "psnr_db" else e for e in entries)
    return Comparison(paper.name, protocol, tuple(bench.verdict(entry) for entry in entries))


def _images_in(dataset: str) -> int | None:
    from data import datasets

    return len(datasets.get(dataset)) if dataset in datasets.names() else None


def _level_text(level: Level | None) -> str:
    """One spelling for 25, 25.0 and "25" (records may come from a text file)."""
    try:
        return f"{float('nan' if level is None else level):g}"
    except ValueError:
        return str(level)


class _Bench:
    """Our records under one protocol, by what the papers' figures are of."""

    def __init__(self, records: pd.DataFrame, images_in: Callable[[str], int | None]) -> None:
        records = records.assign(level=records["level"].map(_level_text), weights=records["weights"].fillna(""))
        self.images_in = images_in
        self.restorers = set(records["restorer"])
        whole = ["restorer", "task", "channels"]
        self.networks = dict(iter(records.groupby(whole)))
        self.cells = dict(iter(records.groupby([*whole, "dataset", "level"])))

    def verdict(self, entry: Entry) -> Verdict:
        why = self._why_not(entry)
        if why:
            return Verdict(entry, NOT_MEASURED, why=why)
        rows = self._rows(entry)
        if rows is None:
            seen = entry.restorer in self.restorers
            return Verdict(
                entry, NOT_MEASURED, why=f"no records of {entry.restorer}{' at this setting' if seen else ''}"
            )
        figure = self._size if entry.metric in SIZES else self._quality
        whys = []
        for weights in sorted(set(rows["weights"]), key=_preference):
            measured, why = figure(entry, rows[rows["weights"] == weights])
            if measured is not None:
                return Verdict(entry, _judge(entry, measured, weights), measured, weights)
            whys.append(why)
        return Verdict(entry, NOT_MEASURED, why=whys[0])

    def _why_not(self, entry: Entry) -> str:
        """Why this figure is out of reach whatever was measured, or ""."""
        if not entry.restorer:
            return "not one of our restorers"
        if entry.incomparable:
            return entry.incomparable
        if entry.metric in TIMES:
            return "a run time of another machine"
        if entry.metric not in QUALITY + SIZES:
            return f"we do not measure {entry.metric}"
        if entry.metric in QUALITY and self.images_in(entry.dataset) is None:
            return f"we have no data set {entry.dataset}"
        return ""

    def _rows(self, entry: Entry) -> pd.DataFrame | None:
        whole = (entry.restorer, entry.task, entry.channels)
        if entry.metric in SIZES:
            return self.networks.get(whole)
        return self.cells.get((*whole, entry.dataset, _level_text(entry.level)))

    def _quality(self, entry: Entry, rows: pd.DataFrame) -> tuple[float | None, str]:
        """Mean over repeats, then over the images: all of them, or the one asked for."""
        good = rows[rows["status"] == "ok"].dropna(subset=[entry.metric])
        images = good.groupby("image")[entry.metric].mean()
        if entry.image:
            found = entry.image in images.index
            return (float(images[entry.image]), "") if found else (None, f"incomplete: not {entry.image}")
        whole = self.images_in(entry.dataset)
        if len(images) != whole:
            return None, f"incomplete: {len(images)} of {whole} images"
        return float(images.mean()), ""

    def _size(self, entry: Entry, rows: pd.DataFrame) -> tuple[float | None, str]:
        """What all records say; several networks behind one name have no one size."""
        if entry.metric not in rows:
            return None, f"the records have no {entry.metric}"
        sizes = rows[rows["status"] == "ok"][entry.metric].dropna()
        if not len(sizes):
            return None, f"the records have no {entry.metric}"
        if sizes.max() - sizes.min() > entry.unit:
            return None, f"the records have several {entry.metric}"
        return float(sizes.mean()), ""


def _preference(weights: str) -> tuple[bool, bool, str]:
    """Published weights first, then none needed, then ours."""
    return weights.startswith("ours:"), not weights.startswith("published:"), weights


def _judge(entry: Entry, measured: float, weights: str) -> str:
    if weights.startswith("ours:"):
        return OURS
    limit = 0 if entry.tolerance is None else entry.tolerance
    gap = abs(_difference(measured, entry))
    return REPRODUCED if gap <= limit + 1e-9 else OFF
