"""Records in, one HTML file out."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench.errors import RequestError
from bench.records.pictures import read_manifest
from bench.report.page.contents import make_contents
from bench.report.page.document import document
from bench.report.page.pictures import Album, choose

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Written", "write"]

MB = 1_000_000


class Written(NamedTuple):
    """The page that was written: where, how large, of how much, and which pictures it does not have and why."""

    path: Path
    n_bytes: int
    n_records: int
    n_pictures: int
    left_out: list[str]

    def __str__(self) -> str:
        pictures = f" and {self.n_pictures} picture{'s' * (self.n_pictures != 1)}" if self.n_pictures else ""
        return f"{self.path}: {self.n_bytes / MB:.1f} MB, {self.n_records} records{pictures}"


def write(
    frame: pd.DataFrame,
    output: Path,
    *,
    stores: Sequence[Path],
    title: str | None = None,
    pictures: Path | None = None,
    max_mb: float = 25,
    own_responsibility: bool = False,
) -> Written:
    """Write the page of these records, whole or not at all.

    stores  where the records come from: their names are told
    For the others see `bench.api.page`. Raises RequestError if there is nothing to show, for pictures that will not
    do, and if the file cannot be written.
    """
    if not (math.isfinite(max_mb) and max_mb > 0):
        raise RequestError(f"--max-mb {max_mb:g}: expected a number above 0.")
    if not output.name or output.is_dir():
        raise RequestError(f"--output {output}: that is a folder; expected the name of a file, as page.html.")
    given = read_manifest(pictures) if pictures else []
    contents, shown = make_contents(frame)
    names = ", ".join(dict.fromkeys(store.name for store in stores))
    title = title or names
    contents["made"] = f"{len(shown):,} records of {names}. Made by bench {version('bench')} on {_today()}."
    album = Album([], [], [])
    if given:
        size = len(document(title, {**contents, "scenes": [], "left_out": []}).encode())
        album = choose(given, shown, max_mb * MB - size, own_responsibility=own_responsibility)
    contents |= {"scenes": album.scenes, "left_out": album.left_out}
    text = document(title, contents, album.files).encode()
    _replace(output, text)
    return Written(output, len(text), len(shown), len(album.scenes), album.left_out)


def _today() -> str:
    return f"{datetime.now(timezone.utc):%Y-%m-%d}"


def _replace(output: Path, content: bytes) -> None:
    part = output.with_name(f"{output.name}.part")
    try:
        part.write_bytes(content)
        part.replace(output)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        raise RequestError(f"--output {output}: {error.strerror}.") from None
