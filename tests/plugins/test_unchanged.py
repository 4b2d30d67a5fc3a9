"""Sources are imported from what was compared with the plan; of other files it is seen when they are others."""

import hashlib
import importlib.util
import os
import shutil
import sys
from importlib.machinery import SourceFileLoader

import pytest

from bench.plugins import unchanged
from bench.plugins.identity import code_of
from bench.plugins.unchanged import CHANGED, ChangedError, Unchanged, hold


def sha256(content):
    return hashlib.sha256(content).hexdigest()


# --- files that are opened -----------------------------------------------------------------------


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "w.safetensors"
    path.write_bytes(b"first")
    return path


def test_a_file_that_is_the_same_is_unchanged_however_often_one_looks(weights):
    files = Unchanged({str(weights): sha256(b"first")})
    for _ in range(3):
        files.check()


def replaced(path):
    other = path.with_suffix(".new")
    other.write_bytes(b"other")
    other.replace(path)


def of_the_same_time_and_size(path):
    before = path.stat()
    path.write_bytes(b"other")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def removed(path):
    path.unlink()


def a_folder(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("change", [replaced, of_the_same_time_and_size, removed, a_folder])
@pytest.mark.parametrize("looked", [0, 1])
@pytest.mark.parametrize("racy_seconds", [-1, 2])
def test_a_file_that_is_another_is_told_by_its_name(weights, monkeypatch, change, looked, racy_seconds):
    monkeypatch.setattr(unchanged, "RACY_SECONDS", racy_seconds)
    files = Unchanged({str(weights): sha256(b"first")})
    for _ in range(looked):
        files.check()
    change(weights)
    with pytest.raises(ChangedError) as error:
        files.check()
    assert str(error.value) == f"{weights} changed since the run was planned: run again."


@pytest.mark.parametrize(
    "change",
    [lambda path: path.touch(), lambda path: path.chmod(0o400), lambda path: shutil.copy(path, path.parent / "c")],
)
def test_a_file_of_the_same_content_is_the_same(weights, change):
    files = Unchanged({str(weights): sha256(b"first")})
    files.check()
    change(weights)
    files.check()


def test_what_has_not_changed_for_long_is_not_read_again(weights, monkeypatch):
    monkeypatch.setattr(unchanged, "RACY_SECONDS", -1)
    files = Unchanged({str(weights): sha256(b"first")})
    files.check()
    monkeypatch.setattr(unchanged, "_sha256_of", lambda path: pytest.fail("read again"))
    files.check()


def test_a_long_path_leaves_room_for_what_is_wrong_with_it():
    said = str(ChangedError("/long" * 1000))
    assert len(said) < 300
    assert CHANGED in said


# --- sources that are imported -------------------------------------------------------------------


@pytest.fixture
def source(tmp_path, monkeypatch):
    """A file of one line, and an import of it as another process would make it."""
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(unchanged, "_sources", {})
    monkeypatch.setattr(unchanged, "_names", set())
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    for name in ("get_data", "path_stats", "set_data"):
        monkeypatch.setattr(SourceFileLoader, name, getattr(SourceFileLoader, name))
    path = tmp_path / "one_line.py"
    path.write_text("x = 1  # one\n")
    return path


def imported(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.x


def planned(path, **options):
    return code_of(path, "Mine", **options).held


def test_a_source_is_imported_as_it_was_read_whatever_becomes_of_its_file(source):
    hold(planned(source))
    assert imported(source) == 1
    source.write_text("x = 2  # two\n")
    assert imported(source) == 1
    source.unlink()
    assert imported(source) == 1


def test_a_way_over_a_link_leads_to_the_same_source(source, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path)
    hold(planned(source))
    source.write_text("x = 2\n")
    assert imported(tmp_path / "link" / source.name) == 1


def test_a_compiled_file_of_an_earlier_source_is_not_taken(source):
    """Python compares a time in seconds, and the size."""
    assert imported(source) == 1
    before = source.stat()
    source.write_text("x = 2  # two\n")
    os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert imported(source) == 1  # Python's own answer
    hold(planned(source))
    assert imported(source) == 2
    assert imported(source) == 2


def test_what_is_compiled_of_a_source_that_has_changed_since_is_not_kept(source):
    hold(planned(source))
    before = source.stat()
    source.write_text("x = 2  # two\n")
    os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert imported(source) == 1
    unchanged._sources.clear()
    assert imported(source) == 2


def test_what_was_compiled_long_ago_is_not_compiled_again(source, monkeypatch):
    imported(source)
    compiled = importlib.util.cache_from_source(str(source))
    later = source.stat().st_ctime_ns + 10**9
    os.utime(compiled, ns=(later, later))
    hold(planned(source))
    monkeypatch.setattr(SourceFileLoader, "source_to_code", lambda *_: pytest.fail("compiled again"))
    assert imported(source) == 1


@pytest.mark.parametrize("text", ["x = 2  # two\n", "x = 1\ny = 2\n", "x =\n", ""])
def test_a_source_that_was_edited_after_the_plan_is_not_imported(source, text):
    held = planned(source)
    source.write_text(text)
    with pytest.raises(ChangedError, match=rf"one_line\.py {CHANGED}"):
        hold(held)


def test_nor_one_that_is_gone(source):
    held = planned(source)
    source.unlink()
    with pytest.raises(ChangedError):
        hold(held)


@pytest.mark.parametrize("text", ["x = 1\n", "# why\nx = (1)\n", '"""One."""\nx = 1\n'])
def test_another_comment_is_no_other_code(source, text):
    held = planned(source)
    source.write_text(text)
    hold(held)
    assert imported(source) == 1


def test_what_it_reads_is_watched_and_a_comment_in_it_too(source):
    (source.parent / "p.txt").write_text("2")
    (source.parent / "other.py").write_text("y = 2")
    watched = hold(planned(source, reads=["p.txt", "other.py"]))
    watched.check()
    source.write_text("x = 3")
    watched.check()
    (source.parent / "other.py").write_text("y = 2  #")
    with pytest.raises(ChangedError, match="other"):
        watched.check()


def test_resources_of_a_package_are_read_as_ever(source):
    hold(planned(source))
    (source.parent / "odd.pyc").write_bytes(b"data")
    assert SourceFileLoader("a", str(source)).get_data(str(source.parent / "odd.pyc")) == b"data"
