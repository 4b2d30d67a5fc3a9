"""What a restorer's code is: a hash over its file and all that it imports of its own folder or package.

The syntax trees are hashed, without comments and docstrings, so that what is measured anew is what may answer
differently. Imports are read from the source, at any depth; nothing is imported. Built-in restorers are hashed
likewise, and so is what a plugin of one's own takes from them; the engine is not: what may change a figure there has
a version of its own, the protocol's.

What a file says of itself is kept in the cache folder, by time of change, so that a listing of all restorers takes
milliseconds.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any, NamedTuple

from bench.data.download import cache_dir
from bench.errors import RestorerError

__all__ = ["Code", "Held", "built_in_folder", "code_of", "tree_of"]

BUILT_IN = "bench.methods"
FORMAT = 1
"""of the hash: with another one every restorer is measured anew"""
KEPT_FORMAT = 3
"""of what is kept: another one forgets it"""
RACY_SECONDS = 2
"""A file that changed so lately may change again without a new time of change: nothing is kept of it."""


class Held(NamedTuple):
    """A file as the hash has it.

    content    sha256 of its bytes
    tree       digest of its syntax tree; the content's, for what is no source
    is_opened  whether it is one of those it `reads`: imported or not, it may be opened at any time
    """

    path: str
    content: str
    tree: str
    is_opened: bool


@dataclass(frozen=True)
class Code:
    """sha256: of everything; files: the sources that were read, its own first, and the files it `reads`.

    held      the same files, as they were
    packages  of others, and modules of Python, which are imported as soon as it is
    """

    sha256: str
    files: tuple[Path, ...]
    held: tuple[Held, ...] = ()
    packages: frozenset[str] = frozenset()

    def with_other(self, other: Code) -> Code:
        """The code of one thing that uses another."""
        sha256 = hashlib.sha256(f"{self.sha256} {other.sha256}".encode()).hexdigest()
        files = tuple(dict.fromkeys(self.files + other.files))
        held = tuple(dict.fromkeys(self.held + other.held))
        return Code(sha256, files, held, self.packages | other.packages)


class Territory(NamedTuple):
    """A folder whose modules are looked into.

    package  what they are imported below; "" for a folder of modules
    only     of these names; None: all
    """

    package: str
    folder: Path
    only: frozenset[str] | None = None


class Import(NamedTuple):
    """A statement. dots: before the module; names: taken from it; at_once: it runs when its file is imported."""

    dots: int
    module: str
    names: tuple[str, ...]
    at_once: bool


class Source(NamedTuple):
    """What one file says. digest: of its syntax tree; content: sha256 of its bytes."""

    digest: str
    imports: tuple[Import, ...]
    content: str


def code_of(path: Path, class_name: str, module: str = "", reads: Sequence[str] = (), distribution: str = "") -> Code:
    """The code of the class `class_name` in the file `path`.

    module        the dotted name that the file is imported by; "" for a file that is named by its path
    reads         files and folders beside it that it opens, or that it imports by ways that its source does not show
    distribution  that installed it; "" for a file that is named by its path

    Raises RestorerError if one of `reads` is not there.
    """
    path = path.resolve()
    territories = [*_territories(path, module, distribution)]
    waiting, sources, own = [path], dict[Path, Source](), dict[tuple[Path, Import], list[Path]]()
    while waiting:
        file = waiting.pop()
        if file in sources:
            continue
        source = _kept.source(file)
        sources[file] = source
        for asked in source.imports:
            own[file, asked] = [found.resolve() for found in _imported(file, asked, territories)]
            waiting += own[file, asked]
    opened = [(file, _sha256(file.read_bytes())) for name in reads for file in _opened(path, name)]
    named = sorted((_name(file, path, territories), source.digest) for file, source in sources.items())
    read = sorted((_name(file, path, territories), content) for file, content in opened)
    told = json.dumps([FORMAT, class_name, named, read])
    _kept.write()
    packages = frozenset(_packages(path, sources, own))
    held = [Held(str(file), source.content, source.digest, False) for file, source in sources.items()]
    held += [Held(str(file), content, content, True) for file, content in opened]
    files = path, *sorted({*sources, *dict(opened)} - {path})
    return Code(_sha256(told.encode()), files, tuple(held), packages)


def tree_of(content: bytes) -> str:
    """The digest of a source's syntax tree, without comments and docstrings; its content's, if it is no source."""
    return _said(content).digest


def _name(file: Path, main: Path, territories: Iterable[Territory]) -> str:
    """What a file is called in the hash: nothing that a copy of the folder elsewhere would change."""
    if file == main:
        return ""
    for package, folder, _ in territories:
        if package == BUILT_IN and file.is_relative_to(folder):
            return f"{BUILT_IN}/{file.relative_to(folder).as_posix()}"
    return Path(os.path.relpath(file, main.parent)).as_posix()


def _opened(path: Path, name: str) -> list[Path]:
    """The file that `reads` names, or all files of the folder."""
    asked = (path.parent / name).resolve()
    if asked.is_file() and os.access(asked, os.R_OK):
        return [asked]
    files = [file for file in sorted(asked.rglob("*")) if file.is_file() and "__pycache__" not in file.parts]
    if not files:
        raise RestorerError(f"{path}: `reads` names {name}: there is no such file to be read beside it.")
    return files


# --- where modules are -------------------------------------------------------------------------------------


def _territories(path: Path, module: str, distribution: str) -> Iterator[Territory]:
    """Where what `path` imports is its own: the folder it lies in, its package, and the built-in restorers."""
    yield Territory(BUILT_IN, built_in_folder())
    if module.startswith(f"{BUILT_IN}."):
        return
    is_package = path.name == "__init__.py"
    if "." in module or (module and is_package):
        yield Territory(module.partition(".")[0], path.parents[module.count(".") - (not is_package)])
        return
    top = path.parent
    while (top / "__init__.py").is_file():
        top = top.parent
    if top != path.parent:  # a file asked for by its path that lies in a package
        own = path.parent.relative_to(top).parts[0]
        yield Territory(own, top / own)
    yield Territory("", path.parent, _modules_of(distribution) if _is_of_many(path.parent) else None)


@cache
def built_in_folder() -> Path:
    """Where the restorers that come with the engine lie."""
    spec = importlib.util.find_spec(BUILT_IN)
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0]).resolve()


def _is_of_many(folder: Path) -> bool:
    """Whether a folder is one that packages are installed in: not all modules there are one plugin's own."""
    return any(entry.suffix == ".dist-info" for entry in folder.iterdir())


