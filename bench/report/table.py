"""Tables of records: a row per restorer, a column per data set and level, and what stands behind the figures.

One table per task and protocol, so that figures taken under different rules never share one; a row is of one device.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench import escape
from bench.data import datasets
from bench.errors import RequestError, unknown
from bench.records.current import current, devices, left_out, on_one_device
from bench.records.labels import column_labels, row_labels
from bench.task import Level, format_level, get_task

if TYPE_CHECKING:
    import pandas as pd

    from bench.judge.significance import Contest

__all__ = ["FORMATS", "Table", "check_format", "draw", "in_words", "render"]

FORMATS: dict[str, str] = {
    "text": "simple",
    "markdown": "github",
    "latex": "",
    "html": "html",
    "csv": "",
}
"""our name of a format, and tabulate's; "" for one that it does not know as we draw it"""

EQUAL = (
    "restorers that share a letter are not told apart"
    " (PSNR paired by image, Wilcoxon's signed-rank test at 5 %, Holm's correction)"
)

SYMBOL = {"sigma": "σ", "quality": "q", "scale": "×", "pattern": ""}


@dataclass(frozen=True)
class Table:
    """One table, ready to be drawn: rows of text, a title above, footnotes below.

    words   the columns that hold words, not figures: they begin at the left
    behind  of each row and column the records (their index in the frame) that the figure is of, in tables of records
    """

    title: str
    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    footnotes: Sequence[str] = ()
    words: Container[int] = (0,)
    behind: Sequence[Sequence[pd.Index[int]]] = ()


