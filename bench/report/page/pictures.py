"""Restored pictures that go with the page: a folder of PNG files, and its `manifest.json`, which says what they show.

    {"format": 1, "pictures": [{"file": "set12/01/denoise-25/dncnn.png", "kind": "restored", …}, …]}

    file      its path in the folder, with slashes; by custom <data set>/<image>/<setting>/ and in it clean.png,
              degraded.png and <label>.png
    kind      `clean`, `degraded` or `restored`
    dataset, folder, image, task, level, protocol, repeat   what it is a picture of, as its record says it
    label     what tables call the restorer; "" for the other two kinds
    key       of the record that it is the picture of; "" for the other two kinds

A scene is all that the page has of one picture at one setting. It is embedded whole or not at all.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.data import datasets
from bench.errors import RequestError
from bench.task import Level, format_level, get_task

if TYPE_CHECKING:
    import pandas as pd

    from bench.report.page.contents import Contents

__all__ = ["Album", "Picture", "choose", "read_manifest"]

MANIFEST = "manifest.json"
FORMAT = 1
KINDS = ("clean", "degraded", "restored")
MAX_MANIFEST_BYTES = 64_000_000
BESIDE_A_FILE = 200
"""bytes of the page that each picture takes beside its file: the element that holds it, and what is told of it"""
BESIDE_ALL = 1000
"""bytes that are kept for what was left out"""
YOURS = "yours"
PUBLIC = ("Public domain", YOURS)
"""how the terms of a data set begin that may be passed on; others forbid it, or do not say"""


@dataclass(frozen=True)
class Picture:
    """One entry of the manifest; `path` is where its file lies."""

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


class Album(NamedTuple):
    """What the page gets: scenes for its data, the PNG files that they refer to by place, and what was left out."""

    scenes: list[Contents]
    files: list[bytes]
    left_out: list[str]


# --- the manifest --------------------------------------------------------------------------------------------

ENTRY = {one.name: one.type for one in fields(Picture) if one.name != "path"}
TYPES: dict[str, type | tuple[type, ...]] = {"level": (int, float, str), "repeat": int}


def read_manifest(folder: Path) -> list[Picture]:
    """The pictures of a folder. Raises RequestError naming the manifest, the entry and what is wrong with it."""
    manifest = folder / MANIFEST
    try:
        size = manifest.stat().st_size
        told = json.loads(manifest.read_text(encoding="utf-8")) if size <= MAX_MANIFEST_BYTES else None
    except OSError as error:
        raise RequestError(f"--pictures {folder}: {MANIFEST} cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError) as error:
        raise RequestError(f"{manifest}: {error}.") from None
    if not isinstance(told, dict) or told.get("format") != FORMAT or not isinstance(told.get("pictures"), list):
        raise RequestError(f"{manifest}: expected {{'format': {FORMAT}, 'pictures': […]}}.")
    return [_picture(entry, f"{manifest}, picture {number}", folder) for number, entry in enumerate(told["pictures"])]


def _picture(entry: Any, where: str, folder: Path) -> Picture:
    if not isinstance(entry, dict) or entry.keys() != ENTRY.keys():
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


# --- which are embedded --------------------------------------------------------------------------------------


def choose(pictures: Sequence[Picture], shown: pd.DataFrame, budget: float, *, own_responsibility: bool) -> Album:
    """The scenes that the page gets: those on which the restorers differ most first, as long as the budget lasts.

    shown   the page's records, in its order
    budget  bytes that the pictures may take
    own_responsibility  also pictures of data sets whose terms do not say that they may be passed on
    Raises RequestError for a file that is missing or no PNG.
    """
    places = {key: place for place, key in enumerate(shown["key"]) if key}
    psnr_db = shown["psnr_db"].to_numpy(float)
    found = _scenes(pictures, places)
    allowed = [scene for scene in found if own_responsibility or _terms(scene[0]).startswith(PUBLIC)]
    allowed.sort(key=lambda scene: -_spread(scene, places, psnr_db))
    shelf = _Shelf(budget - BESIDE_ALL)
    album = Album([_scene(scene, places, shelf) for scene in allowed if shelf.take(scene)], shelf.files, [])
    stray = sum(picture.kind == "restored" and picture.key not in places for picture in pictures)
    album.left_out.extend(_told_left_out(stray, [scene for scene in found if scene not in allowed], shelf.refused))
    return album


class _Shelf:
    """The files that are embedded, each content once, as long as the budget lasts.

    places   file -> where its content stands in `files`
    refused  scenes that did not fit
    """

    def __init__(self, budget: float) -> None:
        self.budget = budget
        self.files: list[bytes] = []
        self.places: dict[str, int] = {}
        self.refused: list[list[Picture]] = []
        self._by_content: dict[str, int] = {}

    def take(self, scene: list[Picture]) -> bool:
        """Put all files of a scene on the shelf, or none and False."""
        paths = {picture.file: picture.path for picture in scene if picture.file not in self.places}
        if sum(_cost(_size(path)) for path in paths.values()) > self.budget:
            self.refused.append(scene)
            return False
        for file, path in paths.items():
            self.places[file] = self._add(_png(path))
        return True

    def _add(self, content: bytes) -> int:
        digest = hashlib.sha256(content).hexdigest()
        self.budget -= _cost(0 if digest in self._by_content else len(content))
        if digest not in self._by_content:
            self._by_content[digest] = len(self.files)
            self.files.append(content)
        return self._by_content[digest]


def _told_left_out(stray: int, forbidden: list[list[Picture]], refused: list[list[Picture]]) -> Iterator[str]:
    if stray:
        yield f"{_counted(stray, 'restored picture')} of no record that the page shows"
    if forbidden:
        names = ", ".join(sorted({scene[0].dataset for scene in forbidden}))
        yield (
            f"{_counted(len(forbidden), 'picture')} of {names}, whose terms do not say that they may be passed on"
            " (--own-responsibility embeds them)"
        )
    if refused:
        names = ", ".join(f"{one.dataset}/{one.image} at {format_level(one.level)}" for one, *_ in refused[:3])
        more = f" and {len(refused) - 3} more" if len(refused) > 3 else ""
        yield f"{_counted(len(refused), 'picture')} beyond --max-mb ({names}{more}): restorers differ less on them"


def _counted(n: int, what: str) -> str:
    return f"left out: {n} {what}{'s' * (n != 1)}"


def _scenes(pictures: Sequence[Picture], places: Mapping[str, int]) -> list[list[Picture]]:
    """By what they show; only scenes of which a restored picture has a record on the page."""
    scenes: dict[tuple[object, ...], list[Picture]] = {}
    for picture in pictures:
        if picture.kind != "restored" or picture.key in places:
            scenes.setdefault(picture.scene, []).append(picture)
    return [scene for scene in scenes.values() if any(picture.kind == "restored" for picture in scene)]


def _terms(picture: Picture) -> str:
    """A folder's pictures are its owner's."""
    known = picture.dataset in datasets.names() and not picture.folder
    return datasets.get(picture.dataset).terms if known else YOURS


def _spread(pictures: Sequence[Picture], places: Mapping[str, int], psnr_db: Any) -> float:
    """How far the restorers of a scene lie apart, in dB; 0 where that is not known."""
    found = [psnr_db[places[picture.key]] for picture in pictures if picture.kind == "restored"]
    spread = max(found) - min(found)
    return 0.0 if math.isnan(spread) else spread


def _cost(n_bytes: int) -> int:
    """Bytes of the page that a picture takes, its file being so large; in base64 four bytes stand for three."""
    return 4 * math.ceil(n_bytes / 3) + BESIDE_A_FILE


def _size(path: Path) -> int:
    try:
        told = path.stat()
    except OSError as error:
        raise RequestError(f"--pictures: {path}: {error.strerror}.") from None
    if not stat.S_ISREG(told.st_mode):  # a pipe would be waited for
        raise RequestError(f"--pictures: {path} is not a file.")
    return told.st_size


def _png(path: Path) -> bytes:
    """The file's content. Raises RequestError if it is not a whole PNG."""
    from PIL import Image

    content = path.read_bytes()
    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as opened:
            opened.verify()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        raise RequestError(f"--pictures: {path} is not a PNG file that can be read.") from None
    return content


def _scene(pictures: Sequence[Picture], places: Mapping[str, int], shelf: _Shelf) -> Contents:
    one = pictures[0]
    by_kind = {picture.kind: shelf.places[picture.file] for picture in pictures}
    restored = [
        {"label": picture.label, "record": places[picture.key], "file": shelf.places[picture.file]}
        for picture in pictures
        if picture.kind == "restored"
    ]
    return {
        "task": get_task(one.task).title,
        "protocol": one.protocol,
        "terms": _terms(one),
        "clean": by_kind.get("clean"),
        "degraded": by_kind.get("degraded"),
        "restored": restored,
    }
