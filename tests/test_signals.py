"""A signal ends a command with one line, and what is done is kept; output that finds no place is one line too."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import weakref
from pathlib import Path
from types import SimpleNamespace

import pytest

import bench
from bench import api
from bench.cli import main, signals
from bench.records.store import Store
from bench.runner.run import Watcher
from tests.conftest import BAD
from tests.runner.test_run import is_running

ASKS = ("SIGINT", "SIGTERM", "SIGHUP")


def command(*words, raises=SystemExit):
    with pytest.raises(raises) as ending:
        main([str(word) for word in words])
    return ending.value.code


def send(name, then=lambda: None):
    """What sends this process a signal wherever it is called, and goes on."""

    def call(*_, **__):
        os.kill(os.getpid(), signal.Signals[name])
        time.sleep(0.01)  # Python takes note of it soon, not at once
        return then()

    return call


@pytest.mark.parametrize(
    ("name", "status", "line"),
    [
        ("SIGINT", 130, "bench: interrupted."),
        ("SIGTERM", 143, "bench: ended by SIGTERM."),
        ("SIGHUP", 129, "bench: ended by SIGHUP."),
    ],
)
def test_a_signal_ends_any_command_with_one_line(name, status, line, monkeypatch, capsys):
    monkeypatch.setattr(api, "listing", send(name))
    assert command("list") == status
    assert capsys.readouterr() == ("", f"{line}\n")


@pytest.mark.parametrize(
    ("words", "function", "kept"),
    [
        (("train", "sc"), "train", "Its last checkpoint is kept; the same command goes on from there."),
        (("run", "--methods", "noisy"), "run", "What was measured is kept; the same command goes on from there."),
        (("ablate", "x.toml"), "ablate", "The last checkpoint is kept; the same command goes on from there."),
        (("reference",), "reference", "What was measured is kept; the same command goes on from there."),
    ],
    ids=["train", "run", "ablate", "reference"],
)
def test_what_is_kept_is_said(words, function, kept, monkeypatch, capsys):
    monkeypatch.setattr(api, function, send("SIGTERM"))
    assert command(*words) == 143
    assert capsys.readouterr().err == f"bench: ended by SIGTERM. {kept}\n"


@pytest.mark.parametrize("name", ASKS)
def test_signals_are_what_they_were_before(name, monkeypatch):
    def note(*_):
        noted.append(name)

    noted = []
    before = signal.signal(signal.Signals[name], note)
    try:
        monkeypatch.setattr(api, "listing", send("SIGTERM"))
        command("list")
        send(name)()
        assert noted == [name]
    finally:
        signal.signal(signal.Signals[name], before)


def test_what_is_ignored_stays_so_as_under_nohup(monkeypatch, capsys):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        monkeypatch.setattr(api, "listing", send("SIGHUP", then=lambda: "what there is"))
        assert command("list") == 0
        assert capsys.readouterr().out == "what there is\n"
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_second_signal_ends_at_once_but_for_an_echo_of_the_first(monkeypatch):
    class AtOnceError(BaseException):
        pass

    def leave(status):
        raise AtOnceError(status)

    now = [100.0]
    monkeypatch.setattr(signals.os, "_exit", leave)
    monkeypatch.setattr(signals, "time", SimpleNamespace(monotonic=lambda: now[0]))
    with signals.caught():
        with pytest.raises(signals.StoppedError):
            send("SIGINT")()
        now[0] += 0.1
        send("SIGINT")()
        now[0] += 1
        with pytest.raises(AtOnceError, match="143"):
            send("SIGTERM")()


class Something:
    """May be referred to."""


def test_a_signal_that_comes_where_python_drops_exceptions_is_not_lost(monkeypatch, capsys):
    def wait(_):
        something = Something()
        watched = weakref.ref(something, lambda _: send("SIGTERM")())
        del something
        assert watched() is None  # and what was raised meanwhile is gone
        time.sleep(60)

    monkeypatch.setattr(api, "listing", wait)
    assert command("list") == 143
    assert capsys.readouterr().err == "bench: ended by SIGTERM.\n"


def test_in_another_thread_signals_are_left_alone():
    ours = []

    def look():
        with signals.caught():
            ours.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert ours == [signal.getsignal(signal.SIGTERM)]


def test_an_interrupted_run_prints_the_table_so_far_and_goes_on_from_there(photos, tmp_path, monkeypatch, capsys):
    add, n_added = Store.add, []

    def add_and_press(store, *records):  # those that were measured meanwhile, at once
        add(store, *records)
        n_added.append(len(records))
        if len(n_added) == 2:
            send("SIGINT")()

    monkeypatch.setattr(Store, "add", add_and_press)
    store = tmp_path / "s.sqlite"
    words = ("run", "--methods", "noisy", "--datasets", photos, "--sigma", "25", "--repeats", "99", "--store", store)
    assert command(*words) == 130
    said = capsys.readouterr()
    kept = f"{sum(n_added)} of 297 cells are kept in {store}; the same command goes on from there."
    assert said.err == f"bench: interrupted. {kept}\n"
    assert said.out.splitlines()[0].startswith("Gaussian denoising: PSNR")
    assert "noisy" in said.out
    assert command(*words) == 0
    assert sum(n_added) == 297


class Interrupts(Watcher):
    """Presses Ctrl-C when the plugin is asleep; notes what there is then."""

    def __init__(self, asleep: Path) -> None:
        self.asleep, self.told = asleep, None

    def measuring(self, cell):
        if cell.spec.name == "sleeps":
            threading.Thread(target=self.press).start()

    def press(self):
        while not self.asleep.exists():
            time.sleep(0.01)
        self.pressed = time.monotonic()
        os.kill(os.getpid(), signal.SIGINT)

    def stopped(self, so_far, n_cells):
        self.told = len(so_far), n_cells


def test_in_a_notebook_ctrl_c_is_a_keyboard_interrupt_and_ends_a_hung_restorer(photos, tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_TEST_ASLEEP", str(tmp_path / "asleep"))
    watcher = Interrupts(tmp_path / "asleep")
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            bench.run(f"noisy,{BAD}:Sleeps", datasets=photos, sigma=25, store=tmp_path / "s.sqlite", watcher=watcher)
    finally:
        signal.signal(signal.SIGINT, before)
    assert time.monotonic() - watcher.pressed < 10
    assert watcher.told == (3, 6)
    assert len(bench.read(tmp_path / "s.sqlite")) == 3
    if sys.platform == "linux":
        assert not [pid for pid in workers() if is_running(pid)]


def workers():
    """The workers of this process that are there."""
    for place in Path("/proc").glob("[0-9]*"):
        try:
            words = (place / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if any(b"bench.runner." in word for word in words) and str(os.getpid()).encode() in words:
            yield int(place.name)


@pytest.fixture
def stdout(monkeypatch):
    """Has the standard output go to a file descriptor."""
    files = []

    def to(fd):
        files.append(os.fdopen(fd, "w"))
        monkeypatch.setattr(sys, "stdout", files[-1])

    yield to
    for file in files:
        file.close()


@pytest.mark.parametrize("length", [10, 100_000])
def test_if_nobody_reads_the_output_that_is_no_complaint(length, stdout, monkeypatch, capsys):
    monkeypatch.setattr(api, "listing", lambda _: "x" * length)
    reads, writes = os.pipe()
    os.close(reads)
    stdout(writes)
    assert command("list") == 141
    assert capsys.readouterr().err == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is full")
@pytest.mark.parametrize("length", [10, 100_000])
def test_a_full_disk_is_one_line(length, stdout, monkeypatch, capsys):
    monkeypatch.setattr(api, "listing", lambda _: "x" * length)
    stdout(os.open("/dev/full", os.O_WRONLY))
    assert command("list") == 2
    assert capsys.readouterr().err == "bench: Cannot write to the standard output: No space left on device.\n"


def test_an_error_of_another_kind_keeps_its_traceback(monkeypatch):
    def fail(_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(api, "listing", fail)
    with pytest.raises(PermissionError):
        main(["list"])
