"""What a person meets at a terminal: the bar, Ctrl-C, the debugger, Tab."""

from __future__ import annotations

import shutil
import sys
from textwrap import dedent

import pytest

from tests.terminal import Terminal

BENCH = [sys.executable, "-c", "import sys; from bench.cli import main; sys.argv[0] = 'bench'; main()"]

MINE = """
    import time
    from bench.restorer import Restorer

    class Sleeps(Restorer):
        name, tasks = "sleeps", {"denoise"}

        def restore(self, seen):
            time.sleep(3600)

    class Fails(Restorer):
        name, tasks = "fails", {"denoise"}

        def restore(self, seen):
            level = seen.sigma / 255
            raise ValueError("no convergence")

    class Stops(Restorer):
        name, tasks = "stops", {"denoise"}

        def restore(self, seen):
            breakpoint()
            return seen.image
"""


@pytest.fixture
def bench(tmp_path, photos):
    (tmp_path / "mine.py").write_text(dedent(MINE))
    run = ["run", "--datasets", "./photos", "--sigma", "25", "--store", "s.sqlite"]
    return lambda methods, *words: Terminal([*BENCH, *run, "--methods", methods, *words], tmp_path, BENCH_OFFLINE="1")


@pytest.mark.slow
def test_ctrl_c_prints_the_table_of_what_is_measured_and_says_what_is_kept(bench):
    with bench("noisy,./mine.py:Sleeps") as terminal:
        terminal.until("sleeps, denoise sigma 25 gray, photos")
        terminal.until("3/6")
        terminal.type("\x03")
        assert terminal.end(30) == 130
        assert "noisy" in terminal.seen.partition("Gaussian denoising")[2]
        last = terminal.seen.strip().splitlines()[-1]
        assert last == "bench: interrupted. 3 of 6 cells are kept in s.sqlite; the same command goes on from there."


@pytest.mark.slow
def test_a_bar_tells_how_far_a_run_is_and_leaves_no_trace(bench):
    with bench("noisy") as terminal:
        assert terminal.end() == 0
        told, _, table = terminal.seen.partition("Gaussian denoising")
        assert "/3" in told
        assert "left:" in told
        assert "noisy" in table
        assert "left:" not in table


@pytest.mark.slow
def test_a_breakpoint_stops_and_is_gone_on_from(bench, tmp_path):
    with bench("./mine.py:Stops", "--debug") as terminal:
        for _ in range(3):
            terminal.until("(Pdb) ")
            terminal.type("p seen.sigma\n")
            assert "25.0" in terminal.until("(Pdb) ")
            terminal.type("c\n")
        assert terminal.end() == 0
        assert "--debug: nothing was timed, and nothing is kept in a store." in terminal.seen
    assert not (tmp_path / "s.sqlite").exists()


@pytest.mark.slow
def test_the_debugger_opens_where_a_restorer_raised(bench):
    with bench("./mine.py:Fails", "--debug") as terminal:
        assert "ValueError: no convergence" in terminal.until("(Pdb) ")
        terminal.type("p 255 * level\n")
        assert "25.0" in terminal.until("(Pdb) ")
        terminal.type("q\n")
        assert terminal.end() == 1
        assert "fails failed on photos/1.png: ValueError: no convergence (mine.py, line 16)" in terminal.seen


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("bash"), reason="no bash")
def test_bash_completes_names_at_tab_past_colons_and_commas(tmp_path):
    command = tmp_path / "bin" / "bench"
    command.parent.mkdir()
    command.write_text(f"#!{sys.executable}\nfrom bench.cli import main\nmain()\n")
    command.chmod(0o755)
    (tmp_path / "results.sqlite").touch()
    with Terminal(["bash", "--norc", "-i"], tmp_path, PS1="$ ", COLUMNS="200") as terminal:
        terminal.type(f"PATH={command.parent}:$PATH; bind 'set enable-bracketed-paste off'\n")
        terminal.type('eval "$(bench completion bash)"\n')
        terminal.type("echo re''ady\n")
        terminal.until("ready")
        for typed, shown in (
            ("bench run --methods tv,dncnn:b\t", "bf16 "),
            (" --datasets set1\t2,bsd6\t", "8 "),
            (" --task=denoise-bl\t", "ind "),
            (" --store res\t", "ults.sqlite "),
        ):
            terminal.type(typed)
            terminal.until(shown)
