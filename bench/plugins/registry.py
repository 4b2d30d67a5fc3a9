"""Finds restorers: the entry-point group `bench.methods`, or a class in a file (`./my.py:MyDenoiser`).

What a listing or a plan needs to know of a restorer is read from its source as literals; its module is imported
only by the worker that runs it.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
import reprlib
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.errors import RestorerError, unknown
from bench.plugins.identity import BUILT_IN, Code, code_of
from bench.plugins.installed import Point, Sources, brought

if TYPE_CHECKING:
    from bench.restorer import Restorer

__all__ = ["RestorerInfo", "RestorerSpec", "choose", "infos", "load_class"]

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
    missing   the packages in `requires` that are not installed
    fault     why its declarations could not be read: one broken plugin does not stop the others
    """

    name: str
    summary: str
    source: Path
    target: str
    tasks: frozenset[str]
    version: str
    requires: Mapping[str, str] = field(default_factory=dict)
    variants: tuple[str, ...] = ()
    needs_weights: bool = False
    reads: tuple[str, ...] = ()
    distribution: str = ""
    fault: str = ""

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
        return tuple(package for package in self.requires if not _installed(package))

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
    """One restorer as asked for: `dncnn`, `dncnn:bf16`, `dncnn+`, `dncnn@published`, `./my.py:Mine`, `dncnn@my.pt`.

    weights   what stood behind the @: "published", "ours", a file, or "" for the first that can be had
    ensemble  whether it is to be averaged over flips and rotations, which a + behind name and variant says
    """

    info: RestorerInfo
    variant: str = ""
    weights: str = ""
    ensemble: bool = False

    @cached_property
    def code(self) -> Code:
        """Its code when it was first asked for."""
        return self.info.code

    @cached_property
    def code_sha256(self) -> str:
        return self.code.sha256

    @property
    def name(self) -> str:
        """The name in records and tables: with the variant and the +, without the weights."""
        name = f"{self.info.name}:{self.variant}" if self.variant else self.info.name
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
    """The restorer that a user asked for.

    Raises RestorerError for an unknown name (with the nearest right one), variant, file or class.
    """
    base, _, weights = asked.partition("@")
    ensemble, base = base.endswith("+"), base.removesuffix("+")
    in_file = re.fullmatch(r"(.+\.py):(\w+)(?::(\w+))?", base)
    if in_file:
        info = _info_of_file(Path(in_file[1]), in_file[2])
        variant = in_file[3] or ""
    else:
        name, variant = _installed_name(base)
        info = infos()[name]
    if variant and variant not in info.variants:
        known = f"It has: {', '.join(info.variants)}." if info.variants else "It has none."
        raise RestorerError(f"{info.name} has no variant '{variant}'. {known}")
    return RestorerSpec(info, variant, weights, ensemble)


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
    raise RestorerError(unknown("restorer", name, infos()) + hint)


def load_class(target: str) -> type[Restorer]:
    """Import the class of an info's `target`. Raises RestorerError if it is not a Restorer."""
    from bench.restorer import Restorer

    place, _, class_name = target.rpartition(":")
    module = _import_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
    found = getattr(module, class_name, None)
    if not (isinstance(found, type) and issubclass(found, Restorer)):
        raise RestorerError(f"{target} is not a class derived from bench.restorer.Restorer.")
    return found


def _import_file(path: Path) -> Any:
    sys.path.insert(0, str(path.resolve().parent))  # so that the file may import its neighbours
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def _installed(package: str) -> bool:
    try:
        distribution(package)
    except PackageNotFoundError:
        return False
    return True


# --- reading declarations without importing -----------------------------------------------------------


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


def _info_of_file(path: Path, class_name: str) -> RestorerInfo:
    try:
        is_there = path.is_file()
    except OSError as error:
        raise RestorerError(f"{path}: {error.strerror}.") from None
    if not is_there:
        raise RestorerError(f"No file {path}, asked for as {path}:{class_name}.")
    info = _info(path, class_name, f"{path.resolve()}:{class_name}")
    other = infos().get(info.name)
    if other is not None and other.is_built_in and other.source.resolve() != path.resolve():
        raise RestorerError(f"{path}: the name '{info.name}' is a built-in restorer's. Rename yours.")
    return info


MOST_BYTES = 1 << 20
"""of a source that is read: it takes some hundred times the memory to do so"""


def _parsed(path: Path) -> ast.Module:
    """The syntax tree of a source. Raises RestorerError for what is none."""
    try:
        n_bytes = path.stat().st_size
        if n_bytes > MOST_BYTES:
            raise RestorerError(f"{path} has {n_bytes} bytes; of a restorer's source at most {MOST_BYTES} are read.")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd escapes and the like: whoever imports it is told
            return ast.parse(path.read_bytes())
    except OSError as error:
        raise RestorerError(f"{path} cannot be read: {error.strerror}.") from None
    except SyntaxError as error:
        line = f", line {error.lineno}" if error.lineno else ""
        raise RestorerError(f"{path}{line}: not valid Python ({error.msg}).") from None
    except ValueError as error:  # a zero byte
        raise RestorerError(f"{path}: not valid Python ({error}).") from None
    except (RecursionError, MemoryError):
        raise RestorerError(f"{path}: nested too deeply to be read.") from None


