"""Images by name: the data sets of `datasets.toml`, any folder of one's own images, one file, or pairs.

    dataset = get("set12")             # or get("./photos"), get("./photos/one.png"), get("./pairs.toml")
    for entry in dataset.entries:
        clean = read(dataset, entry)   # fetched if need be, checked, decoded

Listing sets and entries reads two small text files at most; only `read` and `fetch_all` touch images or network.
"""

from __future__ import annotations

import csv
import hashlib
import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bench.data.download import FileState, RemoteFile
from bench.data.errors import DataError, in_a_line, near_miss
from bench.data.kinds import COUNTS_AS_CLEAN, EXTENSIONS
from bench.data.labels import shortest_labels
from bench.data.pairs import STACKS, Pair, Place, declared, in_folder, is_pairs_folder, stack
from bench.data.selection import ALL, Selection
from bench.data.toml import tomllib

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "EXTENSIONS",
    "CleanImage",
    "Dataset",
    "ImageEntry",
    "fetch",
    "fetch_all",
    "get",
    "labelled",
    "names",
    "overlap",
    "read",
    "verify",
]

Role = Literal["test", "training", "part", "folder"]

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class ImageEntry:
    """One image of a data set, before it is read.

    name           of the file, in Unicode's composed form (NFC), unique in its data set
    dataset        the set that the file is stored under: another one than asked for if that is composed
    width, height  in pixels; None for a file of a folder whose header cannot be read (`read` says why)
    channels       1 or 3; None likewise
    bytes          size of the file
    sha256         of the file; empty for a folder
    pixels_sha256  of the 8-bit pixels, rows first, channels last; empty for a folder
    url            the original address; empty if the file is embedded or in a folder
    path           where a folder's file lies, spelled as there; None otherwise
    pair           where its clean and its noisy picture are, if it has been degraded already
    """

    name: str
    dataset: str
    width: int | None
    height: int | None
    channels: int | None
    bytes: int
    sha256: str = ""
    pixels_sha256: str = ""
    url: str = ""
    path: Path | None = None
    pair: Pair | None = None

    @property
    def n_pixels(self) -> int:
        """As far as it is known: 0 if it is not."""
        return (self.width or 0) * (self.height or 0)

    @property
    def file(self) -> RemoteFile:
        """What to fetch for this image. Only for an entry with a `url`."""
        return RemoteFile("datasets", self.dataset, self.name, self.url, sha256=self.sha256, size=self.bytes)


@dataclass(frozen=True)
class Dataset:
    """A data set: what it is, on which terms, and its images.

    name      of a folder: the last part of its path, in Unicode's composed form (NFC); noise is drawn from it
    role      test, training, part (exists to compose others) or folder
    channels  that occur among its images, e.g. (1,), (3,) or (1, 3)
    overlaps  other set -> which pictures are in both, as declared for the pair itself; see `overlap`
    location  of a folder: its absolute path, which tells apart two folders of one name; empty otherwise
    embedded  the installed package whose data folder holds the files; `crop` is the side of the centre square taken
    label     what is shown: the name, or of folders of one name what tells them apart, see `labelled`
    part      if not all of its pictures were asked for, how many, in words; the others are not among `entries`
    """

    name: str
    title: str
    role: Role
    terms: str
    images: int
    channels: tuple[int, ...]
    notes: tuple[str, ...] = ()
    overlaps: Mapping[str, str] = field(default_factory=dict, hash=False)
    url: str = ""
    composed_of: tuple[str, ...] = ()
    embedded: str = ""
    crop: int = 0
    location: str = ""
    found: tuple[ImageEntry, ...] = field(default=(), repr=False)
    label: str = ""
    part: str = ""

    def __post_init__(self) -> None:
        if not self.label:
            object.__setattr__(self, "label", self.name)

    def __len__(self) -> int:
        return self.images

    @property
    def entries(self) -> tuple[ImageEntry, ...]:
        """Its images, sorted by name as people do (2 before 10). Declared ones are read from files/*.csv once."""
        return self.found or _declared_entries(self.name)


@dataclass(frozen=True)
class CleanImage:
    """An image as the tasks take it.

    pixels  float32 (H, W, C) in [0, 1], C = 1 or 3: 8-bit values divided by 255
    sha256  of those 8-bit values, rows first, channels last
    note    what was converted on the way ("16 bits a channel reduced to the upper 8"), or empty
    noisy   of a pair what was seen of it, float32 of that shape; `sha256` is then of both, the clean one first
    """

    pixels: NDArray[np.float32]
    sha256: str
    note: str = ""
    noisy: NDArray[np.float32] | None = None


