"""Banded convolutions: the same answer as the chain they were made from, whatever the bands and the layers."""

from __future__ import annotations

import pytest
import torch
from bench.methods.fast import banded as _fused
from bench.methods.fast.banded import BandedConvolutions
from torch import nn


def chain() -> nn.Sequential:
    """Kernels of 3 and 5, dilation, with and without bias and ReLU, widths that come back and that do not."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 8, 5, padding=2, bias=False),
        nn.Conv2d(8, 16, (3, 5), padding=(2, 4), dilation=2),
        nn.ReLU(),
        nn.Conv2d(16, 8, 1),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1),
        nn.Conv2d(8, 2, 3, padding=1),
    ).requires_grad_(False)


@pytest.mark.parametrize("fused_operator", [True, False], ids=["fused", "one by one"])
@pytest.mark.parametrize("band_bytes", [1, 5000, 2**22], ids=["a row", "some rows", "all rows"])
@pytest.mark.parametrize("size", [(1, 1, 1), (1, 7, 9), (2, 16, 5), (1, 37, 61)])
def test_answers_as_the_chain_does(monkeypatch, fused_operator, band_bytes, size):
    monkeypatch.setattr(_fused, "BAND_BYTES", band_bytes)
    if not fused_operator:
        monkeypatch.setattr(_fused.Convolution, "_fused_works", lambda self: False)
    n, height, width = size
    y = torch.randn(n, 3, height, width)

    with torch.inference_mode():
        torch.testing.assert_close(BandedConvolutions(chain())(y), chain()(y), rtol=1e-5, atol=1e-6)


def test_leaves_its_input_alone_and_answers_twice_alike():
    y = torch.randn(1, 3, 16, 16)
    before, banded = y.clone(), BandedConvolutions(chain())
    with torch.inference_mode():
        assert torch.equal(banded(y), banded(y))
    assert torch.equal(y, before)


@pytest.mark.parametrize(
    "layers",
    [
        [nn.Conv2d(1, 1, 3, padding=1, stride=2)],
        [nn.Conv2d(1, 1, 3)],
        [nn.Conv2d(2, 2, 3, padding=1, groups=2)],
        [nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect")],
        [nn.Conv2d(1, 1, 3, padding=1), nn.Sigmoid()],
        [nn.ReLU()],
    ],
    ids=["stride", "shrinks", "groups", "reflects", "sigmoid", "no convolution"],
)
def test_refuses_a_chain_that_it_could_not_reproduce(layers):
    with pytest.raises(ValueError, match="banded"):
        BandedConvolutions(nn.Sequential(*layers))
