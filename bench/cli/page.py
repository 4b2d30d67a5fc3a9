"""`bench page`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from bench import api
from bench.cli.options import DEFAULT_STORE, SelectOption, StoresOption, app
from bench.report.counting import counting

__all__ = ["page"]


@app.command()
def page(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The HTML file to write; one that is there is replaced.")
    ] = Path("page.html"),
    store: StoresOption = [DEFAULT_STORE],  # noqa: B006
    select: SelectOption = None,
    title: Annotated[str | None, typer.Option(help="What stands above all (default: the store's name).")] = None,
    pictures: Annotated[
        Path | None, typer.Option(help="Folder of pictures that `bench run --save` filled.", metavar="DIR")
    ] = None,
    max_mb: Annotated[float, typer.Option(help="MB that the page may have; pictures that exceed it stay out.")] = 25,
    own_responsibility: Annotated[
        bool, typer.Option("--own-responsibility", help="Embed pictures whose terms do not allow passing them on.")
    ] = False,
) -> None:
    """Write a store as one HTML page that needs no network.

    It holds the tables with what is behind each figure, plots, pictures, and verdicts on the papers.
    """
    with counting():
        written = api.page(
            store,
            output,
            select=select,
            title=title,
            pictures=pictures,
            max_mb=max_mb,
            own_responsibility=own_responsibility,
        )
    print(written)
    for line in written.left_out:
        print(line, file=sys.stderr)
