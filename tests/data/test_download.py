"""Where a file is looked for, how it is checked, and what is said when it cannot be had."""

from __future__ import annotations

import hashlib
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from bench.data import download
from bench.data.download import RemoteFile, fetch, fetch_all, verify
from bench.data.errors import DataError

CONTENT = bytes(range(256)) * 40
SHA256 = hashlib.sha256(CONTENT).hexdigest()
PLACE = "datasets/set0/01.png"
FLIPPED = CONTENT[:99] + bytes([CONTENT[99] ^ 1]) + CONTENT[100:]


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(download, "RETRY_SECONDS", (0, 0))


def fetch_it(url="https://example.invalid/01.png", **kwargs):
    return fetch("datasets", "set0", "01.png", url, **{"sha256": SHA256, **kwargs})


def put(folder: Path, content: bytes) -> Path:
    path = folder / PLACE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def use_mirror(monkeypatch, folder_or_url) -> None:
    monkeypatch.setenv("BENCH_MIRROR", str(folder_or_url))


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


class TestWhereAFileComesFrom:
    def test_the_cache_is_asked_first(self, cache, tmp_path, monkeypatch):
        use_mirror(monkeypatch, tmp_path / "nowhere")
        cached = put(cache, CONTENT)
        assert fetch_it() == cached

    def test_then_a_mirror_that_is_a_folder_whose_file_is_copied(self, cache, tmp_path, monkeypatch):
        put(tmp_path / "mirror", CONTENT)
        use_mirror(monkeypatch, tmp_path / "mirror")
        path = fetch_it()
        assert path == cache / PLACE
        assert path.read_bytes() == CONTENT

    def test_or_a_mirror_that_is_an_address(self, cache, server, monkeypatch):
        server.files[f"/pub/{PLACE}"] = CONTENT
        use_mirror(monkeypatch, server.url("/pub/"))
        assert fetch_it(server.url("/original")).read_bytes() == CONTENT
        assert list(server.requests) == [f"/pub/{PLACE}"]

    def test_then_the_original_address(self, cache, server):
        server.files["/original"] = CONTENT
        assert fetch_it(server.url("/original")) == cache / PLACE

    @pytest.mark.parametrize("kind", ["folder", "address"])
    def test_which_also_serves_what_the_mirror_lacks(self, server, tmp_path, monkeypatch, kind):
        server.files["/original"] = CONTENT
        use_mirror(monkeypatch, tmp_path if kind == "folder" else server.url("/pub"))
        assert fetch_it(server.url("/original")).read_bytes() == CONTENT

    def test_what_is_cached_is_not_asked_for_again(self, server):
        server.files["/original"] = CONTENT
        for _ in range(3):
            fetch_it(server.url("/original"))
        assert server.requests["/original"] == 1

    def test_offline_forbids_a_mirror_on_the_network_too(self, server, monkeypatch):
        server.files[f"/{PLACE}"] = server.files["/original"] = CONTENT
        use_mirror(monkeypatch, server.url())
        monkeypatch.setenv("BENCH_OFFLINE", "1")
        with pytest.raises(DataError, match="BENCH_OFFLINE"):
            fetch_it(server.url("/original"))
        assert not server.requests


