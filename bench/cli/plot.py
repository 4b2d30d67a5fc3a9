"""`bench plot`: figures for a paper."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from bench import api
from bench.cli.options import DEFAULT_STORE, SETTINGS, DeviceOption, SelectOption, StoresOption, app
from bench.plugins.names import split
from bench.report.counting import counting

__all__ = ["crops", "images", "levels", "maps", "pareto"]

plot = typer.Typer(**SETTINGS, help="Draw figures for a paper: PDF, SVG or PNG.")
app.add_typer(plot, name="plot")

OutputOption = Annotated[
    Path, typer.Option("--output", "-o", help="File to write: its suffix, .pdf, .svg or .png, says the kind.")
]
WidthOption = Annotated[float, typer.Option(help="Inches: 3.3 is a column of most two-column papers.")]
SomeOption = Annotated[str, typer.Option("--methods", help="Which restorers, as tables call them (default: all).")]


@plot.command()
def pareto(
    output: OutputOption,
    against: Annotated[str, typer.Option(help="seconds, device-seconds, params, macs or memory.")] = "seconds",
    methods: SomeOption = "",
    store: StoresOption = [DEFAULT_STORE],  # noqa: B006  as typer wants it
    select: SelectOption = None,
    width: WidthOption = 3.3,
) -> None:
    """Draw PSNR against a cost, with the front of those that none beats in both."""
    words: dict[str, Any] = {"select": select, "width": width, "methods": _parts(methods)}
    _draw("pareto", output, store, **words, against=against)


@plot.command()
def levels(
    output: OutputOption,
    over: Annotated[str, typer.Option(help="The restorer over which the others gain.")] = "bm3d",
    methods: SomeOption = "",
    store: StoresOption = [DEFAULT_STORE],  # noqa: B006
    select: SelectOption = None,
    width: WidthOption = 3.3,
) -> None:
    """Draw the gain of PSNR over one restorer, by level."""
    words: dict[str, Any] = {"select": select, "width": width, "methods": _parts(methods)}
    _draw("levels", output, store, **words, over=over)


@plot.command()
def images(
    output: OutputOption,
    methods: Annotated[str, typer.Option(help="Two restorers, as tables call them, e.g. dncnn,bm3d.")],
    store: StoresOption = [DEFAULT_STORE],  # noqa: B006
    select: SelectOption = None,
    width: WidthOption = 3.3,
) -> None:
    """Draw the difference of two restorers on each picture, and the mean with its interval."""
    _draw("images", output, store, select=select, width=width, methods=_parts(methods))


@plot.command()
def crops(
    output: OutputOption,
    methods: Annotated[str, typer.Option(help="Restorers, e.g. noisy,bm3d,dncnn (see: bench list).")],
    task: Annotated[str, typer.Option(help="A task, e.g. deblock or ./my.py:Task.")] = "denoise",
    datasets: Annotated[str, typer.Option(help="A data set, or a folder of images.")] = "sample",
    image: Annotated[str | None, typer.Option(help="Name of a picture in it (default: the first).")] = None,
    crop: Annotated[
        str | None, typer.Option(help="x,y,width,height in pixels (default: where the restorers differ most).")
    ] = None,
    sigma: Annotated[str | None, typer.Option(help="Noise level on the 0-255 scale.")] = None,
    quality: Annotated[str | None, typer.Option(help="JPEG quality factor.")] = None,
    scale: Annotated[str | None, typer.Option(help="Super-resolution factor.")] = None,
    pattern: Annotated[str | None, typer.Option(help="Bayer pattern.")] = None,
    level: Annotated[str | None, typer.Option(help="Level of any task.")] = None,
    protocol: Annotated[str, typer.Option(help="standard-v1, groupsc-v1, kair-v1 or dncnn-v1.")] = "standard-v1",
    device: DeviceOption = "cpu",
    threads: Annotated[int | None, typer.Option(help="Threads per restorer (default: all cores).")] = None,
    width: Annotated[float | None, typer.Option(help="Inches (default: 3.3, with many restorers 7).")] = None,
) -> None:
    """Restore one picture, and draw a crop of each answer with its errors. Nothing is recorded."""
    told = api.plot_crops(
        output,
        methods,
        task,
        datasets,
        image=image,
        crop=crop,
        width=width,
        sigma=sigma,
        quality=quality,
        scale=scale,
        pattern=pattern,
        level=level,
        protocol=protocol,
        device=device,
        threads=threads,
    )
    _tell(told, output)


@plot.command()
def maps(
    output: OutputOption,
    method: Annotated[str, typer.Option("--methods", help="One restorer that has maps: nsr, nlrn, or yours.")],
    task: Annotated[str, typer.Option(help="A task, e.g. deblock or ./my.py:Task.")] = "denoise",
    datasets: Annotated[str, typer.Option(help="A data set, or a folder of images.")] = "sample",
    image: Annotated[str | None, typer.Option(help="Name of a picture in it (default: the first).")] = None,
    pixel: Annotated[
        str | None, typer.Option(help="x,y of the pixel whose own map is drawn (default: the middle).")
    ] = None,
    sigma: Annotated[str | None, typer.Option(help="Noise level on the 0-255 scale.")] = None,
    quality: Annotated[str | None, typer.Option(help="JPEG quality factor.")] = None,
    scale: Annotated[str | None, typer.Option(help="Super-resolution factor.")] = None,
    pattern: Annotated[str | None, typer.Option(help="Bayer pattern.")] = None,
    level: Annotated[str | None, typer.Option(help="Level of any task.")] = None,
    device: DeviceOption = "cpu",
    threads: Annotated[int | None, typer.Option(help="Threads (default: all cores).")] = None,
    width: Annotated[float | None, typer.Option(help="Inches (default: 3.3, with many maps 7).")] = None,
) -> None:
    """Draw what a restorer decides at each pixel of a picture. Nothing is recorded."""
    told = api.plot_maps(
        output,
        method,
        task,
        datasets,
        image=image,
        pixel=pixel,
        width=width,
        sigma=sigma,
        quality=quality,
        scale=scale,
        pattern=pattern,
        level=level,
        device=device,
        threads=threads,
    )
    _tell(told, output)


def _parts(methods: str) -> list[str]:
    return [part for part in split(methods) if part]


def _draw(kind: str, output: Path, store: list[Path], **words: Any) -> None:
    with counting():
        told = api.plot(kind, output, store, **words)
    _tell(told, output)


def _tell(told: Sequence[str], output: Path) -> None:
    for line in told:
        print(line, file=sys.stderr)
    print(f"-> {output}", file=sys.stderr)
