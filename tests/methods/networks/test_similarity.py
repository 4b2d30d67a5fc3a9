"""Similarities of Eq. 12 in a window, by tiles."""

from __future__ import annotations

import pytest
import torch
from bench.methods.networks.similarity import Similarity, mix, similarity, tiles


def dense(Sigma, gh, gw):
    """The tiles of a Similarity as one matrix (B, gh * gw, gh * gw)."""
    places = torch.arange(gh * gw).view(1, gh, gw, 1)
    matrix = torch.zeros(len(Sigma.mass), gh * gw, gh * gw, dtype=Sigma.mass.dtype)
    for tile, part in zip(Sigma.tiles, Sigma.Sigma, strict=True):
        own, near = (place.flatten() for place in (tile.inside(places), tile.around(places)))
        matrix[:, own[:, None], near] = part
    return matrix


def in_window(gh, gw, window):
    i, j = torch.arange(gh).repeat_interleave(gw), torch.arange(gw).repeat(gh)
    down, across = i[None] - i[:, None], j[None] - j[:, None]  # from patch b (row) to its neighbour a (column)
    low, high = -(window // 2), (window - 1) // 2
    return (down >= low) & (down <= high) & (across >= low) & (across <= high)


def test_the_authors_window_reaches_24_back_and_23_on():
    neighbours = in_window(1, 60, 48)[30].nonzero()
    assert (neighbours.min(), neighbours.max()) == (6, 53)


@pytest.mark.parametrize("window", [1, 3, 4, 20])
@pytest.mark.parametrize("side", [2, 3, 100])
def test_tiles_hold_eq_12_within_the_window_and_0_elsewhere(window, side):
    x, kappa = torch.randn(2, 5, 7, 4, dtype=torch.float64), torch.rand(4, dtype=torch.float64)
    Sigma = Similarity.of(x * kappa, window, side, x.dtype)
    expected = similarity(x.flatten(1, 2), kappa) * in_window(5, 7, window)
    torch.testing.assert_close(dense(Sigma, 5, 7), expected)
    torch.testing.assert_close(Sigma.mass.flatten(1), expected.sum(-1))
    q = torch.randn(2, 5, 7, 3, dtype=torch.float64)
    torch.testing.assert_close(Sigma.sum(q).flatten(1, 2), expected @ q.flatten(1, 2))


def test_a_small_tile_spares_products():
    def products(side):
        return sum(
            tile.inside(torch.empty(1, 48, 48)).numel() * tile.around(torch.empty(1, 48, 48)).numel()
            for tile in tiles(48, 48, 24, side)
        )

    assert products(12) < 0.4 * products(48)


def test_tiles_are_whole_rows_where_that_is_hardly_more_work():
    def shapes(side, window):
        return {tile.shape for tile in tiles(side, side, window, 12)}

    assert shapes(32, 24) == {(4, 32)}
    assert shapes(48, 48) == {(3, 48)}
    assert shapes(240, 48) == {(12, 12)}


def test_averaging_online_mixes_similarities_and_their_sums():
    first, second = (Similarity.of(torch.randn(1, 4, 4, 3), 3, 2, torch.float32) for _ in range(2))
    mixed = first.mixed_with(second, torch.tensor(0.25))
    torch.testing.assert_close(dense(mixed, 4, 4), 0.75 * dense(first, 4, 4) + 0.25 * dense(second, 4, 4))
    torch.testing.assert_close(mixed.mass.flatten(1), dense(mixed, 4, 4).sum(-1))


@pytest.mark.parametrize("window", [3, 4])
def test_similarities_have_the_gradients_of_their_formula(window):
    x = torch.randn(2, 4, 5, 3, dtype=torch.float64, requires_grad=True)
    kappa = torch.rand(3, dtype=torch.float64, requires_grad=True)
    nu = torch.tensor([0.3], dtype=torch.float64, requires_grad=True)

    def online_average(x, kappa, nu):
        first, second = (Similarity.of(patches * kappa, window, 2, x.dtype) for patches in (x[:1], x[1:]))
        Sigma = first.mixed_with(second, nu)
        return Sigma.mass, *Sigma.Sigma

    assert torch.autograd.gradcheck(online_average, (x, kappa, nu))
    assert torch.autograd.gradcheck(lambda x, kappa: similarity(x.flatten(1, 2), kappa), (x, kappa))
    assert torch.autograd.gradcheck(lambda nu: mix(x.detach(), 2 * x.detach(), nu), nu)