def _modules_of(distribution: str) -> frozenset[str]:
    """The modules and packages that an installed distribution brought."""
    try:
        files = metadata.files(distribution) if distribution else None
    except metadata.PackageNotFoundError:
        files = None
    return frozenset(Path(file).parts[0].removesuffix(".py") for file in files or ())


def _imported(file: Path, asked: Import, territories: Iterable[Territory]) -> Iterator[Path]:
    """The files of one import statement, as far as they are its own."""
    dots, module, names, _ = asked
    parts = tuple(filter(None, module.split(".")))
    if dots:
        yield from _below(file.parents[dots - 1], parts, names)
        return
    for package, folder, only in territories:
        if only is not None and not only.intersection(parts[:1]):
            continue
        own = tuple(filter(None, package.split(".")))
        if parts[: len(own)] == own:
            yield from _below(folder, parts[len(own) :], names)
        elif own[:-1] == parts and own[-1:] and own[-1] in names:  # from bench import methods
            yield from _below(folder, (), ())


def _packages(
    path: Path, sources: Mapping[Path, Source], own: Mapping[tuple[Path, Import], list[Path]]
) -> Iterator[str]:
    """Those that are not its own and that are imported when `path` is. The engine's class of networks needs torch."""
    waiting, seen = [path], set[Path]()
    while waiting:
        file = waiting.pop()
        if file in seen:
            continue
        seen.add(file)
        for asked in sources[file].imports:
            if asked.module == "bench.restorer" and "TorchRestorer" in asked.names:
                yield "torch"
            elif asked.at_once and own[file, asked]:
                waiting += own[file, asked]
            elif asked.at_once and not asked.dots:
                yield asked.module.partition(".")[0]


def _below(folder: Path, parts: Sequence[str], names: Iterable[str]) -> Iterator[Path]:
    """What runs when folder/part/part is imported, packages on the way included, and those of `names` below it."""
    yield from _init(folder)
    for part in parts:
        found = _module(folder, part)
        if found is not None:
            yield found
            if found.name != "__init__.py":
                return
        elif not (folder / part).is_dir():
            return
        folder = folder / part
    for name in names:
        if name == "*":  # all that a package says is in it; to take all that lies there is to take more
            yield from sorted(folder.glob("*.py"))
        elif found := _module(folder, name):
            yield found


def _init(folder: Path) -> Iterator[Path]:
    file = folder / "__init__.py"
    if file.is_file():
        yield file


def _module(folder: Path, name: str) -> Path | None:
    """The file of a module or package, or its compiled one; Python looks for them in this order."""
    if not name.isidentifier():
        return None
    tried = [folder / name / "__init__.py", *(folder / f"{name}{end}" for end in EXTENSION_SUFFIXES)]
    return next((path for path in [*tried, folder / f"{name}.py"] if path.is_file()), None)


# --- what one file says --------------------------------------------------------------------------------


def _read(path: Path) -> Source:
    return _said(path.read_bytes())


