"""The Python API: one function for each thing that `bench` does. The command line parses, calls these, and prints.

Importing it imports neither torch nor any restorer; each function imports what it needs.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.arguments import check_words, named
from bench.errors import RequestError, unknown

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

    from bench.plugins.registry import RestorerSpec
    from bench.records.merging import Merged
    from bench.records.repair import Checked
    from bench.records.store import Store
    from bench.report.comparing import Report
    from bench.report.page.writing import Written
    from bench.report.result import RunResult
    from bench.restoring.photos import Done, PhotoWatcher
    from bench.runner.contract import Finding
    from bench.runner.executors.cluster import Cluster
    from bench.runner.request import Levels, Methods, Words
    from bench.runner.run import Watcher
    from bench.training.ablation import Ablation
    from bench.training.ablation_runs import Run, Trained

__all__ = [
    "ablate",
    "ablation",
    "audit",
    "check",
    "check_store",
    "cite",
    "compare",
    "debug",
    "doctor",
    "export",
    "info",
    "listing",
    "merge",
    "page",
    "plot",
    "plot_crops",
    "plot_maps",
    "preview",
    "read",
    "reference",
    "repair_store",
    "restore",
    "restore_files",
    "run",
    "table",
    "train",
    "why",
    "wrap",
    "write_reference",
]

Stores = str | Path | Sequence[str | Path]

STORE = "results/bench.sqlite"
REFERENCE_STORE = "results/reference.sqlite"


# --- measuring -----------------------------------------------------------------------------------------


@named
def run(
    methods: Methods,
    task: Words = "denoise",
    datasets: Words = "sample",
    *,
    sigma: Levels = None,
    quality: Levels = None,
    scale: Levels = None,
    pattern: Levels = None,
    level: Levels = None,
    metrics: Words = (),
    images: str = "",
    subset: str = "",
    limit: int | None = None,
    recursive: bool = False,
    shard: str = "",
    protocol: str = "standard-v1",
    repeats: int = 1,
    store: str | Path = STORE,
    force: bool = False,
    retry_failed: bool = False,
    jobs: int = 1,
    cluster: str = "",
    device: str = "cpu",
    threads: int | None = None,
    readings: int | None = None,
    time_limit: float = 600,
    memory_limit: float | None = None,
    save: str | Path | None = None,
    save_float: bool = False,
    progress: bool | None = None,
    watcher: Watcher | None = None,
) -> RunResult:
    """Measure restorers, as `bench run` does, and return the records.

    methods    comma-separated names, or a list of names and of things: classes of restorers and instances of them,
               functions `f(image, sigma)` or `f(seen)`, what `bench.wrap` gave. Each runs in a process of its own
    task, datasets  comma-separated text or lists; datasets may be folders of images
    sigma, quality, scale, pattern  the levels of the tasks they belong to; left out: each task's usual ones
    level      the same for a task of any kind, e.g. a peak; (0.01, 0.0004) in a list for one level of two values
    metrics    to be measured beside PSNR and SSIM, e.g. "gmsd,vif" or "./my.py:sharpness"
    images, subset, limit  which pictures of each data set: names that fit, "every-10th", the first of them
    recursive  whether a folder's folders are searched
    shard      "3/8": of all cells the third of eight parts, which take equally long; see `merge`
    repeats    noise realisations per image
    store      where records are kept; cells already there are not measured again unless `force`
    jobs       cells measured side by side; more than one measures quality only, no times
    cluster    of Dask, which measures instead of this machine: the address of its scheduler, the scheduler's file, or
               "local:4"; takes no times unless `readings` are asked for
    device     cpu, cuda, cuda:N or mps
    threads    each restorer may use (default: all cores, shared by the jobs)
    readings   timed calls per cell after the warm-up (default: three, fewer when they take over a second)
    time_limit, memory_limit  per cell, in seconds and MiB of resident memory
    save       a folder for the pictures that are restored, as PNG of 8 bits: see bench.records.pictures. A cell that
               the store knows is not restored for it, unless `force`
    save_float also as .npy, float32
    progress   whether a bar is shown; None: in a terminal or a notebook
    watcher    is told how the run goes, instead of the bar

    Raises bench.errors.BenchError for anything in the request that will not do.
    """
    from bench.measure.machine import Machine
    from bench.records.exported import hold_to_store_name
    from bench.records.pictures import Pictures
    from bench.records.store import Store
    from bench.report.notebook import watch_in_python
    from bench.report.result import RunResult
    from bench.runner.plan import make_plan
    from bench.runner.request import make_request
    from bench.runner.run import run as run_plan
    from bench.runner.worker import Limits

    request = make_request(
        methods,
        task,
        datasets,
        levels={"sigma": sigma, "quality": quality, "scale": scale, "pattern": pattern, "level": level},
        protocol=protocol,
        repeats=repeats,
        device=device,
        threads=threads,
        jobs=jobs,
        readings=readings,
        metrics=metrics,
        images=images,
        subset=subset,
        limit=limit,
        recursive=recursive,
        shard=shard,
        machines=[Machine(device, threads or 1, "", "{}")] if cluster else [],
    )
    if save_float and save is None:
        raise RequestError("--save-float goes with --save DIR, which says where to.")
    hold_to_store_name(Path(store), "--store")
    limits = Limits(time_limit, memory_limit)
    pictures = None if save is None else Pictures(Path(save), as_float=save_float)
    watching = nullcontext(watcher) if watcher is not None else watch_in_python(progress)

    def slots(told: Watcher) -> AbstractContextManager[Cluster | None]:
        if not cluster:
            return nullcontext()
        from bench.runner.executors.cluster import Cluster

        timed = request.timed
        return Cluster(cluster, device, threads, timed=timed, memory_mib=memory_limit, told=told.told)

    with watching as told, slots(told) as executor:
        if executor is not None:
            request = replace(request, machines=executor.machines)
        plan = make_plan(request)
        with Store(Path(store)) as records:
            if records.remark:
                plan.note(records.remark)
            measured = run_plan(
                plan,
                records,
                force=force,
                retry_failed=retry_failed,
                jobs=jobs,
                limits=limits,
                pictures=pictures,
                watcher=told,
                executor=executor,
            )
    return RunResult(plan, *measured, saved_in=None if save is None else Path(save))


@named
def preview(
    methods: Methods,
    task: Words = "denoise",
    datasets: Words = "sample",
    *,
    store: str | Path = STORE,
    force: bool = False,
    retry_failed: bool = False,
    **words: Any,
) -> str:
    """What `run` would do with the same words, and how long it would take; measures and fetches nothing.

    Restorers of which the store has no times are tried on a small picture, half a minute in all.

    words  sigma, quality, scale, pattern, level, metrics, images, subset, limit, recursive, shard, protocol, repeats,
           device, threads, jobs, readings, as for `run`
    """
    from bench.level import LEVEL_OPTIONS
    from bench.report.preview import preview as tell
    from bench.runner.plan import make_plan
    from bench.runner.request import make_request
    from bench.runner.run import look_up

    levels = {kind: words.pop(kind, None) for kind in (*LEVEL_OPTIONS, "level")}
    check_words("preview", words, make_request)
    plan = make_plan(make_request(methods, task, datasets, levels=levels, **words), fetch_weights=False)
    with _as_it_is(Path(store)) as records:
        return tell(plan, look_up(plan, records, force=force, retry_failed=retry_failed), records)


@contextmanager
def _as_it_is(path: Path) -> Iterator[Store]:
    """A store to be read; if there is none, one without records that is none of the user's."""
    from bench.records.store import Store

    if path.exists():
        with Store(path, reading=True) as records:
            yield records
        return
    with tempfile.TemporaryDirectory(prefix="bench-store-") as folder, Store(Path(folder) / "empty") as records:
        yield records


