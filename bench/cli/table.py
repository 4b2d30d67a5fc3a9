"""`bench table` and `bench export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench import api
from bench.cli.options import DEFAULT_STORE, FormatOption, SelectOption, StoreOption, app

__all__ = ["export", "table"]


@app.command()
def table(
    store: StoreOption = DEFAULT_STORE,
    format: FormatOption = "text",
    select: SelectOption = None,
    significance: Annotated[
        bool, typer.Option("--significance", help="Letters behind the figures: who may be called equal.")
    ] = False,
) -> None:
    """Print the records of a store as tables."""
    print(api.table(store, format, select=select, significance=significance))


@app.command()
def export(
    store: StoreOption = DEFAULT_STORE,
    format: Annotated[str, typer.Option(help="csv, jsonl or parquet.")] = "csv",
    output: Annotated[Path | None, typer.Option(help="File to write (default: standard output).")] = None,
    select: SelectOption = None,
) -> None:
    """Write records, one row each, with all their columns."""
    api.export(store, format, output, select=select)
