"""What to cite: the papers of restorers, data sets and metrics, as BibTeX.

Ours are in `results/references.toml`. A plugin of one's own brings a `references.toml` beside its module, as it may
bring a weights.toml:

    [doe2026mine]
    restorers = ["mine"]
    bibtex    = '''@article{doe2026mine, …}'''
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

from bench.data.toml import tomllib
from bench.errors import PaperError
from bench.plugins.registry import RestorerInfo

if sys.version_info >= (3, 11):
    from importlib.resources.abc import Traversable
else:
    from importlib.abc import Traversable

__all__ = ["Reference", "of_dataset", "of_metric", "of_restorer", "ours", "read"]

KINDS = ("restorers", "datasets", "metrics")
ENTRY = re.compile(r"@\w+\{(?P<key>[^\s,{}]+),.*\}", re.DOTALL)


@dataclass(frozen=True)
class Reference:
    """One paper. bibtex: its entry, whose key is `key`; of: what it is the paper of, `("restorers", "dncnn")`."""

    key: str
    bibtex: str
    of: frozenset[tuple[str, str]]


@cache
def ours() -> tuple[Reference, ...]:
    """Those that come with bench."""
    return tuple(read(resources.files("bench.results") / "references.toml"))


def of_restorer(info: RestorerInfo, variants: Iterable[str]) -> list[Reference]:
    """The papers of a restorer, and those that are of one of the variants (`bm3d:package`).

    Raises PaperError for a plugin's references.toml that cannot be read.
    """
    names = [info.name, *(f"{info.name}:{variant}" for variant in variants)]
    if info.is_built_in:
        return _of("restorers", names, ours())
    file = info.companion("references.toml")
    return [] if info.fault or not file.is_file() else _of("restorers", names, read(file))


def of_dataset(name: str) -> list[Reference]:
    return _of("datasets", [name], ours())


def of_metric(name: str) -> list[Reference]:
    return _of("metrics", [name], ours())


def _of(kind: str, names: Iterable[str], references: Iterable[Reference]) -> list[Reference]:
    wanted = {(kind, name) for name in names}
    return [reference for reference in references if wanted & reference.of]


def read(file: Traversable | Path) -> Iterator[Reference]:
    """The references in a TOML file. Raises PaperError naming file, entry and what is wrong."""
    try:
        entries = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise PaperError(f"{file}: cannot be read: {error}") from None
    for key, entry in entries.items():
        where = f"{file}: [{key}]"
        if not isinstance(entry, dict) or not {*entry} <= {"bibtex", *KINDS}:
            raise PaperError(f"{where}: expected a table of bibtex, {', '.join(KINDS)}.")
        bibtex = entry.get("bibtex")
        found = ENTRY.fullmatch(bibtex.strip()) if isinstance(bibtex, str) else None
        if found is None or found["key"] != key or not _is_balanced(found[0]):
            raise PaperError(f"{where}: bibtex: expected one BibTeX entry of the key {key}.")
        for kind in KINDS:
            names = entry.get(kind, [])
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                raise PaperError(f"{where}: {kind}: expected a list of names.")
        yield Reference(key, found[0], frozenset((kind, name) for kind in KINDS for name in entry.get(kind, [])))


def _is_balanced(bibtex: str) -> bool:
    """Whether each brace is closed, and none before the entry's last."""
    depth, depths = 0, []
    for sign in bibtex:
        depth += {"{": 1, "}": -1}.get(sign, 0)
        depths.append(depth)
    return depth == 0 and 0 not in depths[bibtex.index("{") : -1]
