"""What the page shows: the tables of `bench table`, the records behind each figure, and verdicts on the papers."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.data.datasets import overlap
from bench.errors import RequestError
from bench.judge import papers
from bench.judge.entries import Entry
from bench.judge.verdict import NOT_MEASURED, Comparison, compare
from bench.level import format_level
from bench.plugins.weights import all_declarations
from bench.protocol import PROTOCOLS
from bench.records.current import current, devices
from bench.records.figures import with_figures
from bench.records.labels import column_labels, row_labels
from bench.records.record import TEXTS
from bench.report.drawing import Table, plain
from bench.report.layout import Layout
from bench.report.machines import machine
from bench.report.page.commands import command_for
from bench.report.table import make_tables, symbol_of
from bench.tasks import level_name_of, title_of

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Contents", "gathered", "make_contents"]

Contents = dict[str, Any]
"""What becomes the page's JSON: text, numbers, None, lists and dicts of them; an infinite number is "inf"."""

WORDS = (
    *("dataset_label", "level_label", "image", "status", "reason", "made_on", "weights", "weights_sha256"),
    *("weights_file", "code_sha256", "plugin", "restorer_version", "bench_version", "revision", "measured_at"),
    *("machine", "versions", "input_sha256"),
)
NUMBERS = {
    "psnr_db": 4,
    "ssim": 6,
    "seconds": 6,
    "seconds_spread": 6,
    "device_seconds": 6,
    "peak_mib": 1,
    "estimated_level": 3,
    "params": 0,
    "macs_per_pixel": 1,
    "threads": 0,
    "repeat": 0,
}
"""What is shown of a record: its texts, and its numbers with so many decimals."""

COSTS = {
    "params": ("params", "max"),
    "MACs/pixel": ("macs_per_pixel", "max"),
    "s/image": ("seconds", "mean"),
    "GPU s": ("device_seconds", "mean"),
    "peak MiB": ("peak_mib", "max"),
}
"""The tables' column -> the record's, and which number stands for several where figures are sorted or drawn"""

PARTIAL = re.compile(r"\(\d+ of \d+")


MOST_RECORDS = 100_000
"""of a page: each takes it some 200 bytes, and a browser its time"""


