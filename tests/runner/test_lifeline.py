"""Nothing that a restorer starts outlives it, or the runner, whatever ends them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from bench.runner import lifeline
from bench.runner.lifeline import Lifeline
from tests.runner.test_run import is_running, wait_for

FAKE = """
import os, pathlib, signal, sys, time
from bench.runner import supervisor

def note(what):
    with open({log!r}, "a") as log:
        log.write(f"{{what}} {{os.getpid()}}\\n")

def start(what, leaves=False, ignores=False):
    if os.fork():
        return
    if leaves:
        os.setsid()
        if os.fork():
            os._exit(0)
    if ignores:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    note(what)
    time.sleep(300)

def host(pipe):
    start("child")
    start("deaf child", ignores=True)
    start("daemon", leaves=True)
    start("deaf daemon", leaves=True, ignores=True)
    while pathlib.Path({log!r}).read_text().count("\\n") < 4:
        time.sleep(0.002)
    pathlib.Path(os.environ["TMPDIR"], "left").touch()
    note("restorer")
    {then}

supervisor.serve = host
supervisor.main()
"""
"""A restorer's process without a restorer: it starts four others and notes which they are."""

linux = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere orphans are not adopted")


@pytest.fixture
def begin(tmp_path, monkeypatch):
    """Begins a process that does `then` when it has started its own, waits for that; the lifeline and all by name."""
    log = tmp_path / "log"
    lines = []
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()

    def begin(then="time.sleep(300)"):
        log.write_text("")
        monkeypatch.setattr(lifeline, "HOST", (sys.executable, "-c", FAKE.format(log=str(log), then=then)))
        pipe = os.open(os.devnull, os.O_RDONLY)
        lines.append(Lifeline(pipe, 2, dict(os.environ), None))
        os.close(pipe)
        return lines[-1], noted(log)

    yield begin
    for line in lines:
        line.end()


def noted(log: Path) -> dict[str, int]:
    wait_for(lambda: log.exists() and "restorer" in log.read_text())
    return {name: int(pid) for name, pid in (text.rsplit(" ", 1) for text in log.read_text().splitlines())}


def gone(pids) -> bool:
    return not any(map(is_running, pids.values()))


@linux
def test_all_that_a_restorer_started_ends_with_it_at_once(begin):
    line, pids = begin()
    wait_for(lambda: line.pid is not None)
    assert line.pid == pids["restorer"]
    assert len(pids) == 5
    assert len([*Path(tempfile.tempdir).rglob("left")]) == 1
    line.end()
    assert gone(pids)
    assert not [*Path(tempfile.tempdir).iterdir()]


@linux
@pytest.mark.parametrize(
    ("then", "status"),
    [("return", 0), ("sys.exit(3)", 3), ("os.kill(os.getpid(), signal.SIGSEGV)", -signal.SIGSEGV)],
    ids=["returns", "exits", "crashes"],
)
def test_the_supervisor_ends_as_the_restorer_and_after_all_that_it_started(begin, then, status):
    line, pids = begin(then)
    assert line.wait(60) == status
    assert gone(pids)


@linux
def test_all_ends_with_a_runner_that_is_killed_even_if_another_process_holds_its_line(begin, tmp_path):
    _, pids = begin()  # of this process, which lives
    log = tmp_path / "others"
    log.touch()
    code = (
        "import os, sys, time\nfrom bench.runner import lifeline\n"
        f"lifeline.HOST = (sys.executable, '-c', {FAKE.format(log=str(log), then='time.sleep(300)')!r})\n"
        "line = lifeline.Lifeline(0, 2, dict(os.environ), None)\n"
        "if os.fork() == 0:\n    time.sleep(20)\n    os._exit(0)\n"
        "time.sleep(300)\n"
    )
    runner = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.DEVNULL, start_new_session=True)
    others = noted(log)
    os.kill(runner.pid, signal.SIGKILL)
    runner.wait()
    wait_for(lambda: gone(others))
    os.killpg(runner.pid, signal.SIGKILL)
    assert all(map(is_running, pids.values()))


def test_a_restorer_outlives_the_thread_that_started_it(begin):
    begun = []
    thread = threading.Thread(target=lambda: begun.append(begin()))
    thread.start()
    thread.join()
    time.sleep(0.05)
    [(line, pids)] = begun
    assert is_running(pids["restorer"])
    line.end()
    wait_for(lambda: not is_running(pids["restorer"]))


@linux
def test_a_restorer_dies_with_its_supervisor_and_its_group_with_it(begin):
    line, pids = begin()
    wait_for(lambda: line.pid is not None)
    os.kill(line.supervisor, signal.SIGKILL)
    wait_for(lambda: not is_running(pids["restorer"]))
    line.end()
    wait_for(lambda: not any(is_running(pids[name]) for name in ("child", "deaf child")))
    for name in ("daemon", "deaf daemon"):  # which it alone would have found
        os.kill(pids[name], signal.SIGKILL)


def test_modules_of_the_current_folder_are_not_imported(tmp_path):
    for name in ("contextlib", "json", "runpy", "select", "signal"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'mark')!r}, 'w')")
    environment = {
        name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"
    }  # as for Python 3.10
    ended = subprocess.run([*lifeline.HOST], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert "not enough values to unpack" in ended.stderr  # by `main`, which was not told its pipe
    assert not (tmp_path / "mark").exists()


@linux
def test_where_the_kernel_does_not_list_children_they_are_found(monkeypatch):
    from bench.runner import supervisor

    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        assert child.pid in supervisor.children()
        monkeypatch.setattr(Path, "read_bytes", without(Path.read_bytes, "children"))
        assert child.pid in supervisor.children()
    finally:
        child.kill()
        child.wait()


def without(read, name):
    def read_another(path):
        if path.name == name:
            raise FileNotFoundError(path)
        return read(path)

    return read_another
