"""Tables of records: a row per restorer, columns per data set and level, and what stands behind the figures.

One table per task and protocol, so that figures taken under different rules never share one; a row is of one device.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bench.errors import RequestError
from bench.level import Level, format_level
from bench.protocol import PROTOCOLS
from bench.records.alike import alike
from bench.records.current import LOOKED_AT, current, devices, left_out, on_one_device
from bench.records.figures import with_figures
from bench.records.labels import column_labels, row_labels
from bench.report.drawing import ABOVE, Cell, Piece, Table, check_format, draw
from bench.report.grid import Column, Grid, Marks, Row, columns_of, means_by_level, rows_of
from bench.report.layout import WEIGHTS, Layout, choose_columns, choose_digits, choose_metrics, choose_rows
from bench.report.machines import in_short
from bench.report.measures import COSTS, Measure, measures_in
from bench.tasks import level_name_of, title_of

if TYPE_CHECKING:
    import pandas as pd

    from bench.judge.significance import Contest

__all__ = ["COLUMNS", "EVERYTHING", "make_tables", "render", "symbol_of"]

EVERYTHING = Layout()

EQUAL = (
    "restorers that share a letter are not told apart"
    " (PSNR paired by image, Wilcoxon's signed-rank test at 5 %, Holm's correction)"
)

SYMBOL = {"sigma": "σ", "quality": "q", "scale": "×"}

SIGNS = {
    "ours": ("†", "† weights trained by the bench project, not by the authors of the method"),
    "file": ("‡", "‡ weights from a file of one's own"),
}
"""What marks a row by where its weights are from, and what the mark means."""


COLUMNS = (
    *LOOKED_AT,
    *("level_name", "reason", "psnr_db", "ssim", "params", "macs_per_pixel", "peak_mib", "metrics"),
)
"""The columns of records that tables are made of."""

KEPT = [
    *(
        "restorer",
        "plugin",
        "weights",
        "weights_file",
        "task",
        "level",
        "level_name",
        "channels",
        "dataset",
        "folder",
    ),
    *("image", "protocol", "repeat", "status", "reason", "psnr_db", "ssim", "seconds", "device_seconds", "threads"),
    *("params", "macs_per_pixel", "peak_mib", "environment", "metrics", "asked_at"),
]
"""What is held of all records that count while a table is made, beside their names."""


def render(frames: pd.DataFrame | Iterable[pd.DataFrame], format: str = "text", layout: Layout = EVERYTHING) -> str:
    """Records (columns of `bench.records.record.Record`) as text in the given format.

    frames  all, or those of each task by themselves, as `bench.records.reading` gives them
    Raises RequestError for an unknown format, for what the layout asks for and the records do not have, and when
    there is nothing to show.
    """
    check_format(format)
    these = _gathered(frames)
    tables = list(_tables(these, layout, names_weights=format != "latex"))
    if not tables:
        reasons = "; ".join(_skips(these.skipped))
        raise RequestError(f"There are no records to make a table of{reasons and f' ({reasons})'}.")
    if len(tables) > 1 and (layout.caption is not None or layout.label is not None):
        raise RequestError(f"--caption and --label are of one table, and there are {len(tables)}: --select chooses.")
    return "\n\n".join(draw(table, format) for table in tables)


class _Gathered(NamedTuple):
    """Records that count, named; of those that do not, whose cells have none that does; and what was skipped."""

    measured: pd.DataFrame
    older: pd.DataFrame
    skipped: pd.DataFrame


def _gathered(frames: pd.DataFrame | Iterable[pd.DataFrame]) -> _Gathered:
    import pandas as pd

    parts: list[tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]] = []
    for frame in [frames] if isinstance(frames, pd.DataFrame) else frames:
        tried = frame[frame["status"] != "skipped"]
        counting = current(tried, by_device=True)
        contested = counting.index.isin(on_one_device(counting).index)
        kept = counting[KEPT].assign(made_on=devices(counting), contested=contested)
        older = left_out(tried, counting)[["restorer", "task", "protocol", "dataset"]]
        parts.append((kept, older, frame.loc[frame["status"] == "skipped", ["restorer", "task", "reason"]]))
    measured, older, skipped = (pd.concat(some).sort_index() for some in zip(*parts, strict=True))
    measured = with_figures(measured)
    return _Gathered(measured.assign(label=row_labels(measured), column=column_labels(measured)), older, skipped)


class _Shown(NamedTuple):
    """What is asked for of the records' figures, rows and columns, read by `bench.report.layout`.

    cells   what each cell of quality holds; others: names of COSTS, and WEIGHTS
    rows    what they are shown as, and so columns; order: of the rows, by label; none: the records'
    """

    cells: Sequence[tuple[Measure, ...]]
    others: Sequence[str]
    digits: Mapping[str, int]
    rows: Mapping[str, str]
    columns: Mapping[tuple[str, Level], str]
    order: Sequence[str]
    mean: bool


def make_tables(
    frames: pd.DataFrame | Iterable[pd.DataFrame], layout: Layout = EVERYTHING, *, names_weights: bool = True
) -> Iterator[Table]:
    """One table per task and protocol.

    names_weights  if no metrics are asked for: tell in a column, and not by a sign, whose weights a row is of
    """
    return _tables(_gathered(frames), layout, names_weights=names_weights)


def _tables(these: _Gathered, layout: Layout, *, names_weights: bool) -> Iterator[Table]:
    measured, older, skipped = these
    contests = _contests(measured[measured["contested"]]) if layout.significance else {}
    shown = _read(layout, measured, names_weights=names_weights)
    if layout.rows:
        restorers = set(measured["restorer"][measured["label"].isin(shown.rows)])
        older, skipped = (these[these["restorer"].isin(restorers)] for these in (older, skipped))
    for (task, protocol), records in measured.groupby(["task", "protocol"], sort=False):
        grid = _grid(records, shown)
        if not grid.rows:
            continue
        left = older[(older["task"] == task) & (older["protocol"] == protocol)]
        below = [*_older(left), *_skips(skipped[skipped["task"] == task])]
        kind = str(task), str(protocol)
        held = {column: contests.get((*kind, column.dataset, column.level)) for column in grid.columns}
        yield _table(grid, shown, layout, {column: contest for column, contest in held.items() if contest}, below)


Contests = Mapping[tuple[str, str, str, Level], "Contest"]
"""by task, protocol, data set and level"""


def _contests(measured: pd.DataFrame) -> Contests:
    from bench.judge.significance import contests_of

    found = contests_of(measured, letters_only=True)
    return {(c.task, c.protocol, c.dataset, c.level): c for c in found}


def _read(layout: Layout, measured: pd.DataFrame, *, names_weights: bool) -> _Shown:
    known = measures_in(measured)
    cells, others = choose_metrics(layout.metrics, known)
    rows = choose_rows(layout.rows, dict(zip(measured["label"], measured["restorer"], strict=True)))
    sets = [(column.dataset, column.level) for column in columns_of(measured)]
    return _Shown(
        cells=cells,
        others=[name for name in others if name != WEIGHTS or layout.metrics or names_weights],
        digits=choose_digits(layout.digits, known),
        rows=rows,
        columns=choose_columns(layout.columns, sets),
        order=[*rows] if layout.rows else [],
        mean=layout.mean,
    )


def _grid(records: pd.DataFrame, shown: _Shown) -> Grid:
    """Of the records of one task and protocol the rows and columns that are shown."""
    there = {(column.dataset, column.level): column for column in columns_of(records)}
    columns = [there[key]._replace(name=name) for key, name in shown.columns.items() if key in there]
    keys = zip(records["column"], records["level"], strict=True)
    in_columns = np.array([key in shown.columns for key in keys], bool)
    kept = records["label"].isin(shown.rows) & in_columns
    means = means_by_level(columns) if shown.mean else ()
    measures = [*dict.fromkeys(measure for cell in shown.cells for measure in cell)]
    return Grid(rows_of(records[kept], shown.order), [*columns, *means], measures, shown.digits)


# --- one table -------------------------------------------------------------------------------------------


def _table(
    grid: Grid, shown: _Shown, layout: Layout, contests: Mapping[Column, Contest], below: Sequence[str]
) -> Table:
    """The table of a grid. contests: of the columns that have one; below: what is told of what is not shown."""
    records = grid.all_records()
    task, protocol = str(records["task"].iloc[0]), str(records["protocol"].iloc[0])
    symbol = symbol_of(task)
    tells_device = {row.device for row in grid.rows} != {"cpu"}
    letters = {column: contest.letters() for column, contest in contests.items()}
    tells_apart = any(any(of_column.values()) for of_column in letters.values())
    marks = grid.marks()
    rows, behind = [], []
    for i, row in enumerate(grid.rows):
        cells: list[Cell] = [_name(row, shown), row.device if tells_device else "–"]
        indices = [row.records.index] * 2
        for column in grid.columns:
            letter = letters.get(column, {}).get(row.label, "") if grid.records(i, column)["contested"].any() else ""
            for measures in shown.cells:
                cells.append(_quality(grid, i, column, measures, marks, letter if _is_compared(measures) else ""))
                indices.append(grid.records(i, column).index)
        cells += [_other(row, name) for name in shown.others]
        rows.append(cells)
        behind.append([*indices, *[row.records.index] * len(shown.others)])
    footnotes = [line for i in range(len(grid.rows)) for line in _of_row(grid, i, symbol, tells_device=tells_device)]
    footnotes += _mixtures(grid, symbol)
    footnotes += [f"{contest.name}: {contest.doubt}" for contest in contests.values() if contest.doubt]
    headers, parts = _headings(grid, shown, symbol)
    kept = [i for i in range(len(headers)) if i == 0 or any(row[i] != "–" for row in rows)]
    title = f"{title_of(task, str(records['level_name'].iloc[0]))}: {_metrics(shown)}"
    own = layout.caption
    return Table(
        title=f"{title} ({protocol})" if own is None else own,
        headers=[headers[i] for i in kept],
        rows=[[row[i] for i in kept] for row in rows],
        notes=[*_notes(grid, shown), *([EQUAL] if tells_apart else [])],
        footnotes=list(dict.fromkeys([*footnotes, *below])),
        behind=[[row[i] for i in kept] for row in behind],
        parts=[parts[i] for i in kept],
        unranked=_unranked(grid, shown),
        caption=_caption(title, protocol, records) if own is None else own,
        label=layout.label or "",
    )


def _headings(grid: Grid, shown: _Shown, symbol: str) -> tuple[list[str], list[tuple[str, ...]]]:
    """Each column's heading in one, `set12 σ25 PSNR`, and in parts, (`set12`, `σ = 25`, `PSNR`)."""
    headers = ["restorer", "device"]
    parts: list[tuple[str, ...]] = [("restorer",), ("device",)]
    for column in grid.columns:
        for measures in shown.cells:
            metric = [" / ".join(measure.heading for measure in measures)] if len(shown.cells) > 1 else []
            headers.append(" ".join([_heading(column, symbol), *metric]))
            parts.append((column.name, _level(column.level, symbol), *metric))
    others = [name if name == WEIGHTS else COSTS[name].heading for name in shown.others]
    return [*headers, *others], [*parts, *((name,) for name in others)]


