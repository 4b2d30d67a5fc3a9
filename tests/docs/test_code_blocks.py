"""Every code block of README.md and docs/ runs, offline; of those that cannot, the commands are still parsed."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from bench.data.toml import tomllib
from typer.main import get_command

from bench.cli.commands import app
from tests.docs.blocks import PAGES, ROOT, blocks, commands

LANGUAGES = {"sh", "python", "toml", "text"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
class TestEveryPage:
    def test_says_what_each_block_is(self, page):
        fences = page.read_text(encoding="utf-8").count("\n```")
        directives = page.read_text(encoding="utf-8").count("\n```{")
        found = blocks(page)
        assert 2 * (len(found) + directives) == fences
        assert {block.language for block in found} <= LANGUAGES

    def test_asks_for_options_that_there_are(self, page):
        for block in blocks(page):
            for command in commands(block) if block.language == "sh" else ():
                parse(shlex.split(command, comments=True)[1:])

    def test_holds_code_that_parses(self, page):
        for block in blocks(page):
            if block.language == "python":
                compile(block.code, f"{page.name}, line {block.line}", "exec")
            if block.language == "toml":
                tomllib.loads(block.code)


def parse(words, command=None, parent=None):
    """Raise what the command line would raise for these words; run nothing."""
    command = command or get_command(app)
    if hasattr(command, "list_commands"):
        context = command.make_context("bench", words[:1], parent)
        inner = command.get_command(context, words[0])
        assert inner is not None, f"there is no command {words[0]}"
        parse(words[1:], inner, context)
    else:
        command.make_context(command.name, list(words), parent)


def test_an_option_that_is_not_there_is_seen():
    with pytest.raises(Exception, match="--sigmas"):
        parse(["run", "--methods", "bm3d", "--sigmas", "25"])
    with pytest.raises(AssertionError, match="no command runn"):
        parse(["runn"])


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_block_runs(page, tmp_path):
    """One after the other, in one folder: a block may use what those above it have made."""
    here = tmp_path / "here"
    here.mkdir()
    (here / "results").mkdir()
    (here / "results" / "reference").symlink_to(ROOT / "results" / "reference")
    environment = os.environ | {
        "BENCH_CACHE": str(tmp_path / "cache"),
        "BENCH_OFFLINE": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    }
    environment.pop("BENCH_MIRROR", None)
    for block in blocks(page):
        if block.not_run:
            continue
        if block.file:
            (here / block.file).parent.mkdir(parents=True, exist_ok=True)
            (here / block.file).write_text(block.code, encoding="utf-8")
            continue
        words = {"python": [sys.executable, "-c", block.code], "sh": ["bash", "-euo", "pipefail", "-c", block.code]}
        if block.language not in words:
            continue
        done = subprocess.run(
            words[block.language], cwd=here, env=environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, f"{page.name}, line {block.line}:\n{done.stdout[-1500:]}\n{done.stderr[-3000:]}"
