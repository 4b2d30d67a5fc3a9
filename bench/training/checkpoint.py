"""checkpoint.pt: all that a training needs to go on, and a checksum that tells whether it is whole.

It is what `torch.save` writes, a zip archive, with a sha256 of all bytes before it in the archive's comment.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import warnings
import zipfile
from collections.abc import Callable, Mapping
from itertools import pairwise
from math import isfinite
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from bench.errors import TrainingError
from bench.training.files import Validation, replace

__all__ = ["NAME", "difference", "read", "remedy", "write"]

NAME = "checkpoint.pt"
MARK = b"bench sha256 "
COMMENT_BYTES = len(MARK) + 64
SPARE_BYTES = 1 << 26
"""that a checkpoint may have beside its tensors: names, the log"""
CHUNK_BYTES = 1 << 20


def write(folder: Path, checkpoint: Mapping[str, Any]) -> None:
    """Replace folder/checkpoint.pt in one step. Raises TrainingError if it cannot be written; the old one stays."""

    def sealed(path: Path) -> None:
        with path.open("wb+") as file:
            torch.save(dict(checkpoint), file)
            file.seek(-2, os.SEEK_END)  # where a zip archive says how long its comment is
            file.write(struct.pack("<H", COMMENT_BYTES))
            file.write(MARK + _digest(file, file.tell()))

    replace(folder / NAME, sealed)


def read(folder: Path, most_bytes: float) -> dict[str, Any]:
    """What folder/checkpoint.pt holds. Only tensors and plain values are read, no code is run.

    most_bytes  that the tensors of this training can have

    Raises TrainingError if the file is not whole, or holds what no training has written.
    """
    path = folder / NAME
    try:
        with path.open("rb") as file:
            wrong = _damage(file, most_bytes + SPARE_BYTES)
            content = None if wrong else _content(file)
    except OSError as error:
        raise TrainingError(f"{path} cannot be read ({error.strerror}).") from None
    if not wrong:
        wrong = _oddity(content)
    if wrong:
        raise TrainingError(f"{path} {wrong}. {remedy(folder)}")
    assert isinstance(content, dict)  # else it is odd
    return content


def remedy(folder: Path) -> str:
    """What to do about a checkpoint from which no training can go on."""
    weights = folder / "weights.safetensors"
    if weights.exists():
        return f"Move it away, and go on from the weights beside it: --start {weights}."
    return "Move it away to begin anew, or name another --folder."


# --- is it whole -----------------------------------------------------------------------------------------


def _damage(file: IO[bytes], most_bytes: float) -> str:
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if file.read(4) != b"PK\x03\x04":
        return "is no checkpoint of bench"
    if size > most_bytes:
        return f"has {size} bytes, more than this training can have written"
    file.seek(max(0, size - COMMENT_BYTES))
    comment = file.read()
    if not comment.startswith(MARK):
        return "has no checksum: it is cut off, damaged, or of an older bench"
    if comment != MARK + _digest(file, size - COMMENT_BYTES):
        return "is damaged: its checksum is not that of its content"
    return ""


def _digest(file: IO[bytes], n_bytes: int) -> bytes:
    """The sha256 of the first bytes of a file, as 64 letters; leaves the file behind them."""
    digest = hashlib.sha256()
    file.seek(0)
    while n_bytes:
        chunk = file.read(min(n_bytes, CHUNK_BYTES))
        n_bytes -= len(chunk)
        digest.update(chunk)
    return digest.hexdigest().encode()


def _content(file: IO[bytes]) -> Any:
    """What torch reads of it; None if it reads nothing, or would have to run code for it."""
    try:
        with zipfile.ZipFile(file) as archive:  # torch.save does not compress
            if sum(member.file_size for member in archive.infolist()) > file.seek(0, os.SEEK_END):
                return None
        file.seek(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception:  # torch raises many kinds, and its advice here is to run whatever the file holds
        return None


# --- what it holds ---------------------------------------------------------------------------------------


def _is_number(value: object) -> bool:
    """Whether a value that was read is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _is_count(value: object) -> bool:
    return _is_number(value) and isinstance(value, int) and value >= 0


def _is_plain(value: object) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        return False
    return isinstance(value, dict)


def _is_scored(value: object) -> bool:
    return isinstance(value, dict) and _is_number(value.get("psnr_db")) and isinstance(value.get("state"), dict)


def _is_card(value: object) -> bool:
    return isinstance(value, dict) and _is_plain(value) and isinstance(value.get("options"), dict)


def _is_best(value: object) -> bool:
    if not (isinstance(value, dict) and _is_card(value.get("card")) and isinstance(value.get("weights"), dict)):
        return False
    return _is_number(value.get("psnr_db")) and _is_count(value.get("step"))


def _is_log(value: object) -> bool:
    """Rows of `Validation`; the loss before the first step is nan."""
    if not (isinstance(value, list) and value):
        return False
    for row in value:
        if not (isinstance(row, list) and len(row) == len(Validation._fields)):
            return False
        if not all(isinstance(entry, float) or _is_count(entry) for entry in row):
            return False
        if not (_is_count(row[0]) and _is_count(row[1])):
            return False
    steps = [row[0] for row in value]
    return all(a < b for a, b in pairwise(steps))


FIELDS: Mapping[str, Callable[[Any], bool]] = {
    "identity": _is_plain,
    "state": lambda value: isinstance(value, dict),
    "step": _is_count,
    "elapsed": lambda value: _is_number(value) and value >= 0,
    "total": _is_count,
    "budget_began": lambda value: _is_number(value) and value >= 0,
    "left_out": _is_count,
    "lr_factor": lambda value: _is_number(value) and 0 < value <= 1,
    "best": _is_best,
    "last_card": lambda value: value is None or _is_card(value),
    "accepted": lambda value: value is None or _is_scored(value),
    "start_sha256": lambda value: value is None or isinstance(value, str),
    "log": _is_log,
}


def _oddity(content: object) -> str:
    """What is wrong with what was read; "" if nothing is."""
    if not isinstance(content, dict):
        return "is no checkpoint of bench"
    for name, is_right in FIELDS.items():
        if name not in content:
            return f"is no checkpoint of this bench: it lacks '{name}'"
        if not is_right(content[name]):
            return f"holds what no training has written: '{name}' is not of its kind"
    if content["log"][-1][0] != content["step"]:
        return "holds what no training has written: its log ends at another step"
    return ""


def difference(given: object, own: object, where: str) -> str:
    """Where a tree of dicts with tensors for leaves differs from `own` in names, shapes or kinds; "" if nowhere."""
    if isinstance(own, Tensor):
        if not isinstance(given, Tensor):
            return f"{where} is no tensor"
        kinds = [(tuple(t.shape), t.dtype, t.layout) for t in (given, own)]
        return "" if kinds[0] == kinds[1] and not given.is_meta else f"{where} is a tensor of another kind"
    if not isinstance(own, dict):
        return "" if type(given) is type(own) else f"{where} is not of its kind"
    if not isinstance(given, dict) or given.keys() != own.keys():
        return f"{where} has other entries"
    found = (difference(given[key], own[key], f"{where}.{key}") for key in own)
    return next((wrong for wrong in found if wrong), "")
