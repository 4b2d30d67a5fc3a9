"""A restorer's temporary files end with it, and those of the dead with the next."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from bench.runner.scratch import Scratch, remove_leftovers


def test_a_folder_of_ones_own_and_all_in_it_is_removed(tmp_path):
    scratch = Scratch(tmp_path)
    (scratch.path / "deep").mkdir()
    (scratch.path / "deep/file").write_text("much")
    scratch.remove()
    assert not [*tmp_path.iterdir()]


def test_what_the_dead_left_is_removed_and_what_is_in_use_is_not(tmp_path):
    code = "import sys, pathlib; from bench.runner.scratch import Scratch; Scratch(pathlib.Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", code, tmp_path], check=True)
    [left] = tmp_path.iterdir()
    (left / "file").write_text("much")
    mine = Scratch(tmp_path)
    (tmp_path / "bench-worker-").write_text("a file")
    (tmp_path / "another").mkdir()
    remove_leftovers(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {mine.path.name, "bench-worker-", "another"}


def test_a_fork_lets_go_and_the_folder_stays_in_use(tmp_path):
    scratch = Scratch(tmp_path)
    pid = os.fork()
    if pid == 0:
        scratch.let_go()
        os._exit(0)
    os.waitpid(pid, 0)
    remove_leftovers(tmp_path)
    assert scratch.path.is_dir()


def test_the_name_of_a_dead_process_with_this_ones_number_is_not_taken(tmp_path):
    (tmp_path / f"bench-worker-{os.getpid()}-0").mkdir()
    assert Scratch(tmp_path).path.name == f"bench-worker-{os.getpid()}-1"


def test_a_link_of_that_name_is_not_followed(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").write_text("much")
    (tmp_path / "bench-worker-1-0").symlink_to(elsewhere)
    remove_leftovers(tmp_path)
    assert (elsewhere / "file").read_text() == "much"


def test_no_place_for_one_is_an_error(tmp_path):
    for i in range(5):
        (tmp_path / f"bench-worker-{os.getpid()}-{i}").mkdir()
    with pytest.raises(FileExistsError):
        Scratch(tmp_path)
    with pytest.raises(FileExistsError):
        Scratch(tmp_path / "nowhere")