@named
def debug(
    methods: Methods,
    task: Words = "denoise",
    datasets: Words = "sample",
    *,
    watcher: Watcher | None = None,
    **words: Any,
) -> RunResult:
    """Measure as `run` does, in this process and up to the first failure; nothing is timed, limited or stored.

    Breakpoints in a restorer stop, what it prints is seen, and the traceback of a failure is printed in full.

    words  sigma, quality, scale, pattern, level, metrics, protocol, repeats, device, as for `run`
    """
    from bench.level import LEVEL_OPTIONS
    from bench.report.result import RunResult
    from bench.runner.debug import debug as run_here
    from bench.runner.plan import make_plan
    from bench.runner.request import make_request

    levels = {kind: words.pop(kind, None) for kind in (*LEVEL_OPTIONS, "level")}
    check_words("debug", words, make_request)
    plan = make_plan(make_request(methods, task, datasets, levels=levels, **words))
    records = run_here(plan, watcher)
    return RunResult(plan, records, len(records))


@named
def wrap(
    thing: object,
    name: str | None = None,
    *,
    tasks: str | Sequence[str] | None = None,
    variant: str = "",
    weights: str | Path = "",
    **parameters: Any,
) -> RestorerSpec:
    """A class, instance, function or network as a restorer for `run` and the others, with what it does not say.

    name       in records and tables; None: its own
    tasks      that it is for; None: those that it says, or that the arguments of the function tell
    variant, weights  as behind the colon and the @ of a name
    parameters keywords of the class or function. Of a network `range`, 1 or 255, of its values, which must be told;
               and if they differ from the usual sigma_channel, sigma_map, sigma_range, answers, order, residual,
               multiple, enlarged, repeat_gray, task and levels, as of a network in a file

    Raises RestorerError for what is none, and for parameters that it does not take, or lacks.
    """
    from bench.plugins.things import wrap as wrap_thing

    return wrap_thing(thing, name, tasks=tasks, variant=variant, weights=weights, **parameters)


