"""Files of pictures, restored one after the other: which file becomes which, and what is to be said of it."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.data.datasets import get
from bench.data.errors import in_a_line
from bench.errors import BenchError, DataError, RequestError
from bench.restoring.arrays import Restored, Restoring, Watch
from bench.task import Image

__all__ = ["Done", "Errand", "PhotoWatcher", "errands", "restore_all"]


@dataclass(frozen=True)
class Errand:
    """A file, what it is to become, and how many pixels it has, as far as its header tells."""

    source: Path
    target: Path
    n_pixels: int


@dataclass(frozen=True)
class Done:
    """What became of an errand. failure: why nothing was written, or empty."""

    errand: Errand
    seconds: float
    remarks: tuple[str, ...] = ()
    failure: str = ""


class PhotoWatcher:
    """Is told how it goes; this one does nothing with it."""

    def started(self, errands: Sequence[Errand]) -> None:
        """Before the first file."""

    def restored(self, errand: Errand, share: float) -> None:
        """This share of the file's picture was done in this step."""


def errands(files: Sequence[str | Path], output: str | Path) -> tuple[Errand, ...]:
    """What there is to do for files and folders; folders inside a folder are not searched. Of pairs the noisy one is.

    output  the file to write, if one is to be restored; else a folder, where names stay and what is not PNG, TIFF or
            WebP becomes PNG

    Raises RequestError or DataError for a file or folder that is not there, a format that loses something, or two
    files that would become one.
    """
    from bench.data.decoder import header
    from bench.data.given_file import place_of
    from bench.data.saving import FORMATS, check_suffix

    places, output = [place_of(named) for named in files], place_of(output)
    sources = [source for place in places for source in _sources(place)]
    is_one_file = len(places) == 1 and not places[0].is_dir()
    if is_one_file and output.suffix and not output.is_dir():
        check_suffix(output)
        targets = [output]
    elif output.exists() and not output.is_dir():
        raise RequestError(f"-o {in_a_line(output)}: it is a file, and {len(sources)} pictures need a folder.")
    else:
        names = [one.name if one.suffix.lower() in FORMATS else f"{one.stem}.png" for one in sources]
        targets = [output / name for name in names]
    _check(sources, targets)
    sizes = [header(source) or (0, 0, 0) for source in sources]
    return tuple(Errand(s, t, w * h) for s, t, (w, h, _) in zip(sources, targets, sizes, strict=True))


def _sources(named: Path) -> list[Path]:
    if named.is_dir():
        entries = get(named).entries
        return [entry.pair.noisy.path if entry.pair else entry.path for entry in entries if entry.path is not None]
    if not named.exists():
        raise DataError(f"There is no file {in_a_line(named)}.")
    return [named]


def _check(sources: Sequence[Path], targets: Sequence[Path]) -> None:
    of_target: dict[Path, Path] = {}
    own = {source.resolve() for source in sources}
    for source, target in zip(sources, targets, strict=True):
        if target.resolve() in own:
            raise RequestError(
                f"{in_a_line(target)} is a picture to be restored, and is not written over. Name another."
            )
        other = of_target.setdefault(target, source)
        if other != source:
            both = f"{in_a_line(other)} and {in_a_line(source)}"
            raise RequestError(f"{both} would become {in_a_line(target)}. Restore them into two folders.")


def restore_all(
    restoring: Restoring, errands: Sequence[Errand], *, force: bool = False, watcher: PhotoWatcher | None = None
) -> Iterator[Done]:
    """Restore files, one after the other. A failure costs its own file.

    force  write over files that are there
    """
    watcher = watcher or PhotoWatcher()
    watcher.started(errands)
    for errand in errands:
        begun = time.monotonic()
        try:
            remarks = _restore(restoring, errand, force, partial(watcher.restored, errand))
            yield Done(errand, time.monotonic() - begun, remarks)
        except BenchError as error:
            yield Done(errand, time.monotonic() - begun, failure=str(error))


def _restore(restoring: Restoring, errand: Errand, force: bool, watch: Watch) -> tuple[str, ...]:
    from bench.data.photo import Photo, read_photo
    from bench.data.saving import Kept, save

    if errand.target.exists() and not force:
        raise RequestError(f"{in_a_line(errand.target)} is there already (--force writes over it).")
    photo: Photo = read_photo(errand.source)
    quality = re.search("[0-9]+", photo.quality)
    restored: Restored = restoring.restore(photo.image, quality=int(quality[0]) if quality else None, watch=watch)
    remarks = [photo.note, *restored.remarks]
    if quality and restoring.task.name == "deblock" and restoring.asked is None:
        remarks.insert(0, f"JPEG of quality {photo.quality}, by its tables")
    alpha, icc = photo.alpha, photo.icc
    if alpha is not None:
        alpha = _enlarged(alpha, restored.image.shape[0] // alpha.shape[0])
        remarks.append("the alpha channel was passed on, not restored")
    if icc and photo.image.shape[2] != restored.image.shape[2]:
        icc = b""
        remarks.append("its profile is of gray and was left out")
    errand.target.parent.mkdir(parents=True, exist_ok=True)
    save(restored.image, errand.target, Kept(alpha, photo.bits, icc, photo.orientation))
    return tuple(dict.fromkeys(filter(None, remarks)))


def _enlarged(alpha: Image, factor: int) -> Image:
    from bench.data.degrade import bicubic

    return alpha if factor == 1 else bicubic(alpha, factor)
