"""Stores on network file systems: no WAL there, and what locks do not do is said."""

import contextlib
import errno
import fcntl
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

import bench
from bench.errors import StoreError
from bench.records import mounts
from bench.records.mounts import Mount, lacks_locks, mount_of, network_mount
from bench.records.store import Store
from tests.records.test_exported import record

TABLE = r"""22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
40 27 0:40 / /home rw,relatime shared:1 - nfs4 server:/home rw,vers=4.2,local_lock=none
41 40 8:1 / /home/scratch rw - ext4 /dev/sda1 rw
42 27 0:42 / /mnt/old rw,relatime - nfs server:/old rw,vers=3,nolock
43 27 0:43 / /mnt/with\040space rw - lustre mgs:/l rw
44 27 0:44 / /mnt/win rw master:3 - cifs //server/share rw,nobrl
45 27 0:45 / /mnt/ssh rw - fuse.sshfs user@host: rw
46 27 8:2 / /mnt/usb rw - fuseblk /dev/sdb1 rw
47 27 8:3 / /mnt/usb2 rw - ext4 /dev/sdc1 rw
48 47 0:48 / /mnt/usb2 rw - nfs4 server:/on-top rw
49 broken
"""


@pytest.mark.parametrize(
    ("path", "kind", "option"),
    [
        ("/home/me/results/bench.sqlite", "nfs4", ""),
        ("/home/scratch/bench.sqlite", None, ""),
        ("/homeless/bench.sqlite", None, ""),
        ("/mnt/old/a.sqlite", "nfs", "nolock"),
        ("/mnt/with space/a.sqlite", "lustre", ""),
        ("/mnt/win/a.sqlite", "cifs", "nobrl"),
        ("/mnt/ssh/a.sqlite", "fuse.sshfs", ""),
        ("/mnt/usb/a.sqlite", None, ""),
        ("/mnt/usb2/a.sqlite", "nfs4", ""),
    ],
)
def test_which_file_system_a_file_is_on_the_system_tells(tmp_path, monkeypatch, path, kind, option):
    (tmp_path / "mountinfo").write_text(TABLE)
    monkeypatch.setattr(mounts, "TABLE", tmp_path / "mountinfo")
    found = network_mount(Path(path))
    assert (found and found.kind) == kind
    assert (found.keeps_locks_here if found else "") == option


def test_where_that_cannot_be_told_it_is_taken_for_local(tmp_path, monkeypatch):
    monkeypatch.setattr(mounts, "TABLE", tmp_path / "none")
    assert mount_of(tmp_path) is None


@pytest.fixture
def over_nfs(monkeypatch):
    def mounted(*options):
        place = Mount(Path("/home"), "nfs4", frozenset(options))
        monkeypatch.setattr("bench.records.store.network_mount", lambda path: place)

    mounted()
    return mounted


def journal_of(path):
    with contextlib.closing(sqlite3.connect(path)) as db:
        return db.execute("PRAGMA journal_mode").fetchone()[0]


def test_a_store_there_goes_without_wal(tmp_path, over_nfs):
    path = tmp_path / "s.sqlite"
    with Store(path) as store:
        store.add(record())
        assert sorted(file.name for file in tmp_path.iterdir()) == ["s.sqlite"]
    assert journal_of(path) == "delete"
    with Store(path, reading=True) as store:
        assert store.records() == [record()]


def test_a_store_from_a_local_disk_leaves_it_with_all_its_records(tmp_path, over_nfs, monkeypatch):
    path = tmp_path / "s.sqlite"
    with monkeypatch.context() as here:
        here.setattr("bench.records.store.network_mount", lambda path: None)
        with Store(path) as store:
            store.add(record())
        assert journal_of(path) == "wal"
    with Store(path) as store, Store(path) as other:
        store.add(record("b-1"))
        other.add(record("c-1"))
        assert [one.key for one in store.records()] == ["abc-untimed", "b-1", "c-1"]
    assert journal_of(path) == "delete"


def test_as_long_as_somebody_has_it_open_with_wal_it_is_refused(tmp_path, over_nfs, monkeypatch):
    path = tmp_path / "s.sqlite"
    with monkeypatch.context() as here:
        here.setattr("bench.records.store.network_mount", lambda path: None)
        holder = Store(path)
    monkeypatch.setattr("bench.records.store.WAIT_SECONDS", 0.1)
    with holder:
        holder.add(record())
        with pytest.raises(StoreError, match="it is on nfs4, and somebody has it open with SQLite's WAL"):
            Store(path)
    with Store(path) as store:
        assert store.count() == 1


def test_where_nothing_can_be_locked_it_is_refused_in_plain_words(tmp_path, over_nfs, monkeypatch):
    def no_locks(*args):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "lockf", no_locks)
    with pytest.raises(StoreError, match=r"/home is nfs4, and no file can be locked there \(No locks available\)"):
        Store(tmp_path / "s.sqlite")
    assert [*tmp_path.iterdir()] == []


def test_here_files_can_be_locked(tmp_path):
    assert lacks_locks(tmp_path) == ""
    assert lacks_locks(tmp_path / "none") == ""


def test_a_run_says_so_once(photos, over_nfs, tmp_path):
    over_nfs("nolock")
    result = bench.run("noisy", datasets=photos, sigma=25, jobs=2, store=tmp_path / "s.sqlite")
    (line,) = [line for line in result.remarks() if "s.sqlite" in line]
    assert "s.sqlite is on nfs4, where SQLite's WAL does not hold across machines: it goes without" in line
    assert "Its locks hold on this machine alone (nolock): let no other write to it." in line


WRITER = """
import sys
from pathlib import Path
from unittest.mock import patch
from bench.records.mounts import Mount
from bench.records.store import Store
from tests.records.test_exported import record

patch("bench.records.store.network_mount", lambda path: Mount(Path("/"), "nfs4")).start()
with Store(Path(sys.argv[1])) as store:
    for i in range(int(sys.argv[3])):
        store.add(record(f"{sys.argv[2]}{i:04}-1"))
        print(f"{sys.argv[2]}{i:04}-1", flush=True)
"""


def test_several_may_write_at_once_and_what_a_killed_one_wrote_is_there(tmp_path, over_nfs):
    path = tmp_path / "s.sqlite"
    words = [sys.executable, "-c", WRITER, path]
    killed = subprocess.Popen([*words, "a", "100000"], stdout=subprocess.PIPE, text=True)
    other = subprocess.Popen([*words, "b", "20"], stdout=subprocess.PIPE, text=True)
    with killed, other:
        told = [killed.stdout.readline().strip() for _ in range(20)]
        killed.kill()
        told += [line.strip() for line in killed.stdout if line.endswith("\n")]
        told += other.communicate(timeout=60)[0].split()
    with Store(path) as store:
        assert {*told} <= {one.key for one in store.records()}
    assert other.returncode == 0
