"""The arrows of the design, read off every import line, lazy and type-only ones too; and no circle anywhere."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = {"bench": "bench", "data": "bench.data", "methods": "bench.methods", "results": "bench.results"}
WINGS = ("plugins", "runner", "restoring", "records", "measure", "judge", "report", "training", "cli")


def modules():
    """Dotted name -> file, of all that is packaged."""
    found = {}
    for folder, package in FOLDERS.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            parts = parts[:-1] if parts[-1] == "__init__" else parts
            found[".".join((package, *parts))] = path
    return found


MODULES = modules()


def imports(path):
    """The packaged modules that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module:
            below = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from [name for name in below if name in MODULES] or [node.module] * (node.module in MODULES)


GRAPH = {name: sorted({*imports(path)} - {name}) for name, path in MODULES.items()}


def room(name):
    """`data`, `methods`, `results`, a wing of the engine, or `core`: what stands in bench/ itself."""
    first = name.split(".")[1] if "." in name else "api"
    return first if first in FOLDERS or first in WINGS else "api" if first == "api" else "core"


MAY = {
    "data": set(),
    "results": set(),
    "methods": {"core"},
    "core": {"data", "measure"},
    "measure": {"core", "data"},
    "plugins": {"core", "measure", "data", "results"},
    "records": {"core", "measure", "data", "plugins"},
    "runner": {"core", "measure", "data", "plugins", "records"},
    "restoring": {"core", "measure", "data", "plugins", "records", "runner"},
    "judge": {"core", "measure", "data", "plugins", "records", "runner"},
    "report": {"core", "measure", "data", "plugins", "records", "runner", "restoring", "judge"},
    "training": {"core", "measure", "data", "plugins", "records", "runner", "judge"},
    "cli": {
        "api",
        "core",
        "measure",
        "data",
        "plugins",
        "records",
        "runner",
        "restoring",
        "judge",
        "report",
        "training",
    },
    "api": {"core", "measure", "data", "plugins", "records", "runner", "restoring", "judge", "report", "training"},
}
"""What each room may import, besides itself."""


def test_every_arrow_is_one_of_the_designs():
    assert len(MODULES) > 80
    wrong = [
        f"{name} imports {other}"
        for name, others in GRAPH.items()
        for other in others
        if room(other) != room(name) and room(other) not in MAY[room(name)]
    ]
    assert not wrong


def test_there_is_no_circle():
    state = {}

    def visit(name, way):
        if state.get(name) == "open":
            return [*way[way.index(name) :], name]
        if name in state:
            return None
        state[name] = "open"
        for other in GRAPH[name]:
            if circle := visit(other, [*way, name]):
                return circle
        state[name] = "closed"
        return None

    circle = next((circle for name in GRAPH if (circle := visit(name, []))), [])
    assert not circle, " -> ".join(circle)


def test_a_wing_lies_where_the_test_looks():
    assert {room(name) for name in MODULES} == {*MAY}


def test_restorers_know_the_interface_alone():
    used = {m for name, others in GRAPH.items() if room(name) == "methods" for m in others if room(m) == "core"}
    assert used == {"bench.restorer"}


def test_every_package_is_packed():
    if sys.version_info < (3, 11):
        pytest.skip("tomllib")
    import tomllib

    packed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"]
    there = {name for name, path in MODULES.items() if path.name == "__init__.py"}
    assert {*packed} == there


def run_python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_listing_loads_neither_torch_nor_numpy_nor_a_restorer():
    loaded = run_python(
        "import sys; sys.argv = ['bench', 'list']\n"
        "from bench.cli.commands import app\n"
        "app(standalone_mode=False)\n"
        "print('LOADED', *sorted(sys.modules))"
    )
    names = loaded.rpartition("LOADED")[2].split()
    assert "bench.plugins.registry" in names
    heavy = {"torch", "numpy", "bm3d", "skimage", "scipy", "pandas", "pooch", "requests"}
    assert not [m for m in names if m in heavy or (m.startswith("bench.methods.") and m != "bench.methods")]


def test_bench_offers_what_its_api_does_and_loads_neither_torch_nor_pandas():
    offered, loaded = run_python(
        "import sys, bench, bench.api as api\n"
        "print(bench.__all__ == api.__all__ and all(getattr(bench, n) is getattr(api, n) for n in api.__all__))\n"
        "print(*sys.modules)"
    ).splitlines()
    assert offered == "True"
    assert not {"torch", "pandas", "numpy", "skimage"} & {*loaded.split()}


PUBLIC = [name for name in MODULES if room(name) not in ("methods", "results")]


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names_are_said_and_sorted(name):
    body = ast.parse(MODULES[name].read_text(encoding="utf-8")).body
    said = [
        ast.literal_eval(node.value)
        for node in body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__"
    ]
    defined = [n.name for n in body if isinstance(n, (ast.FunctionDef, ast.ClassDef)) and n.name[0] != "_"]
    assert said or not defined, f"{name} has no __all__"
    for names in said:
        assert names == sorted(names, key=lambda n: (not n.isupper(), not n[0].isupper(), n))


def test_tests_of_two_rooms_may_have_one_name():
    """pytest imports a test by the packages that it stands in; two of one name outside of packages stop all."""
    folders = {path.parent for path in (ROOT / "tests").rglob("test_*.py")}
    assert not [str(folder) for folder in folders if not (folder / "__init__.py").exists()]