def _heading(column: Column, symbol: str) -> str:
    return f"{column.name} {symbol}{format_level(column.level)}"


def _level(level: Level, symbol: str) -> str:
    """`σ = 25`, `×2`"""
    return f"{symbol} = {format_level(level)}" if symbol.isalpha() else f"{symbol}{format_level(level)}"


def symbol_of(task: str) -> str:
    """What stands before a level of the task; nothing where its title says what the level is."""
    return SYMBOL.get(level_name_of(task), "")


def _metrics(shown: _Shown) -> str:
    """`PSNR in dB / SSIM` for one cell, `PSNR in dB, SSIM` for two."""
    return ", ".join(" / ".join(measure.title for measure in measures) for measures in shown.cells)


# --- cells -----------------------------------------------------------------------------------------------


def _name(row: Row, shown: _Shown) -> Cell:
    """With a sign of whose weights they are, where no column says that."""
    name = shown.rows[row.label]
    if row.origin in SIGNS and WEIGHTS not in shown.others:
        return (Piece(name), Piece(SIGNS[row.origin][0], ABOVE))
    return name


def _quality(grid: Grid, row: int, column: Column, measures: Sequence[Measure], marks: Marks, letter: str) -> Cell:
    """`30.45 / 0.8618 a`, the means over images, with marks; of how many, where any is not of all of them."""
    records = grid.records(row, column)
    good = grid.good(row, column)
    if records.empty:
        return "–"
    if good.empty:
        return "failed"
    means = {measure: grid.mean(row, column, measure) for measure in measures}
    while means and math.isnan(means[[*means][-1]]):
        means.popitem()
    if not means:
        return "–"
    pieces: list[Piece] = []
    for measure, mean in means.items():
        text = "–" if math.isnan(mean) else f"{mean:.{grid.decimals(measure)}f}"
        pieces += [Piece("/")] if pieces else []
        pieces.append(Piece(text, marks.get((row, column, measure.name), "")))
    if not column.of:
        parts = [f"{len(good)} of {column.whole}"] if len(good) != column.whole else []
        known = {measure: good[measure.column].count() for measure in measures}
        parts += [f"{measure.heading} of {n}" for measure, n in known.items() if 0 < n < len(good)]
        pieces += [Piece(f"({', '.join(parts)})")] if parts else []
    pieces += [Piece(letter, ABOVE)] if letter else []
    return tuple(pieces)