# --- by name -----------------------------------------------------------------------------------------


def names() -> tuple[str, ...]:
    """Every declared data set, in the order of datasets.toml."""
    return tuple(_declared())


def size(name: str) -> int | None:
    """How many images a declared data set has; None if none is declared by that name."""
    return len(_declared()[name]) if name in _declared() else None


def get(name_or_place: str | Path, selection: Selection = ALL) -> Dataset:
    """The data set of that name, the images of that folder, that one file, or the pairs that it declares (.toml).

    selection  which of its pictures
    A known name wins over a folder or file of the same name; write ./name, or give a Path, for that. A folder that
    holds no images itself, but `clean/` and `noisy/`, holds pairs. Fetches and decodes nothing.
    Raises DataError with the near miss, or naming a place that is missing or holds no images.
    """
    asked = str(name_or_place)
    if asked in _declared() and isinstance(name_or_place, str):
        return _selected(_declared()[asked], selection)
    looks_like_a_path = asked.startswith((".", "~")) or os.sep in asked or "/" in asked
    if looks_like_a_path or isinstance(name_or_place, Path) or (asked and os.path.exists(asked)):  # noqa: PTH110
        return _selected(_at(asked, recursive=selection.recursive), selection)
    raise DataError(
        f"No data set named '{in_a_line(asked, 200)}'.{near_miss(asked, names())} "
        "A folder of images is written ./folder."
    )


def _selected(dataset: Dataset, selection: Selection) -> Dataset:
    if not str(selection):
        return dataset
    places = selection.of([entry.name for entry in dataset.entries], dataset.label)
    found = tuple(dataset.entries[place] for place in places)
    part = f"{len(found)} of {len(dataset)} pictures ({selection})"
    channels = tuple(sorted({entry.channels for entry in found if entry.channels}))
    return replace(dataset, found=found, images=len(found), channels=channels, part=part)


def labelled(datasets: Sequence[Dataset]) -> tuple[Dataset, ...]:
    """The data sets that are asked for together: each once, folders of one name with labels that tell them apart.

    `x/test` and `y/test`, or `a/x/test` and `b/x/test`. Two spellings of one folder are one data set.
    Raises DataError for folders whose paths differ in nothing that is seen.
    """
    of_name: dict[str, dict[str, Dataset]] = defaultdict(dict)  # then by location
    for dataset in datasets:
        first = of_name[dataset.name].setdefault(dataset.location, dataset)
        of_name[dataset.name][dataset.location] = _together(first, dataset)
    labels: dict[tuple[str, str], str] = {}
    for name, at in of_name.items():
        told_apart = shortest_labels(_paths(at)) if len(at) > 1 else [name]
        for location, label in zip(at, told_apart, strict=True):
            labels[name, location] = label
    known = [(dataset.name, dataset.location) for dataset in datasets]
    return tuple(replace(of_name[name][at], label=labels[name, at]) for name, at in dict.fromkeys(known))


def _together(one: Dataset, other: Dataset) -> Dataset:
    """A data set that is asked for twice, perhaps in parts: all the pictures that either names."""
    if one.found == other.found:
        return one
    found = _in_order({entry.name: entry for entry in (*one.entries, *other.entries)}.values())
    channels = tuple(sorted({*one.channels, *other.channels}))
    return replace(one, found=found, images=len(found), channels=channels, part=one.part and other.part)


def _paths(locations: Iterable[str]) -> list[str]:
    return [Path(location).as_posix() for location in _composed([*locations], "folders")]


def overlap(a: str, b: str) -> str | None:
    """Which pictures the data sets named `a` and `b` share, in words, or None. `overlap(a, b) == overlap(b, a)`.

    Composed sets share what their parts share, and a set shares all with itself. A folder shares nothing known.
    """
    if a == b:
        return f"they are the same set, {a}" if a in _declared() else None
    found = [_overlap_of_parts(p, q) for p in _parts(min(a, b)) for q in _parts(max(a, b))]
    return "; ".join(dict.fromkeys(text for text in found if text)) or None


def _parts(name: str) -> tuple[str, ...]:
    dataset = _declared().get(name)
    return dataset.composed_of or (name,) if dataset else ()


def _overlap_of_parts(p: str, q: str) -> str | None:
    dataset = _declared()[p]
    return f"all {dataset.images} pictures of {p} are in both" if p == q else dataset.overlaps.get(q)


