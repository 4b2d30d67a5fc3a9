"""How much faster NLRN's sliding inference is than patches, and NSR's sparse network than the dense one of its size.

    python tests/asv/nonlocal_speed.py [--nlrn-side 256] [--nsr-side 512] [--repeats 3] [--full] [--memory]
                                        [--write]

All in one run and in turns, so that whatever else the machine does weighs on all alike; a ratio is the median of the
ratios turn by turn. Weights are random ones: the times do not depend on them. A 256x256 image has 1024 patches of
45x45 pixels, which take minutes: their time is that of one batch of them, multiplied by their number, unless --full
asks for all. --memory adds the peaks of processes that do nothing else. The figures that matter come from a machine
that is otherwise idle.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
from collections.abc import Mapping
from statistics import median

import numpy as np
import torch
from bench.methods.nlrn import NLRN, PATCHES_AT_ONCE, Q, starts
from bench.methods.nsr import NSR
from speed import Comparison, add_write, in_turns, ratio, write

from bench.restorer import Observation, Setting, TorchRestorer

GRAY = Setting("denoise", 25.0, channels=1)
SIDES = (128, 256, 512, 1024)  # for --memory


def main() -> None:
    options = _options()
    if options.peak_of:
        print(_peak_mib(options.peak_of, options.nlrn_side))
        return
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}, {options.repeats} turns")
    comparisons = [*_nlrn(options), *_nsr(options)]
    if options.write:
        write(__file__, comparisons, threads=torch.get_num_threads())
    if options.memory:
        _memory()


def _nlrn(options: argparse.Namespace) -> list[Comparison]:
    seen = _noisy(options.nlrn_side)
    sliding, bf16, patches = (_prepared(NLRN(variant)) for variant in ("", "bf16", "patches"))
    n_patches = len(starts(options.nlrn_side)) ** 2
    batch = torch.rand(PATCHES_AT_ONCE, 1, Q, Q)
    runs = {
        "sliding": lambda: sliding.restore(seen),
        "sliding, bf16": lambda: bf16.restore(seen),
        "patches": (lambda: patches.restore(seen)) if options.full else (lambda: patches.net(batch)),
    }
    times = {"patches": 1 if options.full else n_patches / PATCHES_AT_ONCE}
    with torch.inference_mode():
        seconds = in_turns(runs, options.repeats)
    estimated = "" if options.full else f"estimated from {PATCHES_AT_ONCE} of {n_patches} patches"
    work = f"NLRN, {options.nlrn_side}x{options.nlrn_side}"
    return _report(work, seconds, times, "patches", {"sliding": sliding, "patches": patches}, seen, estimated)


def _nsr(options: argparse.Namespace) -> list[Comparison]:
    seen = _noisy(options.nsr_side)
    restorers = {name: _prepared(NSR(name.partition(":")[2])) for name in ("nsr:dense", "nsr:sparse-", "nsr")}
    runs = {name: lambda restorer=restorer: restorer.restore(seen) for name, restorer in restorers.items()}
    work = f"NSR, {options.nsr_side}x{options.nsr_side}"
    return _report(work, in_turns(runs, options.repeats), {}, "nsr:dense", restorers, seen)


def _report(
    work: str,
    seconds: Mapping[str, list[float]],
    times: Mapping[str, float],
    slow: str,
    restorers: Mapping[str, TorchRestorer],
    seen: Observation,
    note: str = "",
) -> list[Comparison]:
    """Print the times of all, and compare each with the slow one.

    times  how many of the calls that were timed make one image; left out: 1
    """
    print(f"{work} {note}")
    took = {name: median(readings) * times.get(name, 1) for name, readings in seconds.items()}
    comparisons = []
    for name, readings in seconds.items():
        faster = ratio(seconds[slow], readings) * times.get(slow, 1) / times.get(name, 1)
        if name != slow:
            comparisons.append(Comparison(work, name, took[name], slow, took[slow], faster, note))
        restorer = restorers.get(name)
        size = (
            f"{restorer.n_params():9,} parameters {restorer.macs_per_pixel(seen) / 1e6:7.2f}M MACs/pixel"
            if restorer
            else ""
        )
        print(f"{name:18}{took[name]:9.3f} s {faster:6.2f} times as fast as {slow:10} {size}")
    return comparisons


def _memory() -> None:
    print(f"peak MiB          {''.join(f'{side:>8}²' for side in SIDES)}")
    for name in ("nlrn", "nsr"):
        peaks = []
        for side in SIDES:
            command = [sys.executable, __file__, "--peak-of", name, "--nlrn-side", str(side)]
            peaks.append(int(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
        print(f"{name:18}{''.join(f'{peak:9}' for peak in peaks)}")


def _peak_mib(name: str, side: int) -> int:
    _prepared({"nlrn": NLRN, "nsr": NSR}[name]()).restore(_noisy(side))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def _noisy(side: int) -> Observation:
    return Observation(np.random.default_rng(0).random((side, side, 1), dtype=np.float32), "denoise", sigma=25)


def _prepared(restorer: TorchRestorer) -> TorchRestorer:
    restorer.prepare(GRAY, "cpu")
    return restorer


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nlrn-side", type=int, default=256, help="of the square image, in pixels (default: 256)")
    parser.add_argument("--nsr-side", type=int, default=512, help="likewise (default: 512)")
    parser.add_argument("--repeats", type=int, default=3, help="turns after the warm-up (default: 3)")
    parser.add_argument("--full", action="store_true", help="run all patches")
    parser.add_argument("--memory", action="store_true", help="measure peaks, up to 1024x1024")
    add_write(parser)
    parser.add_argument("--peak-of", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
