"""The pages that nobody types: figures from `results/reference`, the commands from the command line itself.

    python docs/generate.py FOLDER

writes them all, as the build does.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import bench

ROOT = Path(__file__).resolve().parents[1]
STORE = "results/reference/records.csv"
"""As a user in a checkout types it; the build reads it from the root."""


def write_all(to: Path) -> None:
    """Write every page into the folder `to`; a file that would not change is left alone."""
    pages = dict(results())
    pages |= {"significance": significance(), "papers": papers(), "performance": performance()}
    pages |= {"commands": commands(), "lists": lists(), "costs": costs(), "tiles": tiles()}
    pages |= {"eight_bits": eight_bits(), "cluster_rates": cluster_rates(), "scale": scale()}
    pages |= {"ablations": ablations()}
    to.mkdir(parents=True, exist_ok=True)
    for name, text in pages.items():
        path = to / f"{name}.md"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
    for path in to.glob("*.md"):
        if path.stem not in pages:
            path.unlink()
    draw_scaling(to / "scaling.svg")
    for file in ablations_run():
        draw_curves(file.with_suffix("") / "runs.json", to / f"ablation-{file.stem}.svg")


def page(*blocks: str) -> str:
    return "\n\n".join(block.strip("\n") for block in blocks) + "\n"


def fence(text: str, language: str = "text") -> str:
    return f"```{language}\n{text.rstrip()}\n```"


# --- results -----------------------------------------------------------------------------------------------

TITLES = {
    ("denoise", 1): "Gray denoising",
    ("denoise", 3): "Colour denoising",
    ("denoise-blind", 1): "Blind denoising, gray",
    ("denoise-blind", 3): "Blind denoising, colour",
    ("deblock", 1): "JPEG deblocking",
    ("demosaick", 3): "Demosaicking",
    ("superres", 1): "Super-resolution",
    ("poisson", 1): "Poisson denoising",
    ("deblur", 1): "Deblurring",
    ("inpaint", 1): "Inpainting",
}


def results() -> Iterator[tuple[str, str]]:
    """A page a task and channel count, with a table a data set and protocol, and the page that lists them."""
    records = on_cpu(read())
    names = []
    for (task, channels), title in TITLES.items():
        of_task = records[(records["task"] == task) & (records["channels"] == channels)]
        names.append(f"results-{task}-{'gray' if channels == 1 else 'colour'}")
        tables = [results_table(*words, channels) for words in distinct(of_task, ("task", "dataset", "protocol"))]
        yield names[-1], page(f"# {title}", HOW_TO_READ, *tables)
    left_out = {*distinct(records, ("task", "channels"))} - {*TITLES}
    if left_out:
        raise ValueError(f"docs/generate.py has no title for {left_out}")
    yield "results", page("# Results", RESULTS, fence("\n".join(names), "{toctree}\n:maxdepth: 1"))


RESULTS = """
These tables are made from the reference run when the pages are built. Its records lie in
`results/reference/records.csv`, one row for each image. No figure on these pages is typed by hand.

Each restorer uses the best weights that can be had: the authors' where they are published, ours where they are not.
The column `weights` says which. Weights of ours had minutes to hours on a CPU, and it shows.
[The training log](../training-log.md) tells what they had.
"""

HOW_TO_READ = """
PSNR in dB and SSIM, means over the images of a set. A dash means that the reference run has no such cell.
Times and memory are the CPU's. [Performance](performance.md) names the machines.
[Who is really better](significance.md) says which differences count.
"""


def results_table(task: str, dataset: str, protocol: str, channels: int) -> str:
    from bench.data.datasets import get

    about = get(dataset)
    terms = f" Terms: {about.terms}" if about.terms else ""
    condition = f"task == '{task}' and dataset == '{dataset}' and channels == {channels} and device == 'cpu'"
    condition += f" and protocol == '{protocol}'"
    return page(
        f"## {dataset}" + ("" if protocol == "standard-v1" else f" under {protocol}"),
        f"{about.title}.{terms}",
        table(condition),
        "<details><summary>The command</summary>",
        fence(f'bench table --store {STORE} \\\n    --select "{condition}"', "sh"),
        "</details>",
    )


def table(condition: str) -> str:
    """Records as Markdown, without the title: the heading above says it."""
    return as_figures(bench.table(ROOT / STORE, "markdown", select=condition))


def as_figures(text: str) -> str:
    """A table in Markdown with its figures to the right; without title and device, which the heading names.

    Raises ValueError if a figure is the mean of some of a set's images: a reader would take it for all.
    """
    if partial := re.search(r"^.*\([^)|]*\d of \d+\).*$|^.*\(SSIM of.*$", text, re.MULTILINE):
        raise ValueError(f"a figure of the reference run is not of all images: {partial[0]}")
    lines = text.partition("\n")[2].strip("\n").split("\n")
    n_rows = sum(line.startswith("|") for line in lines)
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[:n_rows]]
    kept = [i for i, name in enumerate(rows[0]) if name != "device"]
    rows[1] = ["---" if i == 0 else "---:" for i in range(len(rows[0]))]
    drawn = [f"| {' | '.join(row[i] for i in kept)} |" for row in rows]
    return "\n".join([*drawn, *lines[n_rows:]])


def read() -> Any:
    return bench.read(ROOT / STORE)


def on_cpu(records: Any) -> Any:
    return records[records["device"] == "cpu"]


def distinct(records: Any, columns: Sequence[str]) -> list[tuple[Any, ...]]:
    """The combinations that occur, in the order of the records."""
    rows = records[list(columns)].drop_duplicates()
    return [tuple(row) for row in rows.itertuples(index=False)]


# --- who is better -------------------------------------------------------------------------------------------

CONTESTS = (
    "dataset == 'set12' and level == 25 and task == 'denoise' and device == 'cpu' and restorer in"
    " ['ffdnet', 'dncnn', 'lidia', 'nsr', 'groupsc', 'bm3d', 'sc']",
    "dataset == 'bsd68' and level == 25 and task == 'denoise' and device == 'cpu' and restorer in"
    " ['ffdnet', 'dncnn', 'cscnet', 'nlrn', 'nsr', 'groupsc', 'sc', 'lssc']",
)


def significance() -> str:
    blocks = []
    for condition in CONTESTS:
        command = f'bench compare --significance --store {STORE} \\\n    --select "{condition}"'
        told = str(bench.compare(ROOT / STORE, significance=True, select=condition))
        blocks += [fence(command, "sh"), fence(told)]
    return page("# Who is really better", SIGNIFICANCE, *blocks, FEW_IMAGES)


SIGNIFICANCE = """
A hundredth of a dB decides nothing by itself. But all restorers see the same noise. So two of them can be compared
image by image, and most of what makes images differ cancels.

