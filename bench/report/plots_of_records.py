"""Figures of records: quality against cost, gain by level, differences picture by picture.

Which records count, and what they are called, is as for tables. A restorer that lacks pictures, or failed on some, is
left out, and named: its mean would be of other pictures than the others'.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from bench.data import datasets
from bench.errors import RequestError, unknown
from bench.judge.significance import contests
from bench.level import format_level
from bench.records.current import current, devices, on_one_device
from bench.records.labels import column_labels, row_labels
from bench.report.plots import COLOURS, COLUMN, SMALL, new_figure, numbers, place_labels, styles
from bench.tasks import level_name_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["COSTS", "images", "levels", "pareto"]

COSTS = {
    "seconds": ("seconds", "seconds per image"),
    "device-seconds": ("device_seconds", "seconds on the GPU per image"),
    "params": ("params", "parameters"),
    "macs": ("macs_per_pixel", "multiply-accumulates per pixel"),
    "memory": ("peak_mib", "peak memory in MiB"),
}
"""what quality may be drawn against: the record's column, and the words at the axis"""

Drawn = tuple["Figure", list[str]]
"""a figure, and what a reader should know beside it"""

MOST_NAMED = 30
"""pictures whose names have room beside the bars"""


# --- quality against cost ---------------------------------------------------------------------------------


def pareto(
    frame: pd.DataFrame, against: str = "seconds", *, methods: Sequence[str] = (), width: float = COLUMN
) -> Drawn:
    """Mean PSNR against a cost, on a logarithmic axis, with the front of those that none beats in both.

    frame    records of one task, protocol, data set and level
    against  one of COSTS; methods: which restorers, by their labels, none: all

    Raises RequestError for several data sets or levels, naming them, and where there is nothing to draw.
    """
    if against not in COSTS:
        raise RequestError(unknown("cost", against, COSTS))
    column, words = COSTS[against]
    records, told = _whole(_of_one(_measured(frame, methods), ["task", "protocol", "column", "level"]))
    means = records.groupby(["label", "made_on"], sort=False)[["psnr_db", column]].mean()
    means = means.rename(columns={column: "cost"}).reset_index()
    without = means[means["cost"].isna()]
    if len(without):
        told.append(f"no {words} in the records of {', '.join(without['label'])}: not drawn")
    means = means.dropna().sort_values("cost", kind="stable")
    far = _far_below(means["psnr_db"])
    told += [f"{means['label'][i]}: {means['psnr_db'][i]:.2f} dB, far below the others, not drawn" for i in far]
    means = means.drop(far)
    if means.empty:
        raise RequestError(f"There is nothing to draw: {'; '.join(told) or 'no records'}.")
    if against != "params":
        told.append(f"measured on {', '.join(dict.fromkeys(means['made_on']))}")
    threads = sorted(set(records["threads"][records["label"].isin(means["label"])].dropna()))
    if column == "seconds" and len(threads) > 1:
        told.append(f"times are with {' and '.join(f'{n:.0f}' for n in threads)} threads")
    figure = new_figure(width, 0.75 * width)
    axes = figure.add_subplot()
    corners = _draw_costs(axes, means)
    axes.set_xlabel(words)
    axes.set_ylabel("PSNR in dB")
    several = means["made_on"].nunique() > 1
    labels = means["label"] + (", " + means["made_on"] if several else "")
    place_labels(axes, [*zip(means["cost"], means["psnr_db"], labels, strict=True)], corners)
    return figure, told


