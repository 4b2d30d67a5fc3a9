"""What runs is what was planned: sources are imported from what was read and compared, other files are watched.

A run may take days, and its files may be edited or replaced meanwhile. A restorer's process reads each of its sources
once, compares it with the plan, and imports from that, whenever it does. Weights, and what else the restorer opens by
its own means, are looked at again after each use.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Mapping
from importlib.machinery import SourceFileLoader
from importlib.util import source_from_cache
from pathlib import Path
from typing import Any, NamedTuple

from bench.errors import BenchError
from bench.plugins.identity import RACY_SECONDS, Held, tree_of

__all__ = ["CHANGED", "ChangedError", "Unchanged", "hold"]

CHANGED = "changed since the run was planned"
"""in the reason of every cell that failed for it: the next run plans anew, and measures it"""
SETTLED_NS = 200_000_000
"""that must lie between the last change of a source and its compiled file, which else may be of the one before"""
MOST_CHARACTERS = 200
"""of a path in words"""
CHUNK_BYTES = 1 << 20


class ChangedError(BenchError):
    """A file is not what it was when the run was planned."""

    def __init__(self, path: str) -> None:
        shown = path if len(path) <= MOST_CHARACTERS else f"…{path[-MOST_CHARACTERS:]}"
        super().__init__(f"{shown} {CHANGED}: run again.")


# --- files that are opened -----------------------------------------------------------------------


class Unchanged:
    """Files by path, and the sha256 that each had when the run was planned."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self.files = files
        self._stamps: dict[str, tuple[int, ...] | None] = {}

    def check(self) -> None:
        """Raise ChangedError if one is another file now. One whose stamp is the same is not read again."""
        for path, sha256 in self.files.items():
            try:
                now = os.stat(path)  # noqa: PTH116  at every call of a restorer: Path would take longer
                stamp = _stamp(now)
                if self._stamps.get(path) == stamp:
                    continue
                if sha256 != _sha256_of(path):
                    raise ChangedError(path)
            except OSError:
                raise ChangedError(path) from None
            settled = time.time() - max(now.st_mtime, now.st_ctime) > RACY_SECONDS
            self._stamps[path] = stamp if settled else None


def _stamp(status: os.stat_result) -> tuple[int, ...]:
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino


def _sha256_of(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:  # noqa: PTH123  a path as it came, which may hold surrogates
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


# --- sources that are imported -------------------------------------------------------------------


class _Source(NamedTuple):
    """One that is held. status: of its file, when it was read."""

    content: bytes
    status: os.stat_result


_sources: dict[str, _Source] = {}
_names: set[str] = set()
"""the last parts of their paths: what is not among them need not be looked up"""


def hold(files: Iterable[Held]) -> Unchanged:
    """Import these sources, from now on, from what is read here. Returns those of the files that are to be watched.

    Only for a process of the restorer's own. Raises ChangedError if one is not what was planned; an edit that leaves
    its syntax tree as it was is none.
    """
    watched = {}
    for held in files:
        try:
            with open(held.path, "rb") as file:  # noqa: PTH123
                status, content = os.fstat(file.fileno()), file.read()
        except OSError:
            raise ChangedError(held.path) from None
        is_source = held.path.endswith(".py")
        if hashlib.sha256(content).hexdigest() != held.content and not (
            is_source and not held.is_opened and tree_of(content) == held.tree
        ):
            raise ChangedError(held.path)
        if is_source:
            _sources[held.path] = _Source(content, status)
            _names.add(os.path.basename(held.path))  # noqa: PTH119
        if held.is_opened or not is_source:
            watched[held.path] = held.content
    SourceFileLoader.get_data = _get_data  # type: ignore[assignment, method-assign]
    SourceFileLoader.path_stats = _path_stats  # type: ignore[assignment, method-assign]
    SourceFileLoader.set_data = _set_data  # type: ignore[assignment, method-assign]
    return Unchanged(watched)


def _source_at(path: str) -> _Source | None:
    """What is held of the source, whatever way leads to it."""
    if os.path.basename(path) not in _names:  # noqa: PTH119
        return None
    return _sources.get(os.path.realpath(path))


def _is_as_held(path: str, source: _Source) -> bool:
    try:
        return _stamp(Path(path).stat()) == _stamp(source.status)
    except OSError:
        return False


def _get_data(loader: SourceFileLoader, path: str) -> bytes:
    """A source's content as it is held; its compiled file if that is sure to be of the same content."""
    source = _source_at(path)
    if source is not None:
        return source.content
    origin = _origin(path)
    source = _source_at(origin)
    if source is not None:
        after = Path(path).stat().st_mtime_ns - source.status.st_ctime_ns
        if after < SETTLED_NS or not _is_as_held(origin, source):
            raise OSError(f"{path} may be of another source")  # the source is compiled, as if there were none
    return _of_file(loader, path)


def _origin(path: str) -> str:
    """The source that a compiled file is of; "" if it is none."""
    try:
        return source_from_cache(path)
    except ValueError:
        return ""


def _path_stats(loader: SourceFileLoader, path: str) -> Mapping[str, Any]:
    source = _source_at(path)
    if source is None:
        return _stats_of_file(loader, path)
    return {"mtime": source.status.st_mtime, "size": source.status.st_size}


def _set_data(loader: SourceFileLoader, path: str, data: bytes, *, _mode: int = 0o666) -> None:
    """Keep what was compiled, unless its source has changed since."""
    origin = _origin(path)
    source = _source_at(origin)
    if source is None or _is_as_held(origin, source):
        _keep_file(loader, path, data, _mode=_mode)


_of_file, _stats_of_file, _keep_file = (
    SourceFileLoader.get_data,
    SourceFileLoader.path_stats,
    SourceFileLoader.set_data,
)
