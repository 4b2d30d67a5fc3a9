"""`bench weights …`."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from bench.cli.options import SETTINGS, app, print_rows
from bench.cli.output import tried
from bench.cli.signals import keeping
from bench.escape import terminal

__all__ = ["weights_app"]

weights_app = typer.Typer(**SETTINGS, help="List, fetch and verify weights, and say which to train further.")
app.add_typer(weights_app, name="weights")


@weights_app.command("list")
def weights_list() -> None:
    """List the declared weights."""
    from bench.report.listing import listing

    print(listing("weights"))


@weights_app.command("fetch")
def weights_fetch(
    names: Annotated[list[str], typer.Argument(help="Restorers, or single weights: dncnn, dncnn.gray-25.")],
) -> None:
    """Download weights (or copy them from BENCH_MIRROR), verified.

    Exit status: 1 if one could not be had; the others are fetched all the same.
    """
    from bench.plugins.weights import fetch, named

    n_lacking = 0
    with keeping("Whole files are kept; the same command goes on from there."):
        for declaration in named(names):
            if (file := tried(partial(fetch, declaration))) is None:
                n_lacking += 1
            else:
                print(terminal(f"{declaration.restorer}.{declaration.tag}: {file.path}"), flush=True)
    if n_lacking:
        raise typer.Exit(1)


@weights_app.command("verify")
def weights_verify(
    names: Annotated[
        list[str] | None, typer.Argument(help="Restorers, or single weights (default: those that are here).")
    ] = None,
) -> None:
    """Check weights against their checksums.

    Exit status: 1 if a file is missing or damaged.
    """
    from bench.plugins.weights import all_declarations, named, state

    declared = named(names) if names else all_declarations()
    rows = [[f"{d.restorer}.{d.tag}", d.label, state(d)] for d in declared]
    if not names:
        rows = [row for row in rows if row[2] != "missing"]
    print_rows(["weights", "file", "state"], rows)
    if any(state in ("missing", "damaged") for _, _, state in rows):
        raise typer.Exit(1)


@weights_app.command("wanted")
def weights_wanted(
    markdown: Annotated[
        bool, typer.Option("--markdown", help="As the page methods/weights/WANTED.md, with the commands.")
    ] = False,
) -> None:
    """List the weights that deserve more training, the most wanted first."""
    from bench.training.queue import page, wanted

    entries = wanted()
    if markdown:
        print(page(entries), end="")
        return
    rows = []
    for number, entry in enumerate(entries, 1):
        levels = ", ".join(f"{name} {level}" for name, level in entry.levels.items())
        rows.append([number, entry.restorer, levels, entry.recipe, entry.why, entry.goal])
    print_rows(["", "restorer", "levels", "recipe", "where it stands", "goal"], rows)
