"""Which of the pictures that a run has saved go with the page: see bench.records.pictures.

A scene is all that there is of one picture at one setting. It is embedded whole or not at all.
"""

from __future__ import annotations

import hashlib
import io
import math
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.data import datasets
from bench.errors import RequestError
from bench.level import format_level
from bench.records.pictures import Picture
from bench.tasks import title_of

if TYPE_CHECKING:
    import pandas as pd

    from bench.report.page.contents import Contents

__all__ = ["Album", "choose"]

BESIDE_A_FILE = 200
"""bytes of the page that each picture takes beside its file: the element that holds it, and what is told of it"""
BESIDE_ALL = 1000
"""bytes that are kept for what was left out"""
YOURS = "yours"
PUBLIC = ("Public domain", YOURS)
"""how the terms of a data set begin that may be passed on; others forbid it, or do not say"""


class Album(NamedTuple):
    """What the page gets: scenes for its data, the PNG files that they refer to by place, and what was left out."""

    scenes: list[Contents]
    files: list[bytes]
    left_out: list[str]


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
        "task": title_of(one.task),
        "protocol": one.protocol,
        "terms": _terms(one),
        "clean": by_kind.get("clean"),
        "degraded": by_kind.get("degraded"),
        "restored": restored,
    }