def _is_compared(measures: Sequence[Measure]) -> bool:
    """Whether a cell holds what restorers are compared by, to which letters belong."""
    return any(measure.name == "psnr" for measure in measures)


def _other(row: Row, name: str) -> str:
    if name == WEIGHTS:
        return row.origin or "–"
    known = row.good[COSTS[name].column].dropna()
    return "–" if known.empty else COSTS[name].show(known)


# --- what is told above and below --------------------------------------------------------------------------


def _caption(title: str, protocol: str, records: pd.DataFrame) -> str:
    """What is measured, how, whose weights, and on which machine: what a paper's reader must be told."""
    words = PROTOCOLS[protocol].words if protocol in PROTOCOLS else ""
    told = [title, f"Protocol {protocol}: {words}" if words else f"Protocol {protocol}"]
    origins = set(records["weights"].str.partition(":")[0]) - {""}
    if "published" in origins:
        told.append(f"Weights are the authors'{' unless marked' * (len(origins) > 1)}")
    environments = [text for text in records["environment"].unique() if isinstance(text, str)]
    machines = [*dict.fromkeys(filter(None, map(in_short, environments)))]
    if machines:
        more = f", and {len(machines) - 3} more" if len(machines) > 3 else ""
        threads = [*dict.fromkeys(records["threads"].dropna())]
        by = f", {threads[0]:.0f} thread{'s' * (threads[0] != 1)}" if len(threads) == 1 else ""
        told.append(f"Measured on {'; '.join(machines[:3])}{more}{by}")
    return f"{'. '.join(told)}."


