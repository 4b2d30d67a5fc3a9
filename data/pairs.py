"""Pairs of a clean and a noisy picture, as cameras give them: a folder with `clean/` and `noisy/`, or a TOML file.

    # sidd.toml; paths are relative to it
    clean = "Data/*/*_GT_SRGB_*.PNG"      # what each * stands for must be equal in both names
    noisy = "Data/*/*_NOISY_SRGB_*.PNG"   # or several patterns: several noisy pictures of one clean picture
    sigma = 12.5                          # if it is known: one, or one for each pattern of `noisy`
    crops = [[0, 0, 256, 256]]            # if only parts are meant: x, y, width, height

`clean` and `noisy` may instead name a .mat (MATLAB 5) or .npy file each, uint8 (..., H, W, C), e.g. SIDD's validation
blocks. A .mat file that holds several arrays needs `variables = ["of clean", "of noisy"]`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from bench.data.errors import DataError, in_a_line, near_miss
from bench.data.kinds import EXTENSIONS
from bench.data.regular import open_regular
from bench.data.toml import tomllib

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["STACKS", "Crop", "Pair", "Place", "declared", "in_folder", "is_pairs_folder", "stack"]

Crop = tuple[int, int, int, int]
"""x, y, width, height"""

STACKS = (".mat", ".npy")
MOST_BYTES = 4 << 30


@dataclass(frozen=True)
class Place:
    """Where a picture is: a file, its place in a stack of them, the part that is meant."""

    path: Path
    variable: str = ""
    index: tuple[int, ...] = ()
    crop: Crop | None = None


@dataclass(frozen=True)
class Pair:
    """name: of the noisy picture, unique in its set; sigma: on the 0-255 scale, None if it is not known."""

    name: str
    clean: Place
    noisy: Place
    sigma: float | None = None


# --- a folder --------------------------------------------------------------------------------------


def is_pairs_folder(folder: Path) -> bool:
    return (folder / "clean").is_dir() and (folder / "noisy").is_dir()


def in_folder(folder: Path) -> list[Pair]:
    """The pairs of `clean/` and `noisy/`, by the names of files without what follows the last dot.

    Raises DataError for a picture without a partner, and for two of one name.
    """
    clean, noisy = (_by_stem(folder / part) for part in ("clean", "noisy"))
    _check_partners(clean, noisy, in_a_line(folder))
    return [Pair(noisy[stem].name, Place(clean[stem]), Place(noisy[stem])) for stem in noisy]


def _by_stem(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in EXTENSIONS and path.is_file() and not path.name.startswith("."):
            first = found.setdefault(path.stem, path)
            if first is not path:
                raise DataError(
                    f"{in_a_line(folder)} holds {first.name} and {path.name}: one picture of a name is meant."
                )
    return found


def _check_partners(clean: Mapping[Any, Path], noisy: Mapping[Any, Path], where: str) -> None:
    if not clean and not noisy:
        raise DataError(f"{where} holds no pairs. Looked for {', '.join(EXTENSIONS)} in clean/ and noisy/.")
    for these, others, kind in ((clean, noisy, "noisy"), (noisy, clean, "clean")):
        alone = [in_a_line(path) for key, path in these.items() if key not in others]
        if alone:
            more = f", nor have {len(alone) - 1} more" if len(alone) > 1 else ""
            raise DataError(f"{alone[0]} has no {kind} partner{more}. Add it, or take the picture away.")


# --- a TOML file -----------------------------------------------------------------------------------

_KINDS = {
    "clean": "a pattern or a file",
    "noisy": "a pattern or a file, or several patterns",
    "sigma": "a number from 0 to 255, or one for each pattern of `noisy`",
    "crops": "a list of [x, y, width, height]",
    "variables": 'two names, e.g. ["ValidationGtBlocksSrgb", "ValidationNoisyBlocksSrgb"]',
    "title": "a line",
    "terms": "a line",
}


def declared(path: Path) -> tuple[list[Pair], str, str]:
    """What a TOML file declares: its pairs, the set's title and its terms, "" where they are not given.

    Raises DataError naming the file, what is wrong with it and what was expected.
    """
    named = in_a_line(path)
    table = _table(path, named)
    clean, noisy = table["clean"], table["noisy"]
    crops = [_crop(named, crop) for crop in table.get("crops", [])]
    _check_overlap(named, crops)
    if clean.lower().endswith(STACKS):
        pairs = _of_stacks(path.parent, named, clean, noisy, table)
    else:
        pairs = _of_patterns(path.parent, named, clean, noisy, table.get("sigma"))
    if crops:
        pairs = [_cropped(pair, crop) for pair in pairs for crop in crops]
    return pairs, table.get("title", ""), table.get("terms", "")


def _table(path: Path, named: str) -> dict[str, Any]:
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise DataError(f"{named} cannot be read: {error.strerror}.") from None
    except ValueError as error:  # of TOML or of UTF-8
        raise DataError(f"{named} is no TOML: {in_a_line(error, 200)}.") from None
    for key in table:
        if key not in _KINDS:
            raise DataError(
                f"{named} has '{in_a_line(key, 60)}', which says nothing of pairs.{near_miss(key, _KINDS)}"
            )
    for key in ("clean", "noisy"):
        if key not in table:
            raise DataError(f"{named} has no `{key}`: {_KINDS[key]}.")
    fits = {
        "clean": lambda v: isinstance(v, str),
        "noisy": lambda v: isinstance(v, str) or _is_list(v, str),
        "sigma": lambda v: all(_is_sigma(one) for one in (v if isinstance(v, list) else [v])),
        "crops": lambda v: isinstance(v, list),
        "variables": lambda v: _is_list(v, str) and len(v) == 2,
    }
    for key, value in table.items():
        if not fits.get(key, lambda v: isinstance(v, str))(value):
            raise DataError(f"{named}: `{key}` is {in_a_line(value, 60)}; expected {_KINDS[key]}.")
    return table


def _is_list(value: Any, kind: type) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, kind) for one in value)


def _is_sigma(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 255


def _crop(named: str, crop: Any) -> Crop:
    whole = isinstance(crop, list) and len(crop) == 4 and all(type(n) is int and n >= 0 for n in crop)
    if not whole or not crop[2] * crop[3]:
        raise DataError(f"{named}: a crop is {in_a_line(crop, 60)}; expected [x, y, width, height] in pixels.")
    return crop[0], crop[1], crop[2], crop[3]


def _check_overlap(named: str, crops: Sequence[Crop]) -> None:
    for (i, a), (j, b) in combinations(enumerate(crops, start=1), 2):
        if all(max(a[k], b[k]) < min(a[k] + a[k + 2], b[k] + b[k + 2]) for k in (0, 1)):
            raise DataError(f"{named}: crops {i} and {j} overlap, so that their pixels would count twice.")


def _cropped(pair: Pair, crop: Crop) -> Pair:
    clean, noisy = (Place(p.path, p.variable, p.index, crop) for p in (pair.clean, pair.noisy))
    x, y, width, height = crop
    return Pair(f"{pair.name}@{width}x{height}+{x}+{y}", clean, noisy, pair.sigma)


def _of_patterns(folder: Path, named: str, clean: str, noisy: str | list[str], sigma: Any) -> list[Pair]:
    patterns = [noisy] if isinstance(noisy, str) else noisy
    sigmas = sigma if isinstance(sigma, list) else [sigma] * len(patterns)
    if len(sigmas) != len(patterns):
        raise DataError(f"{named}: `sigma` has {len(sigmas)} values, and `noisy` {len(patterns)} patterns.")
    of_clean = _by_stars(folder, clean, named)
    base = _common_folder(patterns)
    pairs = []
    for pattern, one_sigma in zip(patterns, sigmas, strict=True):
        of_noisy = _by_stars(folder, pattern, named)
        _check_partners(of_clean, of_noisy, named)
        for stars, path in of_noisy.items():
            name = path.relative_to(folder / base).as_posix()
            pairs.append(Pair(name, Place(of_clean[stars]), Place(path), one_sigma))
    return pairs


def _by_stars(folder: Path, pattern: str, named: str) -> dict[tuple[str, ...], Path]:
    """The files that fit a pattern, by what each of its stars stands for, which is no dot at a name's beginning."""
    if (
        pattern.startswith(("/", "~"))
        or ".." in PurePosixPath(pattern).parts
        or "*" not in pattern
        or "**" in pattern
    ):
        shown = in_a_line(pattern, 100)
        raise DataError(
            f"{named}: '{shown}' is no pattern below its folder, as clean/*.png is, nor a .mat or .npy file."
        )
    text = "([^/]*)".join(map(re.escape, pattern.split("*")))
    fits = re.compile(re.sub(r"(^|/)\(", r"\1(?!\\.)(", text))
    found: dict[tuple[str, ...], Path] = {}
    for path in sorted(folder.glob(pattern)):
        matched = fits.fullmatch(path.relative_to(folder).as_posix())
        if matched and path.is_file():
            found[matched.groups()] = path
    if not found:
        raise DataError(f"{named}: no file fits '{in_a_line(pattern, 100)}'.")
    return found


