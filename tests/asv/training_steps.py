"""What a training step costs a GPU at least, and how many of them ten minutes buy.

    python tests/asv/training_steps.py [--methods groupsc sc nlrn nsr] [--recipe gpu] [--measure 30 --device cuda]
                                        [--write]

Counted from the sizes of the networks, in bfloat16 as their recipes have it: the operations of the products (two for
each multiply-accumulate), forward and with the backward pass, and the bytes that go through the GPU's memory if each
pass reads and writes each of its tensors once, nothing staying in a cache. A pass is a product, or one of the
elementwise operations in between, fused where networks.on_gpu fuses them. The parameters are too few to count,
and so is the optimizer's work on them. tests/training/test_training_steps.py holds the operations against torch's
own count.

A step takes no less than the larger of the two times. --measure makes 2 N real steps of each recipe and times the
second half. --write, with --measure on a GPU, puts them beside the bound into results/speed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from bench.methods.networks.nlrn import NonLocal, NonLocalRecurrent
from bench.methods.networks.nsr import SparseConv2d, SparseResidual
from bench.methods.networks.on_gpu import ALIGNMENT
from bench.methods.networks.sparse_coding import SparseCoding
from torch import nn

from bench.plugins.registry import choose, load_class
from bench.restorer import Setting, TorchRestorer
from bench.task import parse_levels
from bench.tasks import get_task
from bench.training.recipe import Recipe, find_recipe

FLOPS = 400e12  # a second, in bfloat16: what large products reach on an H100 or H200, not what its data sheet says
BYTES = 3e12  # a second
MINUTES = 10
SHORT, LONG = 2, 4  # bytes of a bfloat16 and of a float32
LEVELS = {"denoise": "25", "denoise-blind": "25", "deblock": "10", "demosaick": "RGGB", "superres": "2"}


@dataclass(frozen=True)
class Work:
    """Multiply-accumulates of the forward and of the backward pass, and bytes read or written in both."""

    forward: float = 0
    backward: float = 0
    bytes: float = 0

    def __add__(self, other: Work) -> Work:
        return Work(self.forward + other.forward, self.backward + other.backward, self.bytes + other.bytes)

    def __rmul__(self, times: int) -> Work:
        return Work(times * self.forward, times * self.backward, times * self.bytes)


def passed(numbers: float, *, short: int = 0, long: int = 0) -> Work:
    """Elementwise work on tensors of so many numbers, this many times read or written, there and back together."""
    return Work(bytes=numbers * (short * SHORT + long * LONG))


# --- SC and GroupSC: on_gpu.py and sparse_coding.py in methods/networks -------------------------------------


def sparse_coding(net: SparseCoding, crops: int, side: int) -> Work:
    """K steps of Algorithm 1 in segments; between two of them GroupSC refreshes its similarities."""
    n = (side - net.patch_size + 1) ** 2  # patches of a crop
    K = net.n_steps
    if not net.window:
        return coding(net, crops, n, K, first=True) + estimates(net, crops, n)
    starts = [0, *range(net.freq + 1, K, net.freq)]
    total = similarity(net, crops, n)
    for start, end in zip(starts, [*starts[1:], K], strict=True):
        if start:
            total += estimates(net, crops, n) + refresh(net, crops, n)
        total += coding(net, crops, n, end - start, first=start == 0)
    return total + estimates(net, crops, n)


def coding(net: SparseCoding, crops: int, n: int, K: int, *, first: bool) -> Work:
    """K steps; the first of all starts from alpha = 0, where the residual is y and no gradient goes on."""
    N, m, p = crops * n, filled(net.D.shape[0]), net.D.shape[1]
    # r = y - a D^T, and back: dr = dB C^T, dD = dr^T a, and what alpha takes, dr D
    residual = Work(N * m * p, 3 * N * m * p, SHORT * N * ((p + 2 * m) + 3 * (p + m)))
    # move = r C, and back: dC = r^T dB
    move = Work(N * m * p, N * m * p, SHORT * N * 2 * (m + p))
    steps = K * move + (K - first) * residual
    if not net.window:
        # _shrunk: alpha, move in; alpha, codes, B out. Back: g, back, B in; g long and short out
        return steps + K * passed(N * p, short=3 + 3, long=2 + 2)
    # norm2 = Sigma (B * B), one dense (n, n) matrix a crop, and back its transpose
    sums = Work(crops * n * n * p, crops * n * n * p, SHORT * 2 * (crops * n * n + 2 * N * p))
    # _moved: alpha, move in; B, its squares out. _shrunk_in_groups: alpha, move, norm2 in; alpha, codes out
    there = passed(N * p, short=3 + 3, long=1 + 2)
    # _back_through_groups: g, back, B, norm2 in; dB, dnorm2 out. _back_through_squares: g, B, v in; dB twice out
    back = passed(N * p, short=4 + 3, long=2 + 2)
    # dSigma = dnorm2 (B * B)^T over the entries of all K steps, whose squares are formed anew and laid side by side
    gradient = Work(0, crops * n * n * K * p, SHORT * (crops * n * n + 2 * K * N * p))
    side_by_side = passed(K * N * p, short=2 + 2 + 2)
    return steps + K * (sums + there + back) + gradient + side_by_side


def similarity(net: SparseCoding, crops: int, n: int) -> Work:
    """Eq. 12 by one product of vectors, methods.networks.on_gpu.dense_similarity."""
    N, m, pairs = crops * n, net.D.shape[0], crops * n * n
    u, u1 = filled(m + 6), filled(m + 1)  # u beside its squared norm in three parts and three ones; beside one 1
    # u u^T and, back, G u and G^T u with long answers
    there, back = SHORT * (2 * N * u + pairs), 2 * (SHORT * (pairs + N * u1) + LONG * N * u1)
    product = Work(pairs * u, 2 * pairs * u1, there + back)
    # exp: distances in, S out; the penalty of the window is one for all crops. Back: dS, S in; G out
    exponential = passed(pairs, short=2 + 3) + passed(n * n, long=1)
    # times kappa (in, out); back, for kappa: times the patches (2 in, 1 out), summed (in)
    return product + exponential + passed(N * m, long=2 + 4)


def refresh(net: SparseCoding, crops: int, n: int) -> Work:
    """Line 7 of Algorithm 1: similarities of the estimate, and the online average with those before."""
    # Sigma, Sigma^ in; the mean out. Back, for Sigma and for Sigma^: gradient in, out; for nu: Sigma^ - Sigma (2 in,
    # 1 out), times the gradient (2 in, 1 out), its sum (1 in). Then Sigma's two gradients, of its steps and of its
    # mean, are added (2 in, 1 out)
    average = passed(crops * n * n, short=3 + 2 + 2 + 3 + 3 + 1 + 3)
    # the estimate's patches (out) less their means (in, out); back: times kappa (in, out), overlap-added (in)
    patches = passed(crops * n * net.D.shape[0], long=3 + 3)
    return similarity(net, crops, n) + average + patches


def estimates(net: SparseCoding, crops: int, n: int) -> Work:
    """W alpha + mu of all patches, and their average."""
    N, (m, p) = crops * n, net.D.shape
    # alpha is made short; one product there, two back; the gradient of alpha is made long
    product = Work(N * m * p, 2 * N * m * p, SHORT * 3 * N * (m + p))
    # the answer is made long (in, out), mu added (in, out), patches overlap-added (in). Back: taken apart (out), made
    # short (in, out)
    return product + passed(N * p, short=2, long=2) + passed(N * m, short=1 + 1, long=4 + 2)


def filled(m: int) -> int:
    """Entries of a patch with the zeros that products in two bytes want after them."""
    return m + -m % ALIGNMENT


# --- NLRN: methods/nlrn.py --------------------------------------------------------------------------------------


def non_local(net: NonLocalRecurrent, crops: int, side: int) -> Work:
    """T states; all is in the short dtype."""
    pixels, width, channels = crops * side**2, net.conv_a[0].weight.shape[0], net.input[1].weight.shape[1]
    total = normed(pixels, channels) + convolved(net.input[1], pixels, first=True)
    for t, state in enumerate(net.states()):
        if state.non_local is not None:
            after, before = net.propagate and t + net.every < len(net.norms), net.propagate and t > 0
            total += convolved(state.non_local.theta_psi_g, pixels)
            total += correlated(state.non_local, crops, side, before=before, after=after)
        # three normalisations, two of them with a ReLU; x + s0, and s0's gradients added (each 2 in, 1 out)
        total += 3 * normed(pixels, width) + 2 * rectified(pixels, width) + passed(pixels * width, short=3 + 3)
        total += convolved(state.conv_a, pixels) + convolved(state.conv_b, pixels)
    total += normed(pixels, width) + rectified(pixels, width) + convolved(net.output[2], pixels)
    return total


def correlated(module: NonLocal, crops: int, side: int, *, before: bool, after: bool) -> Work:
    """X + softmax(S + theta psi^T) g for all pairs of a crop's pixels; S is there before this state, and after it."""
    pixels, pairs, m = crops * side**2, crops * side**4, module.width
    length = module.macs_per_pair - m  # of theta and of psi
    # two products, and two back for each
    macs = pairs * (length + m)
    products = Work(macs, 2 * macs, SHORT * pixels * 6 * (length + m))
    # Matrices of all pairs: S in if there is one, S out; softmax in, out; its product with g in. Back: the softmax's
    # gradient out, the softmax in for g's; softmax, its gradient in, S's out; that in for theta's and for psi's
    correlations = passed(pairs, short=before + 1 + 2 + 1 + 2 + 3 + 2)
    # S's gradients, of its softmax and of the S after it, added; X + Z, and X's gradients added (each 2 in, 1 out)
    return products + correlations + passed(pairs, short=3 * after) + passed(pixels * m, short=3 + 3)