@cache
def _declared() -> dict[str, Dataset]:
    """datasets.toml, each overlap entered under both of its sets."""
    tables: dict[str, dict[str, Any]] = tomllib.loads((_HERE / "datasets.toml").read_text("utf-8"))
    overlaps: dict[str, dict[str, str]] = {name: {} for name in tables}
    for name, table in tables.items():
        for other, text in table.pop("overlaps", {}).items():
            overlaps[name][other] = overlaps[other][name] = text
    return {name: _from_table(name, table, overlaps[name]) for name, table in tables.items()}


def _from_table(name: str, table: dict[str, Any], overlaps: dict[str, str]) -> Dataset:
    lists = {key: tuple(value) for key, value in table.items() if isinstance(value, list)}
    return Dataset(name=name, overlaps=overlaps, **{**table, **lists})


@cache
def _declared_entries(name: str) -> tuple[ImageEntry, ...]:
    dataset = _declared()[name]
    if dataset.composed_of:
        return _in_order(entry for part in dataset.composed_of for entry in _declared_entries(part))
    with (_HERE / "files" / f"{name}.csv").open(newline="", encoding="utf-8") as opened:
        return _in_order(_from_row(dataset, row) for row in csv.DictReader(opened))


def _from_row(dataset: Dataset, row: dict[str, str]) -> ImageEntry:
    return ImageEntry(
        name=row["name"],
        dataset=dataset.name,
        width=int(row["width"]),
        height=int(row["height"]),
        channels=int(row["channels"]),
        bytes=int(row["bytes"]),
        sha256=row["sha256"],
        pixels_sha256=row["pixels_sha256"],
        url=dataset.url and dataset.url + row["name"],
    )


def _in_order(entries: Iterable[ImageEntry]) -> tuple[ImageEntry, ...]:
    return tuple(sorted(entries, key=lambda entry: _natural(entry.name)))


def _natural(name: str) -> tuple[list[str | int], str]:
    """Sort key: numbers as numbers, letters whatever their case, then the name itself."""
    parts = re.split(r"([0-9]+)", name)  # text and numbers take turns, so that like meets like
    return [int(part) if i % 2 else part.casefold() for i, part in enumerate(parts)], name


# --- a folder, a file, pairs -----------------------------------------------------------------------------


def _at(asked: str, *, recursive: bool) -> Dataset:
    named = in_a_line(asked, 200)
    try:
        place = Path(asked).expanduser()
        if place.is_file():
            return _declared_pairs(place) if place.suffix.lower() == ".toml" else _one_file(place)
        files = [*_files_in(place)]
        if is_pairs_folder(place) and not _images(files):
            return _pairs(place, place, in_folder(place))
        files = [*_files_below(place)] if recursive else files
        images = _images(files)
    except FileNotFoundError:
        kind = "file" if place.suffix else "folder"
        raise DataError(f"There is no {kind} '{named}'. Data sets known by name: {', '.join(names())}.") from None
    except NotADirectoryError:
        raise DataError(f"'{named}' is no folder, and no file that can be read.") from None
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: no such user; ValueError: a zero byte
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"The folder '{named}' cannot be read ({reason}).") from None
    if not images:
        others = "" if recursive else "; its folders are searched with --recursive alone"
        raise DataError(
            f"The folder '{named}' holds no images ({len(files)} other files{others}). "
            f"Looked for {', '.join(EXTENSIONS)}."
        )
    return _of_files(place, images)


def _images(files: Iterable[Path]) -> list[Path]:
    return [path for path in files if path.suffix.lower() in EXTENSIONS]


def _files_in(folder: Path) -> Iterator[Path]:
    return (path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))


MOST_FILES = 200_000
"""below a folder, its folders included"""


def _files_below(folder: Path) -> Iterator[Path]:
    """Its files and those of its folders. Links to folders are not followed, which could lead in circles."""
    n = len(os.listdir(folder))  # noqa: PTH208  raises for what is no folder, which os.walk would pass over
    for top, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        n += len(files)
        if n > MOST_FILES:
            raise DataError(f"'{in_a_line(folder)}' and its folders hold more than {MOST_FILES:,} files: name less.")
        found = (Path(top, name) for name in files if not name.startswith("."))
        yield from (path for path in found if path.is_file())


def _one_file(path: Path) -> Dataset:
    """That file of its folder: what is measured of it is measured of the folder, and the other way round."""
    if path.suffix.lower() not in EXTENSIONS:
        raise DataError(
            f"'{in_a_line(path, 200)}' is neither an image ({', '.join(EXTENSIONS)}) nor a .toml that declares pairs."
        )
    return _of_files(path.parent, [path])


