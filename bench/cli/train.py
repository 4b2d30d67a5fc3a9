"""`bench train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench import api
from bench.cli.options import DeviceOption, app
from bench.cli.signals import keeping
from bench.errors import RequestError

__all__ = ["train"]


@app.command()
def train(
    name: Annotated[str | None, typer.Argument(help="A learned restorer, e.g. sc, groupsc, ./my.py:Net.")] = None,
    sigma: Annotated[str | None, typer.Option(help="The noise level to train for, on the 0-255 scale.")] = None,
    quality: Annotated[str | None, typer.Option(help="The JPEG quality factor to train for.")] = None,
    scale: Annotated[str | None, typer.Option(help="The super-resolution factor to train for.")] = None,
    pattern: Annotated[str | None, typer.Option(help="The Bayer pattern to train for.")] = None,
    level: Annotated[str | None, typer.Option(help="The level to train for, of a task of another kind.")] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="A recipe of the restorer's own file, or a file: mine.toml, mine.toml:TABLE (default: the first)."
        ),
    ] = None,
    minutes: Annotated[float | None, typer.Option(help="Budget; the schedule is stretched to it.")] = None,
    steps: Annotated[int | None, typer.Option(help="Steps, instead of the recipe's.")] = None,
    start: Annotated[
        str | None, typer.Option(help="Weights to start from: a file, or a restorer's, e.g. dncnn@published.")
    ] = None,
    folder: Annotated[Path | None, typer.Option(help="Where to (default: training/NAME-LEVEL).")] = None,
    device: DeviceOption = "cpu",
    new: Annotated[
        Path | None, typer.Option("--new", help="Write a recipe to begin with, every key explained.", metavar="FILE")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write it over a file that is there.")] = False,
) -> None:
    """Train a restorer by its recipe. Killed, the same command goes on from the last checkpoint.

    The folder holds checkpoint.pt, log.csv, curves.svg, and the best weights so far: weights.safetensors, with
    their card in weights.json.
    """
    if new is not None:
        from bench.training.template import write_new  # it imports NumPy

        print(write_new(new, name, force=force))
        return
    if name is None:
        raise RequestError("bench train NAME: which restorer to train was not said.")
    with keeping("Its last checkpoint is kept; the same command goes on from there."):
        api.train(
            name,
            sigma=sigma,
            quality=quality,
            scale=scale,
            pattern=pattern,
            level=level,
            recipe=recipe,
            minutes=minutes,
            steps=steps,
            start=start,
            folder=folder,
            device=device,
        )