def in_words(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    """A table without a title, all of whose columns begin at the left."""
    return Table("", headers, [[str(cell) for cell in row] for row in rows], words=range(len(headers)))


def render(frame: pd.DataFrame, format: str = "text", *, significance: bool = False) -> str:
    """Records (columns of `bench.records.record.Record`) as text in the given format.

    significance  put letters behind the figures: restorers that share one are not told apart by a paired test

    Raises RequestError for an unknown format, or when there is nothing to show.
    """
    check_format(format)
    tables = list(make_tables(frame, significance=significance))
    if not tables:
        reasons = "; ".join(_skips(frame[frame["status"] == "skipped"]))
        raise RequestError(f"There are no records to make a table of{reasons and f' ({reasons})'}.")
    return "\n\n".join(draw(table, format) for table in tables)


def check_format(format: str) -> None:
    """Raise RequestError for a format that `render` does not know: before anything is measured for it."""
    if format not in FORMATS:
        raise RequestError(unknown("table format", format, FORMATS))


def make_tables(frame: pd.DataFrame, *, significance: bool = False) -> Iterable[Table]:
    """One table per task and protocol."""
    contests = _contests(frame) if significance else {}
    tried = frame[frame["status"] != "skipped"]
    measured = current(tried, by_device=True)
    contested = measured.index.isin(on_one_device(measured).index)
    measured = measured.assign(
        made_on=devices(measured),
        contested=contested,
        label=row_labels(measured),
        column=column_labels(measured),
    )
    older = left_out(tried)
    for (task, protocol), records in measured.groupby(["task", "protocol"], sort=False):
        skipped = frame[(frame["status"] == "skipped") & (frame["task"] == task)]
        left = older[(older["task"] == task) & (older["protocol"] == protocol)]
        yield _table(str(task), str(protocol), records, skipped, left, contests)


Contests = Mapping[tuple[str, str, str, Level], "Contest"]
"""by task, protocol, data set and level"""


def _contests(frame: pd.DataFrame) -> Contests:
    from bench.judge.significance import contests

    return {(c.task, c.protocol, c.dataset, c.level): c for c in contests(frame, letters_only=True)}


def _table(
    task: str,
    protocol: str,
    records: pd.DataFrame,
    skipped: pd.DataFrame,
    left: pd.DataFrame,
    contests: Contests,
) -> Table:
    columns = _columns(records)
    held = {column: contest for column in columns if (contest := contests.get((task, protocol, *column)))}
    letters = {column: contest.letters() for column, contest in held.items()}
    tells_device = set(records["made_on"]) != {"cpu"}
    rows, behind, footnotes = [], [], []
    row_of = [records["label"], _origin(records["weights"]), records["made_on"]]
    for row, these in records.groupby(row_of, sort=False):
        label, origin, device = map(str, row)
        named = f"{label} ({device})" if tells_device else label
        cells = []
        for column, whole in columns.items():
            cell = _cell(these, *column)
            of_column = letters.get(column, {}) if cell["contested"].any() else {}
            letter = of_column.get(label, "")
            cells.append(f"{_quality(cell, whole)} {letter}".rstrip())
            footnotes += _identical(f"{named} on {_heading(task, *column)}", cell)
        rows.append([label, device if tells_device else "–", *cells, *_figures(these), origin or "–"])
        of_cells = [_cell(these, *column).index for column in columns]
        behind.append([these.index, these.index, *of_cells, *[these.index] * len(FIGURES), these.index])
        restorer = str(these["restorer"].iloc[0])
        if restorer.endswith("+"):
            footnotes.append(f"{restorer} averages {restorer[:-1]} over 8 flips and rotations, at 8 times its cost")
        footnotes += _reasons(f"{named} failed on", these[these["status"] == "failed"])
        footnotes += _reasons(f"{named} on", these[(these["status"] == "ok") & (these["reason"].fillna("") != "")])
    footnotes += _mixtures(task, records, columns)
    footnotes += [f"{contest.name}: {contest.doubt}" for contest in held.values() if contest.doubt]
    if any(any(of_column.values()) for of_column in letters.values()):
        footnotes.append(EQUAL)
    footnotes += _older(left)
    footnotes += _skips(skipped)
    headers = ["restorer", "device", *(_heading(task, *column) for column in columns), *FIGURES, "weights"]
    kept = [i for i in range(len(headers)) if i == 0 or any(row[i] != "–" for row in rows)]
    return Table(
        title=f"{get_task(task).title}: PSNR in dB / SSIM ({protocol})",
        headers=[headers[i] for i in kept],
        rows=[[row[i] for i in kept] for row in rows],
        footnotes=list(dict.fromkeys(footnotes)),
        behind=[[row[i] for i in kept] for row in behind],
    )


def _columns(records: pd.DataFrame) -> dict[tuple[str, float | str], int]:
    """Data sets in the order of the records, the levels of each from small to large: how many records are a whole.

    That is every image of the set as often as any of them was degraded anew; of a folder, every image that any of the
    restorers has.
    """
    wholes: dict[tuple[str, float | str], int] = {}
    for column, of_set in records.groupby("column", sort=False):
        for level in sorted(set(of_set["level"])):
            cells = of_set[of_set["level"] == level]
            n_images = datasets.size(str(cells["dataset"].iloc[0])) or cells["image"].nunique()
            wholes[str(column), level] = n_images * cells["repeat"].nunique()
    return wholes


def _origin(weights: pd.Series[str]) -> pd.Series[str]:
    return weights.str.partition(":")[0]


def _heading(task: str, dataset: str, level: float | str) -> str:
    return f"{dataset} {SYMBOL[get_task(task).level.name]}{format_level(level)}"


def _cell(these: pd.DataFrame, dataset: str, level: float | str) -> pd.DataFrame:
    return these[(these["column"] == dataset) & (these["level"] == level)]


def _quality(cell: pd.DataFrame, whole: int) -> str:
    """`30.45 / 0.8618`, the means over images; of how many, where either is not of the whole of them."""
    good = cell[cell["status"] == "ok"]
    if cell.empty:
        return "–"
    if good.empty:
        return "failed"
    ssim = good["ssim"].mean()
    text = f"{good['psnr_db'].mean():.2f}" + ("" if math.isnan(ssim) else f" / {ssim:.4f}")
    n_ssim = good["ssim"].count()  # a picture smaller than SSIM's window has none
    parts = [f"{len(good)} of {whole}"] if len(good) != whole else []
    parts += [f"SSIM of {n_ssim}"] if 0 < n_ssim < len(good) else []
    return f"{text} ({', '.join(parts)})" if parts else text


def _identical(where: str, cell: pd.DataFrame) -> list[str]:
    """On how many pictures the PSNR is infinite, and what the mean of the others is."""
    psnr_db = cell[cell["status"] == "ok"]["psnr_db"]
    others = psnr_db[psnr_db != math.inf]
    n = len(psnr_db) - len(others)
    if not n:
        return []
    rest = f"; the mean of the others is {others.mean():.2f} dB" if len(others) else ""
    return [f"{where}: identical with the clean picture (PSNR inf) on {n} of {len(psnr_db)}{rest}"]


def _figures(these: pd.DataFrame) -> list[str]:
    good = these[these["status"] == "ok"]
    return [_shown(good[column], show) for column, show in FIGURES.values()]


def _shown(values: pd.Series[Any], show: Callable[[pd.Series[Any]], str]) -> str:
    known = values.dropna()
    return "–" if known.empty else show(known)


def _range(values: pd.Series[Any]) -> str:
    """A count in thousands; smallest to largest where settings differ."""
    ends = dict.fromkeys(_thousands(value) for value in (values.min(), values.max()))
    return " to ".join(ends) if values.max() else "–"


def _thousands(value: float) -> str:
    return f"{value / 1e6:.2f}M" if value >= 1e6 else f"{value / 1e3:.0f}k" if value >= 1e4 else f"{value:.0f}"


FIGURES: dict[str, tuple[str, Callable[[pd.Series[Any]], str]]] = {
    "params": ("params", _range),
    "MACs/pixel": ("macs_per_pixel", _range),
    "s/image": ("seconds", lambda values: f"{values.mean():.3g}"),
    "GPU s": ("device_seconds", lambda values: f"{values.mean():.3g}"),
    "peak MiB": ("peak_mib", lambda values: f"{values.max():.0f}"),
}


def _reasons(what: str, these: pd.DataFrame) -> list[str]:
    """`bm3d failed on set12/07.png, set12/08.png: reason`, one line for a reason."""
    lines = []
    for reason, records in these.groupby("reason", sort=False):
        images = list(dict.fromkeys(records["column"] + "/" + records["image"]))
        named = ", ".join(images[:3]) + (f" and {len(images) - 3} more" if len(images) > 3 else "")
        lines.append(f"{what} {named}: {reason}")
    return lines


def _mixtures(task: str, records: pd.DataFrame, columns: Iterable[tuple[str, float | str]]) -> list[str]:
    """`photos σ25 is of 3 gray and 2 colour images`, for each column that is of both."""
    lines = []
    for dataset, level in columns:
        of_column = _cell(records, dataset, level)
        n = of_column.groupby("channels")["image"].nunique()
        if len(n) > 1:
            lines.append(f"{_heading(task, dataset, level)} is of {n[1]} gray and {n[3]} colour images")
    return lines


def _older(left: pd.DataFrame) -> list[str]:
    """`68 records of groupsc on bsd68 of other code or weights than those last asked for, and not shown`"""
    return [
        f"{len(records)} record{'s' * (len(records) > 1)} of {restorer} on {dataset}: of other code or weights than"
        " those last asked for, and not shown"
        for (restorer, dataset), records in left.groupby(["restorer", "dataset"], sort=False)
    ]


def _skips(skipped: pd.DataFrame) -> list[str]:
    return [f"skipped: {reason}" for reason in dict.fromkeys(skipped["reason"])]


def draw(table: Table, format: str = "text") -> str:
    """A table in one of FORMATS. Its texts may be anyone's: they go through `bench.escape`."""
    if format == "csv":
        return _as_csv(table)
    escaped = ESCAPES[format]
    title = [_title(escaped(table.title), format)] if table.title else []
    notes = _notes([escaped(note) for note in table.footnotes], format)
    return "\n".join([*title, _drawn(table, format), *notes])


ESCAPES: Mapping[str, Callable[[object], str]] = {
    "text": escape.terminal,
    "markdown": escape.markdown,
    "latex": escape.latex,
    "html": escape.html,
}


def _drawn(table: Table, format: str) -> str:
    from tabulate import tabulate

    # tabulate pads what is to be seen and escapes it then, in HTML by itself
    escape_first = escape.markdown if format == "markdown" else escape.terminal
    headers, *rows = ([escape_first(cell) for cell in row] for row in (table.headers, *table.rows))
    aligned = ["left" if column in table.words else "right" for column in range(len(table.headers))]
    drawn = tabulate(rows, headers, tablefmt=_layout(format), disable_numparse=True, colalign=aligned)
    return str(drawn)


def _layout(format: str) -> Any:
    """What tabulate knows a format by."""
    if format != "latex":
        return FORMATS[format]
    from tabulate import Line, TableFormat

    return TableFormat(
        lineabove=_begin_tabular,
        linebelowheader=Line(r"\midrule", "", "", ""),
        linebetweenrows=None,
        linebelow=Line("\\bottomrule\n\\end{tabular}", "", "", ""),
        headerrow=_row_in_latex,
        datarow=_row_in_latex,
        padding=1,
        with_header_hide=None,
    )


def _begin_tabular(_: Sequence[int], aligned: Sequence[str]) -> str:
    columns = "".join("r" if side == "right" else "l" for side in aligned)
    return f"\\begin{{tabular}}{{{columns}}}\n\\toprule"


def _row_in_latex(padded: Sequence[str], _: Sequence[int], __: Sequence[str]) -> str:
    return f"{'&'.join(map(escape.latex, padded))}\\\\"


def _title(title: str, format: str) -> str:
    return {"markdown": f"**{title}**\n", "latex": f"% {title}", "html": f"<p>{title}</p>"}.get(format, f"{title}\n")


def _notes(lines: Sequence[str], format: str) -> list[str]:
    if format == "html":
        return [f"<p>{line}</p>" for line in lines]
    mark = {"latex": "% ", "markdown": "- "}.get(format, "  ")
    return ["", *(mark + line for line in lines)] if lines else []


def _as_csv(table: Table) -> str:
    import csv
    import io

    text = io.StringIO()
    shown = ([escape.csv(escape.terminal(cell)) for cell in row] for row in (table.headers, *table.rows))
    csv.writer(text, lineterminator="\n").writerows(shown)
    return text.getvalue().removesuffix("\n")
