"""What installed packages say that they bring, and where the source of it lies. Nothing of theirs is imported.

A package may be broken in any way: that is a fault of what it brings, and of nothing else.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib.machinery import BuiltinImporter, FrozenImporter, ModuleSpec, PathFinder
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import NamedTuple

from bench.errors import RestorerError

__all__ = ["Point", "Sources", "brought"]


class Point(NamedTuple):
    """One entry point. value: `module:Class`; distribution: the package that has it; fault: why it says nothing."""

    name: str
    value: str
    distribution: str = ""
    fault: str = ""

    @property
    def module(self) -> str:
        return self.value.partition(":")[0]

    @property
    def class_name(self) -> str:
        return self.value.partition(":")[2]


def brought(group: str) -> Iterator[Point]:
    """The entry points of a group, in the order of the import path; of a package that is there twice, the first's."""
    seen: set[str] = set()
    for found in distributions():
        try:
            told = found.read_text("entry_points.txt") or ""
        except UnicodeDecodeError:
            name = _name_of(found)
            yield Point(name, name, name, "its entry_points.txt is not UTF-8")
            continue
        except OSError:
            continue
        if group not in told:
            continue
        name = _name_of(found)
        if name not in seen:
            seen.add(name)
            yield from _points(told, group, name)


def _name_of(found: Distribution) -> str:
    try:
        name = found.metadata["Name"]
    except Exception:  # no METADATA, or one that is no text
        name = None
    return name or "a package without a name"


ENTRY = re.compile(r"(?P<module>[^\W\d]\w*(?:\.[^\W\d]\w*)*)\s*:\s*(?P<class>[^\W\d]\w*)\s*(?:\[.*\])?")


def _points(told: str, group: str, distribution: str) -> Iterator[Point]:
    """The lines `name = module:Class` below `[group]`."""
    section = ""
    for line in map(str.strip, told.splitlines()):
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1].strip()
        elif section == group and line and line[0] not in "#;":
            name, _, value = map(str.strip, line.partition("="))
            said = ENTRY.fullmatch(value)
            if name and said:
                yield Point(name, f"{said['module']}:{said['class']}", distribution)
            else:
                fault = f"its entry point is '{line}', expected name = module:Class"
                yield Point(name if name and value else distribution, line, distribution, fault)


# --- where a module lies -------------------------------------------------------------------------


class Sources:
    """Finds the files of modules, and remembers the packages on the way to them."""

    def __init__(self) -> None:
        self._packages: dict[str, list[str]] = {}

    def of(self, module: str) -> Path:
        """The source file of a module. Raises RestorerError if there is none, or none that can be read as it is."""
        parent, _, _ = module.rpartition(".")
        spec = self._spec(module, self._path(parent) if parent else None)
        origin = spec.origin if spec.has_location else None
        if origin is None:
            raise RestorerError(f"there is no module {module}")
        if not origin.endswith(".py"):
            raise RestorerError(f"{origin} is compiled, and what it declares can only be read from its source")
        path = Path(origin)
        if not path.is_file():
            inside = any(folder.is_file() for folder in path.parents)
            raise RestorerError(f"{origin} lies within an archive: unpack it" if inside else f"there is no {origin}")
        return path

    def _path(self, package: str) -> list[str]:
        """The folders that the modules of a package lie in."""
        if package not in self._packages:
            parent, _, _ = package.rpartition(".")
            spec = self._spec(package, self._path(parent) if parent else None)
            if spec.submodule_search_locations is None:
                raise RestorerError(f"{package} is a module, not a package")
            self._packages[package] = [*spec.submodule_search_locations]
        return self._packages[package]

    def _spec(self, module: str, path: list[str] | None) -> ModuleSpec:
        """As `importlib.util.find_spec`, which would import the packages that the module is in."""
        last = module.rpartition(".")[2]
        try:
            # by its last part: of a whole name the path of a namespace package would ask for the imported parent
            spec = PathFinder.find_spec(last, path)
            for finder in sys.meta_path if spec is None else ():  # as those of packages that are installed editably
                if finder in (BuiltinImporter, FrozenImporter, PathFinder) or spec is not None:
                    continue
                if hasattr(finder, "find_spec"):  # Python passes over those of before there was one, too
                    spec = finder.find_spec(module, path, None)
        except Exception as error:  # a finder's own, or of an archive that is none
            raise RestorerError(f"{module} cannot be looked for: {type(error).__name__}: {error}") from None
        if spec is None:
            raise RestorerError(f"there is no module {module}")
        return spec
