"""`bench …`: one module a command, or a few that belong together. Each parses, calls the API, and prints."""

from __future__ import annotations

import sys

# ruff: isort: off
# each adds its commands, in the order in which `bench --help` lists them
from bench.cli import run, restore, table, page, compare, listing, check, train, data, weights  # noqa: F401

# ruff: isort: on
from bench.cli.options import app
from bench.errors import BenchError

__all__ = ["app", "main"]


def main(words: list[str] | None = None) -> None:
    """Entry point: expected failures become one line and exit status 2.

    words  the command line without the program's name; None: this process's own
    """
    try:
        app(words, prog_name="bench")
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("bench: interrupted. What was measured is kept; the same command goes on from there.", file=sys.stderr)
        sys.exit(130)
