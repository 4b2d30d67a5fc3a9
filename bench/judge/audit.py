"""What the papers contradict each other on, and what cannot be right in one: found from the figures alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from operator import attrgetter
from typing import Any

from bench.judge.claims import Claim
from bench.judge.entries import QUALITY, TIMES, Entry
from bench.judge.papers import Paper

__all__ = ["Conflict", "audit"]


@dataclass(frozen=True)
class Conflict:
    """Figures that cannot all be right, found without being told."""

    kind: str
    entries: tuple[Entry, ...]
    says: str
    note: str = ""

    @property
    def explained(self) -> str:
        """What the notes on it and on these figures say, or "" where nobody has looked yet."""
        return self.note or "; ".join(dict.fromkeys(entry.note for entry in self.entries if entry.note))

    def __str__(self) -> str:
        places = "".join(f"\n    {entry.printed:<8} {entry.place}" for entry in self.entries)
        return f"{self.kind}: {self.entries[0].setting}, {self.says}{places}\n    note: {self.explained or 'none'}"


PLACE = ("paper", "table", "part")
SETTING = ("task", "dataset", "image", "level", "channels", "variant")
FALLS_WITH_LEVEL = {"denoise": True, "denoise-blind": True, "superres": True, "deblock": False}
SIZE = re.compile(r"\d+x\d+")
BETWEEN = {"psnr_db": (0, 99), "ssim": (0, 1), "ssim8": (0, 1)}
DEGRADED = ("noisy", "jpeg", "bicubic")


def audit(papers: Iterable[Paper]) -> list[Conflict]:
    """Every conflict within and between the papers, notes or no notes."""
    papers = list(papers)
    entries = [entry for paper in papers for entry in paper.entries]
    checks = (
        _disagreements,
        _impossible,
        _wrong_order,
        _times_out_of_order,
        _not_above_input,
        _wrong_means,
        _ssim_out_of_step,
    )
    found = [conflict for check in checks for conflict in check(entries)]
    return found + [conflict for paper in papers for conflict in _claims_too_much(paper.claims)]


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
        low, high = BETWEEN.get(entry.metric, (0, float("inf")))
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


def _times_out_of_order(entries: Sequence[Entry]) -> Iterator[Conflict]:
    """A time that does not rise with the picture, where the variants of a row are sizes: `256x256`."""
    timed = [entry for entry in entries if entry.metric in TIMES and SIZE.fullmatch(entry.variant)]
    for row in _by(timed, *PLACE, "method", "id", "metric").values():
        for smaller, larger in pairwise(sorted(row, key=_n_pixels)):
            if larger.value <= smaller.value:
                says = f"{larger.metric} {larger.printed} is not above {smaller.printed} of the smaller picture"
                yield Conflict("time", (larger, smaller), says)


def _n_pixels(entry: Entry) -> int:
    width, height = entry.variant.split("x")
    return int(width) * int(height)


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
        both = sorted((m for m in methods if {"psnr_db", "ssim"} <= m.keys()), key=lambda m: m["psnr_db"].value)
        for low, high in pairwise(both):
            rise = high["ssim"].value - low["ssim"].value
            step = high["psnr_db"].value - low["psnr_db"].value
            if rise > 0.02 + 0.05 * step or (step >= 0.2 and rise < -0.005):
                says = f"SSIM {low['ssim'].printed} and {high['ssim'].printed} at {low['psnr_db'].printed} and "
                figures = (low["ssim"], high["ssim"], low["psnr_db"], high["psnr_db"])
                yield Conflict("ssim", figures, f"{says}{high['psnr_db'].printed} dB")


def _claims_too_much(claims: Iterable[Claim]) -> Iterator[Conflict]:
    """What a text says of figures that do not give it."""
    for claim in claims:
        if not claim.holds:
            got = ", ".join(f"{value:.3g}" for value in claim.found())
            says = f"{claim.place} of {claim.paper} says: {claim.says}; the figures give {got}"
            yield Conflict("claim", tuple(entry for pair in claim.pairs for entry in pair), says, claim.note)


def _quality(entries: Iterable[Entry]) -> Iterator[Entry]:
    return (entry for entry in entries if entry.metric in QUALITY)
