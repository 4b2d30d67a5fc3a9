"""What several commands share: the application, its options, how they print."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from bench.api import REFERENCE_STORE as REFERENCE
from bench.api import STORE

__all__ = [
    "DEFAULT_STORE",
    "REFERENCE_STORE",
    "SETTINGS",
    "DeviceOption",
    "FormatOption",
    "SelectOption",
    "StoreOption",
    "StoresOption",
    "app",
    "print_rows",
]

SETTINGS: dict[str, Any] = {"rich_markup_mode": None, "no_args_is_help": True, "add_completion": False}
# Plain help: importing rich for it would double the time to the first line.

app = typer.Typer(**SETTINGS, pretty_exceptions_enable=False, help="Measure image restorers, comparably.")


def _tell_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"bench {version('bench')}")
        raise typer.Exit


@app.callback()
def _of_all_commands(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_tell_version, is_eager=True)
    ] = False,
) -> None:
    """Measure image restorers, comparably."""


DEFAULT_STORE = Path(STORE)
REFERENCE_STORE = Path(REFERENCE)

StoreOption = Annotated[Path, typer.Option("--store", help="File that holds the records.", metavar="FILE")]
SelectOption = Annotated[str | None, typer.Option(help="Only records where this holds, e.g. \"dataset == 'set12'\".")]
StoresOption = Annotated[
    list[Path],
    typer.Option(
        "--store",
        help="File that holds the records, a store or what bench export wrote; several times: what all hold.",
        metavar="FILE",
    ),
]
FormatOption = Annotated[str, typer.Option("--format", help="text, markdown, latex, csv or html.")]
DeviceOption = Annotated[str, typer.Option("--device", help="cpu, cuda, cuda:N or mps.")]


def print_rows(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    from bench.report.drawing import draw, in_words

    print(draw(in_words(headers, [*rows])))
