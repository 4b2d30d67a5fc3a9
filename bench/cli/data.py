"""`bench data …`."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from bench.cli.options import SETTINGS, app, print_rows
from bench.cli.output import tried
from bench.cli.signals import keeping

__all__ = ["data_app"]

data_app = typer.Typer(**SETTINGS, help="List, fetch and verify data sets.")
app.add_typer(data_app, name="data")


@data_app.command("list")
def data_list() -> None:
    """List the data sets, with their terms."""
    from bench.report.listing import listing

    print(listing("datasets"))


@data_app.command("fetch")
def data_fetch(names: Annotated[list[str], typer.Argument(help="Data sets.")]) -> None:
    """Download data sets (or copy them from BENCH_MIRROR), verified.

    Exit status: 1 if one could not be had; the others are fetched all the same.
    """
    from bench.data.datasets import fetch_all, get
    from bench.report.progress import watch

    datasets = [get(name) for name in names]
    with keeping("Whole files are kept; the same command goes on from there."), watch() as watcher:
        fetching = [partial(fetch_all, dataset, partial(watcher.fetching, dataset.name)) for dataset in datasets]
        fetched = [*map(tried, fetching)]
    if None in fetched:
        raise typer.Exit(1)


@data_app.command("verify")
def data_verify(
    names: Annotated[list[str] | None, typer.Argument(help="Data sets (default: those that are here).")] = None,
) -> None:
    """Check the cached files of data sets against their checksums.

    Exit status: 1 if a file is missing or damaged.
    """
    from bench.data.datasets import get, verify
    from bench.data.datasets import names as all_names

    rows = []
    for name in names or all_names():
        states = list(verify(get(name)).values())
        if names or {*states} != {"missing"}:
            rows.append([name, *(states.count(state) for state in ("ok", "missing", "damaged"))])
    print_rows(["data set", "ok", "missing", "damaged"], rows)
    if any(missing or damaged for _, _, missing, damaged in rows):
        raise typer.Exit(1)