def _info(path: Path, class_name: str, target: str) -> RestorerInfo:
    module = _parsed(path)
    classes = {node.name: node for node in module.body if isinstance(node, ast.ClassDef)}
    if class_name not in classes:
        raise RestorerError(f"{path}: {unknown('class', class_name, classes)}")
    try:
        known = _declared(class_name, classes, {})
    except RecursionError:
        raise RestorerError(f"{path}: class {class_name} has too many bases, one of another, to be read.") from None
    for wanted in ("name", "tasks"):
        if wanted not in known:
            raise RestorerError(
                f"{path}: class {class_name} must set `{wanted}` to a literal, e.g. {LITERALS[wanted].example}."
            )
    for key, value in known.items():
        if key in LITERALS and not LITERALS[key].fits(value):
            raise RestorerError(
                f"{path}: class {class_name} sets `{key}` to {_shown(value)}; expected a literal such as"
                f" {LITERALS[key].example}."
            )
    for name in (known["name"], *known.get("variants", ())):
        if name.endswith("+"):
            raise RestorerError(f"{path}: class {class_name}: '{name}' ends in +, which asks for a self-ensemble.")
        if not _can_be_asked_for(name):
            raise RestorerError(
                f"{path}: class {class_name}: {reprlib.repr(name)} cannot be asked for: expected at most"
                f" {MOST_LETTERS} letters, and none of {' '.join(OF_THE_COMMAND_LINE)} or what cannot be printed."
            )
    return RestorerInfo(
        name=known["name"],
        summary=(ast.get_docstring(classes[class_name]) or "").partition("\n")[0],
        source=path,
        target=target,
        tasks=frozenset(known["tasks"]),
        version=known.get("version", "1"),
        requires=known.get("requires", {}),
        variants=tuple(known.get("variants", ())),
        needs_weights=known.get("needs_weights", False),
        reads=tuple(known.get("reads", ())),
    )


MOST_LETTERS = 100
OF_THE_COMMAND_LINE = ",@:/\\"


def _can_be_asked_for(name: str) -> bool:
    is_plain = name.isprintable() and name == name.strip() and len(name) <= MOST_LETTERS
    return is_plain and not any(sign in name for sign in OF_THE_COMMAND_LINE)


COMPUTED = object()
"""stands for a value that only running the module would tell"""


class Literal(NamedTuple):
    """What an attribute that is read from the source must be."""

    example: str
    fits: Callable[[Any], bool]


def _is_words(value: Any) -> bool:
    """A collection of texts; one text is none, though it is a collection of letters."""
    return isinstance(value, (list, tuple, set, frozenset)) and all(isinstance(word, str) and word for word in value)


LITERALS = {
    "name": Literal('name = "mine"', lambda value: isinstance(value, str) and bool(value)),
    "tasks": Literal('tasks = {"denoise"}', lambda value: _is_words(value) and bool(value)),
    "version": Literal('version = "2"', lambda value: isinstance(value, str)),
    "requires": Literal(
        'requires = {"scikit-image": ""}',
        lambda value: (
            isinstance(value, dict)
            and _is_words([*value])
            and all(isinstance(terms, str) for terms in value.values())
        ),
    ),
    "variants": Literal('variants = ("fast",)', _is_words),
    "needs_weights": Literal("needs_weights = True", lambda value: isinstance(value, bool)),
    "reads": Literal('reads = ["params.txt"]', _is_words),
    "devices": Literal('devices = ("cpu", "cuda")', _is_words),
}
"""The attributes of a class that are read from its source: one that is computed would be another one unseen."""


def _shown(value: Any) -> str:
    return "what only running it would tell" if value is COMPUTED else reprlib.repr(value)


def _declared(
    class_name: str, classes: Mapping[str, ast.ClassDef], of_others: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """Class attributes that are literals, those of base classes in the same file included.

    of_others  what was read already, by class; of one that is being read nothing, which ends a circle of bases
    """
    if class_name in of_others:
        return of_others[class_name]
    of_others[class_name] = {}
    node, known = classes[class_name], dict[str, Any]()
    for base in reversed(node.bases):
        name = base.id if isinstance(base, ast.Name) else base.attr if isinstance(base, ast.Attribute) else ""
        if name in classes:
            known |= _declared(name, classes, of_others)
        elif name == "TorchRestorer":
            known["needs_weights"] = True
    for statement in node.body:
        for name, value in _assignments(statement):
            known[name] = COMPUTED if value is None else _literal(value)
    of_others[class_name] = known
    return known


def _assignments(statement: ast.stmt) -> Iterator[tuple[str, ast.expr | None]]:
    """(name, value) of `a = b = 1`, `a: T = 1` and `a, b = 1, 2`; None for what another statement may set."""
    if isinstance(statement, ast.AnnAssign):
        if isinstance(statement.target, ast.Name) and statement.value:
            yield statement.target.id, statement.value
    elif isinstance(statement, ast.Assign):
        for target in statement.targets:
            yield from _pairs(target, statement.value)
    elif isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        yield statement.name, None
    else:
        stored = (node for node in ast.walk(statement) if isinstance(node, ast.Name))
        yield from ((node.id, None) for node in stored if isinstance(node.ctx, ast.Store))


def _pairs(target: ast.expr, value: ast.expr | None) -> Iterator[tuple[str, ast.expr | None]]:
    if isinstance(target, ast.Name):
        yield target.id, value
    elif isinstance(target, (ast.Tuple, ast.List)):
        parts = (
            value.elts if isinstance(value, (ast.Tuple, ast.List)) and len(value.elts) == len(target.elts) else None
        )
        for i, part in enumerate(target.elts):
            yield from _pairs(part, parts[i] if parts else None)


def _literal(value: ast.expr) -> Any:
    """The value of a literal, in `frozenset(…)` or not; COMPUTED if it is none."""
    if (
        isinstance(value, ast.Call)
        and isinstance(value.func, ast.Name)
        and value.func.id in COLLECTIONS
        and value.args
    ):
        value = value.args[0]
    try:
        return ast.literal_eval(value)
    except (ValueError, TypeError, RecursionError, MemoryError):
        return COMPUTED


COLLECTIONS = ("frozenset", "set", "tuple", "list", "dict")