def _common_folder(patterns: Sequence[str]) -> PurePosixPath:
    """The last folder that all patterns name without a star, and share."""
    folders = [PurePosixPath(pattern.partition("*")[0] + "*").parent for pattern in patterns]
    shared = folders[0]
    while any(shared != one and shared not in one.parents for one in folders):
        shared = shared.parent
    return shared


# --- stacks of pictures in one file ----------------------------------------------------------------


def _of_stacks(folder: Path, named: str, clean: str, noisy: Any, table: dict[str, Any]) -> list[Pair]:
    if not isinstance(noisy, str) or not noisy.lower().endswith(STACKS) or isinstance(table.get("sigma"), list):
        raise DataError(f"{named}: `clean` is one file of pictures, and so must `noisy` be, with one `sigma`.")
    variables = table.get("variables", ["", ""])
    places = [Place(folder / name, variable) for name, variable in zip((clean, noisy), variables, strict=True)]
    shapes = [stack(place.path, place.variable).shape for place in places]
    if shapes[0] != shapes[1]:
        a, b = ("x".join(map(str, shape)) for shape in shapes)
        raise DataError(f"{named}: `clean` holds {a} values and `noisy` {b}: they must be alike.")
    pairs = []
    import numpy as np

    leading = shapes[0][:-3]
    for index in np.ndindex(leading):
        name = "-".join(f"{i + 1:0{len(str(n))}}" for i, n in zip(index, leading, strict=True)) or "1"
        of_clean, of_noisy = (Place(place.path, place.variable, index) for place in places)
        pairs.append(Pair(name, of_clean, of_noisy, table.get("sigma")))
    return pairs


