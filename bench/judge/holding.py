"""Records held against the reference run: quality to a tolerance, pixels bit for bit, times as ratios."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.judge.reference import folder
from bench.level import format_level
from bench.records.current import IDENTITY, devices, fastest, of_each
from bench.records.files import machines

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["PSNR_DB", "SSIM", "ReferenceComparison", "compare_with_reference"]

PSNR_DB = {True: 0.005, False: 0.02}
"""How far a PSNR may be from the reference's, on the same platform (or a GPU shown the same pixels), on another."""
SSIM = 0.0005
SHORTEST = 0.02
"""Seconds below which a time says more of the machine than of the restorer."""
PLATFORM = ("cpu", "system", "python", "torch", "numpy")
"""What makes two environments one platform."""


@dataclass(frozen=True)
class ReferenceComparison:
    """What came of it.

    n_compared  cells that both have
    complaints  what is not as in the reference, one line for a restorer on a data set
    rows        restorer, setting, cells, mean difference of PSNR and SSIM, how many times as long as the reference
                it took, relative to the machine (1 is the typical restorer of this run)
    n_new       cells that the reference does not have
    n_across    of those compared, how many another device than the reference's gave: their times are not held
    """

    n_compared: int
    complaints: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    n_new: int
    n_across: int

    HEADERS = ("restorer", "weights", "setting", "cells", "PSNR", "SSIM", "time")

    @property
    def summary(self) -> str:
        new = f"; {self.n_new} more are not in it" if self.n_new else ""
        across = f"; {self.n_across} of another device are held against the CPU's" if self.n_across else ""
        nothing = "; nothing was compared, which counts as failure" if not self.n_compared else ""
        found = f"{len(self.complaints)} complaints" if self.complaints else "all as in it"
        return f"reference: {self.n_compared} cells compared, {found}{across}{new}{nothing}"


def compare_with_reference(
    records: pd.DataFrame | Iterable[pd.DataFrame], reference: pd.DataFrame, *, time_band: float | None = None
) -> ReferenceComparison:
    """Compare records, as from a store, with the reference's, cell by cell; of several times of a cell the least.

    records  all, or those of each task by themselves

    A cell is held against the reference's of the same device; without one against the CPU's, in its quality alone.

    time_band  also complain about restorers that take more than this many times as long as in the reference,
               relative to the median restorer of this run; None: times are only told
    """
    mine = of_each(records, lambda these: fastest(these[these["status"] != "skipped"]))
    both = _pairs(mine, reference)
    known = _known_platforms()
    complaints: list[str] = []
    rows: list[list[str]] = []
    groups = ["restorer", "weights", "task", "level", "dataset", "made_on", "made_on_ref"]
    factors: list[float] = []
    made_on: list[str] = []
    for key, cells in both.groupby(groups, sort=False):
        restorer, weights, task, level, dataset, here, there = map(str, key)
        devices_told = _told_of(here, there)
        name = f"{restorer}{f' ({weights})' if weights else ''}, {task} {level} on {dataset}{devices_told}"
        same_platform = {_platform(text) for text in cells["environment"].dropna().unique()} <= known
        complaints += [f"{name}: {text}" for text in _differences(cells, same_platform, across=here != there)]
        good = cells[cells["status"] == "ok"]
        psnr_db, ssim = (round(_change(good, metric).mean(), 4) + 0.0 for metric in ("psnr_db", "ssim"))  # no -0
        long = good[(good["seconds_ref"] >= SHORTEST) & (here == there)]
        made_on.append(here)
        factors.append(float((long["seconds"] / long["seconds_ref"]).median()))
        rows.append(
            [
                restorer,
                weights,
                f"{task} {level} {dataset}{devices_told}",
                str(len(cells)),
                f"{psnr_db:+.4f}",
                f"{ssim:+.4f}",
            ]
        )
    for row, factor in zip(rows, _relative(factors, made_on), strict=True):
        row.append("–" if factor != factor else f"{factor:.2f}")
        if time_band is not None and factor > time_band:
            complaints.append(
                f"{row[0]}, {row[2]}: {factor:.2f} times as slow as in the reference, beside the others"
            )
    n_across = int((both["made_on"] != both["made_on_ref"]).sum())
    return ReferenceComparison(len(both), tuple(complaints), tuple(map(tuple, rows)), len(mine) - len(both), n_across)


