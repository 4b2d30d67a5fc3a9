"""How long cells will take, before they are measured: by earlier times, or by a try on a small picture."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from statistics import median
from typing import TypeAlias

from bench.errors import BenchError
from bench.measure.clocks import ENOUGH_SECONDS, MOST_READINGS
from bench.records.layouts import Drawer
from bench.records.store import Store
from bench.runner.cell import Cell
from bench.runner.contract import observe_disc
from bench.runner.messages import Answer
from bench.runner.process import RestorerProcess
from bench.runner.worker import Limits
from bench.tasks import TASKS

__all__ = ["Estimate", "estimate", "seconds_of"]

TRIED_SIDE = 96
"""pixels of the picture that restorers are tried on"""
TRIED_SECONDS = 10.0
"""that a restorer may take to try"""
ALL_SECONDS = 30.0
"""after which no other restorer is tried"""
MOST_PICTURES = 200
"""of a kind whose times are looked up"""

Kind: TypeAlias = "tuple[str, str, str]"
"""restorer, task and device: pixels of one kind take the same time"""


@dataclass(frozen=True)
class Estimate:
    """seconds: of all calls; n_unknown: cells that nothing is known of; tried: restorers that were tried for it."""

    seconds: float
    n_unknown: int
    tried: Sequence[str] = ()


def estimate(cells: Sequence[Cell], readings: int | None, store: Store) -> Estimate:
    """The expected seconds of restoring `cells`.

    Of a restorer, task and device that the store has times of they are per pixel; others are tried on a small picture
    first, as far as their weights are here.

    readings  timed calls per cell; None: the usual
    """
    speeds = _known(cells, store)
    unknown: dict[Kind, Cell] = {}
    for cell in cells:
        if _kind(cell) not in speeds:
            unknown.setdefault(_kind(cell), cell)
    tried, deadline = [], time.monotonic() + ALL_SECONDS
    for kind, cell in unknown.items():
        if time.monotonic() < deadline and (found := _tried(cell)) is not None:
            speeds[kind] = found
            tried.append(cell.label)
    seconds = [*seconds_of(cells, readings, lambda cell: speeds.get(_kind(cell)))]
    known = [one for one in seconds if one is not None]
    return Estimate(sum(known), len(cells) - len(known), list(dict.fromkeys(tried)))


def seconds_of(
    cells: Iterable[Cell], readings: int | None, speed: Callable[[Cell], float | None]
) -> Iterator[float | None]:
    """The expected seconds of all calls of each cell, one after the other.

    speed  seconds per pixel of a cell; None if they are not known, and so are not its seconds
    """
    warm: set[object] = set()
    for cell in cells:
        of_a_pixel = speed(cell)
        if of_a_pixel is None:
            yield None
            continue
        of_a_call = of_a_pixel * cell.entry.n_pixels
        shape = (cell.label, cell.setting, cell.entry.width, cell.entry.height)
        yield of_a_call * _n_calls(of_a_call, cell, readings, shape in warm)
        warm.add(shape)


def _kind(cell: Cell) -> Kind:
    return cell.spec.name, cell.setting.task, cell.device


def _n_calls(seconds: float, cell: Cell, readings: int | None, is_warm: bool) -> int:
    """How often the cell is restored: the first call on a shape warms up, later ones are readings."""
    if not cell.timed:
        return 1
    n = readings or min(MOST_READINGS, math.ceil(ENOUGH_SECONDS / max(seconds, 1e-9)))
    return n + (not is_warm)


def _known(cells: Iterable[Cell], store: Store) -> dict[Kind, float]:
    """Seconds per pixel by earlier times of pictures of these cells, some of each kind."""
    sizes: dict[tuple[str, str], int] = {}
    asked: dict[Kind, dict[tuple[Drawer, str], None]] = defaultdict(dict)
    for cell in cells:
        if len(of_kind := asked[_kind(cell)]) < MOST_PICTURES:
            of_kind[Drawer(cell.setting.task, cell.dataset.name, cell.spec.name), cell.entry.name] = None
            sizes[cell.dataset.name, cell.entry.name] = cell.entry.n_pixels
    speeds: dict[Kind, list[float]] = defaultdict(list)
    for record in store.of_pictures(dict.fromkeys(named for of_kind in asked.values() for named in of_kind)):
        n_pixels = sizes.get((record.dataset, record.image))
        if record.seconds is not None and n_pixels:
            speeds[record.restorer, record.task, record.device].append(record.seconds / n_pixels)
    return {kind: median(found) for kind, found in speeds.items()}


def _tried(cell: Cell) -> float | None:
    """Seconds per pixel on a synthetic picture; None if it cannot be tried now: then the run will say why."""
    if cell.setting.task not in {*TASKS} & cell.spec.info.tasks or (cell.weights and not cell.weights.path.is_file()):
        return None
    try:
        seen = observe_disc(cell.setting, (TRIED_SIDE, TRIED_SIDE))
        process = RestorerProcess(cell.spec, cell.device, cell.threads, Limits(TRIED_SECONDS))
        with closing(process):
            if process.ready(cell.setting, cell.weights) is not None:
                return None
            answer = process.restore(seen, timed=True, readings=1)
    except BenchError:
        return None
    if not isinstance(answer, Answer) or answer.timing is None:
        return None
    height, width, _ = seen.restored_shape
    return answer.timing.seconds / (height * width)
