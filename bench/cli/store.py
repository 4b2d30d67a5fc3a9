"""`bench store …`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench import api
from bench.cli.options import SETTINGS, app
from bench.report.counting import counting

__all__ = ["store_app"]

store_app = typer.Typer(**SETTINGS, help="Check and repair stores of records.")
app.add_typer(store_app, name="store")


@store_app.command()
def check(stores: Annotated[list[Path], typer.Argument(help="Stores.", metavar="FILE")]) -> None:
    """Read all of a store, and say whether each record is as it was written.

    Exit status: 1 if something is damaged.
    """
    ok = True
    for store in stores:
        with counting():
            checked = api.check_store(store)
        print(checked)
        ok = ok and checked.ok
    raise typer.Exit(int(not ok))


@store_app.command()
def repair(store: Annotated[Path, typer.Argument(help="A store.", metavar="FILE")]) -> None:
    """Keep what is whole of a damaged store; `bench run` measures the rest again.

    The damaged file is kept beside it, as FILE.damaged.
    """
    with counting():
        repaired = api.repair_store(store)
    print(repaired)