def stack(path: Path, variable: str = "") -> NDArray[np.uint8]:
    """The pictures in a .mat or .npy file, uint8 (..., H, W, C), C = 1 or 3; the last two files are kept in memory.

    Raises DataError, naming the file.
    """
    try:
        told = path.stat()
    except OSError as error:
        raise DataError(f"{in_a_line(path)} cannot be read: {error.strerror}.") from None
    return _stack(path, variable, told.st_mtime_ns, told.st_size)


@lru_cache(maxsize=2)
def _stack(path: Path, variable: str, mtime_ns: int, n_bytes: int) -> NDArray[np.uint8]:
    import numpy as np

    named = in_a_line(path)
    if n_bytes > MOST_BYTES:
        raise DataError(_too_large(named))
    try:
        array = _of_npy(path) if path.suffix.lower() == ".npy" else _of_mat(path, variable)
    except DataError:
        raise
    except NotImplementedError:
        raise DataError(f"{named} is a MATLAB 7.3 file. Save it with -v7, or as .npy.") from None
    except Exception as error:  # readers raise many kinds of a damaged file
        raise DataError(f"{named} cannot be read as an array: {in_a_line(error, 200)}.") from None
    if array.dtype != np.uint8 or array.ndim < 2 or not array.size:
        raise DataError(f"{named} holds {array.dtype} values of shape {array.shape}; expected uint8 (..., H, W, C).")
    return array if array.ndim > 2 and array.shape[-1] in (1, 3) else array[..., np.newaxis]


def _too_large(named: str) -> str:
    return f"{named} has more than {MOST_BYTES >> 30} GiB, which are all that is read."


def _of_npy(path: Path) -> NDArray[Any]:
    import numpy as np

    with open_regular(path) as file:
        array: Any = np.load(file, allow_pickle=False)
    if not isinstance(array, np.ndarray):
        raise TypeError("it is an archive of arrays")
    return array


def _of_mat(path: Path, variable: str) -> NDArray[Any]:
    from scipy.io import loadmat, whosmat

    found = whosmat(path)  # reads no values
    names = [name for name, _, kind in found if kind == "uint8"]
    if not variable and len(names) == 1:
        variable = names[0]
    if variable not in names:
        asked = f"no '{in_a_line(variable, 60)}'" if variable else "no one array"
        raise DataError(
            f"{in_a_line(path)} holds {asked} of uint8 values, but {', '.join(map(in_a_line, names)) or 'none'}."
            " Name it in `variables`."
        )
    n_bytes = sum(math.prod(shape) for name, shape, _ in found if name == variable)
    if n_bytes > MOST_BYTES:  # of a file that was compressed
        raise DataError(_too_large(in_a_line(path)))
    array: NDArray[Any] = loadmat(path, variable_names=[variable])[variable]
    return array
