"""`bench restore`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench import api
from bench.cli.options import DeviceOption, app
from bench.cli.signals import keeping
from bench.errors import RequestError
from bench.plugins.names import split

__all__ = ["restore"]


@app.command()
def restore(
    files: Annotated[list[Path], typer.Argument(help="Pictures, or folders of pictures.", metavar="FILE")],
    methods: Annotated[str, typer.Option(help="One restorer, e.g. dncnn or ./my.py:Mine (see: bench list).")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="A .png, .tif or .webp file; for several pictures a folder.")
    ],
    task: Annotated[str, typer.Option(help="denoise, denoise-blind, deblock, demosaick or superres.")] = "denoise",
    sigma: Annotated[str | None, typer.Option(help="Noise level on the 0-255 scale, or auto.")] = None,
    quality: Annotated[str | None, typer.Option(help="JPEG quality factor (default: the file's own).")] = None,
    scale: Annotated[str | None, typer.Option(help="Super-resolution factor: 2, 3 or 4.")] = None,
    pattern: Annotated[str | None, typer.Option(help="Bayer pattern of a mosaic (default: RGGB).")] = None,
    tile: Annotated[
        str, typer.Option(help="Restore in tiles of so many pixels, or auto: in tiles where the memory wants it.")
    ] = "auto",
    overlap: Annotated[int, typer.Option(help="Pixels around a tile that the restorer sees too.")] = 32,
    force: Annotated[bool, typer.Option("--force", help="Write over files that are there.")] = False,
    threads: Annotated[int | None, typer.Option(help="Threads (default: all cores).")] = None,
    device: DeviceOption = "cpu",
    time_limit: Annotated[
        float | None, typer.Option(help="Seconds that a picture, or a tile, may take (default: no limit).")
    ] = None,
    memory_limit: Annotated[
        float | None, typer.Option(help="MiB that the restorer may hold (default: 4/5 of what is free).")
    ] = None,
) -> None:
    """Restore pictures of one's own. Nothing is written over, and no picture is written in part.

    Exit status: 0, or 1 if a picture failed, or 2 if the request will not do.
    """
    from bench.report.restored import RestoreProgress

    if len(split(methods)) > 1:
        raise RequestError(f"--methods {methods}: a picture is restored by one restorer.")
    n_failed = 0
    with keeping("Pictures that are written are whole."), RestoreProgress() as progress:
        for done in api.restore_files(
            files,
            output,
            methods,
            task,
            sigma=sigma,
            quality=quality,
            scale=scale,
            pattern=pattern,
            tile=tile,
            overlap=overlap,
            force=force,
            threads=threads,
            device=device,
            time_limit=time_limit,
            memory_limit=memory_limit,
            watcher=progress,
        ):
            progress.tell(done)
            n_failed += bool(done.failure)
    if n_failed:
        raise typer.Exit(1)
