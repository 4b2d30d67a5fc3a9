"""`bench …`: turns words into a plan and prints. Thin on purpose; a notebook does the same with `bench.run`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.errors import BenchError, RequestError

if TYPE_CHECKING:
    from bench.plan import Plan
    from bench.runner import Outcome, Standing
    from bench.store import Store

__all__ = ["app", "main"]

SETTINGS: dict[str, Any] = {"rich_markup_mode": None, "no_args_is_help": True, "add_completion": False}
# Plain help: importing rich for it would double the time to the first line.

app = typer.Typer(**SETTINGS, pretty_exceptions_enable=False, help="Measure image restorers, comparably.")
data_app = typer.Typer(**SETTINGS, help="List, fetch and verify data sets.")
weights_app = typer.Typer(**SETTINGS, help="List, fetch and verify weights, and say which to train further.")
app.add_typer(data_app, name="data")
app.add_typer(weights_app, name="weights")

DEFAULT_STORE = Path("results/bench.sqlite")
REFERENCE_STORE = Path("results/reference.sqlite")

StoreOption = Annotated[
    Path, typer.Option("--store", help="File that holds the records (to read: also a CSV file).", metavar="FILE")
]
SelectOption = Annotated[str | None, typer.Option(help="Only records where this holds, e.g. \"dataset == 'set12'\".")]
StoresOption = Annotated[
    list[Path],
    typer.Option(
        "--store",
        help="File that holds the records (to read: also a CSV file); several times: what all hold.",
        metavar="FILE",
    ),
]
FormatOption = Annotated[str, typer.Option("--format", help="text, markdown, latex, csv or html.")]


def main(words: list[str] | None = None) -> None:
    """Entry point: expected failures become one line and exit status 2.

    words  the command line without the program's name; None: this process's own
    """
    try:
        app(words, prog_name="bench")
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("bench: interrupted. What was measured is kept; the same command goes on from there.", file=sys.stderr)
        sys.exit(130)


# --- measuring ---------------------------------------------------------------------------------------


@app.command()
def run(
    methods: Annotated[str, typer.Option(help="Restorers, e.g. bm3d,dncnn:bf16,./my.py:Mine (see: bench list).")],
    task: Annotated[
        str, typer.Option(help="Tasks: denoise, denoise-blind, deblock, demosaick, superres.")
    ] = "denoise",
    datasets: Annotated[str, typer.Option(help="Data sets, or folders of images, e.g. set12,./photos.")] = "sample",
    sigma: Annotated[str | None, typer.Option(help="Noise levels on the 0-255 scale, e.g. 15,25,50.")] = None,
    quality: Annotated[str | None, typer.Option(help="JPEG quality factors, e.g. 10,20,30,40.")] = None,
    scale: Annotated[str | None, typer.Option(help="Super-resolution factors, e.g. 2,3,4.")] = None,
    pattern: Annotated[str | None, typer.Option(help="Bayer patterns, e.g. RGGB.")] = None,
    protocol: Annotated[str, typer.Option(help="standard-v1, groupsc-v1, kair-v1 or dncnn-v1.")] = "standard-v1",
    repeats: Annotated[int, typer.Option(help="Noise realisations per image.")] = 1,
    store: StoreOption = DEFAULT_STORE,
    force: Annotated[bool, typer.Option("--force", help="Measure again what the store holds.")] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Measure again what failed.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and measure nothing.")] = False,
    jobs: Annotated[int, typer.Option(help="Cells side by side; more than 1 takes no times.")] = 1,
    threads: Annotated[int | None, typer.Option(help="Threads per restorer (default: share of the cores).")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:N or mps.")] = "cpu",
    readings: Annotated[
        int | None, typer.Option(help="Timed calls per cell (default: 3, or as many as fit 1 s).")
    ] = None,
    time_limit: Annotated[float, typer.Option(help="Seconds that a cell may take.")] = 600,
    memory_limit: Annotated[float | None, typer.Option(help="MiB that a restorer may hold.")] = None,
    format: FormatOption = "text",
) -> None:
    """Measure restorers and print the table. What the store holds already is not measured again.

    Exit status: 0, or 1 if a cell failed, or 2 if the request will not do.
    """
    from bench.plan import make_plan
    from bench.report.table import check_format
    from bench.request import make_request
    from bench.runner import look_up
    from bench.runner import run as run_plan
    from bench.store import Store
    from bench.workers import Limits

    check_format(format)
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
    plan = make_plan(request, fetch_weights=not dry_run)
    with Store(store) as records:
        if dry_run:
            _print_plan(plan, look_up(plan, records, force=force, retry_failed=retry_failed), records)
            return
        with _progress() as progress:
            outcome = run_plan(
                plan,
                records,
                force=force,
                retry_failed=retry_failed,
                jobs=jobs,
                limits=limits,
                progress=progress,
            )
    print(outcome.table(format))
    _print_remarks(outcome)
    if outcome.failures or plan.broken:
        raise typer.Exit(1)


def _progress() -> Any:
    from bench.report.progress import run_progress

    return run_progress()


def _print_remarks(outcome: Outcome) -> None:
    """What a reader of the table should know, on the error stream: the table itself may be piped into a paper."""
    for dataset, image, reason in outcome.plan.broken:
        print(f"not measured: {dataset}/{image}: {reason}", file=sys.stderr)
    for note in outcome.plan.notes:
        print(f"note: {note}", file=sys.stderr)
    for note in _input_note(outcome):
        print(f"warning: {note}", file=sys.stderr)
    known = len(outcome.records) - outcome.n_measured
    if known:
        print(
            f"{known} of {len(outcome.records)} cells were in the store already (--force measures again).",
            file=sys.stderr,
        )
    if any(record.reason for record in outcome.records if record.status == "failed") and known:
        print("Failures are not tried again unless asked for with --retry-failed.", file=sys.stderr)


def _input_note(outcome: Outcome) -> list[str]:
    """A line if restorers were shown other pixels than on other machines."""
    from bench.fingerprints import differing

    other = differing(outcome.records)
    if not other:
        return []
    first = other[0]
    return [
        f"{len(other)} degraded images differ from data/fingerprints.toml, {first.dataset}/{first.image} among them:"
        " these figures are not comparable to other machines' in the last digits."
    ]


def _print_plan(plan: Plan, standing: Standing, records: Store) -> None:
    from bench.runner import estimate_seconds

    missing = set(standing.missing)
    groups: dict[tuple[str, str, str], list[int]] = {}
    for cell in plan.cells:
        counts = groups.setdefault((cell.choice.name, str(cell.setting), cell.dataset.name), [0, 0])
        counts[0] += 1
        counts[1] += cell not in missing
    rows = [[*group, *counts] for group, counts in groups.items()]
    _print_rows(["restorer", "setting", "data set", "cells", "in the store"], rows)
    for skip in plan.skips:
        print(f"skipped: {skip.choice.name} on {skip.dataset}: {skip.reason}")
    for dataset, image, reason in plan.broken:
        print(f"broken: {dataset}/{image}: {reason}")
    seconds, n_unknown = estimate_seconds(standing.missing, records)
    doubt = f", and {n_unknown} cells of which no timing is known yet" if n_unknown else ""
    print(
        f"\n{len(standing.missing)} of {len(plan.cells)} cells to measure: about {seconds:.0f} s of restoring{doubt}."
    )


@app.command("list")
def list_(
    what: Annotated[str, typer.Argument(help="restorers, tasks, protocols, datasets, or all.")] = "all",
) -> None:
    """List restorers (with the terms that bind a user), tasks, protocols and data sets."""
    from bench.report.listing import LISTINGS, listing

    if what not in ("all", *LISTINGS):
        from bench.errors import unknown

        raise RequestError(unknown("listing", what, LISTINGS))
    print("\n\n".join(listing(name) for name in (LISTINGS if what == "all" else [what])))


@app.command()
def table(
    store: StoreOption = DEFAULT_STORE,
    format: FormatOption = "text",
    select: SelectOption = None,
    significance: Annotated[
        bool, typer.Option("--significance", help="Letters behind the figures: who may be called equal.")
    ] = False,
) -> None:
    """Print the records of a store as tables."""
    from bench.report.table import render

    print(render(_frame([store], select), format, significance=significance))


@app.command()
def export(
    store: StoreOption = DEFAULT_STORE,
    format: Annotated[str, typer.Option(help="csv, jsonl or parquet.")] = "csv",
    output: Annotated[Path | None, typer.Option(help="File to write (default: standard output).")] = None,
    select: SelectOption = None,
) -> None:
    """Write records, one row each, with all their columns."""
    from bench.report.export import write

    write(_frame([store], select), format, output)


def _frame(stores: Sequence[Path], select: str | None) -> Any:
    import pandas as pd

    frame = pd.concat([_records(store) for store in stores], ignore_index=True)
    if select is None:
        return frame
    try:
        return frame.query(select)
    except Exception as error:  # pandas raises nearly anything for an expression that it cannot read
        expected = "expected a condition on a record's columns, e.g. \"dataset == 'set12' and level == 25\""
        raise RequestError(f"--select {select}: {error}; {expected}.") from None


def _records(store: Path) -> Any:
    from bench.errors import StoreError
    from bench.reference import read_records
    from bench.store import Store, frame_of

    if not store.exists():
        raise StoreError(f"There is no store {store}. `bench run` makes one; --store FILE names another.")
    if store.suffix == ".csv":
        return read_records(store)
    with Store(store) as records:
        return frame_of(records.records())


# --- against the papers ---------------------------------------------------------------------------------


@app.command()
def compare(
    paper: Annotated[str | None, typer.Option(help="A paper (see: bench papers), or all.")] = None,
    reference: Annotated[
        bool, typer.Option("--reference", help="Hold the records against the committed reference run.")
    ] = False,
    significance: Annotated[
        bool, typer.Option("--significance", help="Hold the restorers against each other, paired by image.")
    ] = False,
    store: StoresOption = [DEFAULT_STORE],  # noqa: B006  as typer wants it
    protocol: Annotated[
        str | None, typer.Option(help="Which records to hold against a paper, instead of those its tables name.")
    ] = None,
    tolerance: Annotated[
        float | None, typer.Option(help="In dB, for every PSNR, instead of the papers' files'.")
    ] = None,
    time_band: Annotated[
        float | None, typer.Option(help="Slowness against the reference, beside the others, that counts as failure.")
    ] = None,
    at_least: Annotated[int, typer.Option(help="Fewer figures or cells compared than this count as failure.")] = 1,
    all: Annotated[bool, typer.Option("--all", help="Also list what was not measured, and why.")] = False,
    select: SelectOption = None,
) -> None:
    """Hold records against a paper's figures, the reference run, or each other.

    Exit status: 1 if a figure is off without a known cause and was not so in the reference run, if something is not
    as in the reference, or if fewer than --at-least could be compared.
    """
    from bench.report.comparing import against_each_other, against_papers, against_reference

    if sum((paper is not None, reference, significance)) != 1:
        raise RequestError("compare takes one of --paper NAME, --reference and --significance.")
    records = _frame(store, select)
    if significance:
        print(against_each_other(records))
        return
    if reference:
        text, ok = against_reference(records, time_band=time_band, at_least=at_least)
    else:
        assert paper is not None
        text, ok = against_papers(
            paper, records, protocol=protocol, tolerance=tolerance, at_least=at_least, everything=all
        )
    print(text)
    raise typer.Exit(int(not ok))


@app.command()
def reference(
    quick: Annotated[bool, typer.Option("--quick", help="Only what CI measures.")] = False,
    only: Annotated[str | None, typer.Option(help="Only these restorers of the plan, e.g. sc,groupsc.")] = None,
    store: StoresOption = [REFERENCE_STORE],  # noqa: B006
    force: Annotated[bool, typer.Option("--force", help="Measure again what the store holds.")] = False,
    jobs: Annotated[int, typer.Option(help="Cells side by side; more than 1 takes no times.")] = 1,
    plan: Annotated[Path | None, typer.Option(help="Another plan (default: results/reference/plan.toml).")] = None,
    write: Annotated[
        bool, typer.Option("--write", help="Take what the store holds into the reference; measure nothing.")
    ] = False,
) -> None:
    """Measure what the reference run consists of. `bench compare --reference` holds it against the committed one."""
    from bench.plan import make_plan
    from bench.reference import folder, read_plan
    from bench.report.comparing import write_reference
    from bench.request import make_request
    from bench.runner import run as run_plan
    from bench.store import Store

    if write:
        print(write_reference(_frame(store, None)))
        return
    if len(store) > 1:
        raise RequestError(f"--store: {len(store)} files; what is measured goes into one.")
    failed = False
    chosen = only.split(",") if only else ()
    for words in read_plan(plan or folder() / "plan.toml", quick=quick, only=chosen):
        made = make_plan(make_request(**words, jobs=jobs))
        with Store(store[0]) as records, _progress() as progress:
            outcome = run_plan(made, records, jobs=jobs, progress=progress)
        print(
            f"{words['methods']} on {words['datasets']}: {len(outcome.records)} cells, {outcome.n_measured} measured"
        )
        for skip in made.skips:
            print(f"skipped: {skip.choice.name} on {skip.dataset}: {skip.reason}", file=sys.stderr)
        for record in outcome.failures:
            print(f"failed: {record.restorer}, {record.dataset}/{record.image}: {record.reason}", file=sys.stderr)
        failed = failed or bool(outcome.failures or made.broken)
    raise typer.Exit(int(failed))


@app.command()
def papers(
    audit: Annotated[bool, typer.Option("--audit", help="List what the papers contradict each other on.")] = False,
) -> None:
    """List the papers whose tables are here, or audit them for conflicts and misprints."""
    from bench.audit import audit as find_conflicts
    from bench.papers import load, names

    known = [load(name) for name in names()]
    if audit:
        for conflict in find_conflicts(known):
            print(conflict)
    else:
        _print_rows(["paper", "title", "entries"], [[p.name, p.title, len(p.entries)] for p in known])


# --- training ------------------------------------------------------------------------------------------------


@app.command()
def train(
    name: Annotated[str, typer.Argument(help="A learned restorer, e.g. sc, groupsc, ./my.py:Net.")],
    sigma: Annotated[str | None, typer.Option(help="The noise level to train for, on the 0-255 scale.")] = None,
    quality: Annotated[str | None, typer.Option(help="The JPEG quality factor to train for.")] = None,
    scale: Annotated[str | None, typer.Option(help="The super-resolution factor to train for.")] = None,
    pattern: Annotated[str | None, typer.Option(help="The Bayer pattern to train for.")] = None,
    recipe: Annotated[str | None, typer.Option(help="Table of the recipe file (default: its first).")] = None,
    minutes: Annotated[float | None, typer.Option(help="Budget; the schedule is stretched to it.")] = None,
    steps: Annotated[int | None, typer.Option(help="Steps, instead of the recipe's.")] = None,
    start: Annotated[Path | None, typer.Option(help="Weights (.safetensors) to start from.")] = None,
    folder: Annotated[Path | None, typer.Option(help="Where to (default: training/NAME-LEVEL).")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:N or mps.")] = "cpu",
) -> None:
    """Train a restorer by its recipe. Killed, the same command goes on from the last checkpoint.

    The folder holds checkpoint.pt, log.csv, curves.svg, and the best weights so far: weights.safetensors, with
    their card in weights.json.
    """
    from bench.training.session import train as run_training

    levels = {"sigma": sigma, "quality": quality, "scale": scale, "pattern": pattern}
    run_training(name, levels, recipe=recipe, minutes=minutes, steps=steps, start=start, folder=folder, device=device)


# --- plugins, data, weights, machine ----------------------------------------------------------------------


@app.command()
def check(name: Annotated[str, typer.Argument(help="A restorer, e.g. dncnn or ./my.py:Mine.")]) -> None:
    """Try a restorer against the contract: shapes, dtype, odd sizes, determinism, input left untouched."""
    from bench.contract import check as check_restorer
    from bench.registry import choose

    n_broken = 0
    for finding in check_restorer(choose(name)):
        print(
            f"{'ok    ' if finding.ok else 'BROKEN'}  {finding.what}"
            + (f": {finding.detail}" if finding.detail else "")
        )
        n_broken += not finding.ok
    if n_broken:
        raise typer.Exit(1)


@app.command()
def doctor() -> None:
    """Say what this machine can do: versions, cores, GPU, restorers that lack a package, cache and mirror."""
    from bench.report.listing import doctor as examine

    print(examine())


@data_app.command("list")
def data_list() -> None:
    """List the data sets, with their terms."""
    from bench.report.listing import listing

    print(listing("datasets"))


@data_app.command("fetch")
def data_fetch(names: Annotated[list[str], typer.Argument(help="Data sets.")]) -> None:
    """Download data sets (or copy them from BENCH_MIRROR), verified."""
    from bench.data.datasets import fetch_all, get

    datasets = [get(name) for name in names]
    with _progress() as progress:
        for dataset in datasets:
            fetch_all(dataset, partial(progress.fetching, dataset.name))


@data_app.command("verify")
def data_verify(names: Annotated[list[str] | None, typer.Argument(help="Data sets (default: all).")] = None) -> None:
    """Check the cached files of data sets against their checksums."""
    from bench.data.datasets import get, verify
    from bench.data.datasets import names as all_names

    rows = []
    for name in names or all_names():
        states = list(verify(get(name)).values())
        rows.append([name, *(states.count(state) for state in ("ok", "missing", "damaged"))])
    _print_rows(["data set", "ok", "missing", "damaged"], rows)
    if any(row[3] for row in rows):
        raise typer.Exit(1)


@weights_app.command("list")
def weights_list() -> None:
    """List the declared weights."""
    from bench.report.listing import listing

    print(listing("weights"))


@weights_app.command("fetch")
def weights_fetch(
    names: Annotated[list[str], typer.Argument(help="Restorers, or single weights: dncnn, dncnn.gray-25.")],
) -> None:
    """Download weights (or copy them from BENCH_MIRROR), verified."""
    from bench.weights import fetch, named

    for declaration in named(names):
        print(f"{declaration.restorer}.{declaration.tag}: {fetch(declaration).path}")


@weights_app.command("verify")
def weights_verify() -> None:
    """Check the weights that are here against their checksums."""
    from bench.weights import all_declarations, state

    rows = [[f"{d.restorer}.{d.tag}", d.label, state(d)] for d in all_declarations()]
    _print_rows(["weights", "file", "state"], rows)
    if any(row[2] == "damaged" for row in rows):
        raise typer.Exit(1)


@weights_app.command("wanted")
def weights_wanted(
    markdown: Annotated[
        bool, typer.Option("--markdown", help="As the page methods/weights/WANTED.md, with the commands.")
    ] = False,
) -> None:
    """List the weights that deserve more training, the most wanted first."""
    from bench.training.queue import page, wanted

    entries = wanted()
    if markdown:
        print(page(entries), end="")
        return
    rows = []
    for number, entry in enumerate(entries, 1):
        levels = ", ".join(f"{name} {level}" for name, level in entry.levels.items())
        rows.append([number, entry.restorer, levels, entry.recipe, entry.why, entry.goal])
    _print_rows(["", "restorer", "levels", "recipe", "where it stands", "goal"], rows)


def _print_rows(headers: list[str], rows: list[Any]) -> None:
    from tabulate import tabulate

    print(tabulate(rows, headers, disable_numparse=True))
