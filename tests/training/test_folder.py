"""One training a folder: the lock, what is no folder, and what a killed training left."""

import errno
import os
import shutil
from pathlib import Path

import pytest

from bench.errors import TrainingError
from bench.training.lock import alone_in
from bench.training.session import train
from tests.conftest import PLUGINS

fcntl = pytest.importorskip("fcntl")
pytest.importorskip("torch")

NET = f"{PLUGINS}/net.py:Affine"


def run(folder):
    return train(NET, {"sigma": "25"}, folder=folder, steps=10)


def test_a_second_training_of_a_folder_is_told_of_the_first(half_trained, tmp_path):
    folder = tmp_path / "t"
    shutil.copytree(half_trained, folder)
    before = (folder / "checkpoint.pt").read_bytes()
    with (
        alone_in(folder),
        pytest.raises(TrainingError, match=rf"Another training is under way in .*: process {os.getpid()} on "),
    ):
        run(folder)
    assert (folder / "checkpoint.pt").read_bytes() == before


def test_the_lock_of_the_dead_does_not_hold(tmp_path):
    (tmp_path / ".lock").write_text("process 1 on another machine")
    with alone_in(tmp_path):
        assert (tmp_path / ".lock").read_text().startswith(f"process {os.getpid()} on ")
    with alone_in(tmp_path):
        pass


def test_what_a_lock_says_is_shown_short_and_without_control_characters(tmp_path):
    with (tmp_path / ".lock").open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        held.write(b"\x1b[31m\n" + b"x" * 5000)
        held.flush()
        with pytest.raises(TrainingError) as error, alone_in(tmp_path):
            pass
    said = str(error.value)
    assert said.isprintable()
    assert len(said) < 300


def test_a_file_system_without_locks_holds_nobody_up(tmp_path, monkeypatch):
    def none(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    with alone_in(tmp_path):
        pass


def test_files_half_written_by_a_training_that_was_killed_are_removed(tmp_path):
    (tmp_path / ".checkpoint.pt.part").write_bytes(b"half of i")
    (tmp_path / "mine.part").write_bytes(b"mine")
    with alone_in(tmp_path):
        assert {path.name for path in tmp_path.iterdir()} == {".lock", "mine.part"}


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("file", "--folder .*file is a file: expected a folder"),
        ("file/in it", r"--folder .*in it: nothing can be written there \(Not a directory\)"),
        ("n" * 300, r"nothing can be written there \(File name too long\)"),
        ("nul\0", r"nothing can be written there \(.*null"),
    ],
    ids=["file", "in a file", "long", "nul"],
)
def test_what_is_no_folder_is_named(tmp_path, name, says):
    (tmp_path / "file").write_bytes(b"mine")
    with pytest.raises(TrainingError, match=says):
        run(Path(f"{tmp_path}/{name}"))
    assert (tmp_path / "file").read_bytes() == b"mine"


def test_a_folder_that_may_not_be_written_is_named(tmp_path, monkeypatch):
    def refuse(self, *_, **__):
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refuse)
    with (
        pytest.raises(TrainingError, match=r"nothing can be written there \(Permission denied\)"),
        alone_in(tmp_path),
    ):
        pass


@pytest.mark.parametrize("name", ["checkpoint.pt", "log.csv", ".checkpoint.pt.part"])
def test_a_folder_where_a_file_is_to_be_is_named(half_trained, tmp_path, name):
    folder = tmp_path / "t"
    shutil.copytree(half_trained, folder)
    (folder / name).unlink(missing_ok=True)
    (folder / name / "in it").mkdir(parents=True)
    with pytest.raises(TrainingError, match=r"checkpoint\.pt|log\.csv"):
        run(folder)
