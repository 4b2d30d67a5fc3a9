"""How fast BM3D is, beside the authors' package and DeepInverse's port where these are installed.

    python tests/asv/bm3d_speed.py [--sides 256,512] [--threads 1,2] [--repeats 3] [--write]

All in one run and in turns, so that whatever else the machine does weighs on all alike; a ratio is the median of the
ratios turn by turn. Each has the same threads: the package by its profile, the port by torch. The PSNR of each is
printed beside its time. Other free ports were looked for: pybm3d and those for VapourSynth have nothing that pip
installs on Linux; bm3d-cupy and bm3d-triton need a GPU.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from importlib.util import find_spec
from statistics import median

import numpy as np
import torch
from bench.methods.bm3d import BM3D, package_profile
from peak import noisy
from speed import Comparison, add_write, in_turns, ratio, write

from bench.restorer import Image, Observation

SIGMA = 25.0
BARS = {1: 1.0, 2: 5.0}
"""Times as fast as the package that ours is to be, by threads."""


def main() -> None:
    options = _options()
    comparisons = [
        comparison
        for side in options.sides
        for threads in options.threads
        for comparison in compared(side, threads, options.repeats)
    ]
    if options.write:
        packages = ["bm3d", *(["deepinv"] if find_spec("deepinv") else [])]
        write(__file__, comparisons, threads=max(options.threads), packages=packages)


def compared(side: int, threads: int, repeats: int) -> list[Comparison]:
    """Ours against each of the others that are here."""
    os.environ["OMP_NUM_THREADS"] = str(threads)  # our kernels ask it at each call
    torch.set_num_threads(threads)
    clean, seen = noisy(side, channels=1)
    answers: dict[str, Image] = {}

    def keep(name: str, run: Callable[[], Image]) -> Callable[[], object]:
        return lambda: answers.__setitem__(name, run())

    ways = {"ours": lambda: BM3D().restore(seen), **others(seen, threads)}
    seconds = in_turns({name: keep(name, run) for name, run in ways.items()}, repeats)
    work = f"BM3D gray, {side}x{side}, {threads} thread{'' if threads == 1 else 's'}"
    comparisons = []
    for name, readings in seconds.items():
        faster = ratio(readings, seconds["ours"])
        quality = psnr(answers[name], clean)
        times = f"{median(readings):8.3f} s, ours {faster:6.2f} times as fast"
        print(f"{work}  {name:22}{times}  {quality:.2f} dB", flush=True)
        if name != "ours":
            bar = BARS.get(threads) if name == PACKAGE else None
            ours = median(seconds["ours"])
            comparisons.append(Comparison(work, "ours", ours, name, median(readings), faster, bar=bar))
    return comparisons


PACKAGE = "the authors' package"


def others(seen: Observation, threads: int) -> dict[str, Callable[[], Image]]:
    y, s = seen.image[..., 0], SIGMA / 255
    found: dict[str, Callable[[], Image]] = {}
    if find_spec("bm3d"):
        from bm3d import bm3d

        profile = package_profile(SIGMA)
        profile.num_threads = threads
        found[PACKAGE] = lambda: bm3d(y.astype(np.float64), s, profile)[..., None]
    else:
        print("bm3d is not installed")
    if find_spec("deepinv"):
        from deepinv import models

        port, batch = models.BM3D(use_legacy=False), torch.from_numpy(seen.image).permute(2, 0, 1)[None]
        found["DeepInverse's port"] = lambda: port(batch, s)[0].permute(1, 2, 0).numpy()
    else:
        print("deepinv is not installed")
    return found


def psnr(x_hat: Image, x: Image) -> float:
    """In dB, peak 1; clipped as the protocol does."""
    return float(-10 * np.log10(np.mean((x_hat.clip(0, 1).astype(np.float64) - x) ** 2)))


def _options() -> argparse.Namespace:
    def numbers(words: str) -> list[int]:
        return [int(word) for word in words.split(",")]

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=numbers, default=[256, 512], help="of the square pictures (default: 256,512)")
    parser.add_argument("--threads", type=numbers, default=[1, 2], help="default: 1,2")
    parser.add_argument("--repeats", type=int, default=3, help="turns after the warm-up (default: 3)")
    add_write(parser)
    return parser.parse_args()


if __name__ == "__main__":
    main()