- **difference** is the mean over the images.
- **95 % interval** is a bootstrap's, over the images.
- **p (Holm)** is from Wilcoxon's signed-rank test. Holm's correction accounts for the number of pairs.
- Restorers that share a letter may be called equal.

`bench table --significance` puts the letters behind the figures of a table.
"""

FEW_IMAGES = """
## How many images it takes

The more restorers, the more pairs to correct for. With few images and many restorers no pair can be told apart,
however large the difference is. The command warns you then. Select the restorers that your question is about.
"""

# --- against the papers ----------------------------------------------------------------------------------------


def papers() -> str:
    from bench.judge.papers import load, names

    every = str(bench.compare(ROOT / STORE, paper="all"))
    blocks = [every.rpartition("\n\n")[2]]
    for name in names():
        paper = load(name)
        told = str(bench.compare(ROOT / STORE, paper=name)).partition("\n\nFAILED")[0]
        drawn, _, summary = told.rpartition("\n\n")
        blocks += [
            f"## {name}",
            f"*{paper.title}*",
            f"{summary}.",
            f"<details><summary>Every figure that was compared</summary>\n\n{fence(drawn)}\n\n</details>",
        ]
    conflicts = f"<details><summary>All of them</summary>\n\n{fence(chr(10).join(bench.audit()))}\n\n</details>"
    return page("# Against the papers", PAPERS, *blocks, AUDIT, conflicts)


PAPERS = """
`results/papers/` holds the tables of these papers as they were printed. `bench compare --paper NAME` holds records
against them, figure by figure. This page does so for the reference run.

```sh
bench compare --paper all --store results/reference/records.csv
```

- **reproduced**: within the tolerance that the paper's file states, with its reason.
- **off**: outside of it. *Explained* means that the cause is known and written down.
- **measured with our weights**: shown, but no claim about the authors' network.
- **not measured**: the command says why for each.

A figure is held against records under the protocol that its table names. [Footguns](../footguns.md) tells what
another protocol would do. An exit status of 1 means one of three things. A figure that the reference run reproduced
no longer is. Another is off without a known cause. Or there was nothing to compare.
"""

AUDIT = """
## Where the papers contradict each other