def _of_files(folder: Path, images: Sequence[Path]) -> Dataset:
    location = folder.resolve()
    name = _name_of(location)
    relative = [path.relative_to(folder).as_posix() for path in images]
    of_files = _composed(relative, f"files of '{in_a_line(folder, 200)}'")
    entries = _in_order(_from_file(path, name, of_file) for path, of_file in zip(images, of_files, strict=True))
    return _folder(name, f"images of {_text(str(location))}", location, entries)


def _name_of(location: Path) -> str:
    [name] = _composed([location.name or "root"], "folders")
    return f"./{name}" if name in _declared() else name  # never mistaken for the set that is known by it


def _folder(name: str, title: str, location: Path, entries: tuple[ImageEntry, ...], terms: str = "yours") -> Dataset:
    channels = tuple(sorted({entry.channels for entry in entries if entry.channels}))
    where = _text(str(location))
    return Dataset(name, title, "folder", terms, len(entries), channels, location=where, found=entries)


def _declared_pairs(path: Path) -> Dataset:
    pairs, title, terms = declared(path)
    return _pairs(path, path.parent, pairs, title, terms)


def _pairs(place: Path, folder: Path, pairs: Sequence[Pair], title: str = "", terms: str = "") -> Dataset:
    """place: the folder or the TOML file that declares them, which the set is named after."""
    location = place.resolve()
    name = _name_of(location.with_suffix("") if place.is_file() else location)
    named = _composed([pair.name for pair in pairs], f"pairs of '{in_a_line(folder, 200)}'")
    entries = _in_order(_from_pair(pair, name, of_pair) for pair, of_pair in zip(pairs, named, strict=True))
    return _folder(name, title or f"pairs of {_text(str(location))}", location, entries, terms or "yours")


def _from_pair(pair: Pair, dataset: str, name: str) -> ImageEntry:
    path = pair.clean.path
    if path.suffix.lower() in STACKS:
        height, width, channels = stack(path, pair.clean.variable).shape[-3:]
        size: tuple[int, ...] = (width, height, channels)
    else:
        from bench.data.decoder import header

        size = header(path) or ()
    if size and pair.clean.crop:
        size = (*pair.clean.crop[2:], size[2])
    width, height, channels = size or (None, None, None)
    return ImageEntry(name, dataset, width, height, channels, _n_bytes(path), path=path.absolute(), pair=pair)


def _composed(names: Sequence[str], what: str) -> list[str]:
    """The names in Unicode's composed form: `é` is one letter, however a file system spells it.

    Raises DataError for two that are spelled apart and read the same.
    """
    spelled: dict[str, str] = {}
    composed = []
    for name in names:
        one = unicodedata.normalize("NFC", _text(name))
        if one in spelled:
            raise DataError(
                f"The {what} {spelled[one]!a} and {name!a} have one name, spelled in two ways. Rename one."
            )
        spelled[one] = name
        composed.append(one)
    return composed


