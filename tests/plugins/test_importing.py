"""Files by their paths: in packages or not, in any encoding, and with no name that hides what others import."""

from __future__ import annotations

import sys

import pytest

import bench
from bench.errors import RestorerError
from bench.plugins.importing import import_file
from bench.plugins.registry import choose

MINE = """
from bench.restorer import Restorer

class Mine(Restorer):
    name, tasks = "mine", {"denoise"}

    def restore(self, seen):
        return seen.image
"""


@pytest.fixture(autouse=True)
def _own_modules(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield
    files = {name: getattr(module, "__file__", None) for name, module in sys.modules.items()}
    for name, file in files.items():
        if name == "outer" or str(file).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.mark.parametrize(
    ("name", "hidden"),
    [("torch", "the installed package"), ("numpy", "the installed package"), ("json", "Python's own module")],
)
def test_a_file_that_hides_a_module_is_told_so(tmp_path, name, hidden):
    (tmp_path / f"{name}.py").write_text(MINE)
    with pytest.raises(RestorerError, match=rf"{name}\.py hides {hidden} '{name}' from whatever imports it\. Rename"):
        choose(f"{tmp_path}/{name}.py:Mine")


@pytest.mark.parametrize("name", ["mine", "test", "data", "methods"])
def test_other_names_are_free(tmp_path, name):
    (tmp_path / f"{name}.py").write_text(MINE)
    assert choose(f"{tmp_path}/{name}.py:Mine").name == "mine"


@pytest.mark.parametrize(
    ("file", "code"),
    [
        ("mine.py", b"\xef\xbb\xbf" + MINE.encode()),
        ("mine.py", b"# -*- coding: latin-1 -*-\n# \xe9\n" + MINE.encode()),
        ("mine.py", MINE.replace("\n", "\r\n").encode()),
        (b"caf\xe9.py".decode("utf-8", "surrogateescape"), MINE.encode()),
        ("mein Entrauscher.py", MINE.encode()),
    ],
    ids=["a byte-order mark", "Latin-1", "Windows", "a name in Latin-1", "a name of two words"],
)
def test_files_of_any_encoding_and_name_are_measured(photos, tmp_path, file, code):
    try:
        (tmp_path / file).write_bytes(code)
    except OSError:
        pytest.skip("names of files are UTF-8 here")
    [first, *_] = bench.debug(f"{tmp_path}/{file}:Mine", datasets=photos, sigma=25).records
    assert (first.status, first.restorer) == ("ok", "mine")


@pytest.fixture
def package(tmp_path):
    for file, code in {
        "outer/__init__.py": "",
        "outer/factors.py": "TWO = 2",
        "outer/inner/__init__.py": "",
        "outer/inner/beside.py": "THREE = 3",
        "outer/inner/mine.py": "import beside\nfrom ..factors import TWO\nfrom .beside import THREE\nSIX = 2 * THREE",
        "outer/inner/other.py": "from .beside import THREE",
    }.items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(code)
    return tmp_path / "outer" / "inner"


def test_a_file_in_a_package_may_import_relative_to_it_and_its_neighbours(package):
    assert import_file(package / "mine.py").SIX == 6
    assert import_file(package / "other.py").THREE == 3


def test_a_package_of_a_loaded_ones_name_does_not_take_its_place(package):
    (package / "alone.py").write_text("import beside\nfrom outer import TWO")
    sys.modules["outer"] = type(sys)("outer")
    sys.modules["outer"].TWO = "another's"
    assert import_file(package / "alone.py").TWO == "another's"
