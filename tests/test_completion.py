"""What a shell is answered when Tab is pressed."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys

import pytest
from typer.main import get_command

from bench.cli import main
from bench.cli.commands import app
from bench.cli.completion import candidates

BENCH = get_command(app)


@pytest.mark.parametrize(
    ("line", "answers"),
    [
        ("bench comp", ["compare", "completion"]),
        ("bench  data   ve", ["verify"]),
        ("bench data ", ["list", "fetch", "verify"]),
        ("bench run --mem", ["--memory-limit"]),
        ("bench run --methods noi", ["noisy"]),
        ("bench run --methods bm3d,tv,nlm", ["bm3d,tv,nlm"]),
        ("bench run --methods dncnn:", ["dncnn:bf16", "dncnn:three"]),
        ("bench run --methods dncnn@", ["dncnn@ours", "dncnn@published"]),
        ("bench run --methods=jp", ["--methods=jpeg"]),
        ("bench run --force --datasets set12,bsd6", ["set12,bsd68"]),
        ("bench run --methods 'a file' --task demo", ["demosaick"]),
        ("bench run --protocol kair", ["kair-v1"]),
        ("bench export --format js", ["jsonl"]),
        ("bench table --format m", ["markdown"]),
        ("bench data fetch set1", ["set12", "set14"]),
        ("bench weights fetch ffd", ["ffdnet", "ffdnet.gray", "ffdnet.colour"]),
        ("bench compare --paper nsr", ["nsr-2020"]),
        ("bench completion ", ["bash", "zsh", "fish"]),
    ],
)
def test_names_are_completed(line, answers):
    assert sorted(candidates(line, BENCH)) == sorted(answers)


@pytest.mark.parametrize(
    "line",
    [
        "bench run --store res",
        "bench run --methods ./mi",
        "bench run --sigma 2",
        "bench restore photo",
        "bench run --methods 'open",
        "bench nothing such",
    ],
)
def test_where_a_file_or_free_text_is_meant_nothing_is_answered(line):
    assert candidates(line, BENCH) == []


def test_the_commands_are_answered_but_not_what_shells_call():
    assert "run" in candidates("bench", BENCH)
    assert "complete" not in candidates("bench ", BENCH)


def test_names_are_completed_without_what_takes_long_to_import():
    code = "import sys; from bench.cli import main\ntry: main(['complete', 'bench run --methods d'])\n"
    code += "finally: print('LOADED', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    answered, _, loaded = done.stdout.partition("LOADED")
    assert "dncnn" in answered.split()
    assert not {"torch", "numpy", "pandas", "rich"} & {*loaded.split()}


def printed(*words):
    out = io.StringIO()
    with contextlib.redirect_stdout(out), pytest.raises(SystemExit) as ending:
        main([*words])
    return out.getvalue(), ending.value.code


def test_a_script_for_each_shell():
    for shell in ("bash", "zsh", "fish"):
        script, status = printed("completion", shell)
        assert "complete -- " in script
        assert not status
    assert printed("complete", "--", "bench run --methods noi") == ("noisy\n", 0)
