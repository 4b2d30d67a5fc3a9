"""A rule that the compiled kernels keep to (`methods.sparse.compiled` says why)."""

import ast
from pathlib import Path

import pytest

METHODS = Path(__file__).parents[3] / "methods"
KERNELS = {
    f"{path.stem}.{function.name}": function
    for path in sorted(METHODS.rglob("*.py"))
    for function in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    if isinstance(function, ast.FunctionDef) and any(ast.unparse(d) == "kernel" for d in function.decorator_list)
}


def sums_into_memory(function):
    """Lines whose innermost loop adds to one and the same place of an array again and again."""
    loops = [node for node in ast.walk(function) if isinstance(node, ast.For | ast.While)]
    innermost = [loop for loop in loops if not any(inner in loops for inner in ast.walk(loop) if inner is not loop)]
    for loop in innermost:
        names = [node for node in ast.walk(loop) if isinstance(node, ast.Name)]
        changing = {name.id for name in names if isinstance(name.ctx, ast.Store)}
        for node in ast.walk(loop):
            if (
                isinstance(node, ast.AugAssign)
                and isinstance(node.target, ast.Subscript)
                and not changing & {name.id for name in ast.walk(node.target.slice) if isinstance(name, ast.Name)}
            ):
                yield node.lineno


@pytest.mark.parametrize("name", KERNELS)
def test_no_kernel_sums_and_stores_in_one_loop(name):
    assert not list(sums_into_memory(KERNELS[name]))


def test_such_a_loop_is_found():
    source = "def f(mu, Y):\n for i in range(9):\n  for t in range(9):\n   mu[i] += Y[i, t]\n   mu[t] += Y[i, t]"
    assert list(sums_into_memory(ast.parse(source))) == [4]