def convolved(conv: nn.Conv2d, pixels: int, *, first: bool = False) -> Work:
    """A convolution; back, a product for its weights and one for its inputs, which the first layer has no use for."""
    macs, n_out, n_in = pixels * conv.weight.numel(), *conv.weight.shape[:2]
    return Work(macs, (1 if first else 2) * macs, SHORT * pixels * (2 if first else 3) * (n_in + n_out))


def normed(pixels: int, width: int) -> Work:
    """Batch normalisation by what it has seen, as in most steps (fix_norms_at); two passes fewer than by the batch.

    x in, out. Back: x and gradient in, for scale and offset; gradient in, out.
    """
    return passed(pixels * width, short=2 + 4)


def rectified(pixels: int, width: int) -> Work:
    return passed(pixels * width, short=2 + 3)


# --- NSR: methods/nsr.py ----------------------------------------------------------------------------------------


def sparse_residual(net: SparseResidual, crops: int, side: int) -> Work:
    """Sparse convolutions whose k kernels all convolve; between them all is long, as autocast's sum gives it."""
    pixels, R = crops * (side // net.scale) ** 2, net.head.v.shape[0]
    total = mixed(net.head, pixels, first=True) + mixed(net.tail, pixels)
    if isinstance(net.skip, SparseConv2d):
        total += mixed(net.skip, pixels, first=True)
    for conv_1, conv_2 in net.body:
        total += mixed(conv_1, pixels) + mixed(conv_2, pixels)
        total += passed(pixels * conv_2.v.shape[1], long=2 + 3)  # ReLU
        total += passed(pixels * R, long=3 + 3)  # x + its residual, and x's two gradients added
    return total


def mixed(conv: SparseConv2d, pixels: int, *, first: bool = False) -> Work:
    """k n_out answers for each pixel, of which k at a time are mixed into one.

    What chooses gamma works on one vector a crop: left out.
    """
    kn_out, n_in = conv.v.shape[:2]
    macs, n_out = pixels * conv.v.numel(), kn_out // conv.k
    product = Work(macs, (1 if first else 2) * macs, SHORT * pixels * (2 if first else 3) * (n_in + kn_out))
    if conv.k == 1:  # made short, and back long
        return product + passed(pixels * n_in, short=1 if first else 2, long=1 if first else 2)
    # X is made short (in, out); its mean (in). Back: made long (in, out), the mean's gradient (out), both added
    # (2 in, 1 out)
    inputs = passed(pixels * n_in, short=1 + 1, long=1 + 1 + 1 + 1 + 3)
    # times gamma (in, out), summed (in). Back: the gradient made short for all k (out), times gamma (in, out), times
    # the answers (2 in, 1 out), which summed over pixels is gamma's (in)
    answers = passed(pixels * kn_out, short=3 + 1 + 2 + 3 + 1)
    return product + inputs + answers + passed(pixels * n_out, long=2)  # the sum out; its gradient in


# --- all of them ------------------------------------------------------------------------------------------------


def work(net: nn.Module, crops: int, side: int) -> Work:
    """Of one training step of any of these networks on crops of side x side pixels, in bfloat16."""
    formulas = {SparseCoding: sparse_coding, NonLocalRecurrent: non_local, SparseResidual: sparse_residual}
    total: Work = formulas[type(net)](net, crops, side)
    return total


def units(net: nn.Module, crops: int, side: int) -> str:
    if isinstance(net, SparseCoding):
        return f"{crops * (side - net.patch_size + 1) ** 2:,} patches"
    return f"{crops * (side // getattr(net, 'scale', 1)) ** 2:,} pixels"


def main() -> None:
    options = _options()
    print(f"bounds at {FLOPS / 1e12:.0f} TFLOP/s and {BYTES / 1e12:.0f} TB/s; fw: forward, bw: backward")
    heads = ["", "crops", "", "TFLOP fw", "fw + bw", "GB", "ms FLOP", "ms bytes", "larger", f"in {MINUTES} min"]
    print(_row(*heads, *(["a second", "measured"] if options.measure else [])))
    rates = {}
    for name in options.methods:
        restorer, recipe, setting = _of(name, options.recipe)
        crops, side = recipe.batch, recipe.crop
        net = restorer.network(setting)
        total = work(net, crops, side)
        flop_there, flop = 2 * total.forward, 2 * (total.forward + total.backward)
        by_flops, by_bytes = flop / FLOPS, total.bytes / BYTES
        seconds = max(by_flops, by_bytes)
        cells = [name, f"{crops} x {side}²", units(net, crops, side)]
        cells += [f"{flop_there / 1e12:.3f}", f"{flop / 1e12:.3f}", f"{total.bytes / 1e9:.1f}"]
        cells += [f"{1e3 * t:.2f}" for t in (by_flops, by_bytes, seconds)]
        cells += [f"{60 * MINUTES / seconds:,.0f}"]
        if options.measure:
            measured = _steps_a_second(restorer, recipe, setting, options.device, options.measure)
            rates[f"{name}, {crops} crops of {side}x{side}"] = seconds, 1 / measured
            cells += [f"{1 / seconds:.2f}", f"{measured:.2f}"]
        print(_row(*cells), flush=True)
    if options.write:
        _write(rates)


def _write(rates: Mapping[str, tuple[float, float]]) -> None:
    """rates: seconds of a step at the least, and as measured"""
    from speed import Comparison, write  # here: the tests import this file from elsewhere

    bound = f"what {FLOPS / 1e12:.0f} TFLOP/s and {BYTES / 1e12:.0f} TB/s allow"
    comparisons = [
        Comparison(f"a training step of {work}", "measured", took, bound, least, least / took, "the bound is counted")
        for work, (least, took) in rates.items()
    ]
    write(__file__, comparisons, threads=torch.get_num_threads(), gpu=torch.cuda.get_device_name())


def _row(name: str, crops: str, units: str, *figures: str) -> str:
    return f"{name:8}{crops:>10}{units:>16}" + "".join(f"{figure:>10}" for figure in figures)


def _of(name: str, recipe_name: str) -> tuple[TorchRestorer, Recipe, Setting]:
    """An untrained restorer with the options of its recipe, and what the recipe is for."""
    spec = choose(name)
    recipe = find_recipe(spec.info, recipe_name)
    if not recipe.bf16:
        sys.exit(f"recipe {recipe_name} of {name} trains in float32; what is counted here is bfloat16.")
    task = get_task(recipe.task)
    level = recipe.levels[-1] if recipe.levels else parse_levels(task, LEVELS[task.name])[0]
    restorer = load_class(spec.info.target)(spec.variant)
    restorer.options = recipe.network_options
    return restorer, recipe, Setting(recipe.task, level, recipe.channels)


def _steps_a_second(restorer: TorchRestorer, recipe: Recipe, setting: Setting, device: str, steps: int) -> float:
    from bench.training.crops import Crops
    from bench.training.loop import Training

    with tempfile.TemporaryDirectory() as folder:
        crops = Crops(recipe, setting)
        training = Training(restorer, recipe, setting, crops, Path(folder), device=device, steps=2 * steps)
        return training.timed(steps)[1]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = ["groupsc", "sc", "nlrn", "nsr"]
    parser.add_argument("--methods", nargs="+", choices=names, default=names, help="default: all")
    parser.add_argument("--recipe", default="gpu", help="of theirs (default: gpu)")
    parser.add_argument(
        "--measure", type=int, default=0, metavar="N", help="time N real steps of each, after N others"
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="of --measure")
    parser.add_argument(
        "--write", action="store_true", help="put what was measured into results/speed, for the pages"
    )
    options = parser.parse_args()
    if options.write and not (options.measure and options.device.startswith("cuda")):
        parser.error("--write needs --measure N on a GPU: the bound is a GPU's.")
    return options


if __name__ == "__main__":
    main()
