"""Which of several restorers is really better: paired over images, since all of them saw the same degraded pixels.

For each pair the mean difference of PSNR with its bootstrap confidence interval (bias-corrected and accelerated:
Efron, JASA 82, 1987), and Wilcoxon's signed-rank test (Biometrics Bulletin 1, 1945) with Holm's correction (Scand. J.
Statistics 6, 1979) for the number of pairs. Pairs that the test does not tell apart make the groups that a table may
call equal.

An answer that is identical with the clean picture has an infinite PSNR. Where one of two has it, their difference is
the largest that there is: the test, which goes by ranks, takes it so, and the mean of the rest is told. Where both
have it, they do not differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from string import ascii_lowercase
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bench.level import Level, format_level
from bench.records.current import current, of_each, on_one_device
from bench.records.labels import column_labels, row_labels

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ALPHA", "Contest", "Pair", "contests", "contests_of", "holm", "letters"]

ALPHA = 0.05
"""of the tests, and one less the confidence of the intervals"""
N_RESAMPLES = 10_000
NAN = float("nan")
FEWEST = 6  # images: with five, the signed-rank test cannot go below p = 0.06


@dataclass(frozen=True)
class Pair:
    """How far restorer `a` lies before `b`, in dB of PSNR over the images that both have.

    difference_db  the mean, of the images where it is finite; NaN where there is none
    low, high      confidence interval of the mean difference; NaN with fewer than two images
    p              of the signed-rank test, corrected for all pairs of the contest; NaN with fewer than six images
    n_infinite     images on which one of the two answers, and not the other, is identical with the clean picture
    better         which of the two is ahead, by the mean or, where a difference is infinite, by the ranks
    """

    a: str
    b: str
    n_images: int
    difference_db: float
    low: float
    high: float
    p: float
    n_infinite: int
    better: str

    @property
    def different(self) -> bool:
        return self.p < ALPHA

    @property
    def verdict(self) -> str:
        if np.isnan(self.p):
            return f"{self.n_images} images tell nothing"
        if not self.different:
            return "not told apart"
        return f"{self.better} is better"


@dataclass(frozen=True)
class Contest:
    """All restorers that were measured on one data set at one level, the best first.

    psnr_db  label -> mean over its images; a label is the restorer's name, with more where several have it
    dataset  its name, likewise
    pairs    each restorer with each that stands below it
    """

    task: str
    protocol: str
    dataset: str
    level: Level
    psnr_db: Mapping[str, float]
    pairs: tuple[Pair, ...]

    @property
    def name(self) -> str:
        """`denoise 25 on set12 (standard-v1)`"""
        return f"{self.task} {format_level(self.level)} on {self.dataset} ({self.protocol})"

    @property
    def doubt(self) -> str:
        """Why no two of these restorers could be told apart, whatever they did; empty if they could.

        n differences of one sign have p = 2 / 2^n, and Holm's correction multiplies the smallest p by the number of
        pairs.
        """
        n_images, n_pairs = max((pair.n_images for pair in self.pairs), default=0), len(self.pairs)
        least = _least_p(n_images, n_pairs)
        if least < ALPHA:
            return ""
        of = "" if n_pairs == 1 else f" after Holm's correction for {n_pairs} pairs: select fewer"
        return (
            f"{n_images} image{'s' * (n_images > 1)} cannot tell {len(self.psnr_db)} restorers apart, for one that is"
            f" better on all of them has p = {least:.2g}{of}"
        )

    def letters(self) -> dict[str, str]:
        """Label -> letters; restorers that share one may be called equal. None where too few images tell nothing."""
        if self.doubt or any(np.isnan(pair.p) for pair in self.pairs):
            return dict.fromkeys(self.psnr_db, "")
        return letters(list(self.psnr_db), [(p.a, p.b) for p in self.pairs if not p.different])

    def rows(self) -> tuple[list[str], list[list[str]]]:
        """Headers, and one line a pair."""
        headers = ["restorer", "against", "images", "difference", "95 % interval", "p (Holm)", "verdict"]
        return headers, [_row(pair) for pair in self.pairs]


def _least_p(n_images: int, n_pairs: int) -> float:
    return min(1.0, n_pairs * 2.0 ** (1 - n_images))


def _row(pair: Pair) -> list[str]:
    interval = f"[{pair.low:+.3f}, {pair.high:+.3f}]"
    figures = [str(pair.n_images), f"{pair.difference_db:+.3f} dB", interval, f"{pair.p:.2g}"]
    words = pair.verdict
    if pair.n_infinite:
        words += f" (one of the two is identical with the clean picture on {pair.n_infinite}, left out of the mean)"
    return [pair.a, pair.b, *("–" if "nan" in text else text for text in figures), words]


def contests(frames: pd.DataFrame | Iterable[pd.DataFrame], *, letters_only: bool = False) -> Iterator[Contest]:
    """One contest for each task, protocol, data set and level where at least two restorers were measured.

    frames        records with the columns of `bench.records.record.Record`, all or those of each task by themselves;
                  repeats count as one image, by their mean
    letters_only  leave out, as NaN, what letters do not need and most of the time goes into: the intervals, and the
                  tests of a contest in which no two could be told apart
    """
    measured = of_each(
        frames, lambda these: on_one_device(current(these[these["status"] != "skipped"], by_device=True))
    )
    named = measured.assign(label=row_labels(measured), column=column_labels(measured))
    yield from contests_of(named, letters_only=letters_only)


def contests_of(measured: pd.DataFrame, *, letters_only: bool = False) -> Iterator[Contest]:
    """The contests of records that count, one a cell, with the `label` of who made each and the `column` of its data
    set."""
    good = measured[measured["status"] == "ok"].dropna(subset=["psnr_db"])
    for _, records in good.groupby(["task", "protocol", "column", "level"], sort=False):
        psnr = records.pivot_table(index="image", columns="label", values="psnr_db")
        if psnr.shape[1] > 1:
            best_first = psnr[psnr.mean().sort_values(ascending=False, kind="stable").index]
            one = records.iloc[0]
            yield Contest(
                one["task"],
                one["protocol"],
                one["column"],
                one["level"],
                dict(best_first.mean()),
                tuple(_pairs(best_first, letters_only)),
            )


def _pairs(psnr: pd.DataFrame, letters_only: bool) -> list[Pair]:
    differences = []
    for a, b in combinations(psnr.columns, 2):
        x, y = psnr[[a, b]].dropna().to_numpy().T
        d = np.subtract(x, y, out=np.zeros(len(x)), where=x != y)  # inf less inf is 0: both are identical
        if len(d):
            differences.append((a, b, d))
    n_images = max((len(d) for *_, d in differences), default=0)
    untold = letters_only and _least_p(n_images, len(differences)) >= ALPHA
    corrected = holm([NAN if untold else _wilcoxon(d) for *_, d in differences])
    return [
        _pair(a, b, d, p, (NAN, NAN) if letters_only else _interval(d[np.isfinite(d)]))
        for (a, b, d), p in zip(differences, corrected, strict=True)
    ]


def _pair(a: str, b: str, d: NDArray[np.float64], p: float, interval: tuple[float, float]) -> Pair:
    finite = d[np.isfinite(d)]
    mean = float(finite.mean()) if len(finite) else NAN
    lead = mean if len(finite) == len(d) else _sum_of_ranks(d)
    return Pair(a, b, len(d), mean, *interval, p, len(d) - len(finite), a if lead > 0 else b)


def _sum_of_ranks(d: NDArray[np.float64]) -> float:
    """The signed ranks' sum, which the test is of."""
    from scipy.stats import rankdata

    return float((np.sign(d) * rankdata(np.abs(d))).sum())


