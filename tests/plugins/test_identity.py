"""What the hash of a restorer's code holds: all that it imports of its own, nothing that cannot change an answer."""

import os
import textwrap

import pytest

from bench.errors import RestorerError
from bench.plugins import identity
from bench.plugins.identity import code_of
from bench.plugins.registry import choose, infos

MAIN = """
from bench.restorer import Restorer

class Mine(Restorer):
    name, tasks = "mine", {"denoise"}

    def restore(self, seen):
        return seen.image
"""


@pytest.fixture(autouse=True)
def nothing_is_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(identity, "_kept", identity._Kept())


def write(folder, files):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    return folder


def hashed(folder, main="my.py", **options):
    return code_of(folder / main, "Mine", **options).sha256


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("x = 1", "x = 1  # one"),
        ("x = 1", "\n\nx = (1)\n"),
        ("x = 'a'", 'x = "a"'),
        ("def f():\n    return 1", 'def f():\n    """One."""\n    return 1'),
        ("def f():\n    pass", 'def f():\n    """Only this."""'),
        ("class C:\n    x = 1", 'class C:\n    """C."""\n    x = 1'),
        ("async def f():\n    return 1", 'async def f():\n    "One."\n    return 1'),
        ("x = 1", '"""The module."""\nx = 1'),
        ("x = 1", "x = 1 # type: int"),
        ("x = 10", "x = 0xA"),
    ],
)
def test_what_cannot_change_an_answer_is_not_in_it(tmp_path, before, after):
    a, b = (write(tmp_path / k, {"my.py": text + "\n" + MAIN}) for k, text in (("a", before), ("b", after)))
    assert hashed(a) == hashed(b)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("x = 1", "x = 2"),
        ("x = 1", "x = 1.0"),
        ("x = 1", "x = True"),
        ("x = 0.1", "x = 0.10000000000000002"),
        ("x = -0.0", "x = 0.0"),
        ("x = 'a'", "x = b'a'"),
        ("x = None", "x = ..."),
        ("x = f(None)", "x = f()"),
        ("x = 'a'; 'b'", "x = 'b'; 'a'"),
        ("x = a + b - c", "x = a - b + c"),
        ("x = [[], 1]", "x = [[1]]"),
        ("x = [1], 2", "x = [1, 2]"),
        ("x = ')'", "x = '('"),
        ("if a:\n    b\nc", "if a:\n    b\n    c"),
        ("def f(a, *, b=1): pass", "def f(a, b=1): pass"),
        ("def f():\n    return 1\n    'no docstring'", "def f():\n    return 1"),
        ("x = f'{a:.2f}'", "x = f'{a:.3f}'"),
        ("@njit\ndef f(): pass", "@njit(fastmath=True)\ndef f(): pass"),
    ],
)
def test_what_can_change_an_answer_is_in_it(tmp_path, before, after):
    a, b = (write(tmp_path / k, {"my.py": text + "\n" + MAIN}) for k, text in (("a", before), ("b", after)))
    assert hashed(a) != hashed(b)


def test_it_is_the_same_on_every_version_of_python():
    """The words, not the tree as one version of Python prints it."""
    import ast

    tree = ast.parse("def f(x: int = 1, *y) -> None:\n    'doc'\n    return x if y else f'{x!r:>{y}}'\n")
    told = "\0".join(identity._words(tree))
    assert "doc" not in told
    assert "type_params" not in told
    assert told.count("(") == told.count(")")
    assert told.startswith("(Module\0.body\0[\0(FunctionDef\0.name\0str 'f'\0.args\0(arguments\0")


