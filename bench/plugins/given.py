"""Weights that a user names, `NAME@FILE`: whether the restorer takes any, and by which reader.

Told from the file's content and the restorer's source: neither is run.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.checkpoints import READABLE, SAFETENSORS, TORCH, complaint, kind_of, scan, why_not_read
from bench.errors import WeightsError
from bench.plugins.registry import RestorerInfo, RestorerSpec

__all__ = ["Format", "check", "reader_of"]

Format = tuple[str, str]
"""A declared file's name, and its reader."""

STATE_DICT = "state-dict"
WITHOUT_WEIGHTS = {"Restorer", "ABC", "object", "Generic", "Protocol"}


def check(spec: RestorerSpec, formats: Sequence[Format]) -> None:
    """Raise WeightsError if the file is none, or of no use to the restorer; what only its network tells comes later.

    formats  that the restorer declares
    """
    info, path = spec.info, Path(spec.weights)
    found = _why_no_file(path)
    if found and info.adapts:
        raise WeightsError(f"{info.name}:{spec.weights}: {found}.")
    if found:
        raise WeightsError(
            f"{info.name}@{spec.weights}: after the @ stands 'published', 'ours' or a weights file; {found}."
        )
    if info.fault or info.value is not None:
        return
    if not _takes_weights(info, formats):
        raise WeightsError(f"{info.name}@{spec.weights}: {info.name} takes no weights. Ask for it without the file.")
    kind = kind_of(path)
    if kind.is_broken:
        raise WeightsError(complaint(path, kind))
    if _is_read_by_the_engine(info):
        if kind not in READABLE and not reader_of(path, formats):
            raise WeightsError(complaint(path, kind))
        if kind is TORCH and scan(path).foreign:
            raise WeightsError(why_not_read(path))
    elif formats and kind is not SAFETENSORS and all(_is_safetensors(one) for one in formats):
        raise WeightsError(f"{path} is {kind.words}, and {info.name} reads safetensors alone.")


def _why_no_file(path: Path) -> str:
    try:
        if path.is_file():
            return ""
        is_there = path.exists()
    except OSError as error:  # a name that is too long
        return f"'{path}' cannot be opened ({error.strerror})"
    if path.is_dir():
        return "that is a folder"
    return f"'{path}' is no file that can be read whole" if is_there else f"there is no file '{path}'"


def _is_safetensors(one: Format) -> bool:
    file, reader = one
    return not reader and Path(file).suffix in SAFETENSORS.suffixes


def reader_of(path: Path, formats: Sequence[Format]) -> str:
    """What the restorer is told to read the file by: "" for safetensors and for what only its own `load` may know.

    A declared reader, if its files look alike; a network then tries the plain one too.
    """
    kind = kind_of(path)
    if kind is SAFETENSORS:
        return ""
    declared = [(file, reader) for file, reader in formats if reader]
    same_name = [reader for file, reader in declared if file == path.name]
    alike = [reader for file, reader in declared if _suffix(file) in kind.suffixes]
    same_suffix = [reader for file, reader in declared if _suffix(file) == _suffix(path.name)]
    return next(iter([*same_name, *alike, *same_suffix]), STATE_DICT if kind is TORCH else "")


def _suffix(name: str) -> str:
    return Path(name).suffix.lower()


# --- what a restorer's source says ----------------------------------------------------------------------


def _takes_weights(info: RestorerInfo, formats: Sequence[Format]) -> bool:
    """Whether it needs or declares weights, or its source names them, or its base lies in another file."""
    if info.needs_weights or formats:
        return True
    _, bases = _lineage(info)
    files = [info.source] if info.is_built_in else info.code.files
    return bool(bases - WITHOUT_WEIGHTS) or any(_names_weights(file) for file in files if file.suffix == ".py")


def _names_weights(file: Path) -> bool:
    """`self.weights`, `getattr(self, "weights")`, or `weights` in an `__init__`."""
    for node in ast.walk(_tree(file)):
        if isinstance(node, ast.Attribute) and node.attr == "weights":
            return True
        if isinstance(node, ast.Constant) and node.value == "weights":
            return True
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            names = (name for name in ast.walk(node) if isinstance(name, ast.Name))
            if any(name.id == "weights" for name in names):
                return True
    return False


def _is_read_by_the_engine(info: RestorerInfo) -> bool:
    """Whether all files but those of declared readers go to `TorchRestorer.load`, as far as its own file tells."""
    classes, bases = _lineage(info)
    own = [one for cls in classes for one in cls.body if isinstance(one, ast.FunctionDef)]
    return bases == {"TorchRestorer"} and all(_hands_on(one) for one in own if one.name in ("load", "prepare"))


def _hands_on(function: ast.FunctionDef) -> bool:
    """Whether it calls what it overrides: `super().load(…)`."""
    called = (ast.unparse(node.func) for node in ast.walk(function) if isinstance(node, ast.Call))
    return f"super().{function.name}" in called


def _lineage(info: RestorerInfo) -> tuple[list[ast.ClassDef], set[str]]:
    """The class and its bases in its own file, and the names of those that lie elsewhere."""
    there = {node.name: node for node in _tree(info.source).body if isinstance(node, ast.ClassDef)}
    waiting, classes, elsewhere = [info.target.rpartition(":")[2]], list[ast.ClassDef](), set[str]()
    while waiting:
        name = waiting.pop()
        cls = there.pop(name, None)
        if cls is not None:
            classes.append(cls)
            waiting += _bases(cls)
        elif name not in {one.name for one in classes}:
            elsewhere.add(name)
    return classes, elsewhere


def _bases(cls: ast.ClassDef) -> Iterator[str]:
    """The last words of the bases' names, `TorchRestorer` of `bench.restorer.TorchRestorer`."""
    for base in cls.bases:
        while isinstance(base, ast.Subscript):
            base = base.value
        if isinstance(base, (ast.Name, ast.Attribute)):
            yield base.id if isinstance(base, ast.Name) else base.attr
        else:
            yield ast.unparse(base)


def _tree(file: Path) -> ast.Module:
    try:
        return ast.parse(file.read_bytes())
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # to import it will say so
        return ast.Module([], [])