def _notes(grid: Grid, shown: _Shown) -> list[str]:
    """What the signs at the rows mean, and what a mean over data sets is."""
    origins = {row.origin for row in grid.rows} if WEIGHTS not in shown.others else set()
    notes = [told for origin, (_, told) in SIGNS.items() if origin in origins]
    means = any(column.of for column in grid.columns)
    return [*notes, "mean: of the data sets' means, each counted once"] if means else notes


def _unranked(grid: Grid, shown: _Shown) -> str:
    """What does not compete for the best."""
    rows, measures = range(len(grid.rows)), grid.measures
    ours = f"rows with {SIGNS['ours'][0]}" if WEIGHTS not in shown.others else "rows with weights of ours"
    told = [] if all(map(grid.competes, rows)) else [ours]
    some = [
        len(grid.records(row, column)) and not grid.is_whole(row, column, measure)
        for row in rows
        for column in grid.columns
        for measure in measures
        if not column.of
    ]
    told += ["means over fewer images"] if any(some) else []
    return f"{' and '.join(told)} do not compete" if told else ""


def _of_row(grid: Grid, i: int, symbol: str, *, tells_device: bool) -> Iterator[str]:
    row = grid.rows[i]
    named = f"{row.label} ({row.device})" if tells_device else row.label
    for column in grid.columns:
        if not column.of:
            yield from _identical(f"{named} on {_heading(column, symbol)}", grid.records(i, column))
    restorer = str(row.records["restorer"].iloc[0])
    if restorer.endswith("+"):
        yield f"{restorer} averages {restorer[:-1]} over 8 flips and rotations, at 8 times its cost"
    yield from _reasons(f"{named} failed on", row.records[row.records["status"] == "failed"])
    yield from _reasons(f"{named} on", row.good[row.good["reason"].fillna("") != ""])


