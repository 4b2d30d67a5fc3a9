"""`bench …`: one module a command, or a few that belong together. Each parses, calls the API, and prints."""

from __future__ import annotations

import os
import sys

from bench.cli.output import flush, open_up, say, silence, what_failed
from bench.cli.signals import StoppedError, caught
from bench.errors import BenchError, RecipeError

__all__ = ["main"]

NOBODY_READS = 141
"""as of a program that SIGPIPE ends"""


def main(words: list[str] | None = None) -> None:
    """Entry point. Expected failures become one line and exit status 2, a signal one line and 128 + its number.

    Of a recipe all that is wrong is told, in a line each.

    words  the command line without the program's name; None: this process's own, which ends then
    """
    open_up()
    try:
        with caught():
            from bench.cli.commands import app  # takes its time, and a signal may come meanwhile

            try:
                app(words, prog_name="bench")
            finally:
                flush()
    except BenchError as error:
        for line in error.lines if isinstance(error, RecipeError) else [str(error)]:
            say(line)
        sys.exit(2)
    except StoppedError as stopped:
        say(str(stopped))
        if words is None:
            silence()
            os._exit(stopped.status)  # without waiting for what threads are still at
        sys.exit(stopped.status)
    except SystemExit as ending:
        if isinstance(ending.__context__, BrokenPipeError):  # typer's own, of status 1
            _nobody_reads()
        raise
    except BrokenPipeError:
        _nobody_reads()
    except OSError as error:
        why = what_failed(error)
        if not why:
            raise
        silence()
        say(why)
        sys.exit(2)


def _nobody_reads() -> None:
    silence()
    sys.exit(NOBODY_READS)