`bench papers --audit` lists them. Both figures are kept.
"""


def escaped(line: str) -> str:
    """A line of text as Markdown that shows just that."""
    for sign in "\\`*_[]<>#|":
        line = line.replace(sign, "\\" + sign)
    return line


# --- performance -------------------------------------------------------------------------------------------------


def performance() -> str:
    """Times by machine: a table a data set, of the records that have a time."""
    records = read()
    timed = records[records["seconds"].notna() & (records["task"] == "denoise")]
    blocks = []
    for device, title in (("cuda", "On a GPU"), ("cpu", "On a CPU")):
        of_device = timed[timed["device"] == device]
        blocks.append(f"## {title}")
        for machine, dataset in sorted(distinct(of_device, ("environment", "dataset")), key=order(of_device)):
            these = of_device[(of_device["environment"] == machine) & (of_device["dataset"] == dataset)]
            blocks += [f"### {dataset}, {named(json.loads(machine))}", rendered(these)]
    measured = [
        *time_and_memory(ROOT / "results" / "time_and_memory.json"),
        *peak(ROOT / "results" / "peak.json"),
        SPEED,
        *speed(ROOT / "results" / "speed"),
    ]
    return page("# Performance", PERFORMANCE, *blocks, GPU_WORDS, *measured)


def order(records: Any) -> Any:
    """Machines with many records first, then data sets by name, sizes by number."""
    counts = records["environment"].value_counts()

    def key(words: tuple[str, str]) -> tuple[int, int, str]:
        machine, dataset = words
        side = dataset.partition("x")[0]
        return -int(counts[machine]), int(side) if side.isdigit() else 0, dataset

    return key


def rendered(records: Any) -> str:
    from bench.report.table import render

    return as_figures(render(records, "markdown"))


def named(words: Mapping[str, str]) -> str:
    """`2 cores of AMD EPYC, torch 2.13.0+cpu`"""
    cores = "1 core" if words["cores"] == "1" else f"{words['cores']} cores"
    machine = words.get("gpu") or f"{cores} of {words['cpu']}"
    return f"{machine}, torch {words['torch']}"


PERFORMANCE = """
Times depend on the machine, so each table names it. The machines with CPUs were small and shared with others.
Compare the rows of one table with each other, and not one table with another.

- **s/image** is the median of up to three calls after a warm-up, averaged over the images. It includes the way to the
  device and back.
- **GPU s** is the network's time on the device, by CUDA events.
- **peak MiB** is the highest resident memory of the restorer's own process. On a GPU it is the allocator's peak.
- **params** and **MACs/pixel** are counted and not declared.
"""

GPU_WORDS = """
## Notes

The answers on a GPU are the CPU's. `tests/test_gpu.py` holds each restorer to a small difference in any pixel. LIDIA
chooses neighbours, and rounding alone changes its choices. `nsr` and `nlrn` consist of many small operations. They
wait for those on a GPU; nobody has made them fast there yet. `bm3d` runs the same steps in torch there. On a CPU, the
answers of torch and of the kernels are within 1e-4 of the range; no card has timed them yet.
"""

TIME_AND_MEMORY = """
## Time and memory of every restorer

`tests/asv/time_and_memory.py` runs each restorer at three sizes on one machine, each size in a process of its own.
**seconds** are of one picture after a small one, the shortest of three where that is less than a second. **peak MiB**
is the highest resident memory of that process, Python and the libraries included. A dash is a size that would take
too long.
"""

TASKS = {
    "denoise": "denoising, sigma 25",
    "demosaick": "demosaicking",
    "superres": "super-resolution, scale 2",
    "deblock": "deblocking, quality 10",
}


def time_and_memory(file: Path) -> Iterator[str]:
    """What `tests/asv/time_and_memory.py` wrote, a table a task; nothing where it has not been run."""
    if not file.exists():
        return
    entry = json.loads(file.read_text(encoding="utf-8"))
    yield TIME_AND_MEMORY
    yield f"{origin(entry)}\n\n{fence(entry['command'], 'sh')}"
    sides = sorted({side for row in entry["rows"] for side in row["seconds"]}, key=int)
    for task, title in TASKS.items():
        rows = [row for row in entry["rows"] if row["task"] == task]
        if rows:
            yield f"### Each restorer: {title}"
            yield markdown([*time_and_memory_rows(rows, sides)])


def time_and_memory_rows(rows: Sequence[Mapping[str, Any]], sides: Sequence[str]) -> Iterator[list[str]]:
    yield ["", *(f"{side}x{side}, seconds" for side in sides), *(f"{side}x{side}, peak MiB" for side in sides)]
    yield ["---", *["---:"] * (2 * len(sides))]
    for row in rows:
        seconds = [figure(row["seconds"][side]) if side in row["seconds"] else "–" for side in sides]
        peaks = [f"{row['peak_mib'][side]:,}" if side in row["peak_mib"] else "–" for side in sides]
        yield [f"`{row['restorer']}`", *seconds, *peaks]


PEAK = """
## How near to the machine

`tests/asv/peak.py` measures what this machine can do, and then each learned restorer in float32 on one noisy picture.
**share** is what a restorer multiplies a second, of what a product of two large matrices does: by MKL or by oneDNN,
whichever is faster. On AMD's processors MKL leaves AVX-512 alone, and half of the rate with it. **floor** is the time
that the products alone would take, or the bytes that must go through memory, whichever is longer. **peak MiB** is the
highest resident memory of a process that restores one picture; the row *nothing* is one that loads torch alone.

The aim is a share of 60 % for the sparse and the non-local networks, and 40 % for `lidia`. At 1024x1024 `nlrn` is to
hold less than 2 GiB, `groupsc` and `lidia` less than 1.5 GiB. Where a table falls short, the work is not done. A
table is of the day and the commit that it names.

