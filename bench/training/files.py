"""What a training writes beside its checkpoint: weights, log, curves. Each is complete, or is the previous one."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from bench.checkpoints import card_in
from bench.errors import TrainingError

__all__ = ["Validation", "export", "is_exported", "replace", "sha256_of", "write_log"]


def export(weights: Mapping[str, Tensor], folder: Path, card: Mapping[str, Any], stem: str = "weights") -> None:
    """folder/<stem>.safetensors, with the card in its metadata, and the card as <stem>.json beside it."""
    from safetensors.torch import save

    stored = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    metadata = {"options": json.dumps(card["options"]), "card": json.dumps(card)}
    # not save_file: its files can be read by their owner alone
    replace(folder / f"{stem}.safetensors", lambda path: path.write_bytes(save(stored, metadata)))
    replace(folder / f"{stem}.json", lambda path: path.write_text(_as_json(card)))


def is_exported(weights: Mapping[str, Tensor], folder: Path, card: Mapping[str, Any], stem: str = "weights") -> bool:
    """Whether both files are there and say just this: a kill may have come between them."""
    from safetensors.torch import load

    path = folder / f"{stem}.safetensors"
    try:
        beside = path.with_suffix(".json").read_text()
        there = load(path.read_bytes())
        inside = card_in(path)
    except Exception:  # missing, damaged, no such file at all: it will be written anew
        return False
    is_same = there.keys() == weights.keys() and all(_equal(there[name], weights[name]) for name in there)
    return is_same and beside == _as_json(card) and json.dumps(inside) == json.dumps(card)


def _as_json(card: Mapping[str, Any]) -> str:
    return json.dumps(card, indent=2) + "\n"


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype and torch.equal(one, other.detach().cpu())


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def replace(path: Path, write: Callable[[Path], object]) -> None:
    """Write beside `path`, see that it is on disk, and move it there in one step. Raises TrainingError."""
    part = path.with_name(f".{path.name}.part")
    try:
        write(part)
        with part.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(part, path)  # noqa: PTH105  the idiom for "in one step"
    except (OSError, RuntimeError) as error:  # torch.save says RuntimeError for a full disk
        with suppress(OSError):
            part.unlink()
        raise TrainingError(f"Cannot write {path} ({error}). What was there before is still there.") from None


class Validation(NamedTuple):
    """Where a training stands: after `step` of `total` steps and `seconds`, both summed over all its sessions.

    loss  the mean since the last validation; nan before the first step
    """

    step: int
    total: int
    seconds: float
    lr: float
    loss: float
    psnr_db: float
    best_db: float


def write_log(folder: Path, rows: Sequence[Validation]) -> None:
    """folder/log.csv, one row per validation, and folder/curves.svg drawn from it."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(Validation._fields)
    writer.writerows(rows)
    replace(folder / "log.csv", lambda path: path.write_bytes(text.getvalue().encode()))
    replace(folder / "curves.svg", lambda path: path.write_text(draw_curves(rows)))


WIDTH, HEIGHT, MARGIN = 640, 240, 56
N_LINES = 5
"""across a panel, with a figure each"""


def draw_curves(rows: Sequence[Validation]) -> str:
    """Validation PSNR, its best marked, and training loss over steps, as an SVG drawing.

    The validation before the first step, which is far below all others, is left out when there are some.
    """
    validations = [(row.step, row.psnr_db) for row in rows if row.step or len(rows) < 3]
    losses = [(row.step, row.loss) for row in rows if math.isfinite(row.loss)]
    panels = [
        _panel(validations, "validation PSNR, dB", 0, form=".2f", marks_best=True),
        _panel(losses, "training loss", HEIGHT, form=".3g", is_log=all(loss > 0 for _, loss in losses)),
    ]
    size = f'width="{WIDTH}" height="{2 * HEIGHT}" viewBox="0 0 {WIDTH} {2 * HEIGHT}"'
    style = 'font-family="sans-serif" font-size="12"'
    background = '<rect width="100%" height="100%" fill="white"/>'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>{background}{"".join(panels)}</svg>\n'


def _panel(
    points: Sequence[tuple[int, float]],
    title: str,
    top: int,
    *,
    form: str,
    is_log: bool = False,
    marks_best: bool = False,
) -> str:
    if not points:
        return ""
    steps, values = zip(*points, strict=True)
    scale, unscale = (math.log10, lambda exponent: 10**exponent) if is_log else (float, float)
    low, high = scale(min(values)), scale(max(values))
    left, right, bottom = MARGIN, WIDTH - MARGIN, top + HEIGHT - MARGIN

    def place(step: float, scaled: float) -> tuple[float, float]:
        x = left + (right - left) * step / max(steps[-1], 1)
        return x, bottom - (HEIGHT - 2 * MARGIN) * (scaled - low) / ((high - low) or 1)

    drawn = [f'<text x="{left}" y="{top + MARGIN - 16}">{title}: {values[-1]:.4g} after {steps[-1]} steps</text>']
    for i in range(N_LINES if high > low else 1):
        at = low + (high - low) * i / (N_LINES - 1)
        _, y = place(0, at)
        drawn.append(f'<path d="M{left},{y:.1f} H{right}" stroke="lightgray"/>')
        drawn.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{unscale(at):{form}}</text>')
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(step, scale(value)) for step, value in points))
    drawn.append(f'<polyline points="{line}" fill="none" stroke="steelblue" stroke-width="1.5"/>')
    if marks_best:
        best = max(points, key=lambda point: point[1])
        x, y = place(best[0], scale(best[1]))
        drawn.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="darkorange"/>')
        drawn.append(f'<text x="{right}" y="{top + MARGIN - 16}" text-anchor="end">best: {best[1]:.3f}</text>')
    for step in (0, steps[-1] // 2, steps[-1]):
        x, _ = place(step, low)
        drawn.append(f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{step}</text>')
    return "".join(drawn)
