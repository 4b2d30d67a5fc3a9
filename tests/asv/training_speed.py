"""How much faster a training step of GroupSC and of NLRN is by compiled kernels than by torch's operations, float32.

    python tests/asv/training_speed.py [--methods groupsc nlrn] [--recipe ours] [--repeats 15] [--write]

The ways take their steps in turn, each in a training of its own by the recipe, so that whatever else the machine does
weighs on all alike; a ratio is the median of the ratios turn by turn. By torch's operations the products are those of
the library that is fast on this processor; where that is not torch's own, MKL, those are measured too. Needs the
training images. The figures that matter come from an otherwise idle machine.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from unittest.mock import patch

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as `bench train` has it, before torch is loaded

import torch
from bench.methods.networks import nlrn, similarity, unrolled
from bench.methods.sparse import multiply
from speed import Comparison, add_write, in_turns, ratio, write

from bench.plugins.registry import choose, load_class
from bench.restorer import Setting
from bench.training.batches import batches
from bench.training.crops import Crops
from bench.training.loop import Training
from bench.training.recipe import find_recipe
from bench.training.session import keep_memory

COMPILED, TORCH, MKL = "compiled", "torch's operations", "torch's operations, its own products"
SIGMA = 25


def main() -> None:
    options = _options()
    keep_memory()
    print(f"{options.repeats} turns, {torch.get_num_threads()} threads, torch {torch.__version__}")
    comparisons = []
    for name in options.methods:
        with tempfile.TemporaryDirectory() as folder:
            ways = [COMPILED, TORCH, *([MKL] if multiply.ONEDNN else [])]
            steps = {way: _step(name, options.recipe, way, Path(folder)) for way in ways}
            seconds = in_turns(steps, options.repeats)
        for way in ways[1:]:
            of_way = Comparison(
                f"a training step of {name}, recipe {options.recipe}",
                COMPILED,
                median(seconds[COMPILED]),
                way,
                median(seconds[way]),
                ratio(seconds[way], seconds[COMPILED]),
                bar=1.5,
            )
            comparisons.append(of_way)
            print(
                f"{name:8} {of_way.seconds:6.3f} s, {60 / of_way.seconds:6.1f} steps a minute; by {way} "
                f"{of_way.other_seconds:6.3f} s, {60 / of_way.other_seconds:6.1f}: {of_way.ratio:.2f} times as fast"
            )
    if options.write:
        write(__file__, comparisons, threads=torch.get_num_threads())


def _step(name: str, recipe_name: str, way: str, folder: Path) -> Callable[[], object]:
    """A function that makes the next step of a training."""
    spec = choose(name)
    recipe = replace(find_recipe(spec.info, recipe_name), bf16=False)
    restorer = load_class(spec.info.target)(spec.variant)
    restorer.options = recipe.network_options
    setting = Setting(recipe.task, recipe.levels[-1] if recipe.levels else SIGMA, recipe.channels)
    training = Training(restorer, recipe, setting, Crops(recipe, setting), folder / way, steps=1000)
    ready = batches(training.crops, training.device, training.step)

    def step() -> None:
        with _by(way):
            training._train_step(*next(ready))

    return step


@contextmanager
def _by(way: str) -> Iterator[None]:
    """Products and passes in one of the ways."""
    with ExitStack() as patches:
        if way != COMPILED:
            for module in (nlrn, unrolled):
                patches.enter_context(patch.object(module, "may_be_compiled", lambda x: False))
            patches.enter_context(patch.object(similarity, "WIDER", 0))  # square tiles
        if way == MKL:
            patches.enter_context(patch.object(multiply, "ONEDNN", False))
        similarity.tiles.cache_clear()
        yield


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = ["groupsc", "nlrn"]
    parser.add_argument("--methods", nargs="+", choices=names, default=names, help="default: both")
    parser.add_argument("--recipe", default="ours", help="of theirs (default: ours)")
    parser.add_argument("--repeats", type=int, default=15, help="steps of each way (default: 15)")
    add_write(parser)
    return parser.parse_args()


if __name__ == "__main__":
    main()
