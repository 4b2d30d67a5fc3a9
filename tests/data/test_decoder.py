"""Strangers' pictures are decoded in another process: the same pixels, and what happens to it costs one picture."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from bench.data import decode, decoder
from bench.data.datasets import get, read
from bench.data.errors import DataError
from PIL import Image

COLOURS = np.arange(10 * 12 * 3, dtype=np.uint8).reshape(10, 12, 3)

pytestmark = pytest.mark.skipif(not hasattr(os, "register_at_fork"), reason="POSIX alone")


@pytest.fixture
def path(tmp_path):
    Image.fromarray(COLOURS).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def pid():
    """Of the process; it is started if need be."""
    decoder.header(Path(__file__))
    return decoder._process._process.pid


@pytest.mark.parametrize("mode", ["L", "RGB", "P", "1", "LA", "RGBA", "I;16"])
def test_pixels_and_remarks_are_those_of_decoding_here(tmp_path, mode):
    for kind in ("PNG", "TIFF"):
        Image.fromarray(COLOURS).convert("L" if mode == "I;16" else mode).convert(mode).save(tmp_path / "a", kind)
        (pixels, note), (here, said) = decoder.decode(tmp_path / "a"), decode.decode(tmp_path / "a")
        assert np.array_equal(pixels, here)
        assert note == said
        assert decoder.header(tmp_path / "a") == decode.header(tmp_path / "a")


def test_so_are_refusals(tmp_path):
    Image.fromarray(COLOURS).convert("CMYK").save(tmp_path / "a.jpg")
    for decoding in (decode.decode, decoder.decode):
        with pytest.raises(DataError, match=r"a\.jpg is in CMYK"):
            decoding(tmp_path / "a.jpg")


def test_it_is_one_process_whatever_happens_to_pictures(path, tmp_path):
    first = pid()
    (tmp_path / "b.png").write_bytes(b"\x89PNG nonsense")
    with pytest.raises(DataError, match=r"b\.png cannot be read"):
        decoder.decode(tmp_path / "b.png")
    decoder.decode(path)
    assert pid() == first


def test_a_picture_that_kills_it_costs_itself(path):
    victim = pid()
    os.kill(victim, signal.SIGSTOP)
    killing = threading.Timer(0.1, os.kill, (victim, signal.SIGKILL))
    killing.start()
    with pytest.raises(DataError, match=r"a\.png ended the process that decodes pictures \(SIGKILL\)"):
        decoder.decode(path)
    killing.join()
    assert np.array_equal(decoder.decode(path)[0], COLOURS)


def test_so_does_one_that_takes_too_long(path, monkeypatch):
    os.kill(pid(), signal.SIGSTOP)
    monkeypatch.setitem(decoder.SECONDS, "values", 0.1)
    with pytest.raises(DataError, match=r"a\.png was not decoded within 0\.1 s"):
        decoder.decode(path)
    monkeypatch.undo()
    assert np.array_equal(decoder.decode(path)[0], COLOURS)


def test_its_death_between_two_pictures_costs_nothing(path):
    os.kill(pid(), signal.SIGKILL)
    decoder._process._process.wait()
    assert np.array_equal(decoder.decode(path)[0], COLOURS)


def test_ctrl_c_within_a_picture_leaves_no_answer_behind(path, tmp_path, monkeypatch):
    Image.fromarray(COLOURS[:5]).save(tmp_path / "other.png")
    pid()

    def stop(self, n_bytes):
        raise KeyboardInterrupt

    monkeypatch.setattr(decoder._Process, "_read", stop)
    with pytest.raises(KeyboardInterrupt):
        decoder.decode(tmp_path / "other.png")
    monkeypatch.undo()
    assert np.array_equal(decoder.decode(path)[0], COLOURS)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not hold processes to a limit of memory")
def test_memory_is_bounded_by_what_a_picture_of_the_allowed_size_takes(tmp_path, monkeypatch):
    monkeypatch.setattr(decoder, "_BASE_BYTES", 0)
    monkeypatch.setenv("BENCH_MAX_PIXELS", "40000")
    path = tmp_path / "bomb.webp"  # 60 MB of it are read at once
    with path.open("wb") as opened:
        opened.write(b"RIFF" + struct.pack("<I", 10) + b"WEBPVP8 ")
        opened.truncate(60 << 20)
    with pytest.raises(DataError, match=r"bomb\.webp (cannot be read|ended the process)"):
        decoder.decode(path)


HONEST = {"numbers": [12, 10, 3, 8, 1, 0], "notes": [], "quality": ""}


@pytest.mark.parametrize(
    ("what", "numbers"),
    [
        ("values", [12, 11, 3, 8, 1, 0]),
        ("values", [0, 10, 3, 8, 1, 0]),
        ("values", [-12, -10, 3, 8, 1, 0]),
        ("values", [12, 10, 4, 8, 1, 0]),
        ("values", [12, 10, 3, 16, 1, 0]),
        ("photo", [12, 10, 5, 8, 1, 0]),
        ("photo", [12, 10, 3, 32, 1, 0]),
        ("photo", [12, 10, 3, 8, 9, 0]),
        ("photo", [12, 10, 3, 8, 1, -1]),
        ("photo", [12, 10, 3, 8, 1, (16 << 20) + 1]),
        ("photo", [12, 10, 3, 8, 1]),
    ],
)
def test_an_answer_that_would_not_be_allowed_is_refused_before_there_is_memory_for_it(what, numbers):
    assert decoder._checked(HONEST, what, 120)[1:] == (360, 0)
    with pytest.raises(ValueError, match=r"\[|unpack"):
        decoder._checked({**HONEST, "numbers": numbers}, what, 120)


@pytest.mark.parametrize("knows_safe_paths", [True, False])
def test_modules_of_the_current_folder_are_not_imported(path, tmp_path, monkeypatch, knows_safe_paths):
    for name in ("json", "struct", "select", "signal", "numpy", "runpy", "linecache"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'mark')!r}, 'w')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(decoder, "_process", None)
    if not knows_safe_paths:
        popen = subprocess.Popen
        monkeypatch.setattr(
            decoder.subprocess, "Popen", lambda *words, env, **more: popen(*words, env=as_3_10(env), **more)
        )
    try:
        assert np.array_equal(decoder.decode(path)[0], COLOURS)
    finally:
        decoder._process.end()
    assert not (tmp_path / "mark").exists()


def as_3_10(environment):
    """Without what Python 3.10 does not know."""
    return {name: value for name, value in environment.items() if name != "PYTHONSAFEPATH"}


def test_threads_do_not_take_each_others_answers(path, tmp_path):
    Image.fromarray(COLOURS[:, ::-1].copy()).save(tmp_path / "b.png")
    wrong = []

    def ask(name, expected):
        for _ in range(20):
            wrong.extend([name] * (not np.array_equal(decoder.decode(tmp_path / name)[0], expected)))

    pictures = (("a.png", COLOURS), ("b.png", COLOURS[:, ::-1]))
    asking = [threading.Thread(target=ask, args=picture) for picture in pictures]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    assert wrong == []


def test_a_fork_has_a_process_of_its_own(path):
    first = pid()
    child = os.fork()
    if child == 0:
        right = np.array_equal(decoder.decode(path)[0], COLOURS) and pid() != first
        decoder._end()
        os._exit(0 if right else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert np.array_equal(decoder.decode(path)[0], COLOURS)
    assert pid() == first


AND_DIE = """
import os, signal, sys
from pathlib import Path
from bench.data import decoder
decoder.header(Path(sys.argv[1]))
print(decoder._process._process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_it_ends_when_its_parent_is_killed(path):
    said = subprocess.run(
        [sys.executable, "-c", AND_DIE, str(path)], capture_output=True, text=True, check=False
    ).stdout
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            os.kill(int(said), 0)
        except ProcessLookupError:
            return
        time.sleep(0.01)
    raise AssertionError(f"{said} is still there")


class TestAFolderOfStrangers:
    def test_is_listed_and_read_by_the_other_process(self, path, monkeypatch):
        monkeypatch.setattr(Image, "open", None)
        dataset = get(path.parent)
        assert read(dataset, dataset.entries[0]).pixels.shape == (10, 12, 3)

    def test_may_hold_pipes_folders_and_links_that_lead_nowhere(self, path):
        folder = path.parent
        os.mkfifo(folder / "pipe.png")
        (folder / "folder.png").mkdir()
        (folder / "loop.png").symlink_to("loop.png")
        (folder / "zero.png").symlink_to("/dev/zero")
        assert [entry.name for entry in get(folder).entries] == ["a.png"]

    @pytest.mark.parametrize(
        "name", ["-rf.png", "two\nlines.png", "\x1b[31m.png", "'\"`$(id).png", "%s{0}.png", "x" * 251 + ".png"]
    )
    def test_may_have_any_names(self, path, name):
        path.rename(path.with_name(name))
        dataset = get(path.parent)
        assert read(dataset, dataset.entries[0]).pixels.shape == (10, 12, 3)

    @pytest.mark.parametrize(
        "asked",
        ["./a\0b", "./" + "x" * 300, "./" + "x/" * 3000, "~no-such-user-here/photos", "y" * 5000],
        ids=["zero", "long", "deep", "user", "word"],
    )
    def test_that_cannot_be_is_one_line(self, asked):
        with pytest.raises(DataError, match=r"cannot be read|There is no folder|No data set named") as refused:
            get(asked)
        assert "\n" not in str(refused.value)


def test_a_bomb_of_text_in_a_png_is_refused(tmp_path):
    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    text = b"key\0\0" + zlib.compress(bytes(2**27), 9)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0))
    rows = chunk(b"IDAT", zlib.compress(bytes(9 * 8)))
    (tmp_path / "a.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + head + 3 * chunk(b"zTXt", text) + rows + chunk(b"IEND", b"")
    )
    with pytest.raises(DataError, match=r"a\.png cannot be read"):
        decoder.decode(tmp_path / "a.png")