@named
def check(method: object, *, debug: bool = False) -> Iterator[Finding]:
    """Try a restorer, a task or a metric against its contract: shapes, odd sizes, determinism, nothing changed.

    method  a restorer as for `run`; with a file of weights, `NAME@FILE`, the network is prepared with it too. Or a
            task or metric, by its name or place, e.g. "poisson" or "./poisson.py:Poisson"
    debug   have a restorer in this process: see `debug`
    """
    from bench.plugins.kinds import kind_of
    from bench.plugins.metrics import choose_metric
    from bench.plugins.tasks import choose_task
    from bench.plugins.things import spec_of
    from bench.runner.contract import check as check_restorer
    from bench.runner.trials import check_metric, check_task

    kind = kind_of(method) if isinstance(method, str) else "restorer"
    if debug:
        if kind != "restorer":
            raise RequestError(f"--debug is for restorers, and {method} is a {kind}.")
        from bench.runner.debug import HereWorker

        return check_restorer(spec_of(method), kind=HereWorker)
    if kind == "task":
        return check_task(choose_task(str(method)))
    if kind == "metric":
        return check_metric(choose_metric(str(method)))
    return check_restorer(spec_of(method))


# --- one's own pictures ------------------------------------------------------------------------------------


@named
def restore(
    image: ArrayLike,
    method: object,
    task: str = "denoise",
    *,
    sigma: float | str | None = None,
    quality: int | None = None,
    scale: int | None = None,
    pattern: str | None = None,
    tile: int | str | None = None,
    overlap: int = 32,
    device: str = "cpu",
    threads: int | None = None,
    time_limit: float | None = None,
    memory_limit: float | None = None,
) -> NDArray[np.float32]:
    """Restore one picture, or a stack of them: what `bench restore` does with files, with an array, left as it is.

    image    (H, W) or (H, W, C), C = 1 or 3: floats nominally in [0, 1], or uint8 or uint16, which are divided by
             their largest value; demosaick: the mosaic, (H, W). A stack is (N, H, W, C): each of its pictures is
             restored as it would be alone, but the restorer is made ready only once
    method   one as for `run`, e.g. "dncnn", "./my.py:Mine" or a function
    sigma    noise level on the 0-255 scale, or "auto" to have it estimated; not for denoise-blind
    quality, scale, pattern  the level of the other tasks; the pattern is RGGB if none is given
    tile     most rows and columns to restore at a time, for what does not fit the memory, or "auto": as many as fit;
             None: the whole picture; overlap: pixels around each tile that the restorer sees too
    time_limit, memory_limit  of the picture or each tile, in seconds and MiB of resident memory. None: as long as it
             takes, and four fifths of the memory that is free
    Answer   float32, as the restorer gave it, not clipped; (H, W) if the input was and it has one channel; of a stack
             (N, H, W, C)

    Raises bench.errors.BenchError for what will not do, and with the restorer's reason if it failed.
    """
    import numpy as np

    from bench.restoring.arrays import Restoring, as_pictures
    from bench.runner.worker import Limits

    pictures, dimensions = as_pictures(image)
    levels = {"sigma": sigma, "quality": quality, "scale": scale, "pattern": pattern}
    limits = Limits(inf if time_limit is None else time_limit, memory_limit)
    words: dict[str, Any] = {"tile": tile, "overlap": overlap, "device": device, "threads": threads, "limits": limits}
    with Restoring(method, task, levels, **words) as restoring:
        restored = np.stack([restoring.restore(picture).image for picture in pictures])
    if dimensions == 4:
        return restored
    return restored[0, ..., 0] if dimensions == 2 and restored.shape[3] == 1 else restored[0]