def _draw_costs(axes: Axes, means: pd.DataFrame) -> list[tuple[float, float]]:
    """The points, and a front for each device: steps up from the cheapest to whatever is better than all before.

    Answer  the corners of the last front
    """
    cost, psnr = means["cost"], means["psnr_db"]
    if cost.min() > 0:
        axes.set_xscale("log")
    else:  # a classical method has no parameters: 0 has a place of its own at the left
        axes.set_xscale("symlog", linthresh=10 ** math.floor(math.log10(cost[cost > 0].min())), linscale=0.5)
    numbers(axes.xaxis)
    for _, of_device in means.groupby("made_on", sort=False):
        before = of_device["psnr_db"].cummax().shift(fill_value=-math.inf)
        front = of_device[of_device["psnr_db"] > before]
        corners = _steps([*zip(front["cost"], front["psnr_db"], strict=True)])
        axes.plot(*zip(*corners, strict=True), color="#999999", lw=0.8, zorder=1)
    style = styles(sorted(set(means["label"])))
    for x, y, label in zip(cost, psnr, means["label"], strict=True):
        axes.plot(x, y, style[label].marker, color=style[label].colour, zorder=2)
    axes.margins(0.12, 0.12)
    return corners


def _steps(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The corners of a line that goes from point to point, to the right and then up."""
    between = [(there[0], here[1]) for here, there in pairwise(points)]
    turns = [corner for pair in zip(between, points[1:], strict=True) for corner in pair]
    return [points[0], *turns]


def _far_below(psnr: pd.Series) -> list[Any]:
    """The index of the worst, if it lies further below the next than the others lie apart: mostly the observation."""
    rising = psnr.sort_values()
    is_far = len(rising) > 2 and rising.iloc[1] - rising.iloc[0] > rising.iloc[-1] - rising.iloc[1]
    return [rising.index[0]] if is_far else []


# --- gain by level ------------------------------------------------------------------------------------------


def levels(frame: pd.DataFrame, over: str = "bm3d", *, methods: Sequence[str] = (), width: float = COLUMN) -> Drawn:
    """Gain of mean PSNR over one restorer, against the level: Fig. 8 of the DnCNN paper.

    frame  records of one task, protocol and data set
    over   the restorer that the gain is over, by its label
    """
    methods = [*dict.fromkeys([over, *methods])] if methods else ()
    records = on_one_device(_of_one(_measured(frame, methods), ["task", "protocol", "column"]))
    task = str(records["task"].iloc[0])
    kind = level_name_of(task, str(records["level_name"].iloc[0]))
    if kind == "pattern":
        raise RequestError("Bayer patterns are no levels: there is no gain by level of demosaick.")
    if any(isinstance(level, str) for level in records["level"]):
        raise RequestError(f"The levels of {task}, {kind}, are words or several numbers: they have no axis.")
    if over not in set(records["label"]):
        raise RequestError(unknown("restorer in the records", over, sorted(set(records["label"]))))
    kept, told = _whole(records)
    means = kept.pivot_table(index="level", columns="label", values="psnr_db", sort=False).sort_index()
    if over not in means:
        raise RequestError(f"There is nothing to draw: {'; '.join(told)}.")
    gains = means.sub(means[over], axis=0).drop(columns=over)
    for label in gains.columns[gains.isna().any()]:
        lacks = ", ".join(map(_shown, gains.index[gains[label].isna()]))
        told.append(f"{label}: not measured at {lacks}, not drawn")
    gains = gains.dropna(axis=1)
    far = _far_below(gains.max())
    told += [f"{label}: far below the others, not drawn" for label in far]
    gains = gains.drop(columns=far)
    if gains.empty:
        raise RequestError(f"There is nothing to draw: {'; '.join(told) or f'no other restorer than {over}'}.")
    figure = new_figure(width, 0.85 * width)
    axes = figure.add_subplot()
    names = sorted(map(str, gains.columns))
    at = [float(level) for level in gains.index]
    for label, (colour, marker, dashes) in styles(names).items():
        axes.plot(at, gains[label], dashes, marker=marker, color=colour)
    axes.axhline(0, color="black", lw=0.8, zorder=1)
    axes.set_xticks(at, [*map(format_level, at)])
    words = {"sigma": "noise level σ", "quality": "JPEG quality", "scale": "scale factor"}
    axes.set_xlabel(words.get(kind, kind))
    axes.set_ylabel(f"PSNR gain over {over} in dB")
    _label_ends(axes, {**{name: float(gains[name].iloc[-1]) for name in names}, over: 0.0}, at[-1])
    return figure, told


def _label_ends(axes: Axes, ends: dict[str, float], x: float) -> None:
    """The names of lines that end at the right, at x, moved up or down where two would meet."""
    axes.margins(x=0.04)
    figure: Any = axes.figure
    figure.draw_without_rendering()
    low, high = axes.get_ylim()
    step = (high - low) * 1.15 * SMALL / 72 * figure.dpi / axes.get_window_extent().height
    names = sorted(ends, key=lambda name: ends[name])
    for name, y in zip(names, _spread([ends[name] for name in names], step), strict=True):
        axes.annotate(
            name,
            (x, ends[name]),
            (1.06, (y - low) / (high - low)),
            textcoords="axes fraction",
            fontsize=SMALL,
            va="center",
            arrowprops={"arrowstyle": "-", "lw": 0.4, "color": "#666666", "shrinkA": 0, "shrinkB": 3},
        )


def _spread(places: Sequence[float], step: float) -> list[float]:
    """Places, in rising order, moved as little as keeps each a step from the next: groups that touch are centred."""
    groups = [[place] for place in places]
    i = 0
    while i + 1 < len(groups):
        here, there = groups[i], groups[i + 1]
        if _begin(there, step) - (_begin(here, step) + step * (len(here) - 1)) < step:
            groups[i : i + 2] = [here + there]
            i = max(0, i - 1)
        else:
            i += 1
    return [_begin(group, step) + step * k for group in groups for k in range(len(group))]


def _begin(group: Sequence[float], step: float) -> float:
    return sum(group) / len(group) - step * (len(group) - 1) / 2


# --- picture by picture -------------------------------------------------------------------------------------


def images(frame: pd.DataFrame, *, methods: Sequence[str], width: float = COLUMN) -> Drawn:
    """By how much one restorer lies before another on each picture; the mean and its 95 % interval as a band.

    frame    records of one task, protocol, data set and level; repeats of a picture count as one, by their mean
    methods  the two, by their labels
    """
    if len(methods) != 2:
        raise RequestError(f"--methods {','.join(methods)}: a difference is of two restorers.")
    a, b = methods
    records = _of_one(_measured(frame, [a, b]), ["task", "protocol", "column", "level"])
    good = on_one_device(records)
    psnr = good[good["status"] == "ok"].pivot_table(index="image", columns="label", values="psnr_db")
    if not {a, b} <= {*psnr}:
        raise RequestError(f"There is nothing to draw: {a} and {b} have no picture in common.")
    difference = (psnr[a] - psnr[b]).replace([float("inf"), -float("inf")], float("nan")).dropna().sort_values()
    if difference.empty:
        raise RequestError(f"There is nothing to draw: {a} and {b} have no picture in common.")
    told = [f"{len(psnr) - len(difference)} of {len(psnr)} pictures: one of the two has no finite PSNR, not drawn"]
    told = told if len(difference) < len(psnr) else []
    [pair] = [pair for contest in contests(records) for pair in contest.pairs if {pair.a, pair.b} == {a, b}]
    low, high = sorted((pair.low, pair.high) if pair.a == a else (-pair.low, -pair.high))
    draw = _named_bars if len(difference) <= MOST_NAMED else _sorted_bars
    figure = draw(difference, f"PSNR of {a} less {b} in dB", (low, high), width)
    interval = "" if math.isnan(low) else f", 95 % interval [{low:+.3f}, {high:+.3f}]"
    told.append(f"mean difference {difference.mean():+.3f} dB{interval}, {pair.verdict}")
    return figure, told


def _named_bars(difference: pd.Series, words: str, interval: tuple[float, float], width: float) -> Figure:
    """A bar for each picture, with its name at the left."""
    figure = new_figure(width, 0.8 + 0.14 * len(difference))
    axes = figure.add_subplot()
    places = range(len(difference))
    axes.barh(places, difference, 0.7, color=_by_sign(difference))
    axes.set_yticks(places, [*map(str, difference.index)])
    axes.set_ylim(-0.6, len(difference) - 0.4)
    axes.grid(axis="y", visible=False)
    axes.axvline(0, color="black", lw=0.8)
    axes.axvline(difference.mean(), color="black", ls="--")
    if not math.isnan(interval[0]):
        axes.axvspan(*interval, color="black", alpha=0.15, lw=0, zorder=0)
    axes.text(difference.mean(), 1.01, "mean", fontsize=SMALL, ha="center", transform=axes.get_xaxis_transform())
    axes.set_xlabel(words)
    return figure


def _sorted_bars(difference: pd.Series, words: str, interval: tuple[float, float], width: float) -> Figure:
    """Upright bars, too many to be named."""
    figure = new_figure(width, 0.7 * width)
    axes = figure.add_subplot()
    axes.bar(range(len(difference)), difference, 1.0, color=_by_sign(difference))
    axes.set_xlim(-0.5, len(difference) - 0.5)
    axes.set_xticks([])
    axes.grid(axis="x", visible=False)
    axes.axhline(0, color="black", lw=0.8)
    axes.axhline(difference.mean(), color="black", ls="--")
    if not math.isnan(interval[0]):
        axes.axhspan(*interval, color="black", alpha=0.15, lw=0, zorder=0)
    axes.text(1.01, difference.mean(), "mean", fontsize=SMALL, va="center", transform=axes.get_yaxis_transform())
    axes.set_xlabel(f"{len(difference)} pictures, sorted")
    axes.set_ylabel(words)
    return figure


def _by_sign(difference: pd.Series) -> list[str]:
    return [COLOURS[0] if value > 0 else COLOURS[1] for value in difference]


# --- which records ------------------------------------------------------------------------------------------


def _measured(frame: pd.DataFrame, methods: Sequence[str]) -> pd.DataFrame:
    """The records that count, with the labels that tables give them; of these restorers, if any are named."""
    tried = current(frame[frame["status"] != "skipped"], by_device=True)
    told = tried.assign(made_on=devices(tried), label=row_labels(tried), column=column_labels(tried))
    known = sorted(set(told["label"]))
    for name in methods:
        if name not in known:
            raise RequestError(unknown("restorer in the records", name, known))
    return told[told["label"].isin([*methods])] if methods else told


def _of_one(records: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """The records, if all are of one task, protocol, ...; else RequestError, with what there is to select from."""
    if records.empty:
        raise RequestError("There are no records to draw.")
    there = records[[*columns]].drop_duplicates()
    if len(there) == 1:
        return records
    names = {"column": "dataset"}
    differ = [column for column in columns if there[column].nunique() > 1]
    first = records[records[differ[0]] == records[differ[0]].iloc[0]].iloc[0]
    example = " and ".join(f"{names.get(c, c)} == {_literal(first[c])}" for c in differ)
    found = "; ".join(f"{names.get(c, c)} {', '.join(map(_shown, _unique(there[c])))}" for c in differ)
    raise RequestError(f'A figure is of one of each: {found}. Choose, e.g. --select "{example}".')


def _unique(values: pd.Series) -> list[object]:
    return [*dict.fromkeys(values)]


def _shown(value: object) -> str:
    return format_level(value) if isinstance(value, float) else str(value)


def _literal(value: object) -> str:
    return format_level(value) if isinstance(value, float) else repr(value)


def _whole(records: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """The good records of those restorers that have one for each picture, and who is left out, and why."""
    kept, told = [], []
    n_of: dict[Any, int] = {}
    for level, of_level in records.groupby("level", sort=False):
        n_images = datasets.size(str(of_level["dataset"].iloc[0])) or of_level["image"].nunique()
        n_of[level] = n_images * of_level["repeat"].nunique()
    for _, these in records.groupby(["label", "made_on", "level"], sort=False):
        label, level = these["label"].iloc[0], these["level"].iloc[0]
        good = these[these["status"] == "ok"].dropna(subset=["psnr_db"])
        if len(good) == n_of[level]:
            kept.append(good.index)
        else:
            told.append(f"{label}: {len(good)} of {n_of[level]} pictures at {_shown(level)}, not drawn")
    index = [i for part in kept for i in part]
    return records.loc[index], told
