"""How near each learned restorer comes to what this machine can multiply, in float32, in one run.

    python tests/asv/peak.py [NAME ...] [--side 256] [--channels 1] [--repeats 3] [--threads 2] [--write]
    python tests/asv/peak.py [NAME ...] --memory [--sides 256,512,1024] [--channels 1] [--write]

First the machine: how many operations a second a product of two large matrices reaches, and how many bytes a second a
copy of large arrays moves. Then each restorer on one noisy picture, a repeated picture of the sample, sigma 25. Its
multiply-accumulates are those it counts itself (`macs_per_pixel`), two operations each; **share** is what it does of
them a second, of what the product of large matrices reaches. The **floor** is the time that the machine would need
for the products alone, or for the bytes that must go through memory, whichever is longer. Those bytes are the least
that its steps hand on to the whole image (`VALUES`), not what the code moves.

--memory gives the peaks of processes that each restore one picture and do nothing else, and of one that only starts.
--write puts a table into results/peak.json, in place of the one of the same size, colours, threads and, of times,
processor. The page of performance shows all. A restorer whose weights are not here is run with random ones:
times hardly depend on them.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timezone
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
from bench.data import datasets
from speed import ROOT, commit, others

from bench.errors import BenchError
from bench.measure.environment import describe
from bench.measure.memory import peak_mib
from bench.plugins.registry import choose, load_class
from bench.plugins.weights import pick
from bench.protocol import get_protocol
from bench.restorer import Image, Observation, Setting, TorchRestorer

NAMES = ("dncnn", "ffdnet", "nsr", "nlrn", "groupsc", "deep-ksvd", "sc", "cscnet", "lidia")
FILE = ROOT / "results" / "peak.json"
FLOAT = 4  # bytes


def main() -> None:
    options = _options()
    if options.peak_of is not None:
        print(_peak_of(options.peak_of, options.side, options.channels))
    elif options.memory:
        _memory(options)
    else:
        _times(options)


def _times(options: argparse.Namespace) -> None:
    import torch

    os.environ["OMP_NUM_THREADS"] = str(options.threads)  # compiled kernels ask it
    torch.set_num_threads(options.threads)
    flops, bytes_a_second = matrix_rate(), memory_rate()
    print(
        f"{options.side}x{options.side}, {_colours(options.channels)}, {options.threads} threads, "
        f"torch {torch.__version__}: products {flops / 1e9:.0f} GFLOP/s, copies {bytes_a_second / 1e9:.1f} GB/s"
    )
    print("restorer          s  million MACs a pixel  GFLOP/s  share  MB to move  floor s")
    rows = []
    for name in options.names:
        prepared = _prepared(name, options.channels)
        if isinstance(prepared, str):
            print(f"{name:10} left out: {prepared}")
            continue
        seen = noisy(options.side, options.channels)[1]
        seconds = _seconds(lambda run=prepared, seen=seen: run.restore(seen), options.repeats)
        pixels = options.side**2
        macs = prepared.macs_per_pixel(seen)
        moved = FLOAT * pixels * (2 * options.channels + VALUES.get(name, _nothing)(prepared, seen))
        floor = max(2 * macs * pixels / flops, moved / bytes_a_second)
        rate = 2 * macs * pixels / seconds
        row = {
            "restorer": name,
            "seconds": seconds,
            "macs_per_pixel": macs,
            "gflops": rate / 1e9,
            "share": rate / flops,
            "megabytes": moved / 1e6,
            "floor_seconds": floor,
        }
        rows.append({key: _short(value) for key, value in row.items()})
        print(
            f"{name:10} {seconds:8.3f}  {macs / 1e6:20.3f}  {rate / 1e9:7.0f}  {rate / flops:5.0%}  "
            f"{moved / 1e6:10.0f}  {floor:7.3f}",
            flush=True,
        )
    if options.write:
        told = {
            "gflops": _short(flops / 1e9),
            "gigabytes_a_second": _short(bytes_a_second / 1e9),
            "threads": options.threads,
        }
        write("times", {"side": options.side, "channels": options.channels, **told}, rows)


# --- what the machine can do -------------------------------------------------------------------------------------


def matrix_rate(side: int = 2048, repeats: int = 30) -> float:
    """Operations a second of the best of some products of two float32 matrices, by torch's own way and by ours."""
    import torch
    from bench.methods.sparse import multiply

    a, b = torch.randn(2, side, side)
    out = torch.empty_like(a)
    with torch.inference_mode():
        best = min(_timed(lambda mm=mm: mm(a, b, out=out)) for mm in (torch.mm, multiply.mm) for _ in range(repeats))
    return 2 * side**3 / best


def memory_rate(mib: int = 512, repeats: int = 6) -> float:
    """Bytes a second, read and written, of the best of some copies of an array larger than most caches."""
    import torch

    source = torch.zeros(mib * 2**18)
    target = torch.empty_like(source)
    best = min(_timed(lambda: target.copy_(source)) for _ in range(repeats))
    return 2 * mib * 2**20 / best


# --- what a restorer must move -----------------------------------------------------------------------------------


def _nothing(restorer: TorchRestorer, seen: Observation) -> float:
    return 0.0


def _groupsc(restorer: TorchRestorer, seen: Observation) -> float:
    """Codes, and similarities of 16 bits: every step reads those of all neighbours, and writes codes for the next."""
    from bench.methods.fast.windows import Tiling
    from bench.methods.groupsc import THIN

    net, (height, width, _) = restorer.plain, seen.restored_shape
    gh, gw = height + net.patch_size - 1, width + net.patch_size - 1
    n_near = Tiling(gh, gw, net.window, THIN, restorer.device).weight.shape[1]
    refreshes = 1 + len(range(net.freq + 1, net.n_steps, net.freq))
    values = net.n_steps * (2 * net.D.shape[1] + n_near / 2) + refreshes * n_near / 2
    return gh * gw * values / (height * width)


