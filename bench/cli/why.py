"""`bench why`."""

from __future__ import annotations

from typing import Annotated

import typer

from bench import api
from bench.cli.options import DEFAULT_STORE, StoresOption, app
from bench.report.counting import counting

__all__ = ["why"]


@app.command()
def why(
    which: Annotated[str, typer.Argument(help="A number of the list, a restorer, an image, or RESTORER/IMAGE.")] = "",
    store: StoresOption = [DEFAULT_STORE],  # noqa: B006  as typer wants it
) -> None:
    """Say why cells failed: the reason, what the restorer printed, its traceback. Without a word: list what failed.

    Number 1 is what a run last asked for.
    """
    with counting():
        told = api.why(which, store)
    print(told)