class TestWhatIsChecked:
    def test_a_truncated_cached_file_is_fetched_again_and_the_log_says_so(self, cache, tmp_path, monkeypatch, caplog):
        put(cache, CONTENT[:5000])
        put(tmp_path / "mirror", CONTENT)
        use_mirror(monkeypatch, tmp_path / "mirror")
        with caplog.at_level(logging.WARNING, "bench"):
            assert fetch_it().read_bytes() == CONTENT
        assert PLACE in caplog.text
        assert "damaged" in caplog.text

    @pytest.mark.parametrize("kind", ["folder", "address"])
    def test_a_mirrored_file_with_one_flipped_bit_is_refused_and_not_cached(
        self, cache, server, tmp_path, monkeypatch, kind
    ):
        put(tmp_path / "mirror", FLIPPED)
        server.files[f"/{PLACE}"] = FLIPPED
        server.files["/original"] = CONTENT
        use_mirror(monkeypatch, tmp_path / "mirror" if kind == "folder" else server.url())
        with pytest.raises(DataError, match=PLACE) as refused:
            fetch_it(server.url("/original"))
        for part in (SHA256, hashlib.sha256(FLIPPED).hexdigest(), "BENCH_MIRROR"):
            assert part in str(refused.value)
        assert files_in(cache) == []

    def test_so_is_one_from_the_original_address(self, cache, server):
        server.files["/original"] = FLIPPED
        with pytest.raises(DataError, match=r"refused: its sha256 is .* instead of .* republished"):
            fetch_it(server.url("/original"))
        assert files_in(cache) == []

    def test_a_refused_file_leaves_the_damaged_cached_one_where_it_was(self, cache, server):
        cached = put(cache, b"damaged")
        server.files["/original"] = FLIPPED
        with pytest.raises(DataError, match="refused"):
            fetch_it(server.url("/original"))
        assert cached.read_bytes() == b"damaged"

    def test_a_git_blob_id_will_do_where_no_sha256_is_known(self, cache):
        # `printf 'hello\n' | git hash-object --stdin`
        put(cache, b"hello\n")
        fetch_it(sha256=None, git_blob="ce013625030ba8dba906f756967f9e9ca394464a")
        with pytest.raises(DataError, match="damaged"):
            fetch_it(sha256=None, git_blob="0" * 40)

    def test_a_file_without_any_checksum_is_a_mistake_of_the_caller(self):
        with pytest.raises(ValueError, match="needs a sha256"):
            fetch_it(sha256=None)

    def test_a_wrong_size_is_seen_without_hashing(self, cache):
        put(cache, CONTENT)
        assert RemoteFile("datasets", "set0", "01.png", "", SHA256, size=7).problem(cache / PLACE) == (
            f"it has {len(CONTENT)} bytes instead of 7"
        )

    @pytest.mark.parametrize(
        "name", ["../01.png", "/etc/passwd", "a/b.png", "..", ".", "", "a\\b", "a\0b", ".hidden"]
    )
    def test_a_name_that_leads_out_of_its_folder_is_refused(self, name, cache):
        for place in (("datasets", "set0", name), ("datasets", name, "01.png"), (name, "set0", "01.png")):
            with pytest.raises(DataError, match="not a plain name"):
                fetch(*place, "https://example.invalid", sha256=SHA256)


class TestAMirrorThatIsAFolder:
    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes")
    def test_may_hold_pipes_devices_and_folders_which_are_not_waited_for(self, cache, tmp_path, monkeypatch):
        place = put(tmp_path / "mirror", b"")
        use_mirror(monkeypatch, tmp_path / "mirror")
        made = {"a pipe": os.mkfifo, "a device": lambda path: path.symlink_to("/dev/zero"), "a folder": os.mkdir}
        for what, make in made.items():
            place.unlink()
            make(place)
            with pytest.raises(DataError, match=rf"01\.png cannot be read \(it is {what} and not a file\)"):
                fetch_it()
        assert files_in(cache) == []

    def test_is_copied_up_to_the_declared_size(self, cache, tmp_path, monkeypatch):
        os.truncate(put(tmp_path / "mirror", CONTENT), 10**12)
        use_mirror(monkeypatch, tmp_path / "mirror")
        with pytest.raises(DataError, match=rf"refused: it has {len(CONTENT) + 1} bytes instead of {len(CONTENT)}"):
            fetch_it(size=len(CONTENT))
        assert files_in(cache) == []


def test_a_pipe_in_the_cache_is_not_waited_for(cache):
    put(cache, b"").unlink()
    os.mkfifo(cache / PLACE)
    with pytest.raises(DataError, match=r"cannot be read \(it is a pipe and not a file\)"):
        fetch_it()


class TestWhatIsSaidWhenItFails:
    def test_offline_names_what_to_set(self):
        with pytest.raises(
            DataError, match=r"datasets/set0/01.png is not in the cache .*BENCH_MIRROR.*BENCH_OFFLINE"
        ):
            fetch_it()

    def test_a_mirror_that_is_no_folder(self, tmp_path, monkeypatch):
        use_mirror(monkeypatch, tmp_path / "nowhere")
        with pytest.raises(DataError, match=r"BENCH_MIRROR is '.*nowhere', which is neither"):
            fetch_it()

    def test_an_address_that_does_not_exist_is_not_tried_twice(self, server):
        with pytest.raises(DataError, match="/original does not exist"):
            fetch_it(server.url("/original"))
        assert server.requests["/original"] == 1

    def test_a_server_that_nobody_runs(self, server):
        with pytest.raises(DataError, match=r"http://127.0.0.1:1/x cannot be fetched \(Connection refused\)"):
            fetch_it("http://127.0.0.1:1/x")

    def test_a_server_that_forbids(self, server):
        server.files["/original"] = [403]
        with pytest.raises(DataError, match=r"cannot be fetched \(403 Forbidden\)"):
            fetch_it(server.url("/original"))

    @pytest.fixture
    def unwritable(self, tmp_path, monkeypatch) -> Path:
        """A cache that nobody can write, not even root: its path leads through a file."""
        (tmp_path / "file").write_bytes(b"")
        monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "file/cache"))
        return tmp_path / "file/cache"

    def test_a_cache_that_cannot_be_written(self, server, unwritable):
        server.files["/original"] = CONTENT
        with pytest.raises(DataError, match=rf"{unwritable} cannot be written .*BENCH_CACHE"):
            fetch_it(server.url("/original"))

    def test_but_a_mirror_that_is_a_folder_serves_without_a_cache(self, unwritable, tmp_path, monkeypatch):
        mirrored = put(tmp_path / "mirror", CONTENT)
        use_mirror(monkeypatch, tmp_path / "mirror")
        assert fetch_it() == mirrored

    def test_checked_all_the_same(self, unwritable, tmp_path, monkeypatch):
        put(tmp_path / "mirror", FLIPPED)
        use_mirror(monkeypatch, tmp_path / "mirror")
        with pytest.raises(DataError, match="refused"):
            fetch_it()


