"""A fork of a nursery is as a process of its own would be, and the nursery may die at any moment."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bench.plugins.identity import code_of
from bench.plugins.registry import choose
from bench.restorer import Observation, Setting
from bench.runner import lifeline, nursery
from bench.runner.lifeline import Lifeline
from bench.runner.messages import Answer
from bench.runner.process import RestorerProcess
from bench.runner.worker import Limits
from tests.runner.test_run import is_running, wait_for

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there are none")

SEEN = Observation(np.full((8, 8, 1), 0.5, np.float32), "denoise", sigma=25.0)
PLUGIN = """
import json, os, random, sys, tempfile
import numpy as np
from bench.restorer import Restorer
{first}

DRAWN = random.random(), float(np.random.rand())

class Tells(Restorer):
    name, tasks = "tells", {{"denoise"}}

    def restore(self, seen):
        status = open("/proc/self/status").read()
        resident = next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]
        print(json.dumps({{
            "drawn": DRAWN, "argv": sys.argv, "folder": os.getcwd(), "temporary": tempfile.gettempdir(),
            "modules": [*sys.modules], "session": os.getsid(0), "pid": os.getpid(), "resident": int(resident),
            "fds": len(os.listdir("/proc/self/fd")), "tasks": len(os.listdir("/proc/self/task")),
            "threads": os.environ["OMP_NUM_THREADS"],
        }}))
        return seen.image
