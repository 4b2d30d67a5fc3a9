"""`bench ablate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench import api
from bench.cli.options import DeviceOption, FormatOption, app
from bench.cli.signals import keeping
from bench.errors import RequestError

__all__ = ["ablate"]


@app.command()
def ablate(
    file: Annotated[
        Path, typer.Argument(help="The ablation: variants, seeds, a budget, a test set.", metavar="FILE.toml")
    ],
    folder: Annotated[
        Path | None, typer.Option(help="Where the trainings are (default: training/ablations/FILE).", metavar="DIR")
    ] = None,
    results: Annotated[
        Path | None,
        typer.Option(help="Folder for runs.json and records.csv (default: beside FILE).", metavar="DIR"),
    ] = None,
    device: DeviceOption = "cpu",
    format: FormatOption = "text",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Tell what would be trained and how long it takes; keep nothing.")
    ] = False,
    table: Annotated[bool, typer.Option("--table", help="Print the table of the results there are.")] = False,
) -> None:
    """Train the variants of a network at one budget, and hold their differences against the paper's.

    Killed, the same command goes on from the last checkpoint, to the same table. Started several times, also on
    machines that share the folder, each trains what no other does. A variant or seed that is added to the file is
    trained alone: what the results have of the others stays.

    Exit status: 0, or 1 if a training gave no figure, or 2 if the request will not do.
    """
    if dry_run and table:
        raise RequestError("--dry-run and --table: choose one.")
    if table:
        report = api.ablation(file, results=results, format=format)
    else:
        from bench.report.progress import watch

        with keeping("The last checkpoint is kept; the same command goes on from there."), watch() as watcher:
            report = api.ablate(
                file, folder=folder, results=results, device=device, format=format, dry_run=dry_run, watcher=watcher
            )
    print(report)
    if not report.ok:
        raise typer.Exit(1)
