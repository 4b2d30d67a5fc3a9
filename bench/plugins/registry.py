"""Finds restorers: the entry-point group `bench.methods`, or a class in a file (`./my.py:MyDenoiser`).

How they are asked for, `bench.plugins.names` says. What a listing or a plan needs to know of a restorer is read from
its source as literals; its module is imported only by the worker that runs it.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import RestorerError, unknown
from bench.plugins.identity import BUILT_IN, Code, code_of
from bench.plugins.importing import check_name, import_file
from bench.plugins.installed import Point, Sources, brought
from bench.plugins.names import Asked, read, spelled
from bench.plugins.source import ANYTHING, OF_THE_ENGINE, Takes, declared

if TYPE_CHECKING:
    from bench.plugins.value import Value
    from bench.restorer import Restorer, WeightsFile

__all__ = [
    "RestorerInfo",
    "RestorerSpec",
    "check_parameters",
    "choose",
    "choose_all",
    "import_file",
    "info_of_file",
    "infos",
    "load_class",
    "made",
    "maker",
    "takes_of",
]

GROUP = "bench.methods"


@dataclass(frozen=True)
class RestorerInfo:
    """What is known of a restorer without importing it.

    name      what users type
    summary   first line of its docstring
    source    the file it is written in
    target    `module:Class` of an installed plugin, `path.py:Class` of a file
    version   what it says of itself; what it is, `code` tells
    reads     the files beside it that it opens
    adapts    the ends of the names of the files that it runs, if it is asked for as NAME:FILE
    takes     the keywords that its class is made with
    takes_denoiser  whether another restorer is named behind its colon: `vst:bm3d`
    requires_of  what single variants require beyond `requires`, which it is part of in a `RestorerSpec`
    missing   the packages in `requires` that are not installed
    fault     why its declarations could not be read: one broken plugin does not stop the others
    value     what it is, where it lies in no file that could be named
    """

    name: str
    summary: str
    source: Path
    target: str
    tasks: frozenset[str]
    version: str
    requires: Mapping[str, str] = field(default_factory=dict)
    requires_of: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    variants: tuple[str, ...] = ()
    needs_weights: bool = False
    reads: tuple[str, ...] = ()
    adapts: tuple[str, ...] = ()
    takes: Takes = ANYTHING
    takes_denoiser: bool = False
    distribution: str = ""
    fault: str = ""
    value: Value | None = None

    @property
    def is_built_in(self) -> bool:
        return self.target.startswith(f"{BUILT_IN}.")

    @property
    def is_file(self) -> bool:
        """Whether it is named by its file, and not installed."""
        return self.target.rpartition(":")[0].endswith(".py")

    @property
    def code(self) -> Code:
        """Its code as it is now: see bench.plugins.identity. Raises RestorerError if a file that it reads is gone."""
        if self.value is not None:
            return self.value.code
        module, _, class_name = self.target.rpartition(":")
        return code_of(self.source, class_name, "" if self.is_file else module, self.reads, self.distribution)

    def companion(self, name: str) -> Path:
        """A file that comes with it, as weights.toml: beside its module, or else in a package that the module is in.

        Where there is none it is the one beside the module.
        """
        folder = self.source.parent
        while not (folder / name).is_file() and (folder / "__init__.py").is_file():
            folder = folder.parent
        return folder / name if (folder / name).is_file() else self.source.parent / name

    @property
    def missing(self) -> tuple[str, ...]:
        """The packages that are not there, of `a or b` the first."""
        kinds = [package.split(" or ") for package in self.requires]
        return tuple(either[0] for either in kinds if not any(map(_installed, either)))

    @property
    def unavailable(self) -> str | None:
        """Why it cannot run here and what to do about it, or None."""
        if self.fault:
            return f"cannot be read: {self.fault}"
        if not self.missing:
            return None
        return f"needs {', '.join(self.missing)}, not installed (remedy: pip install {' '.join(self.missing)})"


@dataclass(frozen=True)
class RestorerSpec:
    """One restorer as asked for: `dncnn`, `dncnn:bf16`, `dncnn+`, `tv(weight=0.2)`, `./my.py:Mine`, `dncnn@my.pt`.

    weights     what stood behind the @: "published", "ours", a file, or "" for the first that can be had
    ensemble    whether it is to be averaged over flips and rotations, which a + says
    parameters  keywords that its class is made with, by name in alphabetical order: see `bench.plugins.names.checked`
    inside      the denoiser that it takes, whose name is the variant then, and whose are the weights
    """

    info: RestorerInfo
    variant: str = ""
    weights: str = ""
    ensemble: bool = False
    parameters: Mapping[str, Any] = field(default_factory=dict)
    inside: RestorerSpec | None = None

    @cached_property
    def code(self) -> Code:
        """Its code when it was first asked for, with that of the denoiser inside."""
        return self.info.code if self.inside is None else self.info.code.with_other(self.inside.code)

    @cached_property
    def code_sha256(self) -> str:
        return self.code.sha256

    @property
    def name(self) -> str:
        """The name in records and tables: with the variant, the parameters and the +, without the weights.

        Parameters are those that were given. One that is given its default is another name, since its class may tell.
        """
        name = f"{self.info.name}:{self.variant}" if self.variant else self.info.name
        if self.parameters:
            name += f"({spelled(self.parameters)})"
        return f"{name}+" if self.ensemble else name


# --- what is there ---------------------------------------------------------------------------------


@cache
def infos() -> Mapping[str, RestorerInfo]:
    """Every installed restorer by what users type for it, in alphabetical order.

    That is its name; where two packages brought restorers of one name, each is asked for by its module and class.
    """
    sources = Sources()
    by_target = {point.value: _info_of_entry_point(point, sources) for point in brought(GROUP)}
    names = Counter(info.name for info in by_target.values())
    built_in = {info.name for info in by_target.values() if info.is_built_in}
    found: dict[str, RestorerInfo] = {}
    for target, info in by_target.items():
        if info.name in built_in and not info.is_built_in:
            found[target] = replace(info, fault=f"its name, '{info.name}', is a built-in restorer's: rename it")
        else:
            is_alone = names[info.name] == 1 or info.is_built_in
            found[info.name if is_alone else target] = info
    return dict(sorted(found.items()))


def choose(asked: str) -> RestorerSpec:
    """The restorer that a user asked for: see `bench.plugins.names`.

    Raises RestorerError for an unknown name (with the nearest right one), variant, parameter, file or class, and if
    several are asked for.
    """
    first, *others = choose_all(asked)
    if others:
        raise RestorerError(f"{asked} asks for {len(others) + 1} restorers; expected one.")
    return first


def choose_all(asked: str) -> list[RestorerSpec]:
    """The restorers that a user asked for, several if a parameter has several values: `mine(radius=1|2)`."""
    return [_chosen(one) for one in read(asked, _is_adapter)]


def _is_adapter(name: str) -> bool:
    return name in infos() and bool(infos()[name].adapts)


def _chosen(asked: Asked) -> RestorerSpec:
    outer, _, inner = (asked.file or asked.base).partition(":")
    if outer in infos() and infos()[outer].takes_denoiser:
        denoiser = replace(asked, file=inner) if asked.file else replace(asked, base=inner)
        return _around(infos()[outer], denoiser, asked)
    if asked.file:
        info, variant = info_of_file(Path(asked.file).expanduser(), asked.class_name), asked.variant
        if info.takes_denoiser:
            return _around(info, Asked(variant, weights=asked.weights), asked)
    else:
        name, variant = _installed_name(asked.base)
        info = infos()[name]
    if variant and variant not in info.variants:
        known = f"It has: {', '.join(info.variants)}." if info.variants else "It has none."
        raise RestorerError(f"{info.name} has no variant '{variant}'. {known}")
    info = replace(info, requires={**info.requires, **info.requires_of.get(variant, {})})
    if asked.base == info.name and info.adapts:
        _check_adapter(info, asked.weights)
    if not info.fault:
        file = f":{Path(asked.weights).name}" if info.adapts and asked.weights else ""
        check_parameters(f"{info.name}{file}", info.takes, asked.parameters)
    return RestorerSpec(info, variant, _file_or_origin(asked.weights), asked.ensemble, asked.parameters)


def _around(info: RestorerInfo, denoiser: Asked, asked: Asked) -> RestorerSpec:
    """A restorer with a denoiser inside. Parameters and the + are its own, weights those of the denoiser."""
    if not (denoiser.file or denoiser.base):
        raise RestorerError(f"{info.name} takes a denoiser: ask for it as {info.name}:NAME, e.g. {info.name}:bm3d.")
    adapter = denoiser.base.partition(":")[0]
    if _is_adapter(adapter):  # whose parameters could not be told from the other's
        raise RestorerError(f"{info.name} takes no network in a file: {adapter} is asked for alone.")
    inside = _chosen(replace(denoiser, parameters={}, ensemble=False))
    if "denoise" not in inside.info.tasks or inside.inside is not None:
        raise RestorerError(f"{info.name}:{inside.name}: {inside.name} is not a denoiser, which {info.name} takes.")
    check_parameters(info.name, info.takes, asked.parameters)
    info = replace(info, requires={**info.requires, **inside.info.requires}, fault=info.fault or inside.info.fault)
    return RestorerSpec(info, inside.name, "", asked.ensemble, asked.parameters, inside)


def _check_adapter(info: RestorerInfo, file: str) -> None:
    """Raise RestorerError, with the right adapter if there is one, for a file that it does not run, and for none."""
    if not file:
        raise RestorerError(f"{info.name} runs a network in a file: ask for it as {info.name}:FILE.")
    suffix = Path(file).suffix.lower().removeprefix(".")
    if suffix in info.adapts:
        return
    others = [name for name, other in infos().items() if suffix in other.adapts]
    hint = f" Files .{suffix} are run by {' and '.join(others)}." if others else ""
    raise RestorerError(f"{info.name} runs files {', '.join(f'.{end}' for end in info.adapts)}, not {file}.{hint}")


def _file_or_origin(weights: str) -> str:
    return str(Path(weights).expanduser()) if weights.startswith("~") else weights


def check_parameters(name: str, takes: Takes, given: Iterable[str]) -> None:
    """Raise RestorerError for a parameter that the class does not take, or that it lacks."""
    unknown_ones = [key for key in given if key not in takes.names]
    if unknown_ones and takes.is_known:
        close = difflib.get_close_matches(unknown_ones[0], takes.names, n=1)
        hint = f" Did you mean '{close[0]}'?" if close else ""
        known = f"It has: {', '.join(takes.names)}." if takes.names else "It has none."
        raise RestorerError(f"{name} has no parameter '{unknown_ones[0]}'.{hint} {known}")
    lacking = [key for key in takes.required if key not in given]
    if lacking:
        example = ", ".join(f"{key}=…" for key in lacking)
        values = [f", {key} {' or '.join(takes.choices[key])}" for key in lacking if key in takes.choices]
        raise RestorerError(
            f"{name} needs {' and '.join(lacking)}: ask for it as {name}({example}){''.join(values)}."
        )


def _installed_name(base: str) -> tuple[str, str]:
    """The key of `infos` that was asked for, and the variant. Raises RestorerError if there is no such restorer."""
    target = next((key for key in infos() if ":" in key and (base == key or base.startswith(f"{key}:"))), None)
    if target is not None:
        return target, base[len(target) + 1 :]
    name, _, variant = base.partition(":")
    if name in infos():
        return name, variant
    same = [key for key, info in infos().items() if info.name == name]
    if same:
        raise RestorerError(f"Several installed restorers are named '{name}'. Ask for one: {', '.join(same)}.")
    hint = " A restorer in a file is asked for as ./file.py:Class." if name.endswith(".py") else ""
    if "/" in name and not hint:
        hint = " A path with a comma goes into quotes of its own: \"'./a, b.py':Mine\"."
    raise RestorerError(unknown("restorer", name, infos()) + hint)


def load_class(target: str) -> type[Restorer]:
    """Import the class of an info's `target`; of a function, the class that calls it.

    Raises RestorerError if it is not a Restorer.
    """
    from bench.plugins.functions import restorer_of
    from bench.restorer import Restorer

    place, _, class_name = target.rpartition(":")
    module = import_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
    found = getattr(module, class_name, None)
    if inspect.isroutine(found):
        return restorer_of(found, class_name)
    if not (isinstance(found, type) and issubclass(found, Restorer)):
        raise RestorerError(f"{target} is not a class derived from bench.restorer.Restorer.")
    return found


def made(cls: type[Restorer], variant: str, weights: WeightsFile | None, parameters: Mapping[str, Any]) -> Restorer:
    """A restorer of the class. What its `__init__` does not take of variant and weights is set afterwards.

    Raises RestorerError for parameters that it does not take, or lacks.
    """
    signature = inspect.signature(cls)
    kinds = {argument.kind for argument in signature.parameters.values()}
    ours: dict[str, Any] = {"variant": variant, "weights": weights}
    if inspect.Parameter.VAR_KEYWORD not in kinds:
        ours = {name: value for name, value in ours.items() if name in signature.parameters}
    check_parameters(cls.name, takes_of(cls), parameters)
    if not ours and inspect.Parameter.VAR_POSITIONAL in kinds:
        return cls(variant, weights, **parameters)
    restorer = cls(**ours, **parameters)
    if "variant" not in ours:
        restorer.variant = variant
    if "weights" not in ours:
        restorer.weights = weights
    return restorer


def maker(
    cls: type[Restorer], variant: str, parameters: Mapping[str, Any]
) -> Callable[[WeightsFile | None], Restorer]:
    """`made`, but for the weights."""
    return lambda weights: made(cls, variant, weights, parameters)


def takes_of(cls: type[Restorer]) -> Takes:
    """The keywords that a class is made with, beyond variant and weights."""
    arguments = inspect.signature(cls).parameters.values()
    named = [one for one in arguments if one.kind in BY_NAME and one.name not in OF_THE_ENGINE]
    defaults = {one.name: "" if one.default is one.empty else repr(one.default) for one in named}
    return Takes(defaults, all(one.kind is not one.VAR_KEYWORD for one in arguments))


BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def _installed(package: str) -> bool:
    try:
        distribution(package)
    except PackageNotFoundError:
        return False
    return True


# --- what is known of each -----------------------------------------------------------------------------


def _info_of_entry_point(point: Point, sources: Sources) -> RestorerInfo:
    try:
        if point.fault:
            raise RestorerError(point.fault)
        info = _info(sources.of(point.module), point.class_name, point.value)
    except RestorerError as error:
        source = Path(point.module)
        return RestorerInfo(point.name, "", source, point.value, frozenset(), "", fault=str(error).removesuffix("."))
    info = replace(info, distribution=point.distribution)
    if info.name != point.name:
        fault = f"its entry point says '{point.name}', {info.source} says '{info.name}'"
        return replace(info, name=point.name, fault=fault)
    return info


def info_of_file(path: Path, class_name: str) -> RestorerInfo:
    try:
        is_there = path.is_file()
    except OSError as error:
        raise RestorerError(f"{path}: {error.strerror}.") from None
    if not is_there:
        raise RestorerError(f"No file {path}, asked for as {path}:{class_name}.")
    check_name(path)
    info = _info(path, class_name, f"{path.resolve()}:{class_name}")
    other = infos().get(info.name)
    if other is not None and other.is_built_in and other.source.resolve() != path.resolve():
        raise RestorerError(f"{path}: the name '{info.name}' is a built-in restorer's. Rename yours.")
    return info


def _info(path: Path, class_name: str, target: str) -> RestorerInfo:
    summary, known, takes = declared(path, class_name)
    return RestorerInfo(
        name=known["name"],
        summary=summary,
        source=path,
        target=target,
        tasks=frozenset(known["tasks"]),
        version=known.get("version", "1"),
        requires=known.get("requires", {}),
        requires_of=known.get("requires_of", {}),
        variants=tuple(known.get("variants", ())),
        needs_weights=known.get("needs_weights", False),
        reads=tuple(known.get("reads", ())),
        adapts=tuple(known.get("adapts", ())),
        takes=takes,
        takes_denoiser=known.get("takes_denoiser", False),
    )
