"""What a training writes: checkpoint, log, curves, weights. Each file is complete or is the previous one."""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bench.errors import TrainingError
from bench.task import Level, nearest_level

__all__ = ["Log", "Validation", "export", "read_checkpoint", "read_weights", "sha256_of", "write_checkpoint"]


def write_checkpoint(folder: Path, checkpoint: Mapping[str, Any]) -> None:
    """Replace folder/checkpoint.pt in one step. Raises TrainingError if it cannot be written; the old one stays."""
    _replace(folder / "checkpoint.pt", lambda path: torch.save(dict(checkpoint), path))


def read_checkpoint(folder: Path) -> dict[str, Any] | None:
    """folder/checkpoint.pt, or None if there is none. Only tensors and plain values are read, no code is run."""
    path = folder / "checkpoint.pt"
    if not path.exists():
        return None
    try:
        checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # torch raises many kinds, and its advice here is to run whatever the file holds
        raise TrainingError(f"{path} is no checkpoint of bench. Move it away, or name another --folder.") from None
    return checkpoint


def export(network: nn.Module, folder: Path, card: Mapping[str, Any], stem: str = "weights") -> None:
    """folder/<stem>.safetensors, with the card in its metadata, and the card as <stem>.json beside it."""
    from safetensors.torch import save

    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    metadata = {"options": json.dumps(card["options"]), "card": json.dumps(card)}
    # not save_file: its files can be read by their owner alone
    _replace(folder / f"{stem}.safetensors", lambda path: path.write_bytes(save(weights, metadata)))
    _replace(folder / f"{stem}.json", lambda path: path.write_text(json.dumps(card, indent=2) + "\n"))


def read_weights(network: nn.Module, path: Path, level: Level, of_level: Sequence[str] = ()) -> None:
    """Start from other weights, at `level`: take the tensors whose names the network has.

    of_level  first words of the names of tensors that another level may give another shape: left out if it does

    A tensor that lacks the network's first axis serves all along it: thresholds trained for one level start those of
    every level. Of thresholds for several levels, a network for one takes those of the nearest.

    Raises TrainingError if no tensor fits, or one of a name that the network has is of another shape.
    """
    from safetensors import safe_open

    try:
        with safe_open(path, "pt") as opened:
            options = json.loads((opened.metadata() or {}).get("options", "{}"))
            given = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  no mapping
    except Exception as error:  # missing, or not safetensors
        raise TrainingError(f"--start {path}: cannot be read as safetensors ({error}).") from None
    own = network.state_dict()
    common = {name: tensor for name, tensor in given.items() if name in own}
    if not common:
        raise TrainingError(f"--start {path}: has no tensor of this network ({', '.join(list(own)[:3])}, …).")
    for name, tensor in common.items():
        if tensor.shape == own[name].shape[1:]:
            common[name] = tensor.expand_as(own[name])
        elif tensor.shape[1:] == own[name].shape and len(tensor) == len(options.get("levels", ())):
            common[name] = tensor[nearest_level(options["levels"], level)]
        elif tensor.shape != own[name].shape and name.split(".")[0] in of_level:
            common[name] = own[name]
        elif tensor.shape != own[name].shape:
            raise TrainingError(
                f"--start {path}: {name} has shape {tuple(tensor.shape)}, expected {tuple(own[name].shape)}:"
                " weights of another architecture."
            )
    network.load_state_dict(common, strict=False)


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    """Write beside `path`, see that it is on disk, and move it there in one step."""
    part = path.with_name(f".{path.name}.part")
    try:
        write(part)
        with part.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(part, path)  # noqa: PTH105  the idiom for "in one step"
    except (OSError, RuntimeError) as error:  # torch.save says RuntimeError for a full disk
        part.unlink(missing_ok=True)
        raise TrainingError(f"Cannot write {path} ({error}). What was there before is still there.") from None


@dataclass(frozen=True)
class Validation:
    """Where a training stands: after `step` of `total` steps and `seconds`, both summed over all its sessions."""

    step: int
    total: int
    seconds: float
    lr: float
    loss: float
    psnr_db: float
    best_db: float


class Log:
    """folder/log.csv, one row per validation, and folder/curves.svg drawn from it.

    step  rows after it are dropped: they were written by a session that went on past its last checkpoint
    """

    def __init__(self, folder: Path, step: int) -> None:
        self.path, self.curves = folder / "log.csv", folder / "curves.svg"
        self.rows: list[dict[str, float]] = []
        if self.path.exists():
            with self.path.open(newline="") as opened:
                rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(opened)]
            self.rows = [row for row in rows if row["step"] < step or row["step"] == step > 0]

    def add(self, validation: Validation) -> None:
        """Append a row and draw the curves anew."""
        self.rows.append(asdict(validation))
        _replace(self.path, self._write)
        _replace(self.curves, lambda path: path.write_text(draw_curves(self.rows)))

    def _write(self, path: Path) -> None:
        with path.open("w", newline="") as opened:
            writer = csv.DictWriter(opened, [f.name for f in fields(Validation)])
            writer.writeheader()
            writer.writerows(self.rows)


WIDTH, HEIGHT, MARGIN = 640, 240, 48


def draw_curves(rows: Sequence[Mapping[str, float]]) -> str:
    """Validation PSNR and training loss over steps, as an SVG drawing."""
    panels = [
        _panel(rows, "psnr_db", "validation PSNR, dB", 0),
        _panel([row for row in rows if row["loss"] == row["loss"]], "loss", "training loss", HEIGHT),
    ]
    size = f'width="{WIDTH}" height="{2 * HEIGHT}" viewBox="0 0 {WIDTH} {2 * HEIGHT}"'
    style = 'font-family="sans-serif" font-size="12"'
    background = '<rect width="100%" height="100%" fill="white"/>'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>{background}{"".join(panels)}</svg>\n'


def _panel(rows: Sequence[Mapping[str, float]], key: str, title: str, top: int) -> str:
    if not rows:
        return ""
    steps, values = [row["step"] for row in rows], [row[key] for row in rows]
    low, high = min(values), max(values)
    right, bottom = WIDTH - MARGIN, top + HEIGHT - MARGIN

    def place(step: float, value: float) -> str:
        x = MARGIN + (right - MARGIN) * step / max(steps[-1], 1)
        y = bottom - (HEIGHT - 2 * MARGIN) * (value - low) / ((high - low) or 1)
        return f"{x:.1f},{y:.1f}"

    line = " ".join(place(step, value) for step, value in zip(steps, values, strict=True))
    return (
        f'<text x="{MARGIN}" y="{top + MARGIN - 12}">{title}: {values[-1]:.4g} after {steps[-1]:.0f} steps</text>'
        f'<polyline points="{line}" fill="none" stroke="steelblue" stroke-width="1.5"/>'
        f'<path d="M{MARGIN},{top + MARGIN} V{bottom} H{right}" fill="none" stroke="black"/>'
        f'<text x="4" y="{top + MARGIN + 4}">{high:.4g}</text><text x="4" y="{bottom}">{low:.4g}</text>'
        f'<text x="{right}" y="{bottom + 16}" text-anchor="end">step {steps[-1]:.0f}</text>'
    )
