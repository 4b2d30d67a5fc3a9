"""`bench compare`, `bench reference` and `bench papers`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from bench import api
from bench.cli.options import DEFAULT_STORE, REFERENCE_STORE, SelectOption, StoresOption, app, print_rows
from bench.cli.signals import keeping
from bench.errors import RequestError
from bench.escape import terminal
from bench.report.counting import counting

__all__ = ["compare", "papers", "reference"]


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
    with counting():
        report = api.compare(
            store,
            paper=paper,
            reference=reference,
            significance=significance,
            protocol=protocol,
            tolerance=tolerance,
            time_band=time_band,
            at_least=at_least,
            everything=all,
            select=select,
        )
    print(report)
    raise typer.Exit(int(not report.ok))


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
    from bench.report.progress import watch

    if write:
        print(api.write_reference(store))
        return
    if len(store) > 1:
        raise RequestError(f"--store: {len(store)} files; what is measured goes into one.")
    failed = False
    chosen = only.split(",") if only else ()
    with keeping("What was measured is kept; the same command goes on from there."), watch() as watcher:
        for result in api.reference(
            store=store[0], quick=quick, only=chosen, plan=plan, force=force, jobs=jobs, watcher=watcher
        ):
            names, sets = (dict.fromkeys(getattr(r, of) for r in result.records) for of in ("restorer", "dataset"))
            what = f"{','.join(names)} on {','.join(sets)}"
            print(f"{terminal(what)}: {len(result.records)} cells, {result.n_measured} measured")
            lines = [f"skipped: {skip.spec.name} on {skip.dataset}: {skip.reason}" for skip in result.plan.skips]
            lines += [f"failed: {r.restorer}, {r.dataset}/{r.image}: {r.reason}" for r in result.failures]
            for line in lines:
                print(terminal(line), file=sys.stderr)
            failed = failed or bool(result.failures or result.plan.broken)
    raise typer.Exit(int(failed))


@app.command()
def papers(
    audit: Annotated[bool, typer.Option("--audit", help="List what the papers contradict each other on.")] = False,
) -> None:
    """List the papers whose tables are here, or audit them for conflicts and misprints."""
    from bench.judge.papers import load, names

    if audit:
        print("\n".join(api.audit()))
    else:
        known = [load(name) for name in names()]
        print_rows(["paper", "title", "entries"], [[p.name, p.title, len(p.entries)] for p in known])
