"""How much faster GroupSC's sliding inference is than the authors' blocks, on this machine, in one run.

    python tests/asv/groupsc_speed.py [--weights FILE] [--window 24] [--image 04.png] [--full] [--memory]

`blocks` is the authors' scheme done as they do it: blocks of 56x56 pixels, each alone, float32, all patches of a
block against all, row sums at every thresholding. 729 blocks at stride 12 take minutes: their time is that of the few
timed here, in turns with `sliding`, so that whatever else the machine does weighs on both alike, multiplied by
their number; a ratio is the median of the ratios turn by turn. --full runs all 729 and gives their PSNR too; without
it the PSNR of stride 48 (64 blocks) stands for them. --memory adds the peak of a process that does nothing else.
Without weights the dictionary is random: the times do not depend on it, the PSNR means nothing then.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import torch
from torch import Tensor

from methods.sparse.network import SparseCoding
from methods.sparse.patches import average, coverage, extract
from methods.sparse.prox import relaxed_group_soft_threshold
from methods.sparse.sliding import reflected, sliding_denoise

BLOCK = 56


@torch.no_grad()
def main() -> None:
    options = _options()
    if options.peak_of:
        print(_peak_of(options))
        return
    net = _network(options)
    x = _image(options.image, options.side)
    y = x + options.sigma / 255 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    side = f"{y.shape[2]}x{y.shape[3]}"
    print(
        f"GroupSC, window {net.window}, {side}, sigma {options.sigma}, {torch.get_num_threads()} threads, "
        f"torch {torch.__version__}; the noisy image has {_psnr_db(y, x):.3f} dB"
    )
    n_12, n_48 = (len(_cut(y, stride)[0]) for stride in (12, 48))
    some = _cut(y, 48)[0][: options.blocks_per_turn]
    x_hat = sliding_denoise(net, y)  # the warm-ups
    block_by_block(net, some[:1])
    seconds: dict[str, list[float]] = {"block": [], "sliding": []}
    for _ in range(options.repeats):
        seconds["block"].append(_seconds(lambda: block_by_block(net, some)) / len(some))
        seconds["sliding"].append(_seconds(lambda: sliding_denoise(net, y)))
    block, sliding = median(seconds["block"]), median(seconds["sliding"])
    ratio = median(a / b for a, b in zip(seconds["block"], seconds["sliding"], strict=True))
    for stride, n in ((12, n_12), (48, n_48)):
        print(
            f"blocks, stride {stride}: {n * block:7.1f} s estimated, {n} x {block:.3f} s "
            f"({options.repeats * len(some)} blocks timed); sliding is {n * ratio:.1f} times faster"
        )
    print(f"sliding:           {sliding:7.2f} s,  {_psnr_db(x_hat, x):.3f} dB")
    exact = sliding_denoise(net, y, thin=1, dtype=torch.float32)
    print(f"  all neighbours, float32:     {_psnr_db(exact, x):.3f} dB")
    for stride in (48, 12) if options.full else (48,):
        start = perf_counter()
        answer = blocks(net, y, stride)
        print(f"blocks, stride {stride}: {perf_counter() - start:7.1f} s in full, {_psnr_db(answer, x):.3f} dB")
    if options.memory:
        peaks = {n: _peak_mib(n, options) for n in (256, 1024)}
        for n, (peak, before) in peaks.items():
            print(f"peak memory at {n}x{n}: {peak:.0f} MiB, of which {before:.0f} before the call")
        print(f"ratio of the two: {peaks[1024][0] / peaks[256][0]:.1f}")


def blocks(net: SparseCoding, y: Tensor, stride: int) -> Tensor:
    """The authors' inference (blocks merged with weights = patches that cover a pixel), of y (1, 1, H, W)."""
    crops, corners, padded = _cut(y, stride)
    total, weight = torch.zeros(padded), torch.zeros(padded)
    count = coverage(BLOCK, BLOCK, net.patch_size, like=y)
    for x_hat, (i, j) in zip(block_by_block(net, crops), corners, strict=True):
        total[i : i + BLOCK, j : j + BLOCK] += count * x_hat
        weight[i : i + BLOCK, j : j + BLOCK] += count
    inside = (total / weight)[BLOCK - 1 :, BLOCK - 1 :][: y.shape[2], : y.shape[3]]
    return inside[None, None]