def _identical(where: str, cell: pd.DataFrame) -> list[str]:
    """On how many pictures the PSNR is infinite, and what the mean of the others is."""
    psnr_db = cell[cell["status"] == "ok"]["psnr_db"]
    others = psnr_db[psnr_db != math.inf]
    n = len(psnr_db) - len(others)
    if not n:
        return []
    rest = f"; the mean of the others is {others.mean():.2f} dB" if len(others) else ""
    return [f"{where}: identical with the clean picture (PSNR inf) on {n} of {len(psnr_db)}{rest}"]


def _reasons(what: str, these: pd.DataFrame) -> list[str]:
    """`bm3d failed on set12/07.png, set12/08.png: reason`, one line for reasons that differ in numbers alone."""
    lines = []
    for reason, same in alike(dict.fromkeys(these["reason"])).items():
        records = these[these["reason"].isin(same)]
        images = list(dict.fromkeys(records["column"] + "/" + records["image"]))
        named = ", ".join(images[:3]) + (f" and {len(images) - 3} more" if len(images) > 3 else "")
        lines.append(f"{what} {named}: {reason}")
    return lines


def _mixtures(grid: Grid, symbol: str) -> Iterator[str]:
    """`photos σ25 is of 3 gray and 2 colour images`, for each column that is of both."""
    for column in grid.columns:
        pairs: set[tuple[int, str]] = set()
        for row in () if column.of else range(len(grid.rows)):
            records = grid.records(row, column)
            pairs |= {*zip(records["channels"], records["image"], strict=True)}
        n_gray = sum(channels == 1 for channels, _ in pairs)
        if 0 < n_gray < len(pairs):
            yield f"{_heading(column, symbol)} is of {n_gray} gray and {len(pairs) - n_gray} colour images"


def _older(left: pd.DataFrame) -> list[str]:
    """`68 records of groupsc on bsd68 of other code or weights than those last asked for, and not shown`"""
    return [
        f"{len(records)} record{'s' * (len(records) > 1)} of {restorer} on {dataset}: of other code or weights than"
        " those last asked for, and not shown"
        for (restorer, dataset), records in left.groupby(["restorer", "dataset"], sort=False)
    ]


def _skips(skipped: pd.DataFrame) -> list[str]:
    return [f"skipped: {reason}" for reason in alike(dict.fromkeys(skipped["reason"]))]