class TestFaultsThatPass:
    @pytest.mark.parametrize("status", [429, 500, 503])
    def test_a_busy_server_is_asked_again(self, server, status):
        server.files["/original"] = [status, status, CONTENT]
        assert fetch_it(server.url("/original")).read_bytes() == CONTENT

    def test_but_three_times_at_most(self, cache, server):
        server.files["/original"] = [503, 503, 503, CONTENT]
        with pytest.raises(DataError, match="503"):
            fetch_it(server.url("/original"))
        assert files_in(cache) == []

    def test_a_transfer_that_breaks_off_is_begun_again(self, server):
        server.files["/original"] = CONTENT
        server.cut_short = 1
        assert fetch_it(server.url("/original")).read_bytes() == CONTENT
        assert server.requests["/original"] == 2

    def test_progress_ends_with_all_bytes(self, server):
        server.files["/original"] = CONTENT
        seen = []
        fetch_it(server.url("/original"), progress=lambda *report: seen.append(report))
        assert seen[-1] == (len(CONTENT), len(CONTENT))


FETCH_IN_A_PROCESS = f"""
import sys
from bench.data.download import fetch
path = fetch("datasets", "set0", "01.png", sys.argv[1], sha256="{SHA256}")
assert len(path.read_bytes()) == {len(CONTENT)}
"""


def test_several_processes_may_fetch_the_same_file_at_once(cache, server):
    server.files["/original"] = CONTENT
    command = [sys.executable, "-c", FETCH_IN_A_PROCESS, server.url("/original")]
    processes = [subprocess.Popen(command) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert files_in(cache) == [cache / PLACE]


class TestManyFiles:
    @pytest.fixture
    def files(self, server):
        contents = {f"{i}.png": bytes([i]) * (i + 1) for i in range(9)}
        server.files.update({f"/{name}": content for name, content in contents.items()})
        return [
            RemoteFile("datasets", "many", name, server.url(f"/{name}"), hashlib.sha256(content).hexdigest())
            for name, content in contents.items()
        ]

    def test_come_in_the_order_asked_for_with_progress(self, files):
        seen = []
        paths = fetch_all(files, progress=lambda *report: seen.append(report))
        assert [path.name for path in paths] == [file.name for file in files]
        assert seen == [(done, 9) for done in range(1, 10)]

    def test_are_resumed_file_by_file(self, files, server):
        fetch_all(files[:4])
        fetch_all(files)
        assert set(server.requests.values()) == {1}

    def test_stop_at_the_first_failure_and_keep_what_was_had(self, files, server, cache):
        server.files["/3.png"] = b"something else"
        with pytest.raises(DataError, match=r"many/3\.png .* refused"):
            fetch_all(files, threads=1)
        assert sorted(path.name for path in files_in(cache))[:3] == ["0.png", "1.png", "2.png"]

    def test_are_not_begun_any_more_after_a_failure(self, files, monkeypatch):
        begun = []

        def first_fails_others_take_a_while(file, progress, stop):
            begun.append(file)
            time.sleep(0 if file is files[0] else 0.05)
            if file is files[0]:
                raise DataError("the first")

        monkeypatch.setattr(download, "_fetch", first_fails_others_take_a_while)
        with pytest.raises(DataError, match="the first"):
            fetch_all(files, threads=1)
        assert len(begun) < len(files)

    def test_are_verified_in_the_cache_without_any_fetching(self, files, server, cache):
        fetch_all(files[:2])
        files[1].cached.write_bytes(b"?")
        server.requests.clear()
        assert list(verify(files[:3]).values()) == ["ok", "damaged", "missing"]
        assert not server.requests
