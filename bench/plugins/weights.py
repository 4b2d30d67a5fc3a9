"""Weights as data: what `weights.toml` beside a restorer declares, and which of it a setting gets.

A declaration is one table, named `restorer.tag`:

    ["dncnn.gray-25"]
    settings   = [{ task = "denoise", channels = 1, levels = [25] }]   # or levels = { from = 0, to = 55 }
    file       = "sigma_25.mat"            # its name in the cache and in a mirror: weights/<restorer>/<file>
    url        = "https://…"               # where the authors publish it; or:
    path       = "weights/….safetensors"   # shipped, beside weights.toml
    sha256     = "…"                       # and/or git_blob = "…", the id that git gives the content
    bytes      = 2292856
    licence    = "…"
    trained_by = "authors"                 # or "us"
    trained_on = ["bsd400"]
    reproduces = "dncnn-2017, Table II"
    loader     = "matconvnet"              # how the restorer reads it
    folder     = "deep_demosaick"          # instead of <restorer> in the cache and in a mirror
    variants   = ["", "sparse-"]           # of the restorer that it is for ("": the plain one); left out: all

A setting may name variants of its own instead.
"""

from __future__ import annotations

import hashlib
import re
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.data.toml import tomllib
from bench.errors import BenchError, DataError, OutOfReachError, WeightsError, unknown
from bench.level import format_level
from bench.plugins import given
from bench.plugins.registry import RestorerInfo, RestorerSpec, infos
from bench.tasks import Setting, colour_word, get_task

if TYPE_CHECKING:
    from bench.data.download import RemoteFile
    from bench.restorer import Served, SeveralWeights, WeightsFile

__all__ = [
    "Declaration",
    "Picked",
    "Use",
    "all_declarations",
    "candidates",
    "check_origin",
    "declarations",
    "declared_for",
    "fault_of",
    "fetch",
    "file_named",
    "named",
    "pick",
    "state",
    "uses_of",
]

NO_WEIGHTS = ", declare some in a weights.toml beside it, or set needs_weights = False"

ORIGIN = {"authors": "published", "us": "ours"}


@dataclass(frozen=True)
class Use:
    """One setting that a file serves.

    levels    those it was trained for, singly, or with is_range the lowest and the highest
    variants  of the restorer; None: all
    """

    task: str
    channels: int
    levels: tuple[Any, ...]
    is_range: bool
    variants: tuple[str, ...] | None

    def fits(self, setting: Setting) -> bool:
        if (self.task, self.channels) != (setting.task, setting.channels):
            return False
        if not self.is_range:
            return setting.level in self.levels
        return not isinstance(setting.level, str) and self.levels[0] <= setting.level <= self.levels[1]


@dataclass(frozen=True)
class Declaration:
    """One weight file."""

    restorer: str
    tag: str
    settings: tuple[Use, ...]
    file: str
    url: str | None
    path: Path | None
    sha256: str | None
    git_blob: str | None
    size: int | None
    licence: str
    trained_by: str
    trained_on: tuple[str, ...]
    reproduces: str
    loader: str
    folder: str = ""

    @property
    def label(self) -> str:
        """What records and tables show."""
        return f"{ORIGIN[self.trained_by]}:{self.file}"

    @property
    def remote(self) -> RemoteFile:
        """Where to fetch it. Only for weights that do not ship with the package."""
        from bench.data.download import RemoteFile

        folder = self.folder or self.restorer
        return RemoteFile("weights", folder, self.file, self.url or "", self.sha256, self.git_blob, self.size)


MOST_BYTES = 1 << 20
"""of a weights.toml"""