def _said(content: bytes) -> Source:
    sha256 = _sha256(content)
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError, RecursionError):  # compiled, or it cannot be imported: that costs its own cells
        return Source(sha256, (), sha256)
    digest = hashlib.sha256()
    for word in _words(tree):
        digest.update(f"{word}\0".encode())  # what is no mark is told by its repr, which holds no zero byte
    return Source(digest.hexdigest(), tuple(dict.fromkeys(_imports(tree))), sha256)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _words(tree: ast.AST) -> Iterator[str]:
    """A syntax tree as a stream of words, the same for every version of Python: what is empty is left out.

    Comments are in no tree, docstrings are left out, and so are places and the kinds of quotes.
    """
    waiting: list[Any] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, _Mark):
            yield node
        elif isinstance(node, ast.AST):
            yield f"({type(node).__name__}"
            waiting.append(_Mark(")"))
            for name in reversed(node._fields):
                value: Any = getattr(node, name, None)
                if name in IGNORED or value == [] or (value is None and name != "value"):
                    continue
                if name == "body" and _has_docstring(node):
                    value = value[1:] or [ast.Pass()]
                waiting += [value, _Mark(f".{name}")]
        elif isinstance(node, list):
            waiting += [_Mark("]"), *reversed(node), _Mark("[")]
        else:
            yield f"{type(node).__name__} {node!r}"


class _Mark(str):
    """A word of the tree's structure, which no name or text in it can be taken for."""


IGNORED = ("kind", "type_comment", "type_ignores")


def _has_docstring(node: ast.AST) -> bool:
    if not isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
        return False
    body: list[ast.stmt] = node.body
    first = body[0].value if body and isinstance(body[0], ast.Expr) else None
    return isinstance(first, ast.Constant) and isinstance(first.value, str)


def _imports(tree: ast.AST) -> Iterator[Import]:
    """Every import that can run, those within functions and by `import_module("name")` included."""
    waiting: list[tuple[ast.AST, bool]] = [(tree, True)]
    while waiting:
        node, at_once = waiting.pop()
        if isinstance(node, ast.Import):
            yield from (Import(0, alias.name, (), at_once) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names = tuple(alias.name for alias in node.names)
            yield Import(node.level, node.module or "", names, at_once)
        elif isinstance(node, ast.Call) and (named := _named_module(node)):
            dots = len(named) - len(named.lstrip("."))
            yield Import(dots, named[dots:], (), at_once)
        elif isinstance(node, FUNCTIONS):
            at_once = False
        for_types_only = isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        within = node.orelse if for_types_only else ast.iter_child_nodes(node)  # type: ignore[attr-defined]
        waiting += [(child, at_once) for child in within]


FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


def _named_module(call: ast.Call) -> str:
    """`helper` of `import_module("helper")` and `__import__("helper")`."""
    called = getattr(call.func, "id", "") or getattr(call.func, "attr", "")
    first = call.args[0] if call.args else None
    known = called in ("import_module", "__import__") and isinstance(first, ast.Constant)
    return first.value if known and isinstance(first.value, str) else ""  # type: ignore[union-attr]


# --- kept by time of change ------------------------------------------------------------------------------


class _Kept:
    """What files said, by path, with the stamps that they had then; in memory, and in the cache folder."""

    def __init__(self) -> None:
        self.files: dict[str, list[Any]] | None = None
        self.is_new = False

    def source(self, path: Path) -> Source:
        """What the file says: read, or as it was if its stamp is."""
        if self.files is None:
            self.files = self._stored()
        now = path.stat()
        stamp = [now.st_mtime_ns, now.st_ctime_ns, now.st_size, now.st_ino]
        known = self.files.get(str(path))
        if known is not None and known[0] == stamp:
            imports = tuple(Import(dots, module, tuple(names), at_once) for dots, module, names, at_once in known[2])
            return Source(known[1], imports, known[3])
        source = _read(path)
        if time.time() - max(now.st_mtime, now.st_ctime) > RACY_SECONDS:
            self.files[str(path)] = [stamp, *source]
            self.is_new = True
        return source

    def write(self) -> None:
        """Keep what was read since, less the files that are gone."""
        if not self.is_new or self.files is None:
            return
        there = {name: known for name, known in self.files.items() if Path(name).exists()}
        file = self._file()
        part = file.with_name(f".{file.name}.{os.getpid()}")
        try:
            part.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(json.dumps({"format": KEPT_FORMAT, "files": there}), encoding="utf-8")
            os.replace(part, file)  # noqa: PTH105  the idiom for "in one step"
        except OSError:  # a cache that cannot be written: everything is read again the next time
            return
        self.is_new = False

    def _file(self) -> Path:
        return cache_dir() / "code.json"

    def _stored(self) -> dict[str, list[Any]]:
        try:
            told = json.loads(self._file().read_text(encoding="utf-8"))
            return dict(told["files"]) if told["format"] == KEPT_FORMAT else {}
        except (OSError, ValueError, KeyError, TypeError):  # none yet, or half a file: it is made anew
            return {}


_kept = _Kept()