IMPORTS = {
    "import helper": ["helper.py"],
    "import helper as h": ["helper.py"],
    "from helper import strength": ["helper.py"],
    "from helper import *": ["helper.py"],
    "def f():\n    import helper": ["helper.py"],
    "try:\n    import numpy\nexcept ImportError:\n    import helper": ["helper.py"],
    "import package.part": ["package/__init__.py", "package/part.py"],
    "from package import part": ["package/__init__.py", "package/part.py"],
    "from package.part import x": ["package/__init__.py", "package/part.py"],
    "from package import *": ["package/__init__.py", "package/part.py"],
    "import package": ["package/__init__.py"],
    "import bare.part": ["bare/part.py"],
    "from bare import part": ["bare/part.py"],
    "from .helper import x": ["helper.py"],
    "from . import helper": ["helper.py"],
    "from .package.part import x": ["package/__init__.py", "package/part.py"],
    "from importlib import import_module\nx = import_module('helper')": ["helper.py"],
    "import importlib\nx = importlib.import_module('package.part')": ["package/__init__.py", "package/part.py"],
    "x = __import__('helper')": ["helper.py"],
    "x = import_module('.helper', __package__)": ["helper.py"],
    "import chain": ["chain.py", "helper.py"],
    "import circle": ["circle.py", "circle2.py"],
    "import numpy, os.path, torch": [],
    "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import helper": [],
    "import typing\nif typing.TYPE_CHECKING:\n    import helper\nelse:\n    import chain": ["chain.py", "helper.py"],
    "import compiled": ["compiled.so"],
    "import broken": ["broken.py"],
    "from bench.methods.sparse.prox import soft": ["sparse/__init__.py", "sparse/prox.py"],
}


@pytest.mark.parametrize("statement", IMPORTS)
def test_what_is_imported_of_its_own_folder_is_part_of_it(tmp_path, statement):
    write(
        tmp_path,
        {
            "my.py": statement + "\n" + MAIN,
            "helper.py": "strength = 1",
            "package/__init__.py": "",
            "package/part.py": "x = 1",
            "bare/part.py": "x = 1",
            "chain.py": "import helper",
            "circle.py": "import circle2",
            "circle2.py": "import circle, my",
            "compiled.so": "not really",
            "broken.py": "x = = 1",
            "unused.py": "x = 1",
        },
    )
    main, *others = code_of(tmp_path / "my.py", "Mine").files
    assert main == tmp_path / "my.py"
    methods = identity.built_in_folder()
    names = [str(f.relative_to(methods if f.is_relative_to(methods) else tmp_path)) for f in others]
    assert sorted(set(names) - {"__init__.py"}) == sorted(IMPORTS[statement])


@pytest.mark.parametrize("file", ["helper.py", "package/part.py", "package/__init__.py", "compiled.so", "broken.py"])
def test_an_edit_of_any_of_them_changes_it(tmp_path, file):
    text = "import helper, package.part, compiled, broken\n" + MAIN
    files = {"my.py": text, "helper.py": "x = 1", "package/part.py": "x = 1", "package/__init__.py": "x = 1"}
    write(tmp_path, {**files, "compiled.so": "x = 1", "broken.py": "= 1"})
    before = hashed(tmp_path)
    (tmp_path / file).write_text("x = 2" if file != "broken.py" else "= 2")
    assert hashed(tmp_path) != before


def test_a_copy_elsewhere_under_another_name_is_the_same(tmp_path):
    files = {"helper.py": "x = 1", "data.txt": "1"}
    a = write(tmp_path / "a", {**files, "my.py": "import helper\n" + MAIN})
    b = write(tmp_path / "b/c", {**files, "yours.py": "import helper\n" + MAIN})
    assert hashed(a, reads=["data.txt"]) == hashed(b, "yours.py", reads=["data.txt"])


def test_two_classes_of_one_file_are_two(tmp_path):
    write(tmp_path, {"my.py": MAIN})
    assert code_of(tmp_path / "my.py", "Mine").sha256 != code_of(tmp_path / "my.py", "Other").sha256


def test_a_module_of_a_package_is_followed_through_the_whole_package(tmp_path):
    write(
        tmp_path,
        {
            "pkg/__init__.py": "from pkg import settings",
            "pkg/settings.py": "x = 1",
            "pkg/deep/__init__.py": "",
            "pkg/deep/my.py": "from ..util import f\nfrom pkg.deep import near\nimport other\n" + MAIN,
            "pkg/deep/near.py": "",
            "pkg/util.py": "from . import more",
            "pkg/more.py": "",
            "other.py": "",
        },
    )
    expected = {"__init__.py", "settings.py", "my.py", "near.py", "util.py", "more.py"}
    installed = code_of(tmp_path / "pkg/deep/my.py", "Mine", "pkg.deep.my")
    assert {file.name for file in installed.files} == expected
    assert {file.name for file in code_of(tmp_path / "pkg/deep/my.py", "Mine").files} == expected


