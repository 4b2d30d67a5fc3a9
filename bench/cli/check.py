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
        str, typer.Argument(help="A restorer, e.g. dncnn or ./my.py:Mine; NAME@FILE opens the weights too.")
    ],
) -> None:
    """Try a restorer against the contract: shapes, dtype, odd sizes, determinism, input left untouched."""
    n_broken = 0
    for finding in api.check(name):
        print(terminal(finding))
        n_broken += not finding.ok
    if n_broken:
        raise typer.Exit(1)
