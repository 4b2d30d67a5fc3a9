"""What an ablation says: the PSNR of each variant, how far it lies from the first, and whether the paper agrees.

The variants with one seed have the same crops and noise, so seeds are blocks: a variant is held against the first
seed by seed, and the error is of what neither variant nor seed explains (a two-way analysis of variance without
replication). The intervals hold for all differences together with 95 % (Bonferroni's correction of Student's
t). They are over seeds: what other test pictures would say, they do not tell.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bench.errors import TrainingError
from bench.training.ablation import ALIKE, Ablation, Variant
from bench.training.ablation_runs import Trained, short

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["HEADERS", "Row", "cells", "notes", "rows_of", "title", "verdict"]

ALPHA = 0.05
AGREED, NOT, CANNOT_TELL = "agreed", "not", "cannot tell"


@dataclass(frozen=True)
class Row:
    """What was found of one variant. Figures that there are not are NaN.

    psnr_db  of each seed, the mean over the pictures of the test set
    params, macs_per_pixel  of the network that is measured
    training_macs  of the forward passes of one training
    difference_db, half_db  to the first variant, and half its interval
    """

    variant: Variant
    psnr_db: tuple[float, ...]
    params: float
    macs_per_pixel: float
    steps: int
    training_macs: int
    difference_db: float
    half_db: float
    verdict: str

    @property
    def is_whole(self) -> bool:
        """Whether every seed has a figure."""
        return not any(map(isnan, self.psnr_db))


def rows_of(ablation: Ablation, trained: Sequence[Trained], records: pd.DataFrame) -> list[Row]:
    """A row a variant, in their order.

    records  of the test set, which know weights by their sha256

    Raises TrainingError if trainings with one training set by name had other pictures.
    """
    _check_pictures(trained)
    of_run = {(one.variant, one.seed): one for one in trained}
    of_weights = dict(iter(records.groupby("weights_sha256"))) if len(records) else {}
    psnr_db = np.full((len(ablation.variants), len(ablation.seeds)), np.nan)
    sizes = np.full((len(ablation.variants), 2), np.nan)
    for i, variant in enumerate(ablation.variants):
        for j, seed in enumerate(ablation.seeds):
            run = of_run.get((variant.name, seed))
            found = of_weights.get(run.weights_sha256) if run else None
            if found is not None and (found["status"] == "ok").all():
                psnr_db[i, j] = found["psnr_db"].mean()
                sizes[i] = float(found["params"].iloc[0]), float(found["macs_per_pixel"].mean())
    differences, halves = _differences(psnr_db)
    differences[0] = halves[0] = np.nan  # of the first to itself
    rows = []
    for i, variant in enumerate(ablation.variants):
        one = next((run for run in trained if run.variant == variant.name), None)
        steps, macs = (one.steps, one.steps * one.macs_per_step) if one else (0, 0)
        params, macs_per_pixel = sizes[i]
        rows.append(
            Row(
                variant=variant,
                psnr_db=tuple(psnr_db[i]),
                params=params,
                macs_per_pixel=macs_per_pixel,
                steps=steps,
                training_macs=macs,
                difference_db=differences[i],
                half_db=halves[i],
                verdict=verdict(variant.sign, differences[i], halves[i]),
            )
        )
    return rows


def _check_pictures(trained: Sequence[Trained]) -> None:
    kinds = {(one.card["recipe"]["data"], one.card["data_sha256"]) for one in trained}
    twice = [data for data, n in Counter(data for data, _ in kinds).items() if n > 1]
    if twice:
        raise TrainingError(f"The pictures of {twice[0]} changed between two trainings: name another --folder.")


def _differences(psnr_db: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Each variant's mean difference to the first, and half its interval.

    psnr_db  (variants, seeds), NaN where there is none

    The error is estimated from the variants that have all seeds. It takes two of those, and two seeds.
    """
    from scipy.stats import t

    paired = psnr_db - psnr_db[0]
    n = np.isfinite(paired).sum(1)
    with np.errstate(invalid="ignore"):
        differences = np.where(n > 0, np.nansum(paired, 1) / np.maximum(n, 1), np.nan)
    whole = psnr_db[np.isfinite(psnr_db).all(1)]
    freedom = (whole.shape[0] - 1) * (whole.shape[1] - 1)
    if freedom < 1:
        return differences, np.full(len(n), np.nan)
    left = whole - whole.mean(1, keepdims=True) - whole.mean(0, keepdims=True) + whole.mean()
    error = np.sqrt((left**2).sum() / freedom)
    factor = float(t.ppf(1 - ALPHA / 2 / (len(psnr_db) - 1), freedom))
    return differences, np.where(n > 0, factor * error * np.sqrt(2 / np.maximum(n, 1)), np.nan)


