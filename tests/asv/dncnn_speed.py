"""How much faster the shipped DnCNN is than the plain network, on this machine, in one run.

    python tests/asv/dncnn_speed.py [--side 512] [--repeats 7] [--device cpu] [--write]

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

import numpy as np
import torch
from bench.methods.dncnn import DnCNN
from speed import Comparison, add_write, in_turns, ratio, write

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

    answers = {name: run() for name, run in runs.items()}
    seconds = in_turns(runs, options.repeats)  # a call ends with a copy to the host, which waits for the device

    gpu = "" if options.device == "cpu" else torch.cuda.get_device_name()
    threads = gpu or f"{torch.get_num_threads()} threads"
    work = f"DnCNN-S gray, {options.side}x{options.side}"
    print(f"{work}, {options.repeats} turns, {threads}, torch {torch.__version__}")
    comparisons = []
    for name in runs:
        of_name = Comparison(
            work,
            name,
            median(seconds[name]),
            "a plain network",
            median(seconds["plain"]),
            ratio(seconds["plain"], seconds[name]),
        )
        comparisons.append(of_name)
        difference = np.abs(answers[name] - answers["plain"]).max()
        print(
            f"{name:14} {of_name.seconds:7.3f} s  {of_name.ratio:5.2f} times as fast as plain"
            f"   largest difference {difference:.1e}"
        )
    if options.write:
        write(__file__, comparisons[1:], threads=torch.get_num_threads(), gpu=gpu)


def _prepared(variant: str, device: str) -> DnCNN:
    restorer = DnCNN(variant)
    restorer.prepare(Setting("denoise", 25.0, channels=1), device)
    return restorer


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=512, help="of the square image, in pixels (default: 512)")
    parser.add_argument("--repeats", type=int, default=7, help="turns of each network (default: 7)")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    add_write(parser)
    return parser.parse_args()


if __name__ == "__main__":
    main()