@named
def restore_files(
    files: Sequence[str | Path],
    output: str | Path,
    method: object,
    task: str = "denoise",
    *,
    tile: int | str | None = "auto",
    force: bool = False,
    watcher: PhotoWatcher | None = None,
    time_limit: float | None = None,
    memory_limit: float | None = None,
    **words: Any,
) -> Iterator[Done]:
    """Restore files, and the pictures of folders; what became of each, as soon as it is known.

    output   the file to write, PNG, TIFF or WebP; for several, a folder
    force    write over files that are there
    watcher  is told how it goes; None: nobody is
    words    sigma, quality, scale, pattern, overlap, device, threads, as for `restore`

    Raises bench.errors.BenchError, before anything is restored, for what will not do.
    """
    from bench.restoring.arrays import Restoring
    from bench.restoring.photos import errands, restore_all
    from bench.runner.worker import Limits

    to_do = errands(files, output)
    levels = {kind: words.pop(kind, None) for kind in ("sigma", "quality", "scale", "pattern")}
    check_words("restore_files", words, Restoring)
    limits = Limits(inf if time_limit is None else time_limit, memory_limit)
    restoring = Restoring(method, task, levels, tile=tile, **words, limits=limits)

    def done() -> Iterator[Done]:
        with restoring:
            yield from restore_all(restoring, to_do, force=force, watcher=watcher)

    return done()


# --- records ---------------------------------------------------------------------------------------------


@named
def read(store: Stores = STORE, select: str | None = None) -> pd.DataFrame:
    """The records of stores, or of files that `export` wrote; one row each, also two of one key.

    select  only those where this holds, e.g. "dataset == 'set12' and level == 25": see bench.records.select

    Raises StoreError for a file that is none of these or is damaged, RequestError for a condition that is none.
    """
    from bench.records.reading import reading

    with reading(_files(store), select) as records:
        return records.frame()


def _files(store: Stores) -> list[Path]:
    return [Path(file) for file in ([store] if isinstance(store, (str, Path)) else store)]


@named
def why(which: str | int = "", store: Stores = STORE) -> str:
    """What failed; or of a failure its reason, what the restorer printed, and its traceback.

    which  "" for a list of all; a number of that list; a restorer, an image, or `restorer/image`

    Raises RequestError if there is no such failure, StoreError as `read` does.
    """
    from bench.records.logs import Logs
    from bench.records.reading import reading
    from bench.report.failures import COLUMNS, asked_for, failures, listed, told

    with reading(_files(store)) as records:
        known = failures(records.by_task(COLUMNS))
    if which == "":
        return listed(known)
    logs = [Logs(file) for file in _files(store)]
    return "\n\n".join(told(failure, logs) for failure in asked_for(str(which), known))


@named
def table(
    store: Stores = STORE,
    format: str | None = None,
    output: str | Path | None = None,
    *,
    select: str | None = None,
    metrics: str | Sequence[str] = (),
    columns: str | Sequence[str] = (),
    rows: str | Sequence[str] = (),
    digits: str | Mapping[str, int] = "",
    mean: bool = False,
    significance: bool = False,
    caption: str | None = None,
    label: str | None = None,
    force: bool = False,
) -> str:
    """Records as tables, one per task and protocol.

    format   text, markdown, latex, csv or html; None: by the suffix of `output`, text without one
    output   also written to this file, whole or not at all; over one that is there only with `force`
    metrics  figures: "psnr/ssim" is one cell, "psnr,ssim" two columns; params, macs, seconds, device-seconds, memory
             and weights have a column of their own. None given: all there are
    columns  data sets, or one at a level as "set12:25", in order; rows: restorers, as tables call them, in order.
             Both may be given other names: "dncnn=DnCNN"
    digits   decimals by metric, e.g. {"ssim": 3} or "ssim=3"
    mean     at each level also the mean over the data sets
    significance  letters behind the figures: who may be called equal
    caption  plain text above the table; None: what was measured, in LaTeX also how, with whose weights and where
    label    what LaTeX and HTML call the table

    Raises bench.errors.BenchError for what the records do not have, and if the file cannot be written.
    """
    from bench.records.reading import reading
    from bench.report.drawing import check_format, format_of
    from bench.report.files import check_free, write
    from bench.report.layout import Layout
    from bench.report.table import COLUMNS, render

    file = None if output is None else Path(output)
    format = format_of(file) if format is None else format
    check_format(format)
    layout = Layout(metrics, columns, rows, digits, mean, significance, caption, label)
    if file is not None:
        check_free(file, force=force)
    with reading(_files(store), select) as records:
        text = render(records.by_task(COLUMNS), format, layout)
    if file is not None:
        write(text, file, force=force)
    return text