def _wilcoxon(d: NDArray[np.float64]) -> float:
    """p that differences as large come from restorers that are equally good; those of 0 are left out."""
    from scipy.stats import wilcoxon

    if len(d) < FEWEST:
        return NAN
    return float(wilcoxon(d).pvalue) if d.any() else 1.0


def _interval(d: NDArray[np.float64]) -> tuple[float, float]:
    from scipy.stats import bootstrap

    if len(d) < 2:
        return NAN, NAN
    if np.ptp(d) == 0:
        return float(d[0]), float(d[0])
    generator = np.random.default_rng(0)
    found = bootstrap((d,), np.mean, n_resamples=N_RESAMPLES, confidence_level=1 - ALPHA, random_state=generator)
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def holm(p: Sequence[float]) -> list[float]:
    """p-values made larger for their number m: max over j <= i of (m - j) p_(j), at most 1. NaN is not counted."""
    known = [i for i in range(len(p)) if not np.isnan(p[i])]
    corrected, worst = list(p), 0.0
    for rank, i in enumerate(sorted(known, key=lambda i: p[i])):
        worst = max(worst, min(1.0, (len(known) - rank) * p[i]))
        corrected[i] = worst
    return corrected


def letters(names: Sequence[str], equal: Sequence[tuple[str, str]]) -> dict[str, str]:
    """A letter for each largest group all of whose members are equal in pairs; a name may be in several groups.

    names  in the order in which letters are given out
    """
    friends = {name: {b if a == name else a for a, b in equal if name in (a, b)} for name in names}
    order = {name: i for i, name in enumerate(names)}
    groups = sorted((sorted(group, key=order.__getitem__) for group in _cliques(friends)), key=lambda g: order[g[0]])
    given = dict.fromkeys(names, "")
    for letter, group in zip(_letters(), groups, strict=False):
        for name in group:
            given[name] += letter
    return given


def _letters() -> Iterator[str]:
    yield from ascii_lowercase
    yield from (a + b for a in ascii_lowercase for b in ascii_lowercase)


def _cliques(friends: Mapping[str, set[str]]) -> Iterator[frozenset[str]]:
    """The largest sets of mutual friends (Bron and Kerbosch, CACM 16, 1973)."""

    def grow(chosen: frozenset[str], may: set[str], done: set[str]) -> Iterator[frozenset[str]]:
        if not may and not done:
            yield chosen
        for name in list(may):
            yield from grow(chosen | {name}, may & friends[name], done & friends[name])
            may = may - {name}
            done = done | {name}

    yield from grow(frozenset(), set(friends), set())
