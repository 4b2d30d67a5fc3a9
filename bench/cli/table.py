"""`bench table` and `bench export`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from bench import api
from bench.cli.options import DEFAULT_STORE, SelectOption, StoresOption, app
from bench.report.counting import counting

__all__ = ["export", "table"]


@app.command()
def table(
    store: StoresOption = [DEFAULT_STORE],  # noqa: B006  as typer wants it
    select: SelectOption = None,
    metrics: Annotated[
        str,
        typer.Option(
            help="Figures, e.g. psnr,ssim for two columns, psnr/ssim for one cell; also params, macs, seconds,"
            " device-seconds, memory, weights (default: all there are)."
        ),
    ] = "",
    columns: Annotated[
        str,
        typer.Option(
            help="Data sets, or one at a level, in order, e.g. set12,bsd68:25,kodak24=Kodak (default: all)."
        ),
    ] = "",
    rows: Annotated[
        str, typer.Option(help="Restorers, as tables call them, in order, e.g. bm3d=BM3D,dncnn=DnCNN (default: all).")
    ] = "",
    digits: Annotated[str, typer.Option(help="Decimals by metric, e.g. psnr=1,ssim=3.")] = "",
    mean: Annotated[bool, typer.Option("--mean", help="At each level also the mean over the data sets.")] = False,
    significance: Annotated[
        bool, typer.Option("--significance", help="Letters behind the figures: who may be called equal.")
    ] = False,
    caption: Annotated[
        str | None, typer.Option(help="Plain text above the table (default: what was measured).")
    ] = None,
    label: Annotated[str | None, typer.Option(help="What LaTeX and HTML call the table, e.g. tab:denoise.")] = None,
    format: Annotated[
        str | None,
        typer.Option(help="text, markdown, latex, csv or html (default: by the suffix of --output, or text)."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write, .tex, .md, .html, .csv or .txt.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
) -> None:
    """Print the records of stores as tables: a row per restorer, columns per data set and level.

    Markdown, LaTeX and HTML mark the best figure of a column and the second best. LaTeX needs the package booktabs.
    """
    with counting():
        text = api.table(
            store,
            format,
            output,
            select=select,
            metrics=metrics,
            columns=columns,
            rows=rows,
            digits=digits,
            mean=mean,
            significance=significance,
            caption=caption,
            label=label,
            force=force,
        )
    if output is None:
        print(text)
    else:
        print(f"-> {output}", file=sys.stderr)


@app.command()
def export(
    store: StoresOption = [DEFAULT_STORE],  # noqa: B006
    format: Annotated[str, typer.Option(help="csv, jsonl or parquet.")] = "csv",
    output: Annotated[Path | None, typer.Option(help="File to write (default: standard output).")] = None,
    select: SelectOption = None,
) -> None:
    """Write records, one row each, with all their columns."""
    seen = output is None and sys.stdout.isatty()  # the records are progress enough
    with counting(quiet=seen):
        api.export(store, format, output, select=select)
