"""A folder may have files called as our folders are: ours stay ours, and a plugin's own are its own."""

import subprocess
import sys

import pytest

PLUGIN = """
from bench.restorer import Restorer
from data import load

class Mine(Restorer):
    name, tasks = "mine", {"denoise"}

    def restore(self, seen):
        return load(seen.image)
"""


@pytest.fixture
def beside(tmp_path, photos):
    """Runs code, or a script, in a folder with data.py, methods.py and results/."""
    (tmp_path / "data.py").write_text("def load(image):\n    return image + 0\n")
    (tmp_path / "methods.py").write_text("raise RuntimeError('a file of the user that no import of ours may run')\n")
    (tmp_path / "results").mkdir()
    (tmp_path / "mine.py").write_text(PLUGIN)

    def run(code):
        (tmp_path / "script.py").write_text(code)
        done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_importing_and_listing(beside):
    assert "dncnn" in beside("import bench\nfrom bench.cli import main\nimport sys\nsys.argv[1:] = ['list']\nmain()")


def test_the_papers_are_ours_after_a_run_has_made_results(beside):
    said = beside(
        "import bench\n"
        "bench.run('noisy', datasets='photos', sigma=25)\n"
        "from bench.judge.papers import names\n"
        "print(*names())"
    )
    assert "dncnn-2017" in said


def test_a_plugin_gets_its_own(beside):
    said = beside(
        "import bench\n"
        "frame = bench.run('./mine.py:Mine,dncnn@ours', datasets='photos', sigma=25).frame()\n"
        "print(*frame['status'], *frame['reason'])"
    )
    assert said.split() == ["ok"] * 6


def test_a_package_called_data(beside, tmp_path):
    (tmp_path / "data.py").unlink()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "__init__.py").write_text("def load(image):\n    return image + 0\n")
    said = beside("import bench\nprint(*bench.run('./mine.py:Mine', datasets='photos', sigma=25).frame()['status'])")
    assert said.split() == ["ok"] * 3
