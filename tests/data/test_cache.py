"""One process writes a file of the cache, others wait for it, and what the dead leave behind goes."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
import time

import pytest
from bench.data import cache
from bench.data.cache import CacheError, place
from bench.data.errors import DataError

NEVER = threading.Event()


@pytest.fixture(autouse=True)
def nothing_swept():
    cache._sweep.cache_clear()


@pytest.fixture
def target(tmp_path):
    return tmp_path / "set0/01.png"


def put(target, patience=30.0, stop=NEVER):
    with place(target, target.is_file, patience, stop) as part:
        if part is not None:
            part.write(b"whole")
    return part is not None


def names(target):
    return sorted(path.name for path in target.parent.iterdir())


def test_a_file_appears_whole(target):
    with place(target, target.is_file, 1, NEVER) as part:
        part.write(b"half")
        part.flush()
        assert names(target) == [".01.png.part"]
    assert names(target) == ["01.png"]
    assert target.read_bytes() == b"half"


def test_or_not_at_all(target):
    with pytest.raises(KeyError), place(target, target.is_file, 1, NEVER) as part:  # noqa: PT012
        part.write(b"half")
        raise KeyError
    assert names(target) == []


def test_what_another_thread_or_process_writes_is_waited_for(target):
    done = []
    with place(target, target.is_file, 1, NEVER) as part:
        waiting = threading.Thread(target=lambda: done.append(put(target)))
        waiting.start()
        time.sleep(0.05)
        part.write(b"whole")
    waiting.join()
    assert done == [False]
    assert names(target) == ["01.png"]


def test_but_not_for_long_if_it_does_not_go_on(target):
    with place(target, target.is_file, 1, NEVER) as part:
        assert put(target, patience=0.01)
        part.write(b"whole")
    assert names(target) == ["01.png"]


def test_nor_when_it_is_told_to_stop(target):
    stop = threading.Event()
    stop.set()
    with place(target, target.is_file, 1, NEVER), pytest.raises(DataError, match=r"01\.png was not waited for"):
        put(target, stop=stop)


def test_what_a_killed_process_left_is_no_hindrance_and_goes(target):
    code = (
        "import os, sys, threading; from pathlib import Path; from bench.data.cache import place\n"
        "with place(Path(sys.argv[1]), lambda: False, 1, threading.Event()) as part:\n"
        "    part.write(b'half'); part.flush(); os._exit(9)"
    )
    for name in ("01.png", "02.png"):
        subprocess.run([sys.executable, "-c", code, str(target.with_name(name))], check=False)
    assert names(target) == [".02.png.part"]  # the first went when the second came
    assert put(target)
    assert names(target) == ["01.png"]


def test_what_is_being_written_stays(target):
    with place(target, target.is_file, 1, NEVER) as part:
        cache._sweep.cache_clear()
        assert put(target.with_name("02.png"))
        part.write(b"whole")
    assert names(target) == ["01.png", "02.png"]


class TestWithoutLocks:
    @pytest.fixture(autouse=True, params=["no fcntl", "the file system has none"])
    def no_locks(self, request, monkeypatch):
        def refuse(file, how):
            raise OSError(38, "Function not implemented")

        if request.param == "no fcntl":
            monkeypatch.setattr(cache, "fcntl", None)
        else:
            monkeypatch.setattr(fcntl, "flock", refuse)

    def test_a_file_appears_whole_too(self, target):
        assert put(target)
        assert [name for name in names(target) if name != ".01.png.part"] == ["01.png"]

    def test_what_is_a_day_old_goes(self, target):
        target.parent.mkdir()
        for name, age in ((".a.png.x1.part", 90_000), (".b.png.x2.part", 80_000)):
            (target.parent / name).write_bytes(b"")
            os.utime(target.parent / name, (time.time() - age,) * 2)
        assert put(target)
        assert ".a.png.x1.part" not in names(target)
        assert ".b.png.x2.part" in names(target)


def test_a_full_disk_is_told(target):
    full = r"cannot be written \(No space left on device\)"
    with pytest.raises(CacheError, match=full), place(target, target.is_file, 1, NEVER):
        raise OSError(28, "No space left on device")
    assert names(target) == []


@pytest.mark.parametrize("variable", ["BENCH_CACHE", "BENCH_MIRROR"])
def test_a_folder_of_nobody_is_told(variable, monkeypatch):
    monkeypatch.setenv(variable, "~no-such-user-here/x")
    with pytest.raises(DataError, match=rf"{variable} is '~no-such-user-here/x', which is no folder"):
        cache.folder_of(variable)


def test_the_folder_of_this_user_is_the_systems(monkeypatch):
    monkeypatch.delenv("BENCH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    expected = {"linux": "/somewhere/bench", "darwin": os.path.expanduser("~/Library/Caches/bench")}  # noqa: PTH111
    assert str(cache.cache_dir()) == expected[sys.platform]
