"""The code blocks of a page in Markdown, and what they ask for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

FENCE = re.compile(
    r"^(?:<!-- (?P<mark>[^\n]*?) -->\n)?```(?P<language>\w+)\n(?P<code>.*?)^```$", re.DOTALL | re.MULTILINE
)
FILE = re.compile(r"# (?P<name>[\w/-]+\.(?:py|toml))\n")
CI_RUNS = ("first", "second")
"""Marks in README.md of the blocks that .ci/run executes in an environment of its own."""


@dataclass(frozen=True)
class Block:
    """line: of the fence, from 1; not_run: why not, or ""; file: what it is to be written to, or ""."""

    line: int
    language: str
    code: str
    not_run: str
    file: str


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    found = []
    for match in FENCE.finditer(text):
        mark, code = match["mark"] or "", match["code"]
        reason = mark.removeprefix("not run: ") if mark.startswith("not run: ") else "CI" if mark in CI_RUNS else ""
        file = FILE.match(code)
        line = text.count("\n", 0, match.start("language")) + 1
        found.append(Block(line, match["language"], code, reason, file["name"] if file else ""))
    return found


def commands(block: Block) -> list[str]:
    """The `bench …` lines of a shell block, those that a backslash continues in one piece, up to an `||`."""
    lines = block.code.replace("\\\n", " ").splitlines()
    return [line.partition(" || ")[0] for line in lines if line.startswith("bench ")]