`nlrn` pays for its memory with time: in pictures wider than some 800 pixels it forms products anew that it cannot
hold. The tables of 1024x1024 and of 256x256 show what that costs.
"""


def peak(file: Path) -> Iterator[str]:
    """What `tests/asv/peak.py` wrote, a section a table; nothing where it has not been run."""
    tables = json.loads(file.read_text(encoding="utf-8")) if file.exists() else []
    if tables:
        yield PEAK
    for table in tables:
        colours = "gray" if table["channels"] == 1 else "colour"
        if table["kind"] == "memory":
            what, told = f"Memory, {colours}", ""
        else:  # there is one for each processor
            what = f"{table['side']}x{table['side']}, {colours}, {table['machine']['cpu']}"
            told = f" Products reach {figure(table['gflops'])} GFLOP/s here, copies "
            told += f"{figure(table['gigabytes_a_second'])} GB/s."
        yield f"### {what}"
        yield f"{origin(table)}{told}\n\n{markdown(peak_rows(table))}\n\n{fence(table['command'], 'sh')}"


def peak_rows(table: Mapping[str, Any]) -> list[list[str]]:
    rows = table["rows"]
    if table["kind"] == "memory":
        sides = [key for key in rows[0] if key != "restorer"]
        heads = ["peak MiB", *(f"{side}x{side}" for side in sides)]
        cells = [[row["restorer"] or "*nothing*", *(f"{row[side]:,}" for side in sides)] for row in rows]
    else:
        heads = ["restorer", "seconds", "MACs/pixel", "GFLOP/s", "share", "floor, seconds"]
        cells = []
        for row in rows:
            macs = f"{row['macs_per_pixel'] / 1e6:.2f}M"
            figures = (row["seconds"], macs, row["gflops"], f"{row['share']:.0%}", row["floor_seconds"])
            cells.append([row["restorer"], *(one if isinstance(one, str) else figure(one) for one in figures)])
    return [heads, ["---"] + ["---:"] * (len(heads) - 1), *cells]


SPEED = """
## One thing against another