def gathered(frames: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Records that come in parts, in their order, with a column for each metric.

    Raises RequestError if they are more than a page can show, before all are held.
    """
    import pandas as pd

    parts: list[pd.DataFrame] = []
    n = 0
    for frame in frames:
        n += len(frame)
        if n > MOST_RECORDS:
            raise RequestError(f"More than {MOST_RECORDS:,} records are too many for a page: --select chooses.")
        parts.append(frame)
    return with_figures(pd.concat(parts).sort_index())


def make_contents(frame: pd.DataFrame) -> tuple[Contents, pd.DataFrame]:
    """What the page shows of these records, and the records that it has, in the order in which it has them.

    Raises RequestError if there is nothing to show.
    """
    import pandas as pd

    tables = list(make_tables(frame, Layout(significance=True)))
    if not tables:
        raise RequestError("There are no records to make a page of.")
    counting = current(frame[frame["status"] != "skipped"], by_device=True)
    shown = pd.concat([counting.loc[_behind(table)] for table in tables])
    shown = _told(shown)
    place = {index: number for number, index in enumerate(shown.index)}
    contents = {
        "tables": [_table(table, shown, place) for table in tables],
        "records": {**_texts(shown), **_numbers(shown)},
        "papers": _papers(current(frame)),
    }
    return contents, shown


def _behind(table: Table) -> list[int]:
    """The records of a table, row by row, and in a row column by column: each figure's follow each other."""
    quality = [i for i, name in enumerate(table.headers) if _is_quality(name)]
    return [index for row in table.behind for i in quality for index in row[i]]


def _is_quality(header: str) -> bool:
    return header not in ("restorer", "device", "weights", *COSTS)


def _told(records: pd.DataFrame) -> pd.DataFrame:
    """Records with no text missing, and with what is read out of their columns."""
    texts = records.reindex(columns=TEXTS).astype(object)
    records = records.assign(**{name: texts[name].where(texts[name].notna(), "") for name in TEXTS})
    machines = {text: machine(text) for text in records["environment"].unique()}
    levels = zip(records["task"], records["level"], strict=True)
    return records.assign(
        made_on=devices(records),
        label=row_labels(records),
        dataset_label=column_labels(records),
        level_label=[_level(task, level) for task, level in levels],
        machine=[machines[text][0] for text in records["environment"]],
        versions=[machines[text][1] for text in records["environment"]],
    )


def _level(task: str, level: float | str) -> str:
    """`σ25`"""
    return f"{symbol_of(task)}{format_level(level)}"


# --- tables ------------------------------------------------------------------------------------------------


def _table(table: Table, shown: pd.DataFrame, place: Mapping[int, int]) -> Contents:
    one: Any = shown.loc[table.behind[0][0][0]]
    columns = [_column(name, table, i, shown) for i, name in enumerate(table.headers)]
    rows = [
        [_cell(*cell, shown, place) for cell in zip(table.headers, map(plain, row), behind, strict=True)]
        for row, behind in zip(table.rows, table.behind, strict=True)
    ]
    protocol = PROTOCOLS.get(one["protocol"])
    return {
        "task": one["task"],
        "title": title_of(one["task"], one["level_name"]),
        "level": level_name_of(one["task"], one["level_name"]),
        "protocol": one["protocol"],
        "protocol_words": protocol.words if protocol else "",
        "columns": columns,
        "rows": [_row(cells, behind, shown) for cells, behind in zip(rows, table.behind, strict=True)],
        "footnotes": [*table.notes, *table.footnotes, *_overlaps(shown.loc[_behind(table)])],
    }


def _column(name: str, table: Table, i: int, shown: pd.DataFrame) -> Contents:
    if not _is_quality(name):
        return {"name": name, "kind": "cost" if name in COSTS else "word"}
    one: Any = shown.loc[next(row[i][0] for row in table.behind if len(row[i]))]
    level = one["level"] if isinstance(one["level"], str) else float(one["level"])
    words = {"dataset": one["dataset_label"], "level_label": one["level_label"], "level": level}
    return {"name": name, "kind": "quality", **words}


def _row(cells: list[Contents], behind: Sequence[pd.Index[int]], shown: pd.DataFrame) -> Contents:
    one: Any = shown.loc[behind[0][0]]
    weights = one["weights"].partition(":")[0]
    return {"restorer": one["label"], "weights": weights, "device": one["made_on"], "cells": cells}


def _cell(header: str, text: str, index: pd.Index[int], shown: pd.DataFrame, place: Mapping[int, int]) -> Contents:
    """A cell as printed; of figures also the numbers behind it, to sort and draw by, and where its records are."""
    if not len(index):
        return {"text": text}
    records = shown.loc[index]
    good = records[records["status"] == "ok"]
    cell: Contents = {"text": text}
    if header in COSTS:
        cell["value"] = _number(good[COSTS[header][0]].agg(COSTS[header][1]))
    elif _is_quality(header):
        costs = {name: _number(good[name].agg(how)) for name, how in COSTS.values()}
        cell |= {"psnr_db": _number(good["psnr_db"].mean()), "ssim": _number(good["ssim"].mean()), **costs}
        cell |= {"whole": len(good) > 0 and not PARTIAL.search(text), "command": command_for(records)}
        cell |= {"first": place[index[0]], "n": len(index)}
    return cell


def _overlaps(records: pd.DataFrame) -> list[str]:
    """`dncnn's weights were trained on bsd400: …`, for pictures of a table that weights have seen."""
    trained_on = {(one.restorer, one.label): one.trained_on for one in all_declarations()}
    used = records[["restorer", "weights", "dataset"]].drop_duplicates()
    lines = []
    for restorer, weights, dataset in used.itertuples(index=False):
        name = restorer.removesuffix("+").partition(":")[0]
        for training_set in trained_on.get((name, weights), ()):
            shared = overlap(dataset, training_set)
            lines += [f"{name}'s weights were trained on {training_set}; on {dataset}: {shared}"] if shared else []
    return list(dict.fromkeys(lines))


# --- records -----------------------------------------------------------------------------------------------


def _texts(shown: pd.DataFrame) -> Contents:
    """Each text column as its different texts and, record by record, the place of its own; none where all is one."""
    return {name: _coded([*shown[name]]) for name in WORDS}


def _coded(texts: Sequence[str]) -> Contents:
    places = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    return {"texts": [*places], "places": [places[text] for text in texts] if len(places) > 1 else []}


def _numbers(shown: pd.DataFrame) -> Contents:
    """Each column of numbers that a record has one in."""
    columns = {name: shown[name].astype(float) for name in NUMBERS}
    return {
        name: [_number(value, NUMBERS[name]) for value in column]
        for name, column in columns.items()
        if column.notna().any()
    }


def _number(value: float, digits: int = 6) -> float | int | str | None:
    """None for not a number, the text `inf` for an infinite one: JSON has neither."""
    if math.isnan(value):
        return None
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    rounded = round(float(value), digits)
    return int(rounded) if rounded == int(rounded) else rounded


# --- against the papers --------------------------------------------------------------------------------------


def _papers(counting: pd.DataFrame) -> list[Contents]:
    """Each paper of which a figure was measured."""
    loaded = [papers.load(name) for name in papers.names()]
    return [_paper(paper, held) for paper in loaded if (held := compare(paper, counting)).rows()[1]]


def _paper(paper: papers.Paper, held: Comparison) -> Contents:
    headers, rows = held.rows()
    entries = [verdict.entry for verdict in held.verdicts if verdict.verdict != NOT_MEASURED]
    return {
        "name": paper.name,
        "title": paper.title,
        "source": f"{paper.authors}, {paper.venue} {paper.year}",
        "counts": {**held.counts(), "explained": held.explained},
        "reasons": [f"{n} not measured: {reason}" for reason, n in held.reasons().items()],
        "headers": headers,
        "rows": rows,
        "facets": [*_facets(entries)],
    }


def _facets(entries: Iterable[Entry]) -> Iterable[Contents]:
    """What the filter goes by; "" where a figure is of none, as a network's size is of no data set."""
    for entry in entries:
        level = "" if entry.level is None else _level(entry.task, entry.level)
        yield {"task": entry.task, "dataset": entry.dataset, "level": level, "restorer": entry.restorer}
