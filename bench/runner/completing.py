"""Metrics that a record in the store lacks: from its saved picture, if that says all, or measured again.

A saved picture says all if it is an array of floats, or if the protocol rounds to 8 bits before it scores. It is held
to the record: its PSNR and SSIM must be the record's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from bench.data.colour import to_unit
from bench.data.decoder import decode
from bench.errors import DataError
from bench.metric import Metric
from bench.plugins.boundary import in_a_line
from bench.records.figures import Figure, as_text, figures_in
from bench.records.pictures import MANIFEST, Picture, read_manifest
from bench.records.record import Record, quality_part
from bench.runner.cell import Cell
from bench.runner.outsiders import Outsiders
from bench.runner.scoring import figures_of
from bench.runner.slot import degrade
from bench.task import Image

__all__ = ["lacking", "merged", "of_pictures"]


def lacking(record: Record, metrics: Iterable[Metric], *, retry_failed: bool = False) -> list[Metric]:
    """Those of the metrics that a good record has no figure of: none of this identity, or none to be tried again."""
    if record.status != "ok":
        return []
    known = figures_in(record.metrics)

    def is_there(metric: Metric) -> bool:
        figure = known.get(metric.name)
        if figure is None or figure.identity != metric.identity:
            return False
        return figure.value is not None or not retry_failed

    return [metric for metric in metrics if not is_there(metric)]


def merged(old: Record, new: Record, metrics: Iterable[Metric]) -> Record:
    """The old record with the new one's metrics, if both are of one answer; else the new one.

    So a record that is measured again for a metric keeps its times and its other metrics. Where to measure it again
    failed, it keeps all that it had: `metrics` have no figure, and it says why.
    """
    if new.status != "ok":
        lacked = lacking(old, metrics, retry_failed=True)
        figures = {one.name: Figure(None, one.identity, one.better, one.unit, one.digits) for one in lacked}
        return _with(old, figures, [in_a_line(f"no {name}: {new.reason}") for name in figures])
    if not _is_same(old, new.psnr_db, new.ssim) or old.input_sha256 != new.input_sha256:
        return new
    figures = figures_in(new.metrics)
    return _with(old, figures, [part for part in new.reason.split("; ") if _is_of(part, figures)])


def _with(record: Record, figures: Mapping[str, Figure], failures: Iterable[str]) -> Record:
    """The record with these figures, and why some have no value; what was said of them before is gone."""
    said = [part for part in record.reason.split("; ") if part and not _is_of(part, figures)]
    told = {**figures_in(record.metrics), **figures}
    return replace(record, metrics=as_text(told), reason="; ".join([*said, *failures]))


def _is_of(part: str, figures: Mapping[str, Figure]) -> bool:
    """Whether a part of a reason says why one of these metrics has no value."""
    return any(part.startswith(f"no {name}: ") for name in figures)


def of_pictures(cells: Mapping[Cell, Record], folder: Path, outsiders: Outsiders) -> dict[Cell, Record]:
    """The records of those cells whose pictures are in the folder, with the metrics that they lacked."""
    if not (folder / MANIFEST).exists():
        return {}
    saved = {quality_part(one.key): one for one in read_manifest(folder) if one.kind == "restored"}
    found = {}
    for cell, record in cells.items():
        picture = saved.get(quality_part(record.key))
        if picture is not None and (completed := _completed(cell, record, picture, outsiders)):
            found[cell] = completed
    return found


def _completed(cell: Cell, record: Record, picture: Picture, outsiders: Outsiders) -> Record | None:
    """The record with its metrics; None if the picture is gone, says less than all, or is not the record's."""
    try:
        clean, _ = degrade(cell, outsiders)
        x_hat = _x_hat(cell, picture, clean.shape)
        if x_hat is None or not _is_same(record, *cell.protocol.score(x_hat, clean, cell.setting)):
            return None
    except DataError:  # the run says what is wrong when it comes to this cell
        return None
    figures, failures = figures_of(
        lacking(record, cell.metrics, retry_failed=True), x_hat, clean, cell.setting, cell.protocol, outsiders
    )
    return _with(record, figures, failures)


def _x_hat(cell: Cell, picture: Picture, shape: Sequence[int]) -> Image | None:
    """The answer that was saved, as far as the protocol can tell; None if it is not there."""
    floats = picture.path.with_suffix(".npy")
    if floats.is_file():
        try:
            array = np.load(floats, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError):
            return None
        is_answer = array.dtype == np.float32 and array.shape == shape
        return np.array(array) if is_answer and np.isfinite(array).all() else None
    if not (cell.protocol.rounds_answers_of(cell.setting.task) and picture.path.is_file()):
        return None
    pixels, _ = decode(picture.path)
    return to_unit(pixels) if pixels.shape == shape else None


def _is_same(record: Record, psnr_db: float | None, ssim: float | None) -> bool:
    return _equal(record.psnr_db, psnr_db) and _equal(record.ssim, ssim)


def _equal(one: float | None, other: float | None) -> bool:
    """Whether both are the same figure, None and nan alike, to the last digits that summation order leaves."""
    a, b = (math.nan if value is None else value for value in (one, other))
    return (math.isnan(a) and math.isnan(b)) or math.isclose(a, b, rel_tol=1e-9)
