"""How long cells take by the committed reference: the same on every machine that has this version of bench."""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib import resources
from statistics import median

from bench.data.datasets import get, names
from bench.runner.cell import Cell
from bench.runner.estimate import seconds_of

__all__ = ["expected_seconds"]

BESIDE = 0.01
"""seconds that a cell costs beside its restoring"""
UNKNOWN = 1e-6
"""seconds per pixel where the reference is not here: what counts then is how many pixels a cell has"""
FLIPS = 8
"""that a restorer with a + is averaged over"""


def expected_seconds(cells: Iterable[Cell], readings: int | None) -> list[float]:
    """What each cell should take, restoring and all, on a machine like the reference's.

    A restorer that the reference does not have takes as long per pixel as the middle one that it has.

    readings  timed calls per cell; None: the usual
    """
    paces = _paces()
    restoring = seconds_of(cells, readings, lambda cell: _of(cell, paces))
    return [BESIDE + (seconds or 0.0) for seconds in restoring]


def _of(cell: Cell, paces: Mapping[tuple[str, ...], float]) -> float:
    spec, device = cell.spec, cell.device.partition(":")[0]
    called = (spec.name.removesuffix("+"), f"{spec.info.name}:{spec.variant}", spec.info.name)
    told = [(name, *rest) for rest in ((cell.setting.task, device), (cell.setting.task,), ()) for name in called]
    pace = next((paces[one] for one in told if one in paces), paces.get((), UNKNOWN))
    return pace * (FLIPS if spec.ensemble else 1)


@cache
def _paces() -> dict[tuple[str, ...], float]:
    """Median seconds per pixel by (restorer, task, device), (restorer, task), (restorer,), and () of all."""
    found: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for told, seconds_per_pixel in _times():
        for n in (3, 2, 1):
            found[told[:n]].append(seconds_per_pixel)
    paces = {told: median(seconds) for told, seconds in found.items()}
    if paces:
        paces[()] = median(seconds for told, seconds in paces.items() if len(told) == 1)
    return paces


def _times() -> Iterator[tuple[tuple[str, str, str], float]]:
    """(restorer, task, device), and the seconds per pixel of a record of the reference; none if it is not here."""
    file = resources.files("bench.results") / "reference" / "records.csv"
    if not file.is_file():
        return
    for row in csv.DictReader(file.read_text(encoding="utf-8").splitlines()):
        if row["seconds"] and (n_pixels := _n_pixels(row["dataset"], row["image"])):
            yield (row["restorer"], row["task"], row["device"]), float(row["seconds"]) / n_pixels


@cache
def _sizes(dataset: str) -> Mapping[str, int]:
    """Pixels of the pictures of a known data set."""
    entries = get(dataset).entries if dataset in names() else ()
    return {entry.name: entry.n_pixels for entry in entries}


def _n_pixels(dataset: str, image: str) -> int:
    """0 for a picture that is not known. Folders of the reference hold pictures of one size, and are called by it."""
    if size := re.fullmatch(r"(\d+)x(\d+)", dataset):
        return int(size[1]) * int(size[2])
    return _sizes(dataset).get(image, 0)
