"""What tasks and metrics of one's own have in common: where they are written, and the hash of their code.

Both are asked for by name, if a package brought them by an entry point, or by their place, `./file.py:Name`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from bench.errors import RequestError, RestorerError, unknown
from bench.plugins.identity import Code, code_of
from bench.plugins.installed import Sources, brought
from bench.plugins.names import OF_THE_GRAMMAR, plain
from bench.plugins.source import can_be_asked_for

__all__ = ["IN_FILE", "NOWHERE", "Place", "check_name", "find", "installed"]

T = TypeVar("T")


@dataclass(frozen=True)
class Place:
    """Where a class or function is written.

    target        `module:Name` of what is installed, `/path/file.py:Name` of a file
    reads         files and folders beside it that it opens
    distribution  that brought it; "" for a file
    """

    source: Path
    target: str
    reads: tuple[str, ...] = ()
    distribution: str = ""

    @property
    def module(self) -> str:
        """The dotted name that it is imported by; "" for a file."""
        before = self.target.rpartition(":")[0]
        return "" if before.endswith(".py") else before

    @cached_property
    def code(self) -> Code:
        """Its code when this was first asked for. Raises RestorerError if a file that it reads is gone."""
        return code_of(self.source, self.target.rpartition(":")[2], self.module, self.reads, self.distribution)


NOWHERE = Place(Path(), "")

Read = Callable[[Path, str, Place], T]
"""(source, name of class or function, its place) -> what is declared there"""


def find(
    kind: str, asked: str, built_in: Mapping[str, T], others: Mapping[str, T | RestorerError], read: Read[T]
) -> T:
    """The task or metric that was asked for, by name or as `./file.py:Name`.

    kind    what it is called in an error
    others  what installed packages brought, or why it cannot be read
    Raises RequestError for an unknown name, with the nearest right one, RestorerError for a file that will not do.
    """
    in_file = IN_FILE.fullmatch(asked)
    if in_file:
        return _in_file(Path(plain(in_file["file"])).expanduser(), in_file["name"], read)
    if asked in built_in:
        return built_in[asked]
    if asked not in others:
        hint = f" A {kind} in a file is asked for as ./file.py:Name." if ".py" in asked else ""
        raise RequestError(unknown(kind, asked, [*built_in, *others]) + hint)
    found = others[asked]
    if isinstance(found, RestorerError):
        raise found
    return found


IN_FILE = re.compile(r"(?P<file>.+\.py['\"]?):(?P<name>\w+)")


def _in_file(path: Path, name: str, read: Read[T]) -> T:
    try:
        is_there = path.is_file()
    except OSError as error:
        raise RestorerError(f"{path}: {error.strerror}.") from None
    if not is_there:
        raise RestorerError(f"No file {path}, asked for as {path}:{name}.")
    return read(path, name, Place(path, f"{path.resolve()}:{name}"))


def installed(group: str, name_of: Callable[[T], str], read: Read[T]) -> dict[str, T | RestorerError]:
    """What packages bring in an entry-point group, by name, in alphabetical order; or why it cannot be read."""
    sources, found = Sources(), dict[str, T | RestorerError]()
    for point in brought(group):
        try:
            if point.fault:
                raise RestorerError(point.fault)
            source = sources.of(point.module)
            one = read(source, point.class_name, Place(source, point.value, distribution=point.distribution))
            if name_of(one) != point.name:
                raise RestorerError(f"its entry point says '{point.name}', {source} says '{name_of(one)}'.")
            if point.name in found:
                raise RestorerError(f"two packages bring it; one of them is {point.distribution}.")
            found[point.name] = one
        except RestorerError as error:
            found[point.name] = RestorerError(f"{point.name} of {point.distribution} cannot be used: {error}")
    return dict(sorted(found.items()))


def check_name(where: str, name: str, built_in: Mapping[str, object], kind: str) -> None:
    """Raise RestorerError for a name that a built-in one has, or that cannot be asked for."""
    if name in built_in:
        raise RestorerError(f"{where}: the name '{name}' is a built-in {kind}'s. Rename yours.")
    if not can_be_asked_for(name):
        raise RestorerError(
            f"{where}: the name {name[:60]!r} cannot be asked for: expected plain letters, and none of"
            f" {' '.join(OF_THE_GRAMMAR)}."
        )
