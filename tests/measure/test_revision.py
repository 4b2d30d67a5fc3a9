"""Revisions: what git says of the repositories that a record's code came from, and nothing where it cannot."""

import os
import subprocess

import pytest

from bench.measure import revision as module
from bench.measure.revision import revision


@pytest.fixture(autouse=True)
def asked_anew():
    module._described.cache_clear()


def git(folder, *words):
    who = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"}
    done = subprocess.run(
        ["git", "-C", str(folder), *words], env={**os.environ, **who}, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path):
    """A function that makes a repository with one committed file."""

    def make(name):
        folder = tmp_path / name
        folder.mkdir()
        git(folder, "init", "-q")
        (folder / "code.py").write_text("x = 1\n")
        git(folder, "add", ".")
        git(folder, "commit", "-qm", "one")
        return folder / "code.py"

    return make


def test_both_repositories_are_described_and_one_of_them_once(repository):
    engine, plugin = repository("engine"), repository("plugin")
    here, there = (git(file.parent, "rev-parse", "--short", "HEAD") for file in (engine, plugin))
    assert revision(engine, plugin, "mine") == f"bench {here}, mine {there}"
    assert revision(engine, engine, "noisy") == f"bench {here}"


def test_changes_that_are_not_committed_are_said(repository):
    engine = repository("engine")
    engine.write_text("x = 2\n")
    assert revision(engine, engine, "noisy").endswith("-dirty")


def test_a_tag_is_named(repository):
    engine = repository("engine")
    git(engine.parent, "tag", "v1.0")
    assert revision(engine, engine, "noisy") == "bench v1.0"


def test_a_file_that_its_repository_does_not_track_has_none(repository):
    engine = repository("engine")
    environment = engine.parent / "venv" / "code.py"
    environment.parent.mkdir()
    environment.write_text("")
    assert revision(environment, environment, "mine") == ""
    assert revision(engine, environment, "mine") == revision(engine, engine, "noisy")


def test_without_a_repository_or_without_git_there_is_none(tmp_path, repository, monkeypatch):
    (tmp_path / "alone.py").write_text("")
    assert revision(tmp_path / "alone.py", tmp_path / "alone.py", "mine") == ""
    engine = repository("engine")
    monkeypatch.setenv("PATH", "")
    assert revision(engine, engine, "noisy") == ""