@named
def export(
    store: Stores = STORE, format: str = "csv", output: str | Path | None = None, *, select: str | None = None
) -> None:
    """Write records, one row each, as csv, jsonl or parquet, to a file or (not parquet) standard output.

    One more column, `current`, says which of them tables and comparisons are made of: see bench.records.current.
    """
    from bench.records.reading import reading
    from bench.report.export import counted, write

    with reading(_files(store), select) as records:
        write(counted(records), format, None if output is None else Path(output))


@named
def page(
    store: Stores = STORE,
    output: str | Path = "page.html",
    *,
    select: str | None = None,
    title: str | None = None,
    pictures: str | Path | None = None,
    max_mb: float = 25,
    own_responsibility: bool = False,
) -> Written:
    """Write records as one HTML file that needs no network: tables, plots, pictures, what is behind each figure.

    title     what stands above all (default: the stores' names)
    pictures  a folder that `run` has saved pictures in: see `bench.records.pictures`
    max_mb    MB (10^6 bytes) that the page may have: pictures that would exceed it are left out
    own_responsibility  embed pictures of data sets whose terms do not say that they may be passed on

    Raises RequestError if there is nothing to show, or more than 100,000 records, for pictures that will not do, and
    if the file cannot be written.
    """
    from bench.records.reading import reading
    from bench.report.page.contents import gathered
    from bench.report.page.writing import write

    with reading(_files(store), select) as records:
        frame = gathered(records.by_task())
    return write(
        frame,
        Path(output),
        stores=_files(store),
        title=title,
        pictures=None if pictures is None else Path(pictures),
        max_mb=max_mb,
        own_responsibility=own_responsibility,
    )


@named
def merge(stores: Stores, into: str | Path) -> Merged:
    """Add the records of stores, and of CSV, JSON lines and Parquet files that `export` wrote, to the store `into`.

    The store is made if it is not there. If an error is raised, nothing was added. Merging again changes nothing. Of
    two records of one key a good one stays before a failed one, else the one measured last; of two good ones whose
    figures differ, the first. The answer names these, and its `ok` is False then. See `bench.records.merging`.

    Raises StoreError that names the file for one that is damaged or holds no records, RequestError for an `into` that
    is no store's name.
    """
    from bench.records.merging import merge as merge_stores

    return merge_stores(_files(stores), Path(into))


@named
def check_store(store: str | Path = STORE) -> Checked:
    """Read all of a store: its records, and what is damaged if anything is. It is left as it is.

    Raises StoreError for a file that is no store, or cannot be read now.
    """
    from bench.records.repair import check

    return check(Path(store))


@named
def repair_store(store: str | Path = STORE) -> Checked:
    """Keep what is whole of a damaged store, and the damaged file beside it; a store that is whole is left as it is.

    A run measures again what is not whole. Raises StoreError for a file that is no store, or while a run is at work.
    """
    from bench.records.repair import repair

    return repair(Path(store))


