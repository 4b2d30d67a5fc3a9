"""`.ci/gpu home DIR`: take in what a day brought back, its records into the reference, its better weights as ours.

What DIR holds came from another machine: its tars are unpacked aside, and it is left as it is.
"""

from __future__ import annotations

import shutil
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from bench.data import datasets
from day.shipped import RunResult, take_in
from tabulate import tabulate

from bench.errors import BenchError, TrainingError
from bench.judge.reference import read_reference
from bench.level import format_level
from bench.records.current import devices
from bench.records.record import frame_of
from bench.records.store import Store
from bench.report.comparing import write_reference
from bench.tasks import get_task
from bench.training.queue import Wanted, wanted

STORE = "results/reference.sqlite"
"""Where what is measured again is kept, as `bench reference` does."""


def home(root: Path, folder: Path) -> int:
    """Take what `folder` holds into the checkout `root`. The exit status: 1 if some of it could not be taken in."""
    stores, tars = sorted(folder.glob("records.sqlite*")), sorted(folder.glob("trained-*.tar"))
    if not (stores or tars):
        return fail([f"{folder} has neither records.sqlite nor trained-N.tar: no day came back in it."])
    reference = root / "results" / "reference"
    with tempfile.TemporaryDirectory(prefix="bench-home-") as scratch:
        trained = Path(scratch, "trained")
        try:
            unpack(tars, trained)
        except tarfile.TarError as error:
            return fail([f"{error}. Nothing was taken in."])
        came_in = take_records(read_store(stores, Path(scratch)), reference) if stores else False
        outcomes, failures = take_weights(trained, root / "methods")
    for step in still_to_do(outcomes, came_in, reference):
        print(f"\n{step}")
    return fail(failures)


def fail(failures: list[str]) -> int:
    """Say what went wrong, if anything did, and last, where it is seen; the exit status."""
    sys.stdout.flush()
    for why in failures:
        print(f"FAILED: {why}", file=sys.stderr)
    return int(bool(failures))


def unpack(tars: list[Path], to: Path) -> None:
    """All into one folder, since a training may lie in two. A member that would leave it is refused."""
    to.mkdir()
    for tar in tars:
        with tarfile.open(tar) as opened:
            opened.extractall(to, filter="data")


# --- records -----------------------------------------------------------------------------------------


def read_store(files: list[Path], scratch: Path) -> pd.DataFrame:
    """The records of a copy, with what SQLite had not yet written into the file itself when the day was cut short."""
    for file in files:
        shutil.copyfile(file, scratch / file.name)
    with Store(scratch / "records.sqlite") as store:
        return frame_of(store.records())


def take_records(frame: pd.DataFrame, reference: Path) -> bool:
    """Take the good records of a GPU into the reference, and say which; whether there were any.

    Those of the CPU are a rehearsal's. Those of the day's own pictures, in folders such as 256x256, come in too: no
    data set that is known by name is called so, hence no paper's figure and no cell of the CPU is held against them.
    """
    frame = frame[frame["device"] != "cpu"]
    for (restorer, dataset), failed in frame[frame["status"] == "failed"].groupby(["restorer", "dataset"]):
        images = f"{len(failed)} images" if len(failed) > 1 else failed["image"].iloc[0]
        print(f"left out, failed: {restorer} on {dataset}, {images}: {failed['reason'].iloc[0]}")
    good = frame[frame["status"] == "ok"]
    if good.empty:
        print("records.sqlite has no good record of a GPU.")
        return False
    print(write_reference(good, reference))
    for device, records in good.groupby(devices(good)):
        own = sorted({*records["dataset"]} - {*datasets.names()})
        print(f"{len(records)} records of {device} came in" + (f", on {', '.join(own)} among others" if own else ""))
    return True


# --- weights -----------------------------------------------------------------------------------------


def take_weights(trained: Path, methods: Path) -> tuple[list[RunResult], list[str]]:
    """Score every training, ship what is better, print a table; what came of each, and what could not be judged."""
    queue = {entry.folder: entry for entry in wanted(methods / "weights" / "wanted.toml")}
    outcomes, failures = [], []
    for folder in sorted(trained.iterdir()):
        print(f"scoring {folder.name}", file=sys.stderr, flush=True)
        try:
            outcomes.append(take_in(entry_of(folder, queue), folder, methods))
        except BenchError as error:
            failures.append(f"{folder.name}: {error}")
    if outcomes:
        print("\n" + tabulate([o.row() for o in outcomes], RunResult.HEADERS, disable_numparse=True))
    return outcomes, failures


def entry_of(folder: Path, queue: dict[str, Wanted]) -> Wanted:
    if folder.name not in queue:
        raise TrainingError("the queue has no training of that name.")
    lacking = [name for name in ("weights.safetensors", "log.csv") if not (folder / name).is_file()]
    if lacking:
        raise TrainingError(f"came back without {' and '.join(lacking)}.")
    return queue[folder.name]


# --- what is left to a person ------------------------------------------------------------------------


def still_to_do(outcomes: list[RunResult], came_in: bool, reference: Path) -> Iterator[str]:
    shipped = [outcome for outcome in outcomes if outcome.shipped]
    for outcome in shipped:
        if not outcome.declared:
            yield f"methods/weights.toml has no entry for {outcome.shipped} yet: write one, of {outcome.entry.what}."
    if commands := list(measure_again({outcome.shipped for outcome in shipped}, reference)):
        yield "Measure again what the reference has of weights that were replaced:\n" + "\n".join(
            f"    {command}" for command in [*commands, f"bench reference --write --store {STORE}"]
        )
    if shipped:
        yield (
            "Then write the new figures into the `why` of methods/weights/wanted.toml, and the page from it:\n"
            f"    {', '.join(outcome.entry.folder for outcome in shipped)}\n"
            "    bench weights wanted --markdown > methods/weights/WANTED.md"
        )
    if shipped or came_in:
        yield (
            "README.md shows the table that this prints last:\n"
            "    bench compare --paper all --store results/reference/records.csv"
        )


def measure_again(files: set[str], reference: Path) -> Iterator[str]:
    """Commands for the cells of the CPU that the files of these names gave."""
    cells = read_reference(reference)
    cells = cells[cells["weights"].isin([f"ours:{file}" for file in files]) & (devices(cells) == "cpu")]
    sets: dict[tuple[str, ...], list[str]] = {}
    for (restorer, task, protocol, dataset), records in cells.groupby(["restorer", "task", "protocol", "dataset"]):
        levels = ",".join(map(format_level, records["level"].unique()))
        sets.setdefault((restorer, task, protocol, levels), []).append(dataset)
    for (restorer, task, protocol, levels), names in sets.items():
        words = [f"bench run --methods {restorer}@ours --task {task} --datasets {','.join(names)}"]
        words += [f"--{get_task(task).level.name} {levels}", f"--protocol {protocol}", f"--store {STORE}"]
        yield " ".join(words)