def test_of_modules_that_were_installed_beside_others_only_its_own_distributions_are_followed(tmp_path, monkeypatch):
    write(
        tmp_path,
        {
            "mine.py": "import mine_too, foreign\n" + MAIN,
            "mine_too.py": "",
            "foreign.py": "",
            "mine-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n",
            "mine-1.0.dist-info/RECORD": "mine.py,,\nmine_too.py,,\nmine-1.0.dist-info/METADATA,,\n",
        },
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    files = code_of(tmp_path / "mine.py", "Mine", "mine", distribution="mine").files
    assert [file.name for file in files] == ["mine.py", "mine_too.py"]
    assert [file.name for file in code_of(tmp_path / "mine.py", "Mine").files] == ["mine.py"]


def test_files_that_it_reads_are_part_of_it_by_content(tmp_path):
    write(tmp_path, {"my.py": MAIN, "params.txt": "1", "tables/a/b.csv": "1", "tables/c.csv": "2"})
    reads = ["params.txt", "tables"]
    before = hashed(tmp_path, reads=reads)
    assert before != hashed(tmp_path)
    (tmp_path / "tables/a/b.csv").write_text("3")
    between = hashed(tmp_path, reads=reads)
    (tmp_path / "params.txt").write_text("2")
    assert len({before, between, hashed(tmp_path, reads=reads)}) == 3


@pytest.mark.parametrize("name", ["none.txt", "empty"])
def test_a_file_that_it_reads_and_that_is_not_there_is_named(tmp_path, name):
    write(tmp_path, {"my.py": MAIN})
    (tmp_path / "empty").mkdir()
    with pytest.raises(RestorerError, match=rf"my\.py: `reads` names {name}: there is no such file"):
        hashed(tmp_path, reads=[name])


# --- kept by time of change --------------------------------------------------------------------------------


def test_what_was_read_once_is_not_read_again_until_it_changes(tmp_path, monkeypatch):
    folder = write(tmp_path / "plugin", {"my.py": "import helper\n" + MAIN, "helper.py": "x = 1"})
    monkeypatch.setattr(identity, "RACY_SECONDS", -1)
    before = hashed(folder)
    read = []
    monkeypatch.setattr(identity, "_kept", identity._Kept())  # as the next process has it
    monkeypatch.setattr(
        identity, "_read", lambda path, read_it=identity._read: read.append(path.name) or read_it(path)
    )
    assert hashed(folder) == before
    assert read == []
    (folder / "helper.py").write_text("x = 2")
    assert hashed(folder) != before
    assert read == ["helper.py"]


def test_an_edit_of_the_same_length_at_the_same_time_is_seen(tmp_path):
    """A clock ticks a few hundred times a second: what changed just now may change again unseen."""
    folder = write(tmp_path / "plugin", {"my.py": MAIN})
    before = hashed(folder)
    stamp = (folder / "my.py").stat()
    (folder / "my.py").write_text(MAIN.replace("mine", "mind"))
    os.utime(folder / "my.py", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert hashed(folder) != before


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 0, "files": {}}', '{"format": 2, "files": 3}'])
def test_a_damaged_cache_is_made_anew(tmp_path, content):
    folder = write(tmp_path / "plugin", {"my.py": MAIN})
    (tmp_path / "cache").mkdir()
    before = hashed(folder)
    (tmp_path / "cache/code.json").write_text(content)
    identity._kept = identity._Kept()
    assert hashed(folder) == before


def test_a_cache_that_cannot_be_written_costs_nothing(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "file/below"))
    monkeypatch.setattr(identity, "RACY_SECONDS", -1)
    assert hashed(write(tmp_path / "plugin", {"my.py": MAIN}))


# --- the built-in restorers ----------------------------------------------------------------------------------


def test_every_built_in_has_a_code_of_its_own():
    codes = {name: info.code for name, info in infos().items() if info.is_built_in}
    assert len({code.sha256 for code in codes.values()}) == len(codes)
    users = {name for name, code in codes.items() if any(file.name == "prox.py" for file in code.files)}
    assert {"sc", "groupsc", "ksvd", "lssc"} <= users
    assert not users & {"bm3d", "dncnn", "nlm", "nsr", "tv"}
    engine = identity.built_in_folder().parent / "bench"
    assert not any(file.is_relative_to(engine) for code in codes.values() for file in code.files)


def test_a_restorer_knows_its_code_when_it_is_chosen(tmp_path):
    path = write(tmp_path, {"my.py": "from helper import x\n" + MAIN, "helper.py": "x = 1"}) / "my.py"
    before = choose(f"{path}:Mine").code_sha256
    (tmp_path / "helper.py").write_text("x = 2")
    assert choose(f"{path}:Mine").code_sha256 != before
