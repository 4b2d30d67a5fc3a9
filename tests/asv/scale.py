"""What a store of many records costs: seconds and peak memory of what people do with one, by its size.

    python tests/asv/scale.py [--sizes 1000,100000,1000000] [--only WORD] [--before CHECKOUT] [--write]

Makes synthetic stores: records of 10 tasks, on up to 10 folders of pictures, by up to 20 restorers, all of which
count; and among them 1,000 of `noisy` whose cells `bench run` finds. Each thing is done in a process of its own. Its
peak memory is told, its wall time and its CPU time, both without Python's start and imports. `--before` names a
checkout of an earlier bench, which does the same in turns with this one, with a store of its own. `--write` makes
`results/scale.json`, from which docs/generate.py makes the table of the page on stores. A million records need 5 GB
of disk and a quarter of an hour; with `--before` 8 GB of memory and three quarters of an hour. Parquet needs pyarrow.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from itertools import islice, product
from pathlib import Path
from random import Random
from time import perf_counter, process_time
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "results" / "scale.json"
TASKS = ("denoise", "denoise-blind", "deblock", "superres", "denoise8", "poisson", "speckle", "inpaint", "deblur",
         "salt-pepper")  # fmt: skip
N_CELLS = 1000  # of the run that is in the store
TOLD = "{seconds:9.4f} s {cpu_seconds:9.4f} s of CPU {peak_mib:7.0f} MiB"
MOST_MEMORY = 8 << 30
MOST_SECONDS = 560

# --- the stores ----------------------------------------------------------------------------------------------


def shape(n: int) -> tuple[int, int, int]:
    """How many restorers, folders and pictures a folder make about n records of 10 tasks at 2 levels."""
    n_restorers, n_folders = (5, 2) if n <= 1000 else (20, 5) if n <= 100_000 else (20, 10)
    return n_restorers, n_folders, max(1, n // (20 * n_restorers * n_folders))


def synthetic(n: int) -> Iterator[object]:
    from bench.measure.environment import environment
    from bench.records.record import Record

    random, start, told = Random(n), datetime(2026, 1, 1, tzinfo=timezone.utc), environment()
    n_restorers, n_folders, n_images = shape(n)
    code = [f"{random.getrandbits(256):064x}" for _ in range(n_restorers)]
    each = product(TASKS, range(n_restorers), (25.0, 50.0), range(n_folders), range(n_images))
    for i, (task, r, level, folder, image) in enumerate(each):
        at = (start + timedelta(seconds=i)).isoformat(timespec="microseconds")
        pixels = Random(f"{task} {level} {folder} {image}").getrandbits(256)
        yield Record(
            restorer=f"net{r:02}",
            weights=f"published:net{r:02}_{level:.0f}.pth",
            task=task,
            level=level,
            channels=1,
            dataset=f"photos{folder}",
            folder=f"/data/photos{folder}",
            image=f"{image:05}.png",
            protocol="standard-v1",
            repeat=0,
            status="ok",
            psnr_db=random.uniform(25, 35) - level / 10 + r / 20,
            ssim=random.uniform(0.7, 0.9),
            seconds=random.uniform(0.1, 0.2),
            seconds_spread=random.uniform(0, 0.01),
            threads=4,
            params=556_000 + r,
            macs_per_pixel=555_000.0,
            peak_mib=random.uniform(300, 400),
            input_sha256=f"{pixels:064x}",
            weights_sha256=f"{r:064x}",
            restorer_version="1",
            environment=told,
            key=f"{random.getrandbits(96):024x}-{r:024x}",
            label=f"net{r:02}",
            plugin=f"bench.methods.net{r:02}:Net",
            code_sha256=code[r],
            bench_version="1.0",
            revision="v1.0-12-g0123456789ab",
            measured_at=at,
            asked_at=at,
        )


def pictures(store: Path) -> Path:
    return store.with_name("tiny")


def plan_of_known(store: Path) -> object:
    from bench.runner.plan import make_plan
    from bench.runner.request import make_request

    return make_plan(make_request("noisy", "denoise", [pictures(store)], levels={"sigma": 25}, jobs=2))


def known(store: Path) -> Iterator[object]:
    """Records of the cells of a run, as if it had measured them."""
    import numpy as np
    from PIL import Image

    from bench.records.record import Record

    pictures(store).mkdir(exist_ok=True)
    for i in range(N_CELLS):
        values = np.random.default_rng(i).integers(0, 256, (16, 16), np.uint8)
        Image.fromarray(values).save(pictures(store) / f"{i:04}.png")
    for cell in plan_of_known(store).cells:
        made = Record("noisy", "", "denoise", 25.0, 1, cell.dataset.name, cell.entry.name, "standard-v1", 0, "ok")
        figures = {
            "psnr_db": 20.0,
            "ssim": 0.5,
            "key": cell.key,
            "label": cell.label,
            "folder": cell.dataset.location,
        }
        yield replace(made, **cell.maker._asdict(), code_sha256=cell.spec.code_sha256, **figures)


def make(store: Path, n: int) -> None:
    from bench.records.store import Store

    with Store(store) as records:
        rest = synthetic(n)
        while some := [*islice(rest, 10_000)]:
            records.add(*some)
        records.add(*known(store))


# --- what is done with them ------------------------------------------------------------------------------------


def add_one(store: Path) -> int:
    """Each in a commit of its own; how many."""
    from bench.records.store import Store

    made = [replace(one, key=f"{i:024x}-added") for i, one in enumerate(islice(synthetic(1000), 20))]
    with Store(store) as records:
        for one in made:
            records.add(one)
    return len(made)


def add_many(store: Path) -> None:
    from bench.records.store import Store

    with Store(store) as records:
        records.add(*(replace(one, key=f"{i:024x}-many") for i, one in enumerate(synthetic(1000))))


def open_to_write(store: Path) -> None:
    from bench.records.store import Store

    Store(store).__exit__(None, None, None)


def run_known(store: Path) -> None:
    import bench

    result = bench.run("noisy", "denoise", [pictures(store)], sigma=25, jobs=2, store=store, progress=False)
    assert (len(result.records), result.n_measured) == (N_CELLS, 0)
    result.table()


def compare(store: Path) -> None:
    import bench

    bench.compare(store, paper="all", at_least=0)


def exported(format: str) -> Callable[[Path], None]:
    def export(store: Path) -> None:
        import bench

        bench.export(store, format, store.with_name(f"out.{format}"))

    return export


def table(select: str | None) -> Callable[[Path], None]:
    def tabulate(store: Path) -> None:
        import bench

        bench.table(store, select=select)

    return tabulate


def significance(store: Path) -> None:
    import bench

    bench.table(store, select="task == 'deblock'", significance=True)


def page(store: Path) -> None:
    import bench

    where = "task == 'deblock' and dataset == 'photos1' and level == 25"
    bench.page(store, store.with_name("page.html"), select=where)


def check(store: Path) -> None:
    import bench

    assert bench.check_store(store).ok


def merge(store: Path) -> None:
    import bench

    into = store.with_name("merged.sqlite")
    into.unlink(missing_ok=True)
    assert bench.merge(store, into).ok


WORK: dict[str, Callable[[Path], int | None]] = {
    "opening it": open_to_write,
    "adding a record": add_one,
    "adding 1,000 at once": add_many,
    "a run of 1,000 known cells": run_known,
    "a table of a data set at a level": table("task == 'deblock' and dataset == 'photos1' and level == 25"),
    "a table of a task": table("task == 'deblock'"),
    "its table with letters": significance,
    "tables of all": table(None),
    "a page of a data set at a level": page,
    "holding all against the papers": compare,
    "export to CSV": exported("csv"),
    "export to Parquet": exported("parquet"),
    "checking all": check,
    "merging all into an empty store": merge,
}


def do(work: str, store: Path) -> None:
    """One thing, in this process; prints the seconds that it took."""
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    import pandas  # noqa: F401  imports are not what is measured

    import bench
    import bench.records.current
    import bench.records.files
    import bench.records.merging
    import bench.records.repair
    import bench.report.comparing
    import bench.report.export
    import bench.report.page.writing
    import bench.report.result
    import bench.report.table
    import bench.runner.run  # noqa: F401

    if work.startswith("make "):
        make(store, int(work.split()[1]))
        return
    start, spent = perf_counter(), process_time()
    n = WORK[work](store) or 1
    print((perf_counter() - start) / n, (process_time() - spent) / n)


# --- in processes of their own -----------------------------------------------------------------------------------


def site(checkout: Path, at: Path) -> Path:
    """A folder from which Python imports the bench of a checkout."""
    (at / "bench").mkdir(parents=True)
    for file in (checkout / "bench").iterdir():
        (at / "bench" / file.name).symlink_to(file)
    for name in ("data", "methods", "results"):
        if not (at / "bench" / name).exists():
            (at / "bench" / name).symlink_to(checkout / name)
    return at


def started(work: str, store: Path, where: Path | None, **streams: Any) -> subprocess.Popen[str]:
    paths = [str(where)] if where else []
    paths += filter(None, [os.environ.get("PYTHONPATH")])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    return subprocess.Popen([sys.executable, __file__, "--do", work, str(store)], env=environment, **streams)


def measured(work: str, store: Path, where: Path | None) -> dict[str, float] | None:
    """Seconds, CPU seconds and MiB; None if it failed, for memory beyond MOST_MEMORY, or after MOST_SECONDS."""
    child = started(work, store, where, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        out, err = child.communicate(timeout=MOST_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        return None
    if child.returncode:
        print(f"  {work}: {(err.strip().splitlines() or ['it was killed'])[-1][:200]}", file=sys.stderr)
        return None
    return dict(zip(("seconds", "cpu_seconds", "peak_mib"), map(float, out.split()[-3:]), strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="1000,100000,1000000")
    parser.add_argument("--only", default="", help="what is done, if this word is in it")
    parser.add_argument("--before", type=Path, help="a checkout of an earlier bench")
    parser.add_argument("--folder", type=Path, help="where stores are made, and found if they are there")
    parser.add_argument("--write", action="store_true", help="write results/scale.json")
    parser.add_argument("--do", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.do:
        do(options.do[0], Path(options.do[1]))
        if not options.do[0].startswith("make "):
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        return
    with tempfile.TemporaryDirectory() as folder:
        at = options.folder or Path(folder)
        versions = {"now": None}
        if options.before:
            versions = {"before": site(options.before.resolve(), Path(folder) / "site"), **versions}
        rows = [*measure(options, at, versions)]
    if options.write:
        write(rows)


def measure(options: argparse.Namespace, at: Path, versions: dict[str, Path | None]) -> Iterator[dict[str, object]]:
    for n in map(int, options.sizes.split(",")):
        stores = {name: at / name / str(n) / "s.sqlite" for name in versions}
        for name, where in versions.items():
            if not stores[name].exists():
                stores[name].parent.mkdir(parents=True)
                if started(f"make {n}", stores[name], where).wait():
                    sys.exit(f"{stores[name]} could not be made.")
        for work in (one for one in WORK if options.only in one):
            row: dict[str, object] = {"records": n, "work": work}
            for name, where in versions.items():
                found = measured(work, stores[name], where)
                row[name] = found
                told = TOLD.format(**found) if found else "–"
                print(f"{n:8} {work:34} {name:6} {told}", flush=True)
            yield row


def write(rows: list[dict[str, object]]) -> None:
    """Replace the figures by these."""
    from speed import commit

    from bench.measure.environment import describe

    content = {
        "command": shlex.join(["python", "tests/asv/scale.py", *sys.argv[1:]]),
        "day": datetime.now(timezone.utc).date().isoformat(),
        "commit": commit(),
        "machine": describe(),
        "rows": rows,
    }
    FILE.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
