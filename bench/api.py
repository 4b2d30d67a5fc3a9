"""The Python API: one function for each thing that `bench` does. The command line parses, calls these, and prints.

Importing it imports neither torch nor any restorer; each function imports what it needs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import RequestError, StoreError, unknown

if TYPE_CHECKING:
    import pandas as pd

    from bench.report.comparing import Report
    from bench.report.result import RunResult
    from bench.runner.contract import Finding
    from bench.runner.request import Levels, Words
    from bench.runner.run import Watcher

__all__ = [
    "audit",
    "check",
    "compare",
    "doctor",
    "export",
    "listing",
    "preview",
    "read",
    "reference",
    "run",
    "table",
    "train",
    "write_reference",
]

Stores = str | Path | Sequence[str | Path]

STORE = "results/bench.sqlite"
REFERENCE_STORE = "results/reference.sqlite"


# --- measuring -----------------------------------------------------------------------------------------


def run(
    methods: Words,
    task: Words = "denoise",
    datasets: Words = "sample",
    *,
    sigma: Levels = None,
    quality: Levels = None,
    scale: Levels = None,
    pattern: Levels = None,
    protocol: str = "standard-v1",
    repeats: int = 1,
    store: str | Path = STORE,
    force: bool = False,
    retry_failed: bool = False,
    jobs: int = 1,
    device: str = "cpu",
    threads: int | None = None,
    readings: int | None = None,
    time_limit: float = 600,
    memory_limit: float | None = None,
    watcher: Watcher | None = None,
) -> RunResult:
    """Measure restorers, as `bench run` does, and return the records.

    methods, task, datasets  comma-separated text or lists; datasets may be folders of images
    sigma, quality, scale, pattern  the levels of the tasks they belong to; left out: each task's usual ones
    repeats    noise realisations per image
    store      where records are kept; cells already there are not measured again unless `force`
    jobs       cells measured side by side; more than one measures quality only, no times
    device     cpu, cuda, cuda:N or mps
    threads    each restorer may use (default: all cores, shared by the jobs)
    readings   timed calls per cell after the warm-up (default: three, fewer when they take over a second)
    time_limit, memory_limit  per cell, in seconds and MiB of resident memory
    watcher    is told how the run goes; None: nobody is

    Raises bench.errors.BenchError for anything in the request that will not do.
    """
    from bench.records.store import Store
    from bench.report.result import RunResult
    from bench.runner.plan import make_plan
    from bench.runner.request import make_request
    from bench.runner.run import run as run_plan
    from bench.runner.worker import Limits

    request = make_request(
        methods,
        task,
        datasets,
        levels={"sigma": sigma, "quality": quality, "scale": scale, "pattern": pattern},
        protocol=protocol,
        repeats=repeats,
        device=device,
        threads=threads,
        jobs=jobs,
        readings=readings,
    )
    limits = Limits(time_limit, memory_limit)
    plan = make_plan(request)
    with Store(Path(store)) as records:
        measured = run_plan(
            plan, records, force=force, retry_failed=retry_failed, jobs=jobs, limits=limits, watcher=watcher
        )
    return RunResult(plan, *measured)


def preview(
    methods: Words,
    task: Words = "denoise",
    datasets: Words = "sample",
    *,
    store: str | Path = STORE,
    force: bool = False,
    retry_failed: bool = False,
    **words: Any,
) -> str:
    """What `run` would do with the same words, and how long it would take; measures and fetches nothing.

    words  sigma, quality, scale, pattern, protocol, repeats, device, threads, jobs, readings, as for `run`
    """
    from bench.records.store import Store
    from bench.report.preview import preview as tell
    from bench.runner.plan import make_plan
    from bench.runner.request import make_request
    from bench.runner.run import look_up

    levels = {kind: words.pop(kind, None) for kind in ("sigma", "quality", "scale", "pattern")}
    plan = make_plan(make_request(methods, task, datasets, levels=levels, **words), fetch_weights=False)
    with Store(Path(store)) as records:
        return tell(plan, look_up(plan, records, force=force, retry_failed=retry_failed), records)


def check(name: str) -> Iterator[Finding]:
    """Try a restorer against the contract: shapes, dtype, odd sizes, determinism, input left untouched.

    name  as for `run`; with a file of weights, `NAME@FILE`, the network is prepared with it too
    """
    from bench.plugins.registry import choose
    from bench.runner.contract import check as check_restorer

    return check_restorer(choose(name))


# --- records ---------------------------------------------------------------------------------------------


def read(store: Stores = STORE, select: str | None = None) -> pd.DataFrame:
    """The records of stores, or of CSV files that `export` wrote; one row each.

    select  only those where this holds, e.g. "dataset == 'set12' and level == 25"
    """
    import pandas as pd

    files = [store] if isinstance(store, (str, Path)) else store
    frame = pd.concat([_read_one(Path(file)) for file in files], ignore_index=True)
    if select is None:
        return frame
    try:
        return frame.query(select)
    except Exception as error:  # pandas raises nearly anything for an expression that it cannot read
        expected = "expected a condition on a record's columns, e.g. \"dataset == 'set12' and level == 25\""
        raise RequestError(f"--select {select}: {error}; {expected}.") from None


def _read_one(store: Path) -> pd.DataFrame:
    from bench.records.files import read_records
    from bench.records.record import frame_of
    from bench.records.store import Store

    if not store.exists():
        raise StoreError(f"There is no store {store}. `bench run` makes one; --store FILE names another.")
    if store.suffix == ".csv":
        return read_records(store)
    with Store(store) as records:
        return frame_of(records.records())


def table(
    store: Stores = STORE, format: str = "text", *, select: str | None = None, significance: bool = False
) -> str:
    """Records as tables; format: text, markdown, latex, csv or html.

    significance  letters behind the figures: who may be called equal
    """
    from bench.report.table import render

    return render(read(store, select), format, significance=significance)


def export(
    store: Stores = STORE, format: str = "csv", output: str | Path | None = None, *, select: str | None = None
) -> None:
    """Write records, one row each, as csv, jsonl or parquet, to a file or (not parquet) standard output.

    One more column, `current`, says which of them tables and comparisons are made of: see bench.records.current.
    """
    from bench.records.current import current
    from bench.report.export import write

    records = read(store, select)
    is_current = records.index.isin(current(records, by_device=True).index)
    write(records.assign(current=is_current), format, None if output is None else Path(output))


# --- records held against others ---------------------------------------------------------------------------


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
    from bench.report.comparing import against_each_other, against_papers, against_reference

    if sum((paper is not None, reference, significance)) != 1:
        raise RequestError("compare takes one of --paper NAME, --reference and --significance.")
    records = read(store, select)
    if significance:
        return against_each_other(records)
    if reference:
        return against_reference(records, time_band=time_band, at_least=at_least)
    assert paper is not None
    return against_papers(
        paper, records, protocol=protocol, tolerance=tolerance, at_least=at_least, everything=everything
    )


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


def write_reference(store: Stores = REFERENCE_STORE) -> str:
    """Take the records of stores into the reference, and say what it holds; nothing is measured."""
    from bench.report.comparing import write_reference as write

    return write(read(store))


def audit() -> list[str]:
    """What the papers whose tables are here contradict each other on."""
    from bench.judge.audit import audit as find_conflicts
    from bench.judge.papers import load, names

    return [str(conflict) for conflict in find_conflicts([load(name) for name in names()])]


# --- training, and what there is ---------------------------------------------------------------------------


def train(name: str, **options: Any) -> Path:
    """Train a restorer by its recipe, or go on training; the folder of its weights.

    options  sigma, quality, scale or pattern, and those of bench.training.session.train
    """
    from bench.training.session import train as run_training

    levels = {kind: options.pop(kind, None) for kind in ("sigma", "quality", "scale", "pattern")}
    return run_training(name, {kind: None if v is None else str(v) for kind, v in levels.items()}, **options)


def listing(what: str = "all") -> str:
    """What there is: restorers (with the terms that bind a user), tasks, protocols, datasets, weights, or all."""
    from bench.report.listing import LISTINGS
    from bench.report.listing import listing as tell

    if what not in ("all", *LISTINGS):
        raise RequestError(unknown("listing", what, LISTINGS))
    return "\n\n".join(tell(name) for name in (LISTINGS if what == "all" else [what]))


def doctor() -> str:
    """What this machine can do: versions, cores, devices, restorers that lack a package, cache and mirror."""
    from bench.report.listing import doctor as examine

    return examine()
