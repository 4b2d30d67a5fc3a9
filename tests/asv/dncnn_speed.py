"""How much faster the shipped DnCNN is than the plain network, on this machine, in one run.

    python tests/asv/dncnn_speed.py [--side 512] [--repeats 7] [--device cpu]

The plain network is what a first PyTorch version is: contiguous tensors, one module after another, merged weights,
eval and inference mode. Its turns alternate with the others', so that whatever else the machine does weighs on
all alike; a ratio is the median of the ratios turn by turn. Weights are random ones: the time does not
depend on them. The figures that matter come from an otherwise idle machine.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable
from statistics import median
from time import perf_counter

import numpy as np
import torch
from bench.methods.dncnn import DnCNN

from bench.restorer import Observation, Setting


def main() -> None:
    options = _options()
    clean = np.random.default_rng(0).random((options.side, options.side, 1), dtype=np.float32)
    seen = Observation(clean, "denoise", sigma=25)
    shipped, bf16 = _prepared("", options.device), _prepared("bf16", options.device)
    plain = copy.copy(shipped)
    plain.net = copy.deepcopy(shipped.plain).to(memory_format=torch.contiguous_format)
    runs: dict[str, Callable[[], np.ndarray]] = {
        "plain": lambda: plain.restore(seen),
        "channels-last": lambda: channels_last.restore(seen),
        "shipped": lambda: shipped.restore(seen),
        "bf16": lambda: bf16.restore(seen),
    }
    channels_last = copy.copy(shipped)
    channels_last.net = copy.deepcopy(shipped.plain).to(memory_format=torch.channels_last)

    answers = {name: run() for name, run in runs.items()}  # also the warm-up
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(options.repeats):
        for name, run in runs.items():
            start = perf_counter()
            run()  # ends with a copy to the host, which waits for the device
            seconds[name].append(perf_counter() - start)

    threads = f"{torch.get_num_threads()} threads" if options.device == "cpu" else torch.cuda.get_device_name()
    print(
        f"DnCNN-S gray, {options.side}x{options.side}, {options.repeats} turns, {threads}, torch {torch.__version__}"
    )
    for name in runs:
        ratio = median(a / b for a, b in zip(seconds["plain"], seconds[name], strict=True))
        difference = np.abs(answers[name] - answers["plain"]).max()
        print(
            f"{name:14} {median(seconds[name]):7.3f} s  {ratio:5.2f} times as fast as plain"
            f"   largest difference {difference:.1e}"
        )


def _prepared(variant: str, device: str) -> DnCNN:
    restorer = DnCNN(variant)
    restorer.prepare(Setting("denoise", 25.0, channels=1), device)
    return restorer


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=512, help="of the square image, in pixels (default: 512)")
    parser.add_argument("--repeats", type=int, default=7, help="turns of each network (default: 7)")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    return parser.parse_args()


if __name__ == "__main__":
    main()