def verdict(sign: int | None, difference_db: float, half_db: float) -> str:
    """Whether a difference has the sign that a paper says; "" if it says none.

    sign 0: whether it stays within ALIKE dB. Where the interval leaves it open, nobody can tell.
    """
    if sign is None:
        return ""
    low, high = difference_db - half_db, difference_db + half_db
    if not np.isfinite(half_db):
        return CANNOT_TELL
    if sign == 0:
        apart = low > ALIKE or high < -ALIKE
        return NOT if apart else AGREED if max(-low, high) < ALIKE else CANNOT_TELL
    if low <= 0 <= high:
        return CANNOT_TELL
    return AGREED if sign * difference_db > 0 else NOT


# --- in words --------------------------------------------------------------------------------------------

HEADERS = ("variant", "PSNR", "params", "MACs/pixel", "steps", "MACs in all", "difference", "paper's", "")


def cells(row: Row, n_seeds: int) -> list[str]:
    """A row as text, a cell for each of HEADERS."""
    return [
        row.variant.name,
        _mean(row.psnr_db, n_seeds),
        "–" if isnan(row.params) else f"{row.params:,.0f}",
        "–" if isnan(row.macs_per_pixel) else short(row.macs_per_pixel),
        f"{row.steps:,}" if row.steps else "–",
        short(row.training_macs) if row.training_macs else "–",
        _difference(row),
        _of_paper(row.variant.paper),
        row.verdict,
    ]


def _mean(psnr_db: Sequence[float], n_seeds: int) -> str:
    """`28.612 ± 0.031`, the mean and the standard deviation over seeds; `28.612 (1 of 2)`"""
    there = np.array([one for one in psnr_db if not isnan(one)])
    if not len(there):
        return "–"
    spread = f" ± {there.std(ddof=1):.3f}" if len(there) > 1 else ""
    return f"{there.mean():.3f}{spread}" + (f" ({len(there)} of {n_seeds})" if len(there) < n_seeds else "")


def _difference(row: Row) -> str:
    if isnan(row.difference_db):
        return "–"
    half = "" if isnan(row.half_db) else f" ± {row.half_db:.3f}"
    return f"{row.difference_db:+.3f}{half}"


def _of_paper(paper: float | str | None) -> str:
    if paper is None:
        return ""
    return paper if isinstance(paper, str) else f"{paper:+.2f}"


def notes(ablation: Ablation, rows: Sequence[Row], without: Mapping[str, str]) -> Iterator[str]:
    """What a reader is to know beside the table.

    without  the trainings that gave nothing, and why
    """
    told = [row.verdict for row in rows if row.verdict]
    where = f" ({ablation.source})" if ablation.source else ""
    yield f"The paper{where}: {ablation.claim}"
    if told:
        counts = [f"{told.count(word)} {word}" for word in (AGREED, NOT, CANNOT_TELL) if word in told]
        yield f"Here: {', '.join(counts)}, of {len(told)}"
    budget = f"{ablation.steps:,} steps" if ablation.steps else f"{short(ablation.macs or 0)} MACs of forward passes"
    yield f"{ablation.restorer}, {len(ablation.seeds)} seeds, {budget} each; the weights of the last step"
    yield "PSNR in dB: the mean and the standard deviation over seeds"
    yield "difference: to the first row, seed by seed; its intervals hold together with 95 % over seeds, not pictures"
    yield from (f"{run}: {why}" for run, why in without.items())


def title(ablation: Ablation) -> str:
    """`set12 (first 4), denoise sigma 25 gray`"""
    first = f" (first {ablation.limit})" if ablation.limit else ""
    return f"{ablation.test}{first}, {ablation.setting}"