@named
def plot(
    kind: str,
    output: str | Path,
    store: Stores = STORE,
    *,
    select: str | None = None,
    methods: Sequence[str] = (),
    width: float = 3.3,
    **options: Any,
) -> list[str]:
    """Draw a figure of records to a PDF, SVG or PNG file; what a reader should know beside it, a line each.

    kind     pareto, levels or images
    methods  restorers, as tables call them; none: all; images: two
    width    in inches: 3.3 is a column of most two-column papers
    options  pareto: against, one of seconds, device-seconds, params, macs, memory; levels: over, a restorer

    Raises bench.errors.BenchError where there is nothing to draw, or more than one thing.
    """
    from bench.report import plots, plots_of_records

    kinds = {"pareto": plots_of_records.pareto, "levels": plots_of_records.levels, "images": plots_of_records.images}
    if kind not in kinds:
        raise RequestError(unknown("figure", kind, kinds))
    check_words("plot", options, kinds[kind])
    plots.check_output(Path(output))
    records = read(store, select)
    with plots.our_look():
        figure, told = kinds[kind](records, methods=methods, width=width, **options)
        plots.save_figure(figure, Path(output))
    return told


@named
def plot_crops(
    output: str | Path,
    methods: Words,
    task: str = "denoise",
    dataset: str = "sample",
    *,
    image: str | None = None,
    crop: str | None = None,
    width: float | None = None,
    sigma: Levels = None,
    quality: Levels = None,
    scale: Levels = None,
    pattern: Levels = None,
    level: Levels = None,
    **words: Any,
) -> list[str]:
    """Restore one picture of a data set, and draw a crop of each answer with its errors; remarks as of `plot`.

    image  its name; None: the first
    crop   "x,y,width,height" in pixels; None: where the restorers differ most
    width  in inches; None: a column, or with more than three restorers a page
    words  protocol, device, threads, as for `run`
    """
    from bench.report import plots, plots_of_pictures
    from bench.restoring.looking import look_at

    plots.check_output(Path(output))
    place = plots_of_pictures.check_crop(crop)
    levels = {"sigma": sigma, "quality": quality, "scale": scale, "pattern": pattern, "level": level}
    check_words("plot_crops", words, look_at)
    look = look_at(methods, task, dataset, image, levels, **words)
    with plots.our_look():
        figure, told = plots_of_pictures.crops(look, place, width=width)
        plots.save_figure(figure, Path(output))
    return told


@named
def plot_maps(
    output: str | Path,
    method: str,
    task: str = "denoise",
    dataset: str = "sample",
    *,
    image: str | None = None,
    pixel: str | None = None,
    width: float | None = None,
    sigma: Levels = None,
    quality: Levels = None,
    scale: Levels = None,
    pattern: Levels = None,
    level: Levels = None,
    **words: Any,
) -> list[str]:
    """Draw what one restorer decides at each pixel of a picture (`Restorer.maps`); remarks as of `plot`.

    image  its name; None: the first
    pixel  "x,y" in the restored picture, of which there is a map where each has one of its own; None: the middle
    width  in inches; None: a column, or with more than three maps a page
    words  device, threads, as for `run`
    """
    from bench.report import plots, plots_of_pictures
    from bench.restoring.looking import maps_of

    plots.check_output(Path(output))
    place = plots_of_pictures.check_pixel(pixel)
    levels = {"sigma": sigma, "quality": quality, "scale": scale, "pattern": pattern, "level": level}
    check_words("plot_maps", words, maps_of)
    look = maps_of(method, task, dataset, image, levels, pixel=place, **words)
    with plots.our_look():
        figure, told = plots_of_pictures.maps(look, width=width)
        plots.save_figure(figure, Path(output))
    return told


# --- records held against others ---------------------------------------------------------------------------


@named
def compare(
    store: Stores = STORE,
    *,
    paper: str | None = None,
    reference: bool = False,
    significance: bool = False,
    protocol: str | None = None,
    tolerance: float | None = None,
    time_band: float | None = None,
    at_least: int = 1,
    everything: bool = False,
    select: str | None = None,
) -> Report:
    """Hold records against a paper's figures, the reference run, or each other: one of the first three.

    paper       its name, or "all"
    protocol    which records to hold against a paper, instead of those its tables name
    tolerance   in dB, for every PSNR, instead of the papers' files'
    time_band   slowness against the reference, beside the others, that counts as failure
    at_least    fewer figures or cells compared than this count as failure
    everything  also list what was not measured, and why
    """
    from bench.records.reading import reading
    from bench.report.comparing import COLUMNS, against_each_other, against_papers, against_reference

    if sum((paper is not None, reference, significance)) != 1:
        raise RequestError("compare takes one of --paper NAME, --reference and --significance.")
    with reading(_files(store), select) as stored:
        records = stored.by_task(COLUMNS)
        if significance:
            return against_each_other(records)
        if reference:
            return against_reference(records, time_band=time_band, at_least=at_least)
        assert paper is not None
        return against_papers(
            paper, records, protocol=protocol, tolerance=tolerance, at_least=at_least, everything=everything
        )


