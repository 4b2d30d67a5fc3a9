"""Files of its own that a restorer uses and its code's hash does not know of: a run says so, check fails."""

import abc
import sys
from pathlib import Path

import pytest
from PIL import Image

import bench
from bench.runner.unseen import Unseen

BASE = """
from pathlib import Path
from bench.restorer import Restorer
HERE = Path(__file__).parent

class Mine(Restorer):
    name, tasks = "mine", {"denoise"}
    READS

    def prepare(self, setting, device):
        PREPARE

    def restore(self, seen):
        RESTORE
        return seen.image.copy()
"""

WAYS = {
    "a path of modules": (
        "import sys; sys.path.insert(0, str(HERE / 'lib')); import hidden",
        "pass",
        "lib/hidden.py",
    ),
    "a name that is put together": ("import importlib; importlib.import_module('hid' + 'den')", "pass", "hidden.py"),
    "a module that is loaded by its path": (
        "from importlib.util import module_from_spec, spec_from_file_location; import sys;"
        " s = spec_from_file_location('h', HERE / 'hidden.py'); m = module_from_spec(s); sys.modules['h'] = m;"
        " s.loader.exec_module(m)",
        "pass",
        "hidden.py",
    ),
    "an import while it restores": ("pass", "__import__('hid' + 'den')", "hidden.py"),
}
DATA = {
    "text in prepare": ("(HERE / 'p.txt').read_text()", "pass", "p.txt"),
    "text in restore": ("pass", "open(HERE / 'p.txt', 'rb').close()", "p.txt"),
    "an array": ("import numpy as np; np.loadtxt(HERE / 'p.txt')", "pass", "p.txt"),
    "code that is executed": ("exec((HERE / 'hidden.py').read_text())", "pass", "hidden.py"),
    "below": ("(HERE / 'lib/hidden.py').read_bytes()", "pass", "lib/hidden.py"),
}


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.new("L", (16, 16), 90).save(folder / "1.png")
    return folder


def plugin(folder, prepare, restore, reads=""):
    at = folder / "plugin"
    (at / "lib").mkdir(parents=True, exist_ok=True)
    for name in ("hidden.py", "lib/hidden.py", "p.txt"):
        (at / name).write_text("1\n")
    text = BASE.replace("PREPARE", prepare).replace("RESTORE", restore).replace("READS", reads)
    (at / "my.py").write_text(text)
    return f"{at}/my.py:Mine"


def broken(name):
    return [finding.detail for finding in bench.check(name) if not finding.ok]


@pytest.mark.parametrize("way", WAYS)
def test_modules_that_the_source_does_not_show_are_said_beside_the_figures(photos, tmp_path, way):
    prepare, restore, file = WAYS[way]
    outcome = bench.run(plugin(tmp_path, prepare, restore), datasets=photos, sigma=25, store=tmp_path / "s.sqlite")
    assert outcome.records[0].status == "ok"
    said = f"an edit of {file} would go unnoticed: name it in `reads`"
    assert said in outcome.table()
    assert said in bench.table(tmp_path / "s.sqlite")


@pytest.mark.parametrize("way", {**WAYS, **DATA})
def test_check_names_what_it_opens_and_is_content_when_it_is_named(tmp_path, way):
    prepare, restore, file = {**WAYS, **DATA}[way]
    assert broken(plugin(tmp_path, prepare, restore)) == [f"an edit of {file} would go unnoticed: name it in `reads`"]
    assert broken(plugin(tmp_path, prepare, restore, f"reads = [{file!r}]")) == []


@pytest.mark.parametrize(
    ("prepare", "reads"),
    [
        ("import hidden", ""),
        ("(HERE / 'out.txt').write_text('2')", ""),
        ("(HERE / 'lib/hidden.py').read_text()", "reads = ['lib']"),
        ("import json, wave; open('/etc/hostname').close()", ""),
        ("(HERE / 'none.txt').exists()", ""),
        ("list(HERE.iterdir())", ""),
    ],
)
def test_what_it_may_use_unnamed(tmp_path, prepare, reads):
    assert broken(plugin(tmp_path, prepare, "pass", reads)) == []


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("Mine.version = str(1 + 1)", "its version is '2' when it runs, and '1' in its source"),
        ("Mine.name = 'other'", "its name is 'other' when it runs, and 'mine' in its source"),
        ("setattr(Mine, 'version', 3)", "its version is 3 when it runs, and '1' in its source"),
    ],
)
def test_what_the_source_says_is_what_runs(photos, tmp_path, lines, says):
    name = plugin(tmp_path, "pass", "pass")
    path = tmp_path / "plugin/my.py"
    path.write_text(f"{path.read_text()}\n{lines}\n")
    outcome = bench.run(name, datasets=photos, sigma=25, store=tmp_path / "s.sqlite")
    assert [record.status for record in outcome.records] == ["failed"]
    assert says in outcome.records[0].reason


def test_a_version_that_a_base_in_another_file_sets_is_asked_to_be_written_down(photos, tmp_path):
    name = plugin(tmp_path, "pass", "pass")
    path = tmp_path / "plugin/my.py"
    (path.parent / "base.py").write_text(
        "from bench.restorer import Restorer\nclass Base(Restorer):\n    version = '9'\n"
    )
    path.write_text(
        path.read_text()
        .replace("import Restorer", "import Restorer\nfrom base import Base")
        .replace("Mine(Restorer)", "Mine(Base)")
    )
    outcome = bench.run(name, datasets=photos, sigma=25, store=tmp_path / "s.sqlite")
    assert (
        "its version is '9' when it runs, and '1' in its source: write it as a literal" in outcome.records[0].reason
    )


def test_pythons_own_modules_are_none_of_a_restorers_that_lies_above_them():
    above = Path(sys.base_prefix).parent
    unseen = Unseen(str(above), ())
    unseen.opened = {str(Path(abc.__file__).resolve()), sys.executable}
    assert [name for name in unseen.names() if "site-packages" not in name and name.endswith("abc.py")] == []
