"""`bench run`."""

from __future__ import annotations

import shlex
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench import api
from bench.cli.options import DEFAULT_STORE, DeviceOption, FormatOption, StoreOption, app
from bench.cli.signals import StoppedError, keeping
from bench.errors import RequestError
from bench.escape import terminal

if TYPE_CHECKING:
    from bench.report.progress import Progress

__all__ = ["run"]


@app.command()
def run(
    methods: Annotated[str, typer.Option(help="Restorers, e.g. bm3d,dncnn:bf16,./my.py:Mine (see: bench list).")],
    task: Annotated[
        str, typer.Option(help="Tasks, e.g. denoise,deblock,./my.py:Task (see: bench list tasks).")
    ] = "denoise",
    datasets: Annotated[str, typer.Option(help="Data sets, or folders of images, e.g. set12,./photos.")] = "sample",
    sigma: Annotated[str | None, typer.Option(help="Noise levels on the 0-255 scale, e.g. 15,25,50.")] = None,
    quality: Annotated[str | None, typer.Option(help="JPEG quality factors, e.g. 10,20,30,40.")] = None,
    scale: Annotated[str | None, typer.Option(help="Super-resolution factors, e.g. 2,3,4.")] = None,
    pattern: Annotated[str | None, typer.Option(help="Bayer patterns, e.g. RGGB.")] = None,
    level: Annotated[
        str | None, typer.Option(help="Levels of any task, e.g. peaks 4,30; of two values as 0.01/0.0004.")
    ] = None,
    metrics: Annotated[
        str, typer.Option(help="Metrics beside PSNR and SSIM, e.g. gmsd,./my.py:sharpness (see: bench list metrics).")
    ] = "",
    images: Annotated[str, typer.Option(help="Only pictures of such names, e.g. '*.png,night/*'.")] = "",
    subset: Annotated[str, typer.Option(help="Only each n-th of them, e.g. every-10th.")] = "",
    limit: Annotated[int | None, typer.Option(help="Only the first so many of them.")] = None,
    recursive: Annotated[bool, typer.Option("--recursive", help="Search the folders in a folder too.")] = False,
    shard: Annotated[
        str, typer.Option(help="Only one of so many equal parts, e.g. 3/8; bench merge puts their stores together.")
    ] = "",
    protocol: Annotated[str, typer.Option(help="standard-v1, groupsc-v1, kair-v1 or dncnn-v1.")] = "standard-v1",
    repeats: Annotated[int, typer.Option(help="Noise realisations per image.")] = 1,
    store: StoreOption = DEFAULT_STORE,
    force: Annotated[bool, typer.Option("--force", help="Measure again what the store holds.")] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Measure again what failed.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and measure nothing.")] = False,
    jobs: Annotated[int, typer.Option(help="Cells side by side; more than 1 takes no times.")] = 1,
    cluster: Annotated[
        str,
        typer.Option(
            help="Measure on a Dask cluster: tcp://HOST:8786, scheduler.json, local:4. No times without --readings."
        ),
    ] = "",
    threads: Annotated[int | None, typer.Option(help="Threads per restorer (default: share of the cores).")] = None,
    device: DeviceOption = "cpu",
    readings: Annotated[
        int | None, typer.Option(help="Timed calls per cell (default: 3, or as many as fit 1 s).")
    ] = None,
    time_limit: Annotated[float, typer.Option(help="Seconds that a cell may take.")] = 600,
    memory_limit: Annotated[float | None, typer.Option(help="MiB that a restorer may hold.")] = None,
    save: Annotated[
        Path | None, typer.Option(help="Folder for the restored pictures, as PNG of 8 bits.", metavar="DIR")
    ] = None,
    save_float: Annotated[bool, typer.Option("--save-float", help="Save float32 arrays beside them.")] = False,
    format: FormatOption = "text",
    debug: Annotated[
        bool,
        typer.Option(
            "--debug", help="Restore in this process up to the first failure: breakpoints stop; keep nothing."
        ),
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print the table alone: no progress, no remarks.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Print a line for each cell, and what restorers print.")
    ] = False,
) -> None:
    """Measure restorers and print the table. What the store holds already is not measured again.

    Exit status: 0, or 1 if a cell failed, or 2 if the request will not do. Ctrl-C ends it: the table of what is
    measured is printed, and the same command goes on from there.
    """
    from bench.report.drawing import check_format
    from bench.report.progress import watch

    check_format(format)
    if quiet and verbose:
        raise RequestError("--quiet and --verbose: choose one.")
    if debug and (dry_run or save or save_float or jobs > 1 or cluster):
        raise RequestError("--debug goes without --dry-run, --save, --jobs and --cluster.")
    if dry_run and cluster:
        raise RequestError("--dry-run goes without --cluster: what a cluster takes, its workers decide.")
    words: dict[str, Any] = {
        "sigma": sigma,
        "quality": quality,
        "scale": scale,
        "pattern": pattern,
        "level": level,
        "metrics": metrics,
        "images": images,
        "subset": subset,
        "limit": limit,
        "recursive": recursive,
        "shard": shard,
        "protocol": protocol,
        "repeats": repeats,
        "device": device,
        "threads": threads,
        "jobs": jobs,
        "readings": readings,
    }
    if debug:
        _debug(methods, task, datasets, words, format)
        return
    words |= {"store": store, "force": force, "retry_failed": retry_failed}
    if dry_run:
        print(api.preview(methods, task, datasets, **words))
        return
    was_there = store.parent.is_dir()
    limits: dict[str, Any] = {"time_limit": time_limit, "memory_limit": memory_limit}
    watcher = watch(quiet=quiet, verbose=verbose)
    with keeping("What was measured is kept; the same command goes on from there."):
        try:
            with watcher:
                result = api.run(
                    methods,
                    task,
                    datasets,
                    **words,
                    **limits,
                    cluster=cluster,
                    save=save,
                    save_float=save_float,
                    watcher=watcher,
                )
        except StoppedError as stopped:
            _tell_so_far(watcher, format, stopped, store)
            raise
        finally:
            if not quiet and not was_there and store.parent.is_dir():
                _say(f"The folder {store.parent} was made for the store {store}.")
        print(result.table(format))
        if not quiet:
            for line in [*result.remarks(), *watcher.doubts()]:
                _say(line)
            if result.failures:
                which = "" if store == DEFAULT_STORE else f" --store {shlex.quote(str(store))}"
                _say(f"What failed is told by `bench why{which}`.")
    if result.failures or result.plan.broken:
        raise typer.Exit(1)


def _debug(methods: str, task: str, datasets: str, words: dict[str, Any], format: str) -> None:
    from bench.report.progress import watch

    with keeping("Nothing is kept."), watch(verbose=True) as watcher:
        result = api.debug(methods, task, datasets, **words, watcher=watcher)
    print(result.table(format))
    for line in result.remarks():
        _say(line)
    _say("--debug: nothing was timed, and nothing is kept in a store.")
    if result.failures or result.plan.broken:
        raise typer.Exit(1)


def _say(line: str) -> None:
    """On the error stream, for the table may be piped into a paper."""
    print(terminal(line), file=sys.stderr, flush=True)


def _tell_so_far(watcher: Progress, format: str, stopped: StoppedError, store: Path) -> None:
    """What is kept; for Ctrl-C, which a person has pressed, its table too."""
    if not watcher.n_cells:  # it had not begun to measure, or was over
        return
    kept = f"{len(watcher.so_far)} of {watcher.n_cells} cells are kept in {store}"
    stopped.kept = f"{kept}; the same command goes on from there."
    if watcher.so_far and stopped.number == signal.SIGINT:
        from bench.records.record import frame_of
        from bench.report.table import render

        print(render(frame_of(watcher.so_far), format))