Scripts in `tests/asv/` time two ways to do the same work, in one run on one machine. Most of them take turns, so that
what else the machine does weighs on both alike. **times as fast** is the median of the ratios turn by turn. Where
other work kept cores busy meanwhile, the seconds are too many, and the ratio is less certain.
A cell that does nothing is to take one millisecond beyond degrading and scoring: `no_op` shows how far that is.
[Contributing](../contributing.md#measure-the-ratios-again) tells how to measure them again.
"""


def speed(folder: Path) -> Iterator[str]:
    """A section a file of results/speed. Raises ValueError for one that does not say where its figures come from."""
    for path in sorted(folder.glob("*.json")):
        entry = json.loads(path.read_text(encoding="utf-8"))
        for key in ("command", "day", "commit", "machine", "threads", "comparisons"):
            if not entry.get(key):
                raise ValueError(f"{path} does not say its {key}: what it holds was not written by a speed script.")
        yield f"### {path.stem}"
        yield f"{origin(entry)}\n\n{speed_table(entry['comparisons'])}"
        versions = {k: v for k, v in entry["machine"].items() if k not in ("cpu", "cores", "gpu", "system")}
        told = ", ".join(f"{name} {version}" for name, version in versions.items())
        yield f"<details><summary>The command and the versions</summary>\n\n{fence(entry['command'], 'sh')}\n\n{told}"
        yield "</details>"


def origin(entry: Mapping[str, Any]) -> str:
    threads = entry["threads"]
    told = f"{entry['day']}, commit `{entry['commit']}`, {named(entry['machine'])}"
    told += f", {threads} thread{'' if threads == 1 else 's'}."
    others = entry.get("cores_busy_with_others")
    return told if others is None else f"{told} Other work kept {others:.1f} cores busy."


def speed_table(comparisons: Sequence[Mapping[str, Any]]) -> str:
    asked = any("bar" in comparison for comparison in comparisons)
    heads = ["work", "", "seconds", "against", "seconds", "times as fast", *(["asked for"] if asked else [])]
    rules = ["---", "---", "---:", "---", "---:", "---:", *(["---:"] if asked else [])]
    rows = [heads, rules]
    for c in comparisons:
        note = f" ({c['note']})" if c.get("note") else ""
        row = [c["work"] + note, c["name"], figure(c["seconds"]), c["other"], figure(c["other_seconds"])]
        row += [figure(c["ratio"]), *([figure(c["bar"]) if "bar" in c else "–"] if asked else [])]
        rows.append(row)
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def figure(value: float) -> str:
    """Three digits, and no power of ten."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


# --- commands ----------------------------------------------------------------------------------------------------


def commands() -> str:
    """The help of each command, as `bench COMMAND --help` has it."""
    from typer.main import get_command

    from bench.cli.commands import app

    return page("# Commands", COMMANDS, *described(get_command(app), "bench", None))


COMMANDS = """
This page is made from the command line itself. `bench COMMAND --help` prints the same.

Five variables of the environment matter. `BENCH_CACHE` moves the cache. `BENCH_MIRROR` names a folder or an address
that is asked first. `BENCH_OFFLINE=1` forbids the network. `BENCH_TIMEOUT` is how many seconds a server has for its
answer, and again for each 256 KiB of a file. `BENCH_MAX_PIXELS` is the most pixels that a picture may have.
"""


def described(command: Any, name: str, parent: Any) -> Iterator[str]:
    """A section a command; of a group, its commands after it."""
    context = command.make_context(name.rpartition(" ")[2], ["--help"], parent, resilient_parsing=True)
    if parent is not None:
        yield f"## {name}"
        yield escaped(command.help)
    if hasattr(command, "list_commands"):
        inner = [(word, command.get_command(context, word)) for word in command.list_commands(context)]
        for word, one in inner:
            if not one.hidden:
                yield from described(one, f"{name} {word}", context)
        return
    rows = [record for option in command.get_params(context) if (record := help_record(option, context))]
    yield fence(" ".join([name, *command.collect_usage_pieces(context)]))
    yield "\n".join(["| option | what it does |", "|---|---|", *(f"| {names} | {text} |" for names, text in rows)])


def help_record(option: Any, context: Any) -> tuple[str, str] | None:
    record = option.get_help_record(context)
    if record is None:
        return None
    names, text = record
    return f"`{names}`", escaped(" ".join(text.split()))


def lists() -> str:
    """What `bench list` prints."""
    blocks = []
    for what in ("restorers", "tasks", "protocols", "datasets"):
        blocks += [f"## {what}", fence(bench.listing(what).partition("\n")[2])]
    return page("# What there is", LISTS, *blocks)


LISTS = """
`bench list` prints this. The terms that bind a user stand below each name.
"""

# --- 8 bits ------------------------------------------------------------------------------------------------------


def eight_bits(file: Path = ROOT / "results" / "eight_bits.json") -> str:
    """What 8 bits of the noisy picture change, a row a restorer, as `tests/asv/eight_bits.py` measured it."""
    entry = json.loads(file.read_text(encoding="utf-8"))
    sigmas = sorted({row["sigma"] for row in entry["rows"]})
    of: dict[str, dict[float, Any]] = {}
    for row in entry["rows"]:
        of.setdefault(row["restorer"], {})[row["sigma"]] = row
    lines = [
        f"| restorer | pictures | {' | '.join(f'σ{sigma:g}' for sigma in sigmas)} |",
        f"|---|---|{'---|' * len(sigmas)}",
    ]
    for name, at in of.items():
        cells = [f"{at[s]['denoise']:.2f}, {at[s]['denoise8'] - at[s]['denoise']:+.2f} dB" for s in sigmas if s in at]
        lines.append(f"| `{name}` | {min(row['pictures'] for row in at.values())} | {' | '.join(cells)} |")
    origin = f"{entry['day']}, commit `{entry['commit']}`, {named(entry['machine'])}: `{entry['command']}`"
    return page("\n".join(lines), origin)


# --- clusters ----------------------------------------------------------------------------------------------------

CORES, CELLS = 10_000, 1_000_000
CORES_OF_A_MACHINE = 64
LINK_MIB = 1000.0
"""a second, from where data and weights lie to all machines together"""


def cluster_rates(file: Path = ROOT / "results" / "cluster_rates.json") -> str:
    """What scheduler, head and store carry, as `tests/asv/cluster_rates.py` measured it, and what follows."""
    entry = json.loads(file.read_text(encoding="utf-8"))
    parts = ("scheduler_ms", "head_ms", "worker_ms", "scheduler_mib", "head_mib", "store_mib")
    heads = [
        "cells",
        "cells/s",
        "scheduler, ms",
        "head, ms",
        "workers, ms",
        "scheduler, MiB",
        "head, MiB",
        "store, MiB",
    ]
    rows = [heads, ["---:"] * len(heads)]
    for run in entry["runs"]:
        rows.append([f"{run['cells']:,.0f}", figure(run["cells"] / run["seconds"]), *(figure(run[p]) for p in parts)])
    at_a_time = [["records at a time", "records/s"], ["---:", "---:"]]
    at_a_time += [[str(row["at_a_time"]), f"{row['records_per_second']:,}"] for row in entry["store"]]
    origin = f"{entry['day']}, commit `{entry['commit']}`, {named(entry['machine'])}: `{entry['command']}`"
    return page(markdown(rows), markdown(at_a_time), origin, markdown([*on_paper(entry)]))


def on_paper(entry: Mapping[str, Any]) -> Iterator[list[str]]:
    """What a million cells on 10,000 cores need, by the rates of the largest run."""
    first, last = entry["runs"][0], entry["runs"][-1]
    yield [f"{CELLS:,} cells on {CORES:,} cores", "", "by"]
    yield ["---", "---:", "---"]
    rates = {"scheduler": 1000 / last["scheduler_ms"], "head": 1000 / last["head_ms"]}
    rates["store"] = float(entry["store"][-1]["records_per_second"])
    for part, rate in rates.items():
        yield [f"{part}: the most that it carries", f"{figure(rate)} cells/s", "one core, or one disk"]
    slowest = min(rates, key=lambda part: rates[part])
    rate = rates[slowest]
    yield ["a cell must take, for all cores to be busy", f"{CORES / rate:.0f} s", f"{CORES:,} cores / {figure(rate)}"]
    yield ["the run takes at least", f"{CELLS / rate / 60:.0f} min", f"the {slowest}"]
    per_cell = (last["head_mib"] - first["head_mib"]) / (last["cells"] - first["cells"])
    held = first["head_mib"] + per_cell * CELLS
    yield ["memory of the head", f"{held / 1024:.1f} GiB", f"{1024 * per_cell:.1f} KiB a cell"]
    yield [
        "memory of the scheduler",
        f"{last['scheduler_mib']:.0f} MiB",
        "it holds what is under way, whatever follows",
    ]
    of_cell = last["store_mib"] / last["cells"]
    yield ["the store", f"{of_cell * CELLS / 1024:.1f} GiB", f"{1024 * of_cell:.1f} KiB a cell"]
    machines = -(-CORES // CORES_OF_A_MACHINE)
    staged = machines * entry["staged_mib"]
    why = f"{entry['staged_mib']} MiB to each of {machines} machines, at {LINK_MIB:,.0f} MiB/s in all"
    yield ["data sets and weights are there after", f"{staged / LINK_MIB:.0f} s", why]


def markdown(rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


# --- tiles -------------------------------------------------------------------------------------------------------


def tiles(file: Path = ROOT / "results" / "tiles.json") -> str:
    """What tiles change, a row a restorer, as `tests/asv/tiles.py` measured it."""
    entry = json.loads(file.read_text(encoding="utf-8"))
    overlaps = sorted({change["overlap"] for change in entry["changes"]})
    of: dict[str, dict[int, Any]] = {}
    for change in entry["changes"]:
        of.setdefault(change["restorer"], {})[change["overlap"]] = change
    lines = [
        f"| restorer | {' | '.join(f'overlap {overlap}' for overlap in overlaps)} |",
        f"|---|{'---|' * len(overlaps)}",
        *(
            f"| `{name}` | {' | '.join(tiles_cell(found[overlap]) for overlap in overlaps)} |"
            for name, found in of.items()
        ),
    ]
    origin = f"{entry['day']}, commit `{entry['commit']}`, {named(entry['machine'])}: `{entry['command']}`"
    return page("\n".join(lines), origin)


def tiles_cell(change: Mapping[str, Any]) -> str:
    """`2.9, 0.012, -0.003 dB`; what rounding in float32 may be is `none`."""
    if change["largest"] < ROUNDING:
        return "none"
    psnr = "" if abs(change["psnr_db"]) < 0.0005 else f", {change['psnr_db']:+.3f} dB"
    return f"{change['largest']:.2g}, {change['mean']:.2g}{psnr}"


ROUNDING = 0.005
"""grey levels of 255"""


# --- stores ---------------------------------------------------------------------------------------------------------


def scale(file: Path = ROOT / "results" / "scale.json") -> str:
    """What is done with a store, and what it costs by the number of records, as `tests/asv/scale.py` measured it."""
    entry = json.loads(file.read_text(encoding="utf-8"))
    sizes = sorted({row["records"] for row in entry["rows"]})
    versions = [name for name in ("before", "now") if any(name in row for row in entry["rows"])]
    heads = [f"{n:,} records{', before' * (name == 'before')}" for n in sizes for name in versions]
    found = {(row["work"], row["records"]): row for row in entry["rows"]}
    lines = [f"| | {' | '.join(heads)} |", f"|---|{'---|' * len(heads)}"]
    for work in dict.fromkeys(row["work"] for row in entry["rows"]):
        cells = [scale_cell(found.get((work, n), {}).get(name)) for n in sizes for name in versions]
        lines.append(f"| {work} | {' | '.join(cells)} |")
    origin = f"{entry['day']}, commit `{entry['commit']}`, {named(entry['machine'])}: `{entry['command']}`"
    return page("\n".join(lines), SCALE, origin)


def scale_cell(found: Mapping[str, float] | None) -> str:
    """`0.31 s, 95 MiB`; `3.2 ms` of what is short."""
    if found is None:
        return "–"
    seconds = found["cpu_seconds"]
    told = f"{1000 * seconds:.2g} ms" if seconds < 0.1 else f"{seconds:.{0 if seconds >= 10 else 1}f} s"
    return f"{told}, {found['peak_mib']:.0f} MiB"


SCALE = """
CPU time and peak memory, of which 80 to 115 MiB are Python, pandas and bench. Python's start and imports are not in
the time. `–` was not measured, or took more than 8 GiB or ten minutes. A task has a tenth of the records, a data set
at a level a hundredth or less.
"""


# --- scaling -----------------------------------------------------------------------------------------------------

SCALING = """
## By pixels and threads

![Seconds against pixels](scaling.svg)

Seconds for a gray picture at sigma 25, by pixels and threads. In the drawing a line is a restorer with all threads,
and dotted with one. `–` would have taken too long.
"""

SCALED = ROOT / "results" / "scaling.json"


def scaling(file: Path = SCALED) -> Iterator[str]:
    """What `tests/asv/scaling.py` measured: a row a restorer and number of threads."""
    entry = json.loads(file.read_text(encoding="utf-8"))
    seconds = {(row["restorer"], row["threads"], row["side"]): row["seconds"] for row in entry["rows"]}
    sides = sorted({row["side"] for row in entry["rows"]})
    lines = [f"| | threads | {' | '.join(f'{side}²' for side in sides)} |", f"|---|---:|{'---:|' * len(sides)}"]
    for name in dict.fromkeys(row["restorer"] for row in entry["rows"]):
        for threads in sorted({row["threads"] for row in entry["rows"]}):
            cells = [seconds.get((name, threads, side)) for side in sides]
            told = ["–" if cell is None else figure(cell) for cell in cells]
            lines.append(f"| `{name}` | {threads} | {' | '.join(told)} |")
    busy = entry["cores_busy_with_others"]
    origin = f"{entry['day']}, commit `{entry['commit']}`, {named(entry['machine'])}: `{entry['command']}`."
    yield SCALING
    yield "\n".join(lines)
    yield origin if busy is None else f"{origin} Other work kept {busy:.1f} cores busy."


def draw_scaling(output: Path, file: Path = SCALED) -> None:
    """The same as a drawing: seconds against pixels, both logarithmic."""
    from bench.report.plots import new_figure, numbers, our_look, save_figure, styles

    rows = json.loads(file.read_text(encoding="utf-8"))["rows"]
    threads = sorted({row["threads"] for row in rows})
    names = list(dict.fromkeys(row["restorer"] for row in rows))
    with our_look():
        figure = new_figure(6.5, 4)
        axes = figure.add_subplot(xscale="log", yscale="log", xlabel="pixels", ylabel="seconds")
        for name, style in styles(names).items():
            for n in threads:
                these = [row for row in rows if (row["restorer"], row["threads"]) == (name, n)]
                pixels, seconds = [row["side"] ** 2 for row in these], [row["seconds"] for row in these]
                is_most = n == threads[-1]
                look = {"color": style.colour, "marker": style.marker, "linestyle": "-" if is_most else ":"}
                axes.plot(pixels, seconds, label=name if is_most else None, **look)
        sides = sorted({row["side"] for row in rows})
        axes.set_xticks([side**2 for side in sides], [f"{side}²" for side in sides])
        axes.set_xticks([], minor=True)
        numbers(axes.yaxis)
        axes.legend()
        save_figure(figure, output)


# --- ablations ---------------------------------------------------------------------------------------------------

OF_ABLATIONS = ROOT / "results" / "ablations"

ABLATIONS = """
The papers' arguments as runs: what becomes of a network if a part is left out. [A page](../ablations.md) tells how
they are made and how to read them. The budgets are small, so that a CPU ends them in hours. They tell who learns
faster with few steps, and not who is better in the end.
"""


def ablations(folder: Path = OF_ABLATIONS) -> str:
    """A section an ablation: its command, its table, its curves."""
    blocks = []
    for file in sorted(folder.glob("*.toml")):
        blocks += [f"## {file.stem}", fence(f"bench ablate results/ablations/{file.name}", "sh")]
        if file in ablations_run(folder):
            drawn = f"![Validation PSNR by steps](ablation-{file.stem}.svg)"
            blocks += [str(bench.ablation(file, format="markdown")), drawn]
        else:
            blocks += [f"The paper: {escaped(claim(file))}", "Nobody has run it to its end here."]
    return page("# Why it works, in figures", ABLATIONS, *blocks)


def ablations_run(folder: Path = OF_ABLATIONS) -> list[Path]:
    """The files of those whose results are there."""
    return [file for file in sorted(folder.glob("*.toml")) if (file.with_suffix("") / "runs.json").exists()]


def claim(file: Path) -> str:
    from bench.training.ablation import read_ablation

    return read_ablation(file).claim


def draw_curves(file: Path, output: Path) -> None:
    """PSNR of the crops held out against steps: a line a variant, the mean over seeds."""
    from bench.report.plots import new_figure, our_look, save_figure, styles
    from bench.training.ablation_runs import read_runs

    trained = read_runs(file)
    names = list(dict.fromkeys(one.variant for one in trained))
    with our_look():
        figure = new_figure(6.5, 4)
        axes = figure.add_subplot(xlabel="steps", ylabel="PSNR of the crops held out, dB")
        for name, style in styles(names).items():
            curves = [
                one.curve[1:] for one in trained if one.variant == name
            ]  # before the first step it is far below
            steps = [step for step, _, _ in curves[0]]
            means = np.mean([[psnr_db for _, _, psnr_db in curve] for curve in curves], axis=0)
            axes.plot(steps, means, label=name, color=style.colour, marker=style.marker, markevery=5)
        axes.legend()
        save_figure(figure, output)


# --- footguns ----------------------------------------------------------------------------------------------------


def costs() -> str:
    """How far the mean PSNR and SSIM move when one rule is broken."""
    from restoring import PROTOCOL, degraded, restored

    pictures = degraded()
    answers = restored(OF, pictures)
    rules = [(words, answers, score) for words, score in SCORES.items()]
    for words, spoil in NOISES.items():
        spoilt = [replace(p, seen=replace(p.seen, image=spoil(p.seen.image))) for p in pictures]
        rules.append((words, restored(OF, spoilt), standard))
    clean = [picture.clean for picture in pictures]
    as_it_is = np.array(
        [PROTOCOL.score(a, p.clean, p.setting)[:2] for a, p in zip(answers, pictures, strict=True)]
    ).mean(axis=0)
    assert np.allclose(as_it_is, standard(answers, clean))
    lines = ["| what is done otherwise | PSNR | SSIM |", "|---|---:|---:|"]
    for words, given, score in rules:
        moved = score(given, clean) - as_it_is
        lines.append(f"| {words} | {moved[0]:+.3f} dB | {moved[1]:+.4f} |")
    return page("\n".join(lines))


OF = "dncnn@ours"


def in_8_bits(image: Any) -> Any:
    return np.rint(255 * np.clip(image.astype(np.float64), 0, 1))


def mean_of(answers: Sequence[Any], clean: Sequence[Any], peak: float | None = 255.0) -> Any:
    """PSNR and SSIM as `standard-v1` takes them of values from 0 to 255, averaged; peak None: the picture's own."""
    from bench.measure.quality import psnr_db, ssim

    found = []
    for x, y in zip(answers, clean, strict=True):
        of_this = peak or y.max()
        found.append((psnr_db(x, y, peak=of_this), ssim(x, y, peak=of_this)))
    return np.mean(found, axis=0)


def standard(answers: Sequence[Any], clean: Sequence[Any]) -> Any:
    return mean_of([in_8_bits(x) for x in answers], [in_8_bits(y) for y in clean])


def not_rounded(answers: Sequence[Any], clean: Sequence[Any]) -> Any:
    return mean_of([255 * np.clip(x.astype(np.float64), 0, 1) for x in answers], [in_8_bits(y) for y in clean])


def own_peak(answers: Sequence[Any], clean: Sequence[Any]) -> Any:
    return mean_of([in_8_bits(x) for x in answers], [in_8_bits(y) for y in clean], peak=None)


def without_border(answers: Sequence[Any], clean: Sequence[Any]) -> Any:
    inside = slice(8, -8), slice(8, -8)
    return mean_of([in_8_bits(x)[inside] for x in answers], [in_8_bits(y)[inside] for y in clean])


def one_error(answers: Sequence[Any], clean: Sequence[Any]) -> Any:
    """PSNR of the mean squared error over all pictures; SSIM as it is."""
    errors = [np.mean((in_8_bits(x) - in_8_bits(y)) ** 2) for x, y in zip(answers, clean, strict=True)]
    return np.array([10 * np.log10(255**2 / np.mean(errors)), standard(answers, clean)[1]])


def flat_window(answers: Sequence[Any], clean: Sequence[Any]) -> Any:
    """SSIM as scikit-image has it unless told otherwise; PSNR as it is."""
    from skimage.metrics import structural_similarity

    pairs = [(in_8_bits(x)[..., 0], in_8_bits(y)[..., 0]) for x, y in zip(answers, clean, strict=True)]
    values = [structural_similarity(x, y, data_range=255) for x, y in pairs]
    return np.array([standard(answers, clean)[0], np.mean(values)])


SCORES = {
    "the answer is not rounded": not_rounded,
    "peak is the brightest value of each picture": own_peak,
    "PSNR is of the mean error of all pictures": one_error,
    "SSIM has scikit-image's flat 7×7 window": flat_window,
    "a border of 8 pixels is left out": without_border,
}

NOISES = {
    "the noisy picture is clipped to [0, 1]": lambda image: np.clip(image, 0, 1),
    "the noisy picture is clipped and rounded to 8 bits": lambda image: (in_8_bits(image) / 255).astype(np.float32),
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write the pages that are made from records.")
    parser.add_argument("folder", type=Path)
    write_all(parser.parse_args().folder)
