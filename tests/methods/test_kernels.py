"""Compiled kernels answer alike, whether they have just been compiled or come from the cache."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

METHODS = Path(__file__).resolve().parents[2] / "methods"
DECORATORS = ("kernel", "inlined")


def kernels(module: ast.Module) -> dict[str, tuple[str, ast.FunctionDef]]:
    """By name: how it is decorated, and itself."""
    return {
        one.name: (decorator.id, one)
        for one in module.body
        if isinstance(one, ast.FunctionDef)
        for decorator in one.decorator_list
        if isinstance(decorator, ast.Name) and decorator.id in DECORATORS
    }


def imported(module: ast.Module) -> dict[str, tuple[str, str]]:
    """By the name it has here: module and name of what comes from another module of ours."""
    return {
        alias.asname or alias.name: (one.module, alias.name)
        for one in module.body
        if isinstance(one, ast.ImportFrom) and one.module
        for alias in one.names
    }


def calls() -> Iterator[tuple[str, str]]:
    """(`module.kernel` that another kernel calls, how it is decorated)"""
    modules = {
        "bench." + ".".join(path.relative_to(METHODS.parent).with_suffix("").parts): ast.parse(path.read_text())
        for path in METHODS.rglob("*.py")
    }
    known = {name: kernels(module) for name, module in modules.items()}
    for name, module in modules.items():
        names = {**imported(module), **{own: (name, own) for own in known[name]}}
        for _, one in known[name].values():
            for node in ast.walk(one):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
                    where, called = names[node.func.id]
                    if called in known.get(where, {}):
                        yield f"{where}.{called}", known[where][called][0]


def test_a_kernel_that_others_call_becomes_part_of_them() -> None:
    """See `methods.sparse.compiled.inlined`: else which copy runs depends on what was loaded first."""
    found = dict(calls())
    assert len(found) > 40
    assert [name for name, decorator in found.items() if decorator != "inlined"] == []