def _pairs(mine: pd.DataFrame, reference: pd.DataFrame) -> pd.DataFrame:
    """My cells, each with the good record of the reference that it is held against, in columns that end in `_ref`."""
    mine, theirs = (
        frame.assign(level=frame["level"].map(format_level), made_on=devices(frame)) for frame in (mine, reference)
    )
    pairs = mine.merge(theirs[theirs["status"] == "ok"], on=IDENTITY, suffixes=("", "_ref"))
    alike = pairs["made_on"] == pairs["made_on_ref"]
    pairs = pairs[alike | (pairs["made_on_ref"] == "cpu")].assign(_alike=alike)
    best_last = pairs.sort_values("_alike", kind="stable")
    return best_last.drop_duplicates([*IDENTITY, "made_on"], keep="last").sort_index()


def _told_of(here: str, there: str) -> str:
    """`, NVIDIA H200 against cpu`; of the CPU against itself nothing need be told."""
    if here != there:
        return f", {here} against {there}"
    return "" if here == "cpu" else f", {here}"


Platform = tuple[str | None, ...]


def _platform(environment: str) -> Platform:
    told = json.loads(environment)
    return tuple(told.get(key) for key in PLATFORM)


def _known_platforms() -> set[Platform]:
    """Those of the reference's machines."""
    return {_platform(environment) for environment in machines(folder())}


def _relative(factors: list[float], made_on: list[str]) -> list[float]:
    """The factors over their device's median: what a slower machine does to all is not a restorer's doing."""
    import pandas as pd

    known = pd.Series(factors, dtype=float)
    return list(known / known.groupby(made_on).transform("median"))


def _differences(cells: pd.DataFrame, same_platform: bool, *, across: bool) -> Iterator[str]:
    """across: whether these cells are another device's than those that they are held against"""
    failed = cells[cells["status"] != "ok"]
    if len(failed):
        first = failed.iloc[0]
        yield f"{len(failed)} of {len(cells)} images failed, {first['image']} among them: {first['reason']}"
    good = cells[cells["status"] == "ok"]
    told = (good["weights_sha256"] != "") & (good["weights_sha256_ref"] != "")  # not by stores of earlier layouts
    weights = good[told & (good["weights_sha256"] != good["weights_sha256_ref"])]
    if len(weights):
        row = weights.iloc[0]
        yield f"the weights' sha256 is {row['weights_sha256'][:8]}…, the reference's {row['weights_sha256_ref'][:8]}…"
    other = good[good["input_sha256"] != good["input_sha256_ref"]]
    # a restorer's name means float32 on every device: shown the same pixels, a GPU must answer as the CPU
    exact = same_platform or (across and other.empty)
    if same_platform and len(other):
        yield (
            f"the degraded pixels are others on {len(other)} of {len(good)} images, {other.iloc[0]['image']} among"
            " them: the noise, its seed, the degradation or the data changed"
        )
    for metric, limit, unit in (("psnr_db", PSNR_DB[exact], " dB"), ("ssim", SSIM, "")):
        yield from _beyond(good, metric, limit, unit)
    for _, row in good[good["params"].fillna(-1) != good["params_ref"].fillna(-1)].head(1).iterrows():
        yield f"{row['params']:.0f} parameters, the reference has {row['params_ref']:.0f}"


def _change(good: pd.DataFrame, metric: str) -> pd.Series[float]:
    """How far each is from the reference's: 0 for two infinite ones or for none, infinite where one lacks it."""
    mine, theirs = good[metric], good[f"{metric}_ref"]
    same = (mine == theirs) | (mine.isna() & theirs.isna())
    return (mine - theirs).mask(same, 0.0).fillna(float("inf"))


def _beyond(good: pd.DataFrame, metric: str, limit: float, unit: str) -> Iterator[str]:
    change = _change(good, metric)
    beyond = change.abs() > limit
    if beyond.any():
        worst = int(change.abs().argmax())
        row = good.iloc[worst]
        here, there = _figure(row[metric]), _figure(row[f"{metric}_ref"])
        yield (
            f"{metric} differs on {beyond.sum()} of {len(good)} images by more than {limit:g}{unit}, most on"
            f" {row['image']}: {here}, reference {there} ({change.iloc[worst]:+.4f})"
        )


def _figure(value: float | None) -> str:
    return "none" if value is None or value != value else f"{value:.4f}"