def _text(name: str) -> str:
    """A name as text that can be written anywhere: bytes in it that are no UTF-8 become `\\xff`."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _from_file(path: Path, dataset: str, name: str) -> ImageEntry:
    from bench.data.decoder import header

    width, height, channels = header(path) or (None, None, None)
    return ImageEntry(name, dataset, width, height, channels, _n_bytes(path), path=path.absolute())


def _n_bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # it went meanwhile, and `read` will say so
        return 0


# --- reading ---------------------------------------------------------------------------------------------


def read(dataset: Dataset, entry: ImageEntry) -> CleanImage:
    """Read one image; a known one is fetched first if it is not in the cache, and its checksum is verified.

    Raises DataError, naming the file, if it cannot be had, is damaged, or cannot be converted to 8 bits.
    """
    import numpy as np
    from bench.data.colour import to_unit

    if entry.pair:
        return _read_pair(entry.pair)
    pixels, note = _decoded(dataset, entry)
    if dataset.embedded:
        pixels = _crop_and_gray(pixels, dataset)
    sha256 = hashlib.sha256(np.ascontiguousarray(pixels).data).hexdigest()
    if entry.pixels_sha256 not in ("", sha256):  # JPEG leaves the last bit to the decoder
        note = "; ".join(filter(None, (note, "decoded to other pixels than those declared (another decoder)")))
    return CleanImage(to_unit(pixels), sha256, note)


def _read_pair(pair: Pair) -> CleanImage:
    from bench.data.colour import to_unit

    (clean, of_clean), (noisy, of_noisy) = _read_place(pair.clean), _read_place(pair.noisy)
    if clean.shape != noisy.shape:
        a, b = (f"{width}x{height} of {channels}" for height, width, channels in (clean.shape, noisy.shape))
        raise DataError(f"{pair.name}: the clean picture is {a} channels and the noisy one {b}: they must be alike.")
    digest = hashlib.sha256(clean.tobytes() + noisy.tobytes())
    same = "its noisy picture is its clean one" if clean.tobytes() == noisy.tobytes() else ""
    of_noisy = of_noisy.replace(f", {COUNTS_AS_CLEAN}", "")
    notes = [*of_clean.split("; "), of_noisy and f"the noisy picture: {of_noisy}", same]
    note = "; ".join(filter(None, dict.fromkeys(notes)))
    return CleanImage(to_unit(clean), digest.hexdigest(), note, to_unit(noisy))


def _read_place(place: Place) -> tuple[NDArray[np.uint8], str]:
    from bench.data.decoder import decode

    if place.path.suffix.lower() in STACKS:
        pixels, note = stack(place.path, place.variable)[place.index], ""
    else:
        pixels, note = decode(place.path)
    if place.crop is None:
        return pixels, note
    (height, width, _), (x, y, w, h) = pixels.shape, place.crop
    if x + w > width or y + h > height:
        raise DataError(f"{in_a_line(place.path)} is {width}x{height}: the crop [{x}, {y}, {w}, {h}] leaves it.")
    return pixels[y : y + h, x : x + w], note


def _decoded(dataset: Dataset, entry: ImageEntry) -> tuple[NDArray[np.uint8], str]:
    """Only a file whose checksum is known, and was verified, is decoded in this process."""
    from bench.data import decode, decoder

    return decoder.decode(entry.path) if entry.path else decode.decode(_locate(dataset, entry))


def _locate(dataset: Dataset, entry: ImageEntry) -> Path:
    return _embedded(dataset, entry) if dataset.embedded else fetch(entry)


def fetch(entry: ImageEntry) -> Path:
    """Fetch the file of a known image, if it is not in the cache, and check it. Raises DataError."""
    from bench.data import download

    file = entry.file
    return download.fetch(file.kind, file.group, file.name, file.url, sha256=file.sha256, size=file.size)


def _embedded(dataset: Dataset, entry: ImageEntry) -> Path:
    from importlib.util import find_spec

    spec = find_spec(dataset.embedded)
    folders = spec.submodule_search_locations if spec else None
    for folder in folders or ():
        path = Path(folder) / "data" / entry.name
        if path.is_file():
            if problem := RemoteFile("datasets", dataset.name, entry.name, "", sha256=entry.sha256).problem(path):
                raise DataError(
                    f"{path} is not the file that '{dataset.name}' means: {problem}. Reinstall scikit-image."
                )
            return path
    raise DataError(f"'{dataset.name}' needs {entry.name} from the data folder of {dataset.embedded}. Reinstall it.")


def _crop_and_gray(pixels: NDArray[np.uint8], dataset: Dataset) -> NDArray[np.uint8]:
    """The centre square, `dataset.crop` pixels wide, in gray if the set is: (H, W, C) to (crop, crop, 1 or 3)."""
    from bench.data.colour import rgb2gray

    top, left = ((side - dataset.crop) // 2 for side in pixels.shape[:2])
    square = pixels[top : top + dataset.crop, left : left + dataset.crop]
    return rgb2gray(square)[..., None] if dataset.channels == (1,) and square.shape[2] == 3 else square


# --- the whole of a set ------------------------------------------------------------------------------------


def fetch_all(dataset: Dataset, progress: Callable[[int, int], None] | None = None) -> tuple[Path, ...]:
    """Fetch every file of a set and check it; files already cached are only checked.

    progress  called after each file with (files done, files in all)
    Answer    the paths, in the order of `entries`; none for a folder or an embedded set, which need no fetching
    """
    from bench.data import download

    return download.fetch_all([entry.file for entry in dataset.entries if entry.url], progress)


def verify(dataset: Dataset) -> dict[str, FileState]:
    """Name of each image -> "ok", "missing" or "damaged", by the checksums of the cached files. Fetches nothing.

    An embedded set is looked for in its package; of a folder, it is tried whether each image can be decoded.
    """
    from bench.data import download

    if dataset.embedded or dataset.role == "folder":
        return {entry.name: _local_state(dataset, entry) for entry in dataset.entries}
    files = {entry.name: entry.file for entry in dataset.entries}
    states = download.verify(files.values())
    return {name: states[file] for name, file in files.items()}


def _local_state(dataset: Dataset, entry: ImageEntry) -> FileState:
    try:
        read(dataset, entry)
    except DataError:
        return "damaged" if not entry.path or entry.path.exists() else "missing"
    return "ok"
