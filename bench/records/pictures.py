"""Pictures that a run has saved: a folder of PNG files, and its `manifest.jsonl`, a line for each.

    {"file": "set12/01/denoise-25-standard-v1/dncnn-9f2c41ab.png", "kind": "restored", "dataset": "set12", …}

file      its path in the folder, with slashes; a restored one's ends in the first letters of its record's key
kind      `clean`, `degraded` or `restored`
dataset, folder, image, task, level, protocol, repeat   what it is a picture of, as its record says it
label     what tables call the restorer; "" for the other two kinds
key       of the record that it is the picture of; "" for the other two kinds

A line is added once its file is whole. Of two lines on one file the later counts.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from bench.data.errors import DataError
from bench.data.saving import save, written_whole
from bench.errors import RequestError
from bench.level import Level, format_level
from bench.records.record import Record
from bench.task import Image, Observation

__all__ = ["MANIFEST", "Picture", "Pictures", "read_manifest"]

MANIFEST = "manifest.jsonl"
KINDS = ("clean", "degraded", "restored")
MAX_MANIFEST_BYTES = 64_000_000
KEY_LETTERS = 8
NAME_LETTERS = 80
"""of a part of a file's name, of which systems allow 255 bytes"""


@dataclass(frozen=True)
class Picture:
    """A line of the manifest; `path` is where its file lies."""

    file: str
    kind: str
    dataset: str
    folder: str
    image: str
    task: str
    level: Level
    protocol: str
    repeat: int
    label: str
    key: str
    path: Path = field(default=Path(), compare=False)

    @property
    def scene(self) -> tuple[object, ...]:
        """What it is a picture of."""
        return self.dataset, self.folder, self.image, self.task, self.level, self.protocol, self.repeat


# --- written --------------------------------------------------------------------------------------------------


class Pictures:
    """Takes what a run restores, 8 bits a channel, as standard-v1 scores it. From several threads.

    as_float  beside each restored picture also its array, float32 (H, W, C), as .npy
    Raises DataError if the folder cannot be written; so does `add`.
    """

    def __init__(self, folder: Path, *, as_float: bool = False) -> None:
        self.folder, self.as_float = folder, as_float
        self._lock = threading.Lock()
        self._there: set[str] = set()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _drop_half_a_line(folder / MANIFEST)
        except OSError as error:
            raise DataError(f"--save {folder}: {error.strerror or error}.") from None

    def add(self, record: Record, clean: Image, seen: Observation, x_hat: Image) -> None:
        """Keep a restored picture, and once for all restorers the clean and the degraded one."""
        place = _place_of(record)
        self._keep(f"{place}/clean.png", "clean", record, clean)
        self._keep(f"{place}/degraded.png", "degraded", record, seen.upscaled() if seen.scale else seen.image)
        name = f"{place}/{_plain(record.label)}-{record.key[:KEY_LETTERS]}"
        self._keep(f"{name}.png", "restored", record, x_hat)
        if self.as_float:
            with written_whole(self.folder / f"{name}.npy") as file:
                np.save(file, x_hat)

    def _keep(self, file: str, kind: str, record: Record, image: Image) -> None:
        is_restored = kind == "restored"
        with self._lock:
            if file in self._there and not is_restored:
                return
            self._there.add(file)
        path = self.folder / file
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"{path.parent}: {error.strerror or error}.") from None
        save(image, path)
        shared = {one: getattr(record, one) for one in SHARED}
        told = Picture(file, kind, **shared, label=record.label * is_restored, key=record.key * is_restored)
        line = json.dumps({name: value for name, value in asdict(told).items() if name in ENTRY})
        try:
            with self._lock, (self.folder / MANIFEST).open("a", encoding="utf-8") as manifest:
                manifest.write(f"{line}\n")
        except OSError as error:
            raise DataError(f"{self.folder / MANIFEST} cannot be written: {error.strerror or error}.") from None


def _place_of(record: Record) -> PurePosixPath:
    """The folder of all pictures of one scene, below the folder of all."""
    dataset = _plain(record.dataset)
    if record.folder:  # of which several may have one name
        dataset += f"-{hashlib.sha256(record.folder.encode()).hexdigest()[:6]}"
    setting = f"{record.task}-{format_level(record.level)}-{record.protocol}"
    repeat = [f"repeat-{record.repeat}"] if record.repeat else []
    image = PurePosixPath(record.image)  # in a folder of the set's folder, if those were searched
    return PurePosixPath(dataset, *map(_plain, image.parent.parts), _plain(image.stem), _plain(setting), *repeat)


def _plain(name: str) -> str:
    """A name as a part of a file's: without what some system does not allow there, nor a leading dot."""
    return re.sub(r"[^\w+=@., -]|^\.|[. ]$", "_", name)[:NAME_LETTERS] or "_"


def _drop_half_a_line(manifest: Path) -> None:
    """What a killed run had begun to write."""
    if manifest.exists():
        content = manifest.read_bytes()
        if not content.endswith(b"\n"):
            with manifest.open("rb+") as file:
                file.truncate(content.rfind(b"\n") + 1)


# --- read -----------------------------------------------------------------------------------------------------

ENTRY = tuple(one.name for one in fields(Picture) if one.name != "path")
SHARED = ("dataset", "folder", "image", "task", "level", "protocol", "repeat")
TYPES: dict[str, type | tuple[type, ...]] = {"level": (int, float, str), "repeat": int}


def read_manifest(folder: Path) -> list[Picture]:
    """The pictures of a folder. Raises RequestError naming the manifest, the line and what is wrong with it."""
    manifest = folder / MANIFEST
    try:
        if (size := manifest.stat().st_size) > MAX_MANIFEST_BYTES:
            raise RequestError(f"{manifest} has {size} bytes, expected {MAX_MANIFEST_BYTES} at most.")
        lines = manifest.read_text(encoding="utf-8").split("\n")
    except OSError as error:
        raise RequestError(f"--pictures {folder}: {MANIFEST} cannot be read: {error.strerror}.") from None
    except ValueError as error:
        raise RequestError(f"{manifest}: {error}.") from None
    whole = lines[:-1]  # what follows the last line's end was being written when its run was killed
    return [*{picture.file: picture for picture in _pictures(whole, manifest)}.values()]


def _pictures(lines: list[str], manifest: Path) -> Iterator[Picture]:
    for number, line in enumerate(lines, start=1):
        where = f"{manifest}, line {number}"
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise RequestError(f"{where}: {error}.") from None
        yield _picture(entry, where, manifest.parent)


def _picture(entry: Any, where: str, folder: Path) -> Picture:
    if not isinstance(entry, dict) or entry.keys() != {*ENTRY}:
        raise RequestError(f"{where}: expected exactly the keys {', '.join(ENTRY)}.")
    for name, value in entry.items():
        if not isinstance(value, TYPES.get(name, str)) or isinstance(value, bool):
            raise RequestError(f"{where}: '{name}' cannot be {value!r}.")
    if entry["kind"] not in KINDS:
        raise RequestError(f"{where}: 'kind' is {entry['kind']!r}, expected one of {', '.join(KINDS)}.")
    return Picture(**entry, path=_inside(folder, entry["file"], where))


def _inside(folder: Path, file: str, where: str) -> Path:
    """Where the file lies. Raises RequestError if that is outside of the folder."""
    path = folder / PurePosixPath(file)
    if not path.resolve().is_relative_to(folder.resolve()):
        raise RequestError(f"{where}: the file {file!r} lies outside of the folder.")
    return path
