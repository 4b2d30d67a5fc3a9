"""How much of a gradient is noise, with clean crops and with a teacher's answers in their place:

    python tests/asv/teacher_noise.py [--restorer sc --sigma 25 --recipe taught --batches 24]

Prints, for each parameter of the restorer with the weights that it ships, the variance of the gradient over batches
of the recipe, summed over its elements, both ways; and how far restorer and teacher are from the clean crops and from
each other.
"""

from __future__ import annotations

import argparse
import copy
from dataclasses import replace

import torch
from torch import Tensor

from bench.plugins.registry import choose, load_class
from bench.plugins.weights import pick
from bench.tasks import Setting
from bench.training.crops import Batch, Crops
from bench.training.recipe import find_recipe
from bench.training.teacher import Teacher


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--restorer", default="sc")
    parser.add_argument("--sigma", type=float, default=25.0)
    parser.add_argument("--recipe", default="taught")
    parser.add_argument("--batches", type=int, default=24)
    args = parser.parse_args()
    spec = choose(args.restorer)
    recipe = replace(find_recipe(spec.info, args.recipe), seed=1000)  # crops that no training has seen
    setting = Setting(recipe.task, args.sigma, recipe.channels)
    weights = pick(spec, setting).file
    restorer = load_class(spec.info.target)(spec.variant, weights)
    restorer.prepare(setting, "cpu")
    network = copy.deepcopy(restorer.plain).requires_grad_(True)
    teacher, crops = Teacher(recipe.teacher, setting, "cpu"), Crops(recipe, setting)
    errors = {"restorer to clean": 0.0, "teacher to clean": 0.0, "restorer to teacher": 0.0}
    gradients: dict[str, list[list[Tensor]]] = {"clean": [], "teacher": []}
    for step in range(args.batches):
        batch: Batch = crops.batch(step)
        y, x = (torch.from_numpy(a).permute(0, 3, 1, 2).contiguous() for a in (batch.y, batch.x))
        with torch.autocast("cpu", torch.bfloat16, enabled=recipe.bf16):
            x_hat = restorer.estimate(network, y, batch.seen, batch.level).float()
            taught = teacher(y, batch.seen, batch.level).float()
        for name, target in (("clean", x), ("teacher", taught)):
            loss = restorer.loss(x_hat, target)
            gradients[name].append(list(torch.autograd.grad(loss, list(network.parameters()), retain_graph=True)))
        pairs = (x_hat.detach(), x), (taught, x), (x_hat.detach(), taught)
        for name, (a, b) in zip(errors, pairs, strict=True):
            errors[name] += 255**2 * float((a - b).square().mean()) / args.batches
    print("mean squared errors: " + ", ".join(f"{name} {error:.1f}" for name, error in errors.items()))
    for place, (name, _) in enumerate(network.named_parameters()):
        by_clean, by_teacher = (
            float(torch.stack([gradient[place] for gradient in gradients[target]]).var(0).sum())
            for target in gradients
        )
        print(f"{name:8} variance {by_clean:.3g} by clean crops, {by_teacher:.3g} by the teacher's answers")


if __name__ == "__main__":
    main()
