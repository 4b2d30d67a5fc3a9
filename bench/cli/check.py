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
) -> None:
    """Try a restorer, a task or a metric against its contract: shapes, odd sizes, determinism, nothing changed."""
    n_broken = 0
    for finding in api.check(name):
        print(terminal(finding))
        n_broken += not finding.ok
    if n_broken:
        raise typer.Exit(1)
