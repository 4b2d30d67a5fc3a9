"""`bench merge`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench import api
from bench.cli.options import app
from bench.cli.signals import keeping
from bench.report.counting import counting

__all__ = ["merge"]


@app.command()
def merge(
    stores: Annotated[
        list[Path], typer.Argument(help="Stores, and files of bench export: .csv, .jsonl, .parquet.", metavar="FILE")
    ],
    into: Annotated[
        Path,
        typer.Option("--into", help="The store to add their records to; made if it is not there.", metavar="STORE"),
    ],
) -> None:
    """Put the records of several stores into one: those of shards, or a file from another machine to go on from.

    All records are added, or none if a file is damaged. Merging again changes nothing. Of two records of one cell a
    good one stays before a failed one, else the one measured last.

    Exit status: 1 if two good ones have other figures. They are named, and the first stays.
    """
    with keeping("Nothing was merged."), counting():
        merged = api.merge(stores, into)
    print(merged)
    raise typer.Exit(int(not merged.ok))