def _nlrn(restorer: TorchRestorer, seen: Observation) -> float:
    """Correlations in 16 bits, which each state writes for the next."""
    streamed, (height, width, _) = restorer.net, seen.restored_shape
    return (len(streamed.states) - 1) * min(streamed.q, height) * min(streamed.q, width)


VALUES: dict[str, Callable[[TorchRestorer, Observation], float]] = {"groupsc": _groupsc, "nlrn": _nlrn}
"""Values of 32 bits a pixel that go to memory or come from it, besides the pictures: what a step hands on to patches
or pixels farther away than a cache holds. Those that are not here pass over the image once: each part of it goes
through all steps in the caches."""


# --- runs --------------------------------------------------------------------------------------------------------


def _prepared(name: str, channels: int) -> TorchRestorer | str:
    """The restorer, with the weights that a user would get; or why there is none."""
    setting = Setting("denoise", 25.0, channels)
    spec = choose(name)
    try:
        weights = pick(spec, setting).file
    except BenchError:
        weights = None
    restorer = load_class(spec.info.target)(spec.variant, weights)
    why_not = restorer.why_not(setting)
    if why_not:
        return why_not
    restorer.prepare(setting, "cpu")
    return restorer


def noisy(side: int, channels: int) -> tuple[Image, Observation]:
    """`clean_picture`, and what is seen of it with noise of sigma 25."""
    protocol, setting = get_protocol("standard-v1"), Setting("denoise", 25.0, channels)
    return protocol.degrade(clean_picture(side, channels), setting, seed=(0,))


def clean_picture(side: int, channels: int) -> Image:
    """A picture of the sample, mirrored on and on to that size."""
    sample = datasets.get("sample" if channels == 1 else "sample-colour")
    pixels = datasets.read(sample, sample.entries[0]).pixels
    beyond = [max(0, side - n) for n in pixels.shape[:2]]
    return np.pad(pixels, ((0, beyond[0]), (0, beyond[1]), (0, 0)), mode="symmetric")[:side, :side]


def _seconds(run: Callable[[], object], repeats: int) -> float:
    run()
    return median(_timed(run) for _ in range(repeats))


def _timed(run: Callable[[], object]) -> float:
    start = perf_counter()
    run()
    return perf_counter() - start


def _memory(options: argparse.Namespace) -> None:
    sides = [int(side) for side in options.sides.split(",")]
    print(f"peak MiB, {_colours(options.channels)}   " + "".join(f"{side:>8}²" for side in sides))
    rows = []
    for name in ("", *options.names):
        if name and isinstance(why_not := _prepared(name, options.channels), str):
            print(f"{name:10} left out: {why_not}")
            continue
        peaks = {side: _peak_mib(name, side, options.channels) for side in sides}
        print(f"{name or 'nothing':22}" + "".join(f"{peak:9.0f}" for peak in peaks.values()), flush=True)
        rows.append({"restorer": name, **{str(side): round(peak) for side, peak in peaks.items()}})
    if options.write:
        write("memory", {"channels": options.channels, "threads": options.threads}, rows)


def _peak_mib(name: str, side: int, channels: int) -> float:
    command = [sys.executable, __file__, "--peak-of", name, "--side", str(side), "--channels", str(channels)]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def _peak_of(name: str, side: int, channels: int) -> float | None:
    """MiB. Without a name: of a process that makes the picture and has torch."""
    import torch  # noqa: F401

    seen = noisy(side, channels)[1]
    if name:
        restorer = _prepared(name, channels)
        assert isinstance(restorer, TorchRestorer)
        restorer.restore(seen)
    return peak_mib("cpu")


# --- the file ----------------------------------------------------------------------------------------------------


def write(kind: str, told: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """A table into the file, in place of the one of its kind, size, colours, threads and, of times, processor."""
    table = {
        "kind": kind,
        **told,
        "command": shlex.join(["python", "tests/asv/peak.py", *sys.argv[1:]]),
        "day": datetime.now(timezone.utc).date().isoformat(),
        "commit": commit(),
        "machine": describe(),
        "cores_busy_with_others": others(),
        "rows": rows,
    }
    tables = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else []
    tables = sorted([*(one for one in tables if _key(one) != _key(table)), table], key=_key)
    FILE.write_text(json.dumps(tables, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"wrote {FILE.relative_to(ROOT)}")


def _key(table: dict[str, Any]) -> tuple[int, int, int, int, str]:
    kind = ("times", "memory").index(table["kind"])
    processor = "" if kind else table["machine"]["cpu"]
    return kind, table["channels"], table.get("side", 0), table["threads"], processor


def _short(value: Any) -> Any:
    """Figures to four digits: more are noise."""
    return float(f"{value:.4g}") if isinstance(value, float) else value


def _colours(channels: int) -> str:
    return "gray" if channels == 1 else "colour"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=NAMES, metavar="NAME", help=f"default: {' '.join(NAMES)}")
    parser.add_argument("--side", type=int, default=256, help="of the square picture, in pixels (default: 256)")
    parser.add_argument("--channels", type=int, default=1, choices=(1, 3), help="default: 1, gray")
    parser.add_argument("--repeats", type=int, default=3, help="calls after the warm-up (default: 3)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="default: one for each core")
    parser.add_argument("--memory", action="store_true", help="measure peaks instead of times")
    parser.add_argument("--sides", default="256,512,1024", help="of --memory (default: 256,512,1024)")
    parser.add_argument("--write", action="store_true", help=f"write the table into {FILE.relative_to(ROOT)}")
    parser.add_argument("--peak-of", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
