"""`bench list`, `bench info`, `bench cite` and `bench doctor`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from bench import api
from bench.cli.options import DEFAULT_STORE, SelectOption, StoresOption, app
from bench.escape import terminal

__all__ = ["cite", "doctor", "info", "list_"]


@app.command("list")
def list_(
    what: Annotated[
        str, typer.Argument(help="restorers, tasks, metrics, protocols, datasets, weights, cached, or all.")
    ] = "all",
) -> None:
    """List restorers (with the terms that bind a user), tasks, protocols, data sets and weights."""
    print(api.listing(what))


@app.command()
def info(
    name: Annotated[str, typer.Argument(help="A restorer, data set, task, metric or protocol (see: bench list).")],
) -> None:
    """Tell all of one thing: settings, weights and whether they are here, terms, what to cite."""
    print(api.info(name))


@app.command()
def cite(store: StoresOption = [DEFAULT_STORE], select: SelectOption = None) -> None:  # noqa: B006  as typer wants it
    """Print BibTeX of all that a store's records rest on: restorers, data sets, SSIM."""
    bibtex, unknown = api.cite(store, select=select)
    print(bibtex)
    for what in unknown:
        print(terminal(f"No paper is known of {what}."), file=sys.stderr)


@app.command()
def doctor() -> None:
    """Say what this machine can do: versions, cores, GPU, restorers that lack a package, cache and mirror."""
    print(api.doctor())
