"""How much faster GroupSC's sliding inference is than blocks, and its light network than NLRN, in one run.

    python tests/asv/groupsc_speed.py [--weights FILE] [--window 24] [--image 04.png] [--full] [--memory] [--write]
    python tests/asv/groupsc_speed.py --tasks

Two ways to run the authors' blocks of 56x56 pixels: theirs (float32, all patches of a block against all, row sums at
every thresholding) and ours (`groupsc:blocks`, tiles). 676 of them at stride 12 (729 with those of theirs that lie
beyond the image) take minutes: their time is that of the few timed here, in turns with `sliding`, so that whatever
else the machine does weighs on all alike, multiplied by their number; a ratio is the median of the ratios turn by
turn. --full runs all blocks of stride 12 and gives their PSNR too. --memory adds the peaks of processes that do
nothing else. Without weights the dictionary is random: times do not depend on it, the PSNR means nothing then.

--tasks times SC and GroupSC (sliding) on each of their tasks instead: one 512x512 image, in colour except for JPEG.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import torch
from bench.methods.fast.groupsc import sliding_restore
from bench.methods.groupsc import BLOCK, block_count, merged_blocks
from bench.methods.networks.sparse_coding import SparseCoding
from bench.methods.nlrn import NLRN
from bench.methods.sparse.patches import average, extract
from bench.methods.sparse.prox import relaxed_group_soft_threshold
from speed import Comparison, add_write, in_turns, ratio, write
from torch import Tensor

from bench.plugins.registry import choose
from bench.restorer import Observation, Setting
from bench.training.recipe import find_recipe


@torch.no_grad()
def main() -> None:
    options = _options()
    if options.peak_of:
        print(_peak_of(options))
        return
    if options.tasks:
        for name, window in (("sc", 0), ("groupsc", options.window)):
            for task in ("denoise", "denoise-blind", "deblock", "demosaick"):
                took, peak = _fresh("--task-of", task, "--window", str(window))
                print(f"{name:8} {task:14} {took:6.2f} s, peak {peak:5.0f} MiB", flush=True)
        return
    if options.task_of:
        print(_task_of(options))
        return
    net = _network(options)
    x = _image(options.image, options.side)
    y = x + options.sigma / 255 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    work = f"GroupSC, window {net.window}, {y.shape[2]}x{y.shape[3]}"
    print(
        f"{work}, sigma {options.sigma}, {torch.get_num_threads()} threads, "
        f"torch {torch.__version__}; the noisy image has {_psnr_db(y, x):.3f} dB"
    )
    crops = [y[:, :, i : i + BLOCK, j : j + BLOCK] for i, j in ((0, 0), (100, 100), (0, 150), (180, 90))]
    runs = {
        "blocks, as theirs": lambda: [authors_block(net, crop) for crop in crops[:2]],
        "blocks": lambda: net(torch.cat(crops)),
        "sliding": lambda: sliding_restore(net, y),
    }
    blocks_in = {"blocks, as theirs": 2, "blocks": len(crops)}
    runs |= _light_and_nlrn(y)
    seconds = in_turns(runs, options.repeats)
    sliding = median(seconds["sliding"])
    print(f"sliding                       {sliding:8.2f} s")
    comparisons = []
    for name, n_timed in blocks_in.items():
        per_block = median(seconds[name]) / n_timed
        for stride in (12, 48):
            n = math.prod(
                theirs(size, stride) if "theirs" in name else block_count(size, stride) for size in y.shape[2:]
            )
            times = n / n_timed * ratio(seconds[name], seconds["sliding"])
            estimated = f"estimated from {options.repeats * n_timed} of {n} blocks"
            print(
                f"{name:17} stride {stride}   {n * per_block:8.2f} s = {n} x {per_block:.3f} s, {estimated}; "
                f"sliding is {times:.1f} times as fast"
            )
            other = f"{name}, stride {stride}"
            comparisons.append(Comparison(work, "sliding", sliding, other, n * per_block, times, estimated))
    light = median(seconds["light"])
    for name, note in (("sliding", ""), ("nlrn", "9.7 in the paper: 2.17 and 21.02 s")):
        times = ratio(seconds[name], seconds["light"])
        other = {"sliding": "the full network", "nlrn": "NLRN"}[name]
        print(f"the light network takes {light:.2f} s and is {times:.1f} times as fast as {other}")
        comparisons.append(Comparison("GroupSC, light", "light", light, other, median(seconds[name]), times, note))
    if options.write:
        write(__file__, comparisons, threads=torch.get_num_threads())
        return
    print(f"PSNR  sliding {_psnr_db(sliding_restore(net, y), x):.3f} dB")
    print(f"      all neighbours, float32 {_psnr_db(sliding_restore(net, y, thin=1, dtype=torch.float32), x):.3f} dB")
    for stride in (48, 12) if options.full else (48,):
        start = perf_counter()
        answer = merged_blocks(net, y, stride)
        took = perf_counter() - start
        print(f"      blocks, stride {stride} {_psnr_db(answer, x):.3f} dB ({took:.1f} s for all of them)")
    if options.memory:
        peaks = {n: _peak_mib(n, options) for n in (256, 1024)}
        for n, (peak, before) in peaks.items():
            print(f"peak memory at {n}x{n}: {peak:.0f} MiB, of which {before:.0f} before the call")
        print(f"ratio of the two: {peaks[1024][0] / peaks[256][0]:.1f}")


def _light_and_nlrn(y: Tensor) -> dict[str, Callable[[], object]]:
    """What the paper's Sec. 4 times: the light network, ours (recipe `light`), and NLRN."""
    recipe = find_recipe(choose("groupsc").info, "light")
    net = SparseCoding(**recipe.network_options).requires_grad_(False)
    nlrn = NLRN()
    nlrn.prepare(Setting("denoise", 25.0, 1), "cpu")
    seen = Observation(y[0].permute(1, 2, 0).numpy(), "denoise", sigma=25)
    return {"light": lambda: sliding_restore(net, y), "nlrn": lambda: nlrn.restore(seen)}


