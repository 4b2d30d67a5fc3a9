"""A network goes on learning on one picture, and the network that was given stays as it was."""

from __future__ import annotations

import pytest
import torch
from bench.methods.networks.adaptation import Adaptation, adapted
from torch import Tensor, nn

HOW = Adaptation(steps=80, crops=2, side=24, lr=1e-2)


def untaught() -> nn.Module:
    """Seven pixels in a square; answers with what it is given, until it learns."""
    network = nn.Conv2d(1, 1, 7, padding=3, padding_mode="reflect", bias=False)
    nn.init.dirac_(network.weight)
    return network.requires_grad_(False).eval()


def ramp(height: int, width: int) -> Tensor:
    return (torch.linspace(0, 0.5, height)[:, None] + torch.linspace(0, 0.5, width))[None, None]


def noisy(x: Tensor, sigma: float) -> Tensor:
    return x + sigma / 255 * torch.randn(x.shape, generator=torch.Generator().manual_seed(3))


def call(network: nn.Module, y: Tensor) -> Tensor:
    return network(y)


@pytest.mark.parametrize("shape", [(60, 40), (40, 20), (5, 9)])
def test_fresh_noise_is_removed_better_than_before(shape):
    network, x = untaught(), ramp(*shape)
    weight = network.weight.clone()
    with torch.inference_mode():  # as restorers are called
        learned = adapted(network, call, x, 25, HOW)
        y = noisy(x, 25)
        before, after = ((one(y) - x).square().mean() for one in (network, learned))
    assert after < 0.8 * before
    assert torch.equal(network.weight, weight)
    assert not learned.training
    assert not learned.weight.requires_grad


def test_it_draws_the_same_whenever_it_runs_and_from_nobody_else():
    network, x = untaught(), ramp(30, 30)
    torch.manual_seed(1)
    first = adapted(network, call, x, 25, HOW).weight
    drawn = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(drawn, torch.rand(1))
    again = adapted(network, call, x, 25, HOW).weight
    assert torch.equal(again, first)


def test_what_it_is_shown_has_noise_of_sigma_and_all_eight_ways_to_lie():
    """Each crop of an asymmetric picture is seen flipped and transposed, with noise of the sigma told."""
    x = torch.zeros(1, 1, 8, 8)
    x[..., 0, 1] = x[..., 0, 2] = 100.0
    seen: list[Tensor] = []

    def kept(network: nn.Module, y: Tensor) -> Tensor:
        seen.extend(y)
        return network(y)

    adapted(untaught(), kept, x, 25, Adaptation(steps=40, crops=3, side=8, lr=0.0))
    crops = torch.stack(seen)
    assert len(crops) == 120
    clean = 100 * (crops > 50)
    assert (crops - clean).std() == pytest.approx(25 / 255, rel=0.05)
    assert len({tuple(crop.flatten().tolist()) for crop in clean}) == 8
