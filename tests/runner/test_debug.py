"""Restorers in this process: prints are seen, breakpoints stop, the first failure ends it, nothing is kept."""

from __future__ import annotations

import bdb
import io
import sys
from textwrap import dedent

import pytest

import bench
from bench.cli import main
from bench.errors import RequestError
from bench.runner import debug

MINE = """
    from bench.restorer import Restorer

    class Mine(Restorer):
        name, tasks = "mine", {"denoise"}
        n_calls = 0

        def restore(self, seen):
            print("shape", seen.image.shape)
            Mine.n_calls += 1
            if Mine.n_calls == 2:
                raise ValueError("the second picture")
            return seen.image

    class Stops(Restorer):
        name, tasks = "stops", {"denoise"}

        def restore(self, seen):
            breakpoint()
            return seen.image
"""


@pytest.fixture
def here(photos, tmp_path, monkeypatch):
    """Debugs a class of MINE on the photos, from an empty folder."""
    (tmp_path / "mine_in_debug.py").write_text(dedent(MINE))
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield lambda name: bench.debug(f"{tmp_path}/mine_in_debug.py:{name}", datasets=photos, sigma=25)
    sys.modules.pop("mine_in_debug", None)


def test_the_first_failure_ends_it_with_its_traceback(here, capsys, tmp_path):
    result = here("Mine")
    assert [record.status for record in result.records] == ["ok", "failed"]
    assert [record.image for record in result.failures] == ["2.png"]
    told = capsys.readouterr()
    assert told.out.splitlines() == ["shape (24, 32, 1)", "shape (24, 32, 1)"]
    assert told.err.splitlines()[-1] == "ValueError: the second picture"
    assert "bench/runner" not in told.err
    assert not list((tmp_path / "empty").iterdir())


def test_it_measures_what_a_run_does_but_no_times(photos, tmp_path):
    result = bench.debug("noisy", datasets=photos, sigma=25)
    measured = bench.run("noisy", datasets=photos, sigma=25, store=tmp_path / "s.sqlite")
    assert [r.psnr_db for r in result.records] == [r.psnr_db for r in measured.records]
    assert {(r.seconds, r.peak_mib) for r in result.records} == {(None, None)}
    assert "3 of 3" not in " ".join(result.remarks())


def test_a_breakpoint_stops_once_for_each_picture(here, monkeypatch):
    stops = []
    monkeypatch.setattr(sys, "breakpointhook", lambda: stops.append(sys._getframe(1).f_locals["seen"].sigma))
    assert [record.status for record in here("Stops").records] == ["ok"] * 3
    assert stops == [25.0] * 3


def test_leaving_the_debugger_ends_it(here, monkeypatch):
    def leave():
        raise bdb.BdbQuit

    monkeypatch.setattr(sys, "breakpointhook", leave)
    assert [record.reason for record in here("Stops").records] == ["the debugger was left"]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_on_a_terminal_the_debugger_opens_where_it_was_raised(here, monkeypatch):
    opened = []
    monkeypatch.setattr(debug.pdb, "post_mortem", opened.append)
    for stream in ("stdin", "stderr"):
        monkeypatch.setattr(sys, stream, Terminal())
    here("Mine")
    [trace] = opened
    while trace.tb_next is not None:
        trace = trace.tb_next
    assert trace.tb_frame.f_code.co_name == "restore"


def test_a_check_in_this_process_ends_at_what_is_broken_first(here, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["check", f"{tmp_path}/mine_in_debug.py:Mine", "--debug"])
    told = capsys.readouterr()
    assert told.err.splitlines()[-1] == "ValueError: the second picture"
    [broken] = [line for line in told.out.splitlines() if line.startswith("BROKEN")]
    assert told.out.splitlines()[-1] == broken
    assert "ValueError: the second picture" in broken


def test_only_restorers_are_checked_so():
    with pytest.raises(RequestError, match="--debug is for restorers, and denoise is a task"):
        bench.check("denoise", debug=True)