def authors_block(net: SparseCoding, crop: Tensor) -> Tensor:
    """Algorithm 1 on a block (1, 1, 56, 56) as the authors' code does it: dense, nothing kept between steps."""
    s, nu = net.patch_size, torch.sigmoid(net.nu)
    side = BLOCK - s + 1
    place = torch.cartesian_prod(torch.arange(side), torch.arange(side))
    offset = place[None] - place[:, None]
    far = 1e10 * ((offset < -(net.window // 2)) | (offset > (net.window - 1) // 2)).any(-1)

    def similarity(patches: Tensor) -> Tensor:
        u = patches * net.kappa
        norm2 = u.square().sum(1)
        return torch.exp(-((norm2[:, None] + norm2 - 2 * u @ u.T).clamp(min=0) + far))

    patches = extract(crop, s).flatten(0, 2)
    mu = patches.mean(1, keepdim=True)
    y, alpha = patches - mu, torch.zeros(len(patches), net.D.shape[1])
    Sigma = similarity(y)
    for k in range(net.n_steps):
        if k > 1 and (k - 1) % net.freq == 0:
            x_hat = extract(average((alpha @ net.W.T + mu).view(1, side, side, -1), s), s).flatten(0, 2)
            Sigma = (1 - nu) * Sigma + nu * similarity(x_hat - mu)
        B = alpha + (y - alpha @ net.D.T) @ net.C
        alpha = relaxed_group_soft_threshold(B, net.lmbda[k], Sigma @ B.square(), Sigma.sum(1, keepdim=True))
    return average((alpha @ net.W.T + mu).view(1, side, side, -1), s)


def theirs(size: int, stride: int) -> int:
    """The authors' blocks along an axis: their padding (facts: Inference) adds up to a stride, or a whole one."""
    return (size + 2 * (BLOCK - 1) + stride - (size - BLOCK) % stride - BLOCK) // stride + 1


def _psnr_db(x_hat: Tensor, x: Tensor) -> float:
    return -10 * (x_hat.clamp(0, 1) - x).square().mean().log10().item()


def _network(options: argparse.Namespace) -> SparseCoding:
    torch.manual_seed(0)
    net = SparseCoding(window=options.window).requires_grad_(False)
    if options.weights:
        from safetensors.torch import load_file

        net.load_state_dict(load_file(options.weights))
    return net


def _image(name: str, side: int) -> Tensor:
    """A picture of set12, or noise where there is none; its top left side x side pixels."""
    if not name:
        return torch.rand(1, 1, side, side, generator=torch.Generator().manual_seed(0))
    from bench.data import datasets

    set12 = datasets.get("set12")
    entry = next(entry for entry in set12.entries if entry.name == name)
    pixels = datasets.read(set12, entry).pixels
    return torch.from_numpy(np.ascontiguousarray(pixels[:side, :side, 0]))[None, None]


def _peak_mib(side: int, options: argparse.Namespace) -> tuple[float, float]:
    """Of a fresh process that denoises one image of that side, and its peak before the call."""
    weights = ["--weights", str(options.weights)] if options.weights else []
    return _fresh("--peak-of", str(side), "--window", str(options.window), *weights)


def _fresh(*words: str) -> tuple[float, float]:
    """The two figures that this script prints, given these words, in a process that does nothing else."""
    command = [sys.executable, __file__, *words]
    a, b = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    return float(a), float(b)


def _peak_of(options: argparse.Namespace) -> str:
    from bench.measure.memory import peak_mib

    net, y = _network(options), _image("", options.peak_of)
    sliding_restore(net, y[:, :, :16, :16])
    before = peak_mib("cpu")
    sliding_restore(net, y)
    return f"{peak_mib('cpu')} {before}"


def _task_of(options: argparse.Namespace) -> str:
    """Seconds for a 512x512 image of that task, the median of three, and the peak in MiB."""
    from bench.methods.groupsc import GroupSC
    from bench.methods.sc import SC

    from bench.measure.memory import peak_mib
    from bench.tasks import get_task

    task = get_task(options.task_of)
    setting = Setting(task.name, task.levels[0], task.channels or 3)
    clean = np.random.RandomState(0).rand(512, 512, setting.channels).astype(np.float32)
    seen = task.observe(clean, setting.level, np.random.RandomState(1))
    restorer = GroupSC() if options.window else SC()
    restorer.options = {"first_guess": "menon"} | ({"window": options.window} if options.window else {})
    restorer.prepare(setting, "cpu")
    y = torch.from_numpy(seen.image).permute(2, 0, 1)[None]
    seconds = []
    with torch.inference_mode():
        for _ in range(4):
            start = perf_counter()
            restorer.forward(y, seen)
            seconds.append(perf_counter() - start)
    return f"{median(seconds[1:])} {peak_mib('cpu')}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, help="a safetensors file of the network (default: random)")
    parser.add_argument("--window", type=int, default=24, help="side of the windows, as trained (default: 24)")
    parser.add_argument("--image", default="04.png", help="of set12 (default: 04.png); '' for noise")
    parser.add_argument("--side", type=int, default=256, help="pixels taken of it (default: 256)")
    parser.add_argument("--sigma", type=float, default=25, help="of the noise, on the 0-255 scale (default: 25)")
    parser.add_argument("--repeats", type=int, default=5, help="turns (default: 5)")
    parser.add_argument("--full", action="store_true", help="run all blocks of stride 12: many minutes")
    parser.add_argument("--memory", action="store_true", help="measure peak memory at 256 and 1024")
    parser.add_argument("--tasks", action="store_true", help="time every task of sc and groupsc instead")
    add_write(parser)
    parser.add_argument("--task-of", default="", help=argparse.SUPPRESS)
    parser.add_argument("--peak-of", type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