@named
def reference(
    *,
    store: str | Path = REFERENCE_STORE,
    quick: bool = False,
    only: Sequence[str] = (),
    plan: str | Path | None = None,
    force: bool = False,
    jobs: int = 1,
    watcher: Watcher | None = None,
) -> Iterator[RunResult]:
    """Measure what the reference run consists of, a result for each run of its plan, when it is done.

    quick  only what CI measures
    only   only these restorers
    plan   another plan than results/reference/plan.toml
    """
    from bench.judge.reference import folder, read_plan
    from bench.measure.environment import n_cores
    from bench.records.store import Store
    from bench.report.result import RunResult
    from bench.runner.plan import make_plan
    from bench.runner.request import make_request
    from bench.runner.run import run as run_plan

    for words in read_plan(Path(plan or folder() / "plan.toml"), quick=quick, only=only):
        at_once = jobs if words.pop("timed") else max(jobs, n_cores())
        made = make_plan(make_request(**words, jobs=at_once))
        with Store(Path(store)) as records:
            measured = run_plan(made, records, force=force, jobs=at_once, watcher=watcher)
        yield RunResult(made, *measured)


@named
def write_reference(store: Stores = REFERENCE_STORE) -> str:
    """Take the records of stores into the reference, and say what it holds; nothing is measured."""
    from bench.report.comparing import write_reference as write

    return write(read(store))


@named
def audit() -> list[str]:
    """What the papers whose tables are here contradict each other on."""
    from bench.judge.audit import audit as find_conflicts
    from bench.judge.papers import load, names

    return [str(conflict) for conflict in find_conflicts([load(name) for name in names()])]


# --- training, and what there is ---------------------------------------------------------------------------


@named
def train(name: str, **options: Any) -> Path:
    """Train a restorer by its recipe, or go on training; the folder of its weights.

    options  sigma, quality, scale, pattern or level, and those of bench.training.session.train
    """
    from bench.level import LEVEL_OPTIONS
    from bench.training.session import train as run_training

    levels = {kind: options.pop(kind, None) for kind in (*LEVEL_OPTIONS, "level")}
    check_words("train", options, run_training)
    return run_training(name, {kind: None if v is None else str(v) for kind, v in levels.items()}, **options)


@named
def ablate(
    file: str | Path,
    *,
    folder: str | Path | None = None,
    results: str | Path | None = None,
    device: str = "cpu",
    format: str = "text",
    dry_run: bool = False,
    watcher: Watcher | None = None,
) -> Report:
    """Train the variants of an ablation with each seed, measure their last weights, and hold them against the paper.

    What has been trained already, here or for the results that are kept, is not trained again: see
    bench.training.ablation for the file.

    folder   of the trainings and of the store of their records; None: training/ablations/ and the file's name
    results  the folder for `runs.json` and `records.csv`, which `ablation` reads; None: beside the file, by its name.
             They are written when all trainings have ended
    dry_run  tell what would be trained, and how long it would take; a few steps of each variant are tried
    Answer   the table, and whether all trainings gave a figure

    Raises bench.errors.BenchError for what will not do.
    """
    from bench.records.record import frame_of
    from bench.report.drawing import check_format
    from bench.report.export import write
    from bench.training.ablation import read_ablation
    from bench.training.ablation_runs import (
        WEIGHTS,
        joined,
        measured,
        pictures_of,
        results_of,
        runs_of,
        train_all,
        write_runs,
    )

    check_format(format)
    ablation, file = read_ablation(Path(file)), Path(file)
    pictures = pictures_of(ablation, device)
    to = Path("training") / "ablations" / file.stem if folder is None else Path(folder)
    kept = file.with_suffix("") if results is None else Path(results)
    runs = runs_of(ablation, to)
    known, before = results_of(runs, pictures, kept)
    if dry_run:
        return _ablation_ahead([run for run in runs if run not in known], len(runs), device)
    outcome = train_all(runs, known, device)
    new = {run: one for run, one in outcome.trained.items() if run not in known}
    files = {one.weights_sha256: f"{run.folder.name}/{WEIGHTS}" for run, one in new.items()}  # below `folder`
    frame = frame_of(measured(ablation, new, to / "records.sqlite", device, watcher))
    frame = frame.assign(current=True, weights_file=frame["weights_sha256"].map(files))
    frame = joined([before, frame], outcome.trained.values())
    if outcome.is_whole and new:
        write_runs(outcome.trained.values(), kept / "runs.json")
        write(frame, "csv", kept / "records.csv")
    without = {str(run): why for run, why in outcome.without.items()}
    return _ablation_report(ablation, [*outcome.trained.values()], frame, without, format)


