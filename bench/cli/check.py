"""`bench check`."""

from __future__ import annotations

from typing import Annotated

import typer

from bench import api
from bench.cli.options import app
from bench.escape import terminal

__all__ = ["check"]


@app.command()
def check(
    name: Annotated[
        str,
        typer.Argument(
            help="A restorer, e.g. dncnn or ./my.py:Mine; NAME@FILE opens the weights too. Or a task, or a metric."
        ),
    ],
    debug: Annotated[
        bool, typer.Option("--debug", help="In this process, up to what is broken first: breakpoints stop.")
    ] = False,
) -> None:
    """Try a restorer, a task or a metric against its contract: shapes, odd sizes, determinism, nothing changed."""
    n_broken = 0
    for finding in api.check(name, debug=debug):
        print(terminal(finding), flush=True)
        n_broken += not finding.ok
        if debug and n_broken:
            break
    if n_broken:
        raise typer.Exit(1)
