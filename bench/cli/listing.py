"""`bench list` and `bench doctor`."""

from __future__ import annotations

from typing import Annotated

import typer

from bench import api
from bench.cli.options import app

__all__ = ["doctor", "list_"]


@app.command("list")
def list_(
    what: Annotated[str, typer.Argument(help="restorers, tasks, protocols, datasets, weights, or all.")] = "all",
) -> None:
    """List restorers (with the terms that bind a user), tasks, protocols, data sets and weights."""
    print(api.listing(what))


@app.command()
def doctor() -> None:
    """Say what this machine can do: versions, cores, GPU, restorers that lack a package, cache and mirror."""
    print(api.doctor())