def _ablation_report(
    ablation: Ablation, trained: Sequence[Trained], records: pd.DataFrame, without: Mapping[str, str], format: str
) -> Report:
    from bench.report.comparing import Report
    from bench.report.drawing import Table, draw
    from bench.training.ablation_table import HEADERS, cells, notes, rows_of, title

    rows = rows_of(ablation, trained, records)
    drawn = [cells(row, len(ablation.seeds)) for row in rows]
    told = [*notes(ablation, rows, without)]
    table = Table(title(ablation), HEADERS, drawn, notes=told, words=(0, len(HEADERS) - 1))
    return Report(draw(table, format), all(row.is_whole for row in rows))


def _ablation_ahead(runs: Sequence[Run], n_all: int, device: str) -> Report:
    from bench.report.comparing import Report
    from bench.report.drawing import draw, in_words
    from bench.training.ablation_runs import ended, estimated, short
    from bench.training.progress import duration

    seconds, rows = {}, []
    for run, rate, takes in estimated(runs, device):
        seconds[run.variant] = takes
        rows.append([run.variant.name, f"{run.steps:,}", short(run.macs), f"{rate:.3g}", duration(takes)])
    left = [run for run in runs if not ended(run)]
    headers = ["variant", "steps", "MACs", "steps/s", "a training"]
    told = f"{n_all} trainings, {n_all - len(left)} of which have ended; the others take about"
    told += f" {duration(sum(seconds[run.variant] for run in left))}, and measuring comes on top."
    return Report(f"{draw(in_words(headers, rows))}\n\n{told}", True)


@named
def ablation(file: str | Path, *, results: str | Path | None = None, format: str = "text") -> Report:
    """The table of an ablation whose results are there; nothing is trained or measured. See `ablate`."""
    from bench.records.files import read_records
    from bench.report.drawing import check_format
    from bench.training.ablation import read_ablation
    from bench.training.ablation_runs import outdated, read_runs

    check_format(format)
    kept = Path(file).with_suffix("") if results is None else Path(results)
    told, trained = read_ablation(Path(file)), read_runs(kept / "runs.json")
    others = outdated(told, trained)
    without = {f"{one.variant}, seed {one.seed}": why for one, why in others.items()}
    trained = [one for one in trained if one not in others]
    return _ablation_report(told, trained, read_records(kept / "records.csv"), without, format)


@named
def listing(what: str = "all") -> str:
    """What there is: restorers (with the terms that bind a user), tasks, protocols, datasets, weights, or all.

    `cached` lists the data sets and weights that are in the cache.
    """
    from bench.report.listing import CACHED, LISTINGS
    from bench.report.listing import listing as tell

    if what not in ("all", *LISTINGS, *CACHED):
        raise RequestError(unknown("listing", what, [*LISTINGS, *CACHED]))
    return "\n\n".join(tell(name) for name in (LISTINGS if what == "all" else [what]))


@named
def info(name: str) -> str:
    """All that is known of a restorer, data set, task, metric or protocol: its settings, weights, terms and paper.

    Raises BenchError with the nearest names if there is nothing of that name.
    """
    from bench.report.about import about

    return about(name)


@named
def cite(store: Stores = STORE, *, select: str | None = None) -> tuple[str, list[str]]:
    """BibTeX of all that the records of a store rest on; and of what in it we know no paper, a line each."""
    from bench.report.about import cited

    return cited(read(store, select))


@named
def doctor() -> str:
    """What this machine can do: versions, cores, devices, restorers that lack a package, cache and mirror."""
    from bench.report.listing import doctor as examine

    return examine()