"""


@pytest.fixture
def begin(tmp_path):
    """Begins a restorer that tells of its process."""
    begun = []

    def begin(first="", threads=1, name="tells.py"):
        (tmp_path / name).write_text(PLUGIN.format(first=first))
        begun.append(RestorerProcess(choose(f"{tmp_path / name}:Tells"), "cpu", threads, Limits(60)))
        begun[-1].start()
        return begun[-1]

    yield begin
    for process in begun:
        process.close()


@pytest.fixture
def alone(monkeypatch):
    """Has each process started as where there is no nursery."""
    return lambda: monkeypatch.setattr(lifeline, "_can_be", lambda: False)


def told(process) -> dict:
    """What it says of itself."""
    assert process.ready(Setting("denoise", 25.0, 1), None) is None
    assert isinstance(process.restore(SEEN), Answer)
    return json.loads(process.said)


def test_restorers_with_one_environment_are_forks_of_one_process_and_draw_other_numbers(begin):
    ones = [begin(), begin()]
    said = [told(one) for one in ones]
    assert ones[0]._nursery is ones[1]._nursery is not None
    assert len({one._nursery.pid for one in ones}) == 1
    for drawn in zip(*(one["drawn"] for one in said), strict=True):
        assert len({*drawn}) == 2
    assert begin(threads=2)._nursery is not ones[0]._nursery
    assert told(begin(threads=2))["threads"] == "2"


def test_a_fork_is_as_a_process_of_its_own(begin, alone, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    forked = told(begin())
    alone()
    another = begin()
    own = told(another)
    assert another._nursery is None
    for what in ("folder", "fds", "tasks"):
        assert forked[what] == own[what]
    assert forked["argv"] == own["argv"] == ["-c"]
    assert {*forked["modules"]} - {*own["modules"]} <= {"bench.runner.nursery", "signal", "struct", "warnings"}
    assert forked["session"] == forked["pid"]
    assert Path(forked["temporary"]).name.startswith("bench-worker-")
    # in KiB: modules that the nursery alone has take some 2 MiB, and without `_touch` a fork lacks 7
    assert forked["resident"] == pytest.approx(own["resident"], abs=4096)


def test_only_who_asks_for_a_package_has_it(begin):
    assert "numba" in told(begin(first="import numba"))["modules"]
    assert not {"numba", "torch"} & {*told(begin())["modules"]}
    assert begin(first="import numba")._nursery.key[-1] == "numba"


def test_what_was_begun_goes_on_without_its_nursery_and_the_next_starts_afresh(begin):
    first = begin()
    told(first)
    os.kill(first._nursery.pid, signal.SIGKILL)
    told(first)
    second = begin()
    told(second)
    assert second._worker.nursery is None


def test_one_that_dies_before_it_has_forked_is_done_without(begin, monkeypatch):
    dies = (sys.executable, "-c", "import os, time; time.sleep(0.2); os._exit(1)")
    monkeypatch.setattr(lifeline, "NURSERY", dies)
    monkeypatch.setenv("ANOTHER", "environment")
    process = begin()
    assert process._nursery is not None
    told(process)
    assert process._worker.nursery is None
    assert begin()._worker.nursery is None


def test_it_ends_when_nobody_holds_it(begin):
    process = begin()
    told(process)
    number = process._nursery.pid
    process.rest()
    told(process)
    assert process._nursery.pid == number
    process.close()
    wait_for(lambda: not is_running(number))


@pytest.mark.parametrize("imports", ["", "bench_of_the_test"], ids=["waits", "imports"])
def test_it_ends_with_a_runner_that_is_killed(tmp_path, imports):
    (tmp_path / "bench_of_the_test.py").write_text("import time\nwhile True: time.sleep(0.01)\n")
    code = (
        "import os, time\nfrom bench.runner.lifeline import Nursery\n"
        f"kept = Nursery.of(dict(os.environ), {[imports] if imports else []})\ntime.sleep(300)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    runner = subprocess.Popen([sys.executable, "-c", code], env=environment)
    children = Path(f"/proc/{runner.pid}/task/{runner.pid}/children")
    wait_for(lambda: children.read_text().split())
    [number] = map(int, children.read_text().split())
    runner.kill()
    runner.wait()
    wait_for(lambda: not is_running(number))


def test_threads_that_a_library_started_have_ended_before_it_forks(begin):
    process = begin(threads=2)
    said = told(process)
    assert process._worker.nursery is not None
    assert len([*Path(f"/proc/{process._nursery.pid}/task").iterdir()]) == 1
    assert said["tasks"] == 1  # OpenBLAS has its own again when they are needed


def test_with_a_thread_that_stays_nothing_is_forked(begin, tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "bench_threads.py").write_text(
        "import threading, time\nthreading.Thread(target=time.sleep, args=(300,), daemon=True).start()\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(elsewhere), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setattr("bench.runner.process.NUMERICS", ("bench_threads",))
    process = begin(first="import bench_threads")
    told(process)
    assert process._worker.nursery is None


def test_a_file_that_hides_a_module_is_imported_before_any_that_might_know_it(begin, tmp_path):
    (tmp_path / "timeit.py").write_text("OWN = True\nfrom time import perf_counter as default_timer\n")
    process = begin(first="import numba, timeit\nassert timeit.OWN", name="hiding.py")
    told(process)
    assert process._nursery.key[-1] != "numba"


def test_it_imports_nothing_of_the_current_folder(tmp_path):
    (tmp_path / "select.py").write_text(f"open({str(tmp_path / 'mark')!r}, 'w')")
    ended = subprocess.run([*lifeline.NURSERY], cwd=tmp_path, capture_output=True, text=True)
    assert "not enough values to unpack" in ended.stderr
    assert not (tmp_path / "mark").exists()


def test_pages_that_are_in_memory_are_found():
    pages = nursery._pages_of_files()
    n_bytes = sum(length for _, length in pages)
    told = Path("/proc/self/status").read_text()
    resident = 1024 * int(told.partition("RssFile:")[2].split()[0])
    assert n_bytes == pytest.approx(resident, rel=0.5)
    assert all(length % nursery.PAGE == 0 for _, length in pages)


@pytest.mark.parametrize(
    ("source", "packages"),
    [
        ("import torch", {"torch"}),
        ("import torch.nn.functional as F", {"torch"}),
        ("try:\n    import numba\nexcept ImportError:\n    numba = None", {"numba"}),
        ("def f():\n    import torch", set()),
        ("import typing\nif typing.TYPE_CHECKING:\n    import torch", set()),
        ("import inner", {"numba"}),
        ("def f():\n    import inner", set()),
        ("from bench.restorer import TorchRestorer", {"torch"}),
        ("from bench.restorer import Restorer", set()),
    ],
)
def test_packages_are_those_that_are_imported_at_once(tmp_path, source, packages):
    (tmp_path / "inner.py").write_text("import numba\n")
    (tmp_path / "outer.py").write_text(source)
    assert code_of(tmp_path / "outer.py", "A").packages & {"torch", "numba"} == packages


def test_a_process_that_nobody_waits_for_is_not_started(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    pipe, theirs = socket.socketpair()
    line = Lifeline(theirs.fileno(), 2, dict(os.environ))
    os.kill(line.nursery.pid, signal.SIGSTOP)
    second = Lifeline(theirs.fileno(), 2, dict(os.environ))
    assert second.nursery is line.nursery
    second.end()
    os.kill(line.nursery.pid, signal.SIGCONT)
    third = Lifeline(theirs.fileno(), 2, dict(os.environ))
    wait_for(lambda: third.pid is not None)
    assert second.supervisor is None
    assert len([*tmp_path.iterdir()]) <= 2
    for one in (line, third, pipe, theirs):
        one.end() if isinstance(one, Lifeline) else one.close()
