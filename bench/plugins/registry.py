"""Finds restorers: the entry-point group `bench.methods`, or a class in a file (`./my.py:MyDenoiser`).

What a listing or a plan needs to know of a restorer is read from its source as literals; its module is imported
only by the worker that runs it.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.metadata import EntryPoint, PackageNotFoundError, distribution, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import RestorerError, unknown

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
    fault: str = ""

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

    @property
    def name(self) -> str:
        """The name in records and tables: with the variant and the +, without the weights."""
        name = f"{self.info.name}:{self.variant}" if self.variant else self.info.name
        return f"{name}+" if self.ensemble else name


# --- what is there ---------------------------------------------------------------------------------


@cache
def infos() -> Mapping[str, RestorerInfo]:
    """Every installed restorer by name, in alphabetical order.

    Raises RestorerError if two plugins share a name.
    """
    found: dict[str, RestorerInfo] = {}
    for point in entry_points(group=GROUP):
        info = _info_of_entry_point(point)
        other = found.get(info.name)
        if other is not None and other.target != info.target:
            raise RestorerError(
                f"Two restorers are named '{info.name}': {other.source} and {info.source}. Rename or uninstall one."
            )
        found[info.name] = info
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
        name, _, variant = base.partition(":")
        if name not in infos():
            hint = " A restorer in a file is asked for as ./file.py:Class." if name.endswith(".py") else ""
            raise RestorerError(unknown("restorer", name, infos()) + hint)
        info = infos()[name]
    if variant and variant not in info.variants:
        known = f"It has: {', '.join(info.variants)}." if info.variants else "It has none."
        raise RestorerError(f"{info.name} has no variant '{variant}'. {known}")
    return RestorerSpec(info, variant, weights, ensemble)


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


def _info_of_entry_point(point: EntryPoint) -> RestorerInfo:
    module = point.module
    try:
        spec = importlib.util.find_spec(module)
        if spec is None or spec.origin is None:
            raise RestorerError(f"there is no module {module}")
        info = _info(Path(spec.origin), point.attr, point.value)
    except (ImportError, RestorerError) as error:
        return RestorerInfo(point.name, "", Path(module), point.value, frozenset(), "", fault=str(error))
    if info.name != point.name:
        fault = f"its entry point says '{point.name}', {info.source} says '{info.name}'"
        return replace(info, name=point.name, fault=fault)
    return info


def _info_of_file(path: Path, class_name: str) -> RestorerInfo:
    if not path.is_file():
        raise RestorerError(f"No file {path}, asked for as {path}:{class_name}.")
    info = _info(path, class_name, f"{path.resolve()}:{class_name}")
    other = infos().get(info.name)
    if other is not None and other.source.resolve() != path.resolve():
        raise RestorerError(f"Two restorers are named '{info.name}': {path} and {other.source}. Rename yours.")
    # A file under work changes without a new version, so its content is part of the version.
    content = hashlib.sha256(path.read_bytes()).hexdigest()
    return replace(info, version=f"{info.version}+{content[:12]}")


def _info(path: Path, class_name: str, target: str) -> RestorerInfo:
    try:
        module = ast.parse(path.read_text(encoding="utf-8"))
    except SyntaxError as error:
        raise RestorerError(f"{path}, line {error.lineno}: not valid Python ({error.msg}).") from None
    classes = {node.name: node for node in module.body if isinstance(node, ast.ClassDef)}
    if class_name not in classes:
        raise RestorerError(f"{path}: {unknown('class', class_name, classes)}")
    known = _declared(classes[class_name], classes)
    for wanted in ("name", "tasks"):
        if wanted not in known:
            raise RestorerError(
                f"{path}: class {class_name} must set `{wanted}` to a literal, e.g. {EXAMPLE[wanted]}."
            )
    for name in (str(known["name"]), *known.get("variants", ())):
        if name.endswith("+"):
            raise RestorerError(f"{path}: class {class_name}: '{name}' ends in +, which asks for a self-ensemble.")
    return RestorerInfo(
        name=str(known["name"]),
        summary=(ast.get_docstring(classes[class_name]) or "").partition("\n")[0],
        source=path,
        target=target,
        tasks=frozenset(known["tasks"]),
        version=str(known.get("version", "1")),
        requires=known.get("requires", {}),
        variants=tuple(known.get("variants", ())),
        needs_weights=bool(known.get("needs_weights", False)),
    )


EXAMPLE = {"name": 'name = "mine"', "tasks": 'tasks = {"denoise"}'}


def _declared(node: ast.ClassDef, classes: Mapping[str, ast.ClassDef]) -> dict[str, Any]:
    """Class attributes that are literals, those of base classes in the same file included."""
    known: dict[str, Any] = {}
    for base in reversed(node.bases):
        name = base.id if isinstance(base, ast.Name) else base.attr if isinstance(base, ast.Attribute) else ""
        if name in classes:
            known |= _declared(classes[name], classes)
        elif name == "TorchRestorer":
            known["needs_weights"] = True
    for statement in node.body:
        for name, value in _assignments(statement):
            try:
                known[name] = _literal(value)
            except ValueError:
                continue  # computed when the module runs: nothing that is shown
    return known


def _assignments(statement: ast.stmt) -> list[tuple[str, ast.expr]]:
    """(name, value) pairs of `a = 1`, `a: T = 1` and `a, b = 1, 2`."""
    if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value:
        return [(statement.target.id, statement.value)]
    if not isinstance(statement, ast.Assign):
        return []
    target, value = statement.targets[0], statement.value
    if isinstance(target, ast.Name):
        return [(target.id, value)]
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        return [(t.id, v) for t, v in zip(target.elts, value.elts, strict=False) if isinstance(t, ast.Name)]
    return []


def _literal(value: ast.expr) -> Any:
    if (
        isinstance(value, ast.Call)
        and isinstance(value.func, ast.Name)
        and value.func.id == "frozenset"
        and value.args
    ):
        value = value.args[0]
    return ast.literal_eval(value)
