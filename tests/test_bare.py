"""On a bare machine, without certifi, PyWavelets and bm3d: all runs that does not ask for them."""

import hashlib
import os
import subprocess
import sys

import pytest

BLOCK = "import sys; sys.modules.update(dict.fromkeys(('certifi', 'pywt', 'bm3d')))"


@pytest.fixture
def python(tmp_path):
    """Runs code in a process that, like its workers, cannot import the three; answers with what it did and said."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(BLOCK, encoding="utf-8")
    bare = {name: value for name, value in os.environ.items() if name != "BENCH_CACHE"}
    bare.update(PYTHONPATH=str(site), XDG_CACHE_HOME=str(tmp_path / "home"))

    def run(code, *words, **variables):
        command = [sys.executable, "-c", code, *map(str, words)]
        return subprocess.run(command, env={**bare, **variables}, cwd=tmp_path, capture_output=True, text=True)

    return run


BENCH = "from bench.cli import main; main()"


@pytest.mark.parametrize("package", ["certifi", "pywt", "bm3d"])
def test_the_process_of_these_tests_is_bare(python, package):
    assert f"import of {package} halted" in python(f"import {package}").stderr


def test_what_there_is_is_listed(python):
    done = python(BENCH, "list")
    assert done.returncode == 0, done.stderr
    assert "wavelet" in done.stdout


@pytest.mark.parametrize("pictures", ["a folder", "sample"])
def test_a_folder_and_the_embedded_pictures_are_measured(python, photos, pictures):
    dataset = photos if pictures == "a folder" else pictures
    done = python(BENCH, *f"run --methods noisy --datasets {dataset} --sigma 25 --store s.sqlite".split())
    assert done.returncode == 0, done.stderr
    assert "noisy" in done.stdout
    assert "failed" not in done.stdout


FETCH = """
import sys
from bench.data.download import fetch
print(fetch("datasets", "set0", "01.png", "https://example.invalid/01.png", sha256=sys.argv[1]))
"""


def test_a_file_comes_from_a_mirror_folder_into_the_users_cache(python, tmp_path):
    file = tmp_path / "mirror/datasets/set0/01.png"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"a picture")
    done = python(FETCH, hashlib.sha256(b"a picture").hexdigest(), BENCH_MIRROR=str(tmp_path / "mirror"))
    assert done.stdout.strip() == str(tmp_path / "home/bench/datasets/set0/01.png"), done.stderr