@cache
def declarations(manifest: Path) -> tuple[Declaration, ...]:
    """All that one weights.toml declares, in its order. Raises WeightsError naming file and entry."""
    try:
        if not manifest.exists():
            return ()
        if not manifest.is_file():
            raise WeightsError(f"{manifest} is no file.")
        if manifest.stat().st_size > MOST_BYTES:
            raise WeightsError(f"{manifest} has more than {MOST_BYTES} bytes.")
        entries = tomllib.loads(manifest.read_text(encoding="utf-8"))
    except OSError as error:
        raise WeightsError(f"{manifest} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise WeightsError(f"{manifest} is not UTF-8.") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise WeightsError(f"{manifest}: {error}.") from None
    return tuple(_declaration(name, entry, manifest) for name, entry in entries.items())


def _declaration(name: str, entry: Any, manifest: Path) -> Declaration:
    restorer, _, tag = name.partition(".")
    try:
        if not isinstance(entry, dict):
            raise ValueError(f"it is {reprlib.repr(entry)}, expected a table")
        return _checked(restorer, tag, entry, manifest.parent)
    except KeyError as error:
        raise WeightsError(f"{manifest}: weights '{name}' lack {error.args[0]}.") from None
    except ValueError as error:
        raise WeightsError(f"{manifest}: weights '{name}': {error}.") from None
    except BenchError as error:  # a task, or a file's name
        raise WeightsError(f"{manifest}: weights '{name}': {error}") from None


def _checked(restorer: str, tag: str, entry: Mapping[str, Any], folder: Path) -> Declaration:
    """A declaration from its table. Raises KeyError, ValueError or BenchError for what will not do."""
    sha256, git_blob = _text(entry, "sha256", DIGEST[64]), _text(entry, "git_blob", DIGEST[40])
    if not (sha256 or git_blob):
        raise KeyError("sha256 (or git_blob)")
    if _required(entry, "trained_by") not in ORIGIN:
        raise ValueError(f"trained_by is '{entry['trained_by']}', expected one of {', '.join(ORIGIN)}")
    url, path = _text(entry, "url"), _text(entry, "path")
    if not url and not path:
        raise KeyError("url (or path)")
    n_bytes = entry.get("bytes")
    if not (n_bytes is None or (type(n_bytes) is int and n_bytes >= 0)):
        raise ValueError(f"bytes is {reprlib.repr(n_bytes)}, expected a whole number")
    made = Declaration(
        restorer=restorer,
        tag=tag,
        settings=tuple(_use(setting, entry.get("variants")) for setting in _list(entry, "settings", dict)),
        file=Path(path).name if path else _required(entry, "file"),
        url=url,
        path=folder / path if path else None,
        sha256=sha256,
        git_blob=git_blob,
        size=n_bytes,
        licence=_required(entry, "licence"),
        trained_by=entry["trained_by"],
        trained_on=tuple(_list(entry, "trained_on", str)),
        reproduces=_text(entry, "reproduces") or "",
        loader=_text(entry, "loader") or "",
        folder=_text(entry, "folder") or "",
    )
    if made.path is None:
        _ = made.remote  # whose name must be a plain one
    return made


DIGEST = {n: re.compile(rf"[0-9a-fA-F]{{{n}}}") for n in (40, 64)}


def _required(entry: Mapping[str, Any], key: str) -> str:
    text = _text(entry, key)
    if text is None:
        raise KeyError(key)
    return text


def _text(entry: Mapping[str, Any], key: str, digits: re.Pattern[str] | None = None) -> str | None:
    """A text that can be printed; None if there is none by that key."""
    value = entry.get(key)
    if value is None:
        return None
    if not isinstance(value, str) or not value.isprintable():
        raise ValueError(f"{key} is {reprlib.repr(value)}, expected text")
    if digits and value and not digits.fullmatch(value):
        raise ValueError(f"{key} is {reprlib.repr(value)}, expected hexadecimal digits, all of them")
    return value


def _list(entry: Mapping[str, Any], key: str, of: type) -> list[Any]:
    value = entry[key]
    if not isinstance(value, list) or not all(isinstance(part, of) for part in value):
        what = "tables" if of is dict else "texts"
        raise ValueError(f"{key} is {reprlib.repr(value)}, expected a list of {what}")
    return value


def _use(entry: Mapping[str, Any], variants_of_file: Any) -> Use:
    task, channels, levels = _required(entry, "task"), entry["channels"], entry["levels"]
    variants = entry.get("variants", variants_of_file)
    if type(channels) is not int or channels not in (1, 3):
        raise ValueError(f"channels is {reprlib.repr(channels)}, expected 1 or 3")
    kind, is_range = get_task(task).level, isinstance(levels, dict)
    if is_range:
        levels = [levels["from"], levels["to"]]
    known = [kind.parse(str(level)) for level in levels] if isinstance(levels, list) else [None]
    if not known or None in known:
        raise ValueError(f"levels is {reprlib.repr(levels)}, expected some of {kind.expected}")
    if variants is not None:
        _list({"variants": variants}, "variants", str)
    return Use(
        task,
        channels,
        tuple(level if isinstance(level, str) else float(level) for level in levels),
        is_range,
        None if variants is None else tuple(variants),
    )


def declared_for(info: RestorerInfo) -> list[Declaration]:
    """What is declared for a restorer. Raises WeightsError if that cannot be read."""
    if info.fault or info.value is not None:  # of which no source may be known
        return []
    return [d for d in declarations(info.companion("weights.toml")) if d.restorer == info.name]


def _formats(info: RestorerInfo) -> list[given.Format]:
    return [(d.file, d.loader) for d in declared_for(info)]


def uses_of(spec: RestorerSpec, sha256: str) -> list[Use]:
    """What a file of this content is declared for, whatever the variant."""
    return [use for d in declared_for(spec.info) if d.sha256 == sha256 for use in d.settings]


def candidates(spec: RestorerSpec, setting: Setting) -> list[Declaration]:
    """What could serve the setting, in order of preference: published first, then ours."""
    fitting = [d for d in declared_for(spec.info) if any(use.fits(setting) for use in _uses(spec, d))]
    return sorted(fitting, key=lambda d: list(ORIGIN).index(d.trained_by))


def _uses(spec: RestorerSpec, declaration: Declaration) -> list[Use]:
    """What the file serves of what was asked for: the variant and, if one was named, the origin."""
    if spec.weights not in ("", ORIGIN[declaration.trained_by]):
        return []
    return [use for use in declaration.settings if use.variants is None or spec.variant in use.variants]


def check_origin(spec: RestorerSpec) -> None:
    """Raise WeightsError if what stands behind the @ is neither an origin nor a file of use, or serves no setting."""
    if spec.inside is not None:
        check_origin(spec.inside)
        return
    if spec.weights in ("", *ORIGIN.values()):
        if spec.weights and not any(_uses(spec, d) for d in declared_for(spec.info)):
            raise WeightsError(f"{spec.name} has no '{spec.weights}' weights.")
    else:
        given.check(spec, _formats(spec.info))


def _out_of_reach(spec: RestorerSpec, setting: Setting) -> str | None:
    """Why no weights serve the setting, with the levels that some serve; None if weights do, or none are needed.

    A restorer that does not need weights does without where none are declared for the setting and its variant.
    """
    info = spec.info
    declared = declared_for(info)
    if candidates(spec, setting) or not (info.needs_weights or spec.weights):
        return None
    if not declared:
        own = "" if info.is_built_in else NO_WEIGHTS
        return f"{spec.name} needs weights and declares none: give it a file ({spec.name}@FILE){own}"
    levels = _levels_in_words([use for d in declared for use in _uses(spec, d)], setting)
    origin = f"{spec.weights} " if spec.weights else ""
    kind = f"{setting.task} {colour_word(setting.channels)}"
    return f"{spec.name} has no {origin}weights for {setting}; for {kind} it has {levels}"


def _levels_in_words(uses: Iterable[Use], setting: Setting) -> str:
    words: list[str] = []
    for use in uses:
        if (use.task, use.channels) == (setting.task, setting.channels):
            shown = map(format_level, use.levels)
            words += [" to ".join(shown)] if use.is_range else shown
    return f"{get_task(setting.task).level.name} {', '.join(dict.fromkeys(words))}" if words else "none"


def fetch(declaration: Declaration) -> WeightsFile:
    """The file of a declaration, downloaded if need be, verified. Raises DataError or WeightsError."""
    from bench.data import download
    from bench.restorer import WeightsFile

    if declaration.path is not None:
        path = declaration.path
        found = _sha256(path)
        if found != declaration.sha256:
            raise WeightsError(
                f"weights '{declaration.restorer}.{declaration.tag}': sha256 of {path} is {found}, but the"
                f" declaration says {declaration.sha256}. Reinstall the package, or update weights.toml."
            )
    else:
        [path] = download.fetch_all([declaration.remote])
        found = declaration.sha256 or _sha256(path)
    return WeightsFile(path, declaration.label, found, declaration.loader)


def file_named(spec: RestorerSpec) -> WeightsFile | None:
    """The user's own file, if one stands behind the @. Raises WeightsError as `check_origin` does."""
    from bench.restorer import WeightsFile

    check_origin(spec)
    if spec.weights in ("", *ORIGIN.values()):
        return None
    path = Path(spec.weights)
    return WeightsFile(path, f"file:{path.name}", _sha256(path), given.reader_of(path, _formats(spec.info)))


class Picked(NamedTuple):
    """The weights for a setting. file: None where the restorer needs none; instead_of: why not those preferred."""

    file: WeightsFile | None
    declaration: Declaration | None = None
    instead_of: str = ""


def pick(spec: RestorerSpec, setting: Setting, *, download: bool = True) -> Picked:
    """The first weights that can be had for the setting.

    download  False: the first as declared, whether they can be had or not
    Raises OutOfReachError if none are declared for the setting and the restorer needs some, WeightsError if none of
    those that are can be had, or what stands behind the @ is nothing.
    """
    if spec.inside is not None:
        return _of_denoiser(spec.inside, setting.channels, download)
    own = file_named(spec)
    if own is not None:
        return Picked(own)
    reason = _out_of_reach(spec, setting)
    if reason is not None:
        raise OutOfReachError(reason)
    errors: list[str] = []
    for declaration in candidates(spec, setting):
        try:
            file = fetch(declaration) if download else _as_declared(declaration)
            return Picked(file, declaration, " ".join(errors))
        except (DataError, WeightsError) as error:
            errors.append(str(error))
    if errors:
        raise WeightsError(" ".join(errors))
    return Picked(None)


def _of_denoiser(spec: RestorerSpec, channels: int, download: bool) -> Picked:
    """The weights of all levels that a denoiser inside another restorer has, as one.

    For pictures of so many channels, or else for gray ones. Raises as `pick` does.
    """
    from bench.restorer import Served

    own = file_named(spec)
    if own is not None:
        return Picked(own)
    for n in dict.fromkeys([channels, 1]):
        spans = {
            (float(use.levels[0]), float(use.levels[-1])) if use.is_range else (float(level), float(level))
            for declaration in declared_for(spec.info)
            for use in _uses(spec, declaration)
            if (use.task, use.channels) == ("denoise", n)
            for level in use.levels
        }
        picked = {span: pick(spec, Setting("denoise", span[0], n), download=download) for span in sorted(spans)}
        served = [Served(*span, n, one.file) for span, one in picked.items() if one.file is not None]
        if served:
            first = next(iter(picked.values()))
            return Picked(_as_one(served), first.declaration, first.instead_of)
    if spec.info.needs_weights:
        raise OutOfReachError(f"{spec.name} has no weights for denoise {colour_word(channels)}, nor for gray")
    return Picked(None)


def _as_one(served: Sequence[Served]) -> SeveralWeights:
    from bench.restorer import SeveralWeights

    files = list(dict.fromkeys(one.file for one in served))
    label = files[0].label + (f" and {len(files) - 1} more" if len(files) > 1 else "")
    digest = hashlib.sha256(repr([(*one[:3], one.file.sha256, one.file.loader) for one in served]).encode())
    return SeveralWeights(files[0].path, label, digest.hexdigest(), "", tuple(served))


def _as_declared(declaration: Declaration) -> WeightsFile:
    """The file as it is here, or as it will be once it is downloaded. Raises DataError if it cannot be had."""
    from bench.data import download
    from bench.restorer import WeightsFile

    if state(declaration) in ("shipped", "ok"):
        return fetch(declaration)
    if declaration.path is None and not download.can_be_had(declaration.remote):
        raise DataError(f"{declaration.remote} is not here, and BENCH_OFFLINE forbids the network.")
    path = declaration.path or declaration.remote.cached
    return WeightsFile(path, declaration.label, declaration.sha256 or "", declaration.loader)


def all_declarations() -> list[Declaration]:
    """What is declared for every installed restorer; see `fault_of` for the others."""
    return [declaration for info in infos().values() if not fault_of(info) for declaration in declared_for(info)]


def fault_of(info: RestorerInfo) -> str:
    """Why what is declared for a restorer cannot be read; "" if it can."""
    try:
        declared_for(info)
    except WeightsError as error:
        return str(error)
    return ""


def named(names: Iterable[str]) -> list[Declaration]:
    """Declarations by `restorer` or `restorer.tag`. Raises WeightsError with the nearest name."""
    known = {f"{d.restorer}.{d.tag}": d for d in all_declarations()}
    chosen: list[Declaration] = []
    for name in names:
        these = [d for full, d in known.items() if name in (full, d.restorer)]
        if name in infos() and (fault := fault_of(infos()[name])):
            raise WeightsError(fault)
        if not these:
            raise WeightsError(unknown("weights", name, {*known, *(d.restorer for d in known.values())}))
        chosen += these
    return chosen


def state(declaration: Declaration) -> str:
    """`shipped`, `ok`, `missing` or `damaged`: the file of a declaration, as it is here."""
    from bench.data.download import verify

    if declaration.path is not None:
        return "shipped" if _sha256(declaration.path) == declaration.sha256 else "damaged"
    return verify([declaration.remote])[declaration.remote]


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise WeightsError(f"Cannot read the weights file {path}: {error.strerror}.") from None