def block_by_block(net: SparseCoding, crops: list[Tensor]) -> list[Tensor]:
    """Algorithm 1 on each block, as the authors' code does it: dense matrices, nothing kept between steps."""
    s, nu = net.patch_size, torch.sigmoid(net.nu)
    grid = torch.cartesian_prod(*[torch.arange(BLOCK - s + 1)] * 2)
    offset = grid[None] - grid[:, None]
    far = 1e10 * ((offset < -(net.window // 2)) | (offset > (net.window - 1) // 2)).any(-1)

    def similarity(patches: Tensor) -> Tensor:
        u = patches * net.kappa
        norm2 = u.square().sum(1)
        return torch.exp(-((norm2[:, None] + norm2 - 2 * u @ u.T).clamp(min=0) + far))

    def estimate(alpha: Tensor, mu: Tensor) -> Tensor:
        side = BLOCK - s + 1
        return average((alpha @ net.W.T + mu).view(1, side, side, -1), s)

    answers = []
    for crop in crops:
        patches = extract(crop[None, None], s).flatten(0, 2)
        mu = patches.mean(1, keepdim=True)
        y, alpha = patches - mu, torch.zeros(len(patches), net.D.shape[1])
        Sigma = similarity(y)
        for k in range(net.n_steps):
            if k > 1 and (k - 1) % net.freq == 0:
                x_hat = extract(estimate(alpha, mu), s).flatten(0, 2)
                Sigma = (1 - nu) * Sigma + nu * similarity(x_hat - mu)
            B = alpha + (y - alpha @ net.D.T) @ net.C
            norm2, mass = Sigma @ B.square(), Sigma.sum(1, keepdim=True)
            alpha = relaxed_group_soft_threshold(B, net.lmbda[k], norm2, mass)
        answers.append(estimate(alpha, mu)[0, 0])
    return answers


def _cut(y: Tensor, stride: int) -> tuple[list[Tensor], list[tuple[int, int]], tuple[int, int]]:
    """The authors' blocks, their corners, and the size of the padded image (facts: Inference)."""
    pad = BLOCK - 1
    more = [stride - (n - BLOCK) % stride for n in y.shape[2:]]  # below and on the right only
    H, W = (n + 2 * pad + m for n, m in zip(y.shape[2:], more, strict=True))
    y = reflected(y, pad + max(more))[0, 0, max(more) :, max(more) :][:H, :W]
    corners = [(i, j) for i in range(0, H - BLOCK + 1, stride) for j in range(0, W - BLOCK + 1, stride)]
    return [y[i : i + BLOCK, j : j + BLOCK] for i, j in corners], corners, (H, W)


def _seconds(run: Callable[[], object]) -> float:
    start = perf_counter()
    run()
    return perf_counter() - start


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
    from data import datasets

    set12 = datasets.get("set12")
    entry = next(entry for entry in set12.entries if entry.name == name)
    pixels = datasets.read(set12, entry).pixels
    return torch.from_numpy(np.ascontiguousarray(pixels[:side, :side, 0]))[None, None]


def _peak_mib(side: int, options: argparse.Namespace) -> tuple[float, float]:
    """Of a fresh process that denoises one image of that side, and its peak before the call."""
    command = [sys.executable, __file__, "--peak-of", str(side), "--window", str(options.window)]
    command += ["--weights", str(options.weights)] if options.weights else []
    peak, before = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return float(peak), float(before)


def _peak_of(options: argparse.Namespace) -> str:
    from bench.measure.memory import peak_mib

    net, y = _network(options), _image("", options.peak_of)
    sliding_denoise(net, y[:, :, :16, :16])
    before = peak_mib("cpu")
    sliding_denoise(net, y)
    return f"{peak_mib('cpu')} {before}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, help="a safetensors file of the network (default: random)")
    parser.add_argument("--window", type=int, default=24, help="side of the windows, as trained (default: 24)")
    parser.add_argument("--image", default="04.png", help="of set12 (default: 04.png); '' for noise")
    parser.add_argument("--side", type=int, default=256, help="pixels taken of it (default: 256)")
    parser.add_argument("--sigma", type=float, default=25, help="of the noise, on the 0-255 scale (default: 25)")
    parser.add_argument("--repeats", type=int, default=5, help="turns (default: 5)")
    parser.add_argument("--blocks-per-turn", type=int, default=3, help="blocks timed in a turn (default: 3)")
    parser.add_argument("--full", action="store_true", help="run all blocks of stride 12: many minutes")
    parser.add_argument("--memory", action="store_true", help="measure peak memory at 256 and 1024")
    parser.add_argument("--peak-of", type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
