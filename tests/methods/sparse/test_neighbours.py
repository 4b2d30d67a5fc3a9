"""The search for similar patches, against every distance written out."""

from __future__ import annotations

import pytest
import torch
from bench.methods.sparse import neighbours
from bench.methods.sparse.neighbours import nearest_patches, window_sums


@pytest.mark.parametrize(("size", "dilation", "radius", "shape"), [(7, 1, 3, (40, 33)), (5, 2, 2, (27, 31))])
def test_it_finds_the_nearest_of_all_patches_in_the_window(size, dilation, radius, shape):
    torch.manual_seed(0)
    s, d, r, k, x = size, dilation, radius, 6, torch.rand(shape)
    extent = (s - 1) * d
    patches = x.unfold(0, extent + 1, 1).unfold(1, extent + 1, 1)[..., ::d, ::d].flatten(2)
    in_a_row = patches.shape[1]
    gh, gw = patches.shape[0] - 2 * r * d, in_a_row - 2 * r * d

    distances, places = nearest_patches(x, s, k, r, d)

    assert distances.shape == places.shape == (k, gh * gw)
    for i, j in [(0, 0), (gh - 1, gw - 1), (gh // 2, 3)]:
        window = patches[i : i + 2 * r * d + 1 : d, j : j + 2 * r * d + 1 : d]
        expected = (window - patches[i + r * d, j + r * d]).square().sum(2)
        nearest = expected.flatten().sort()
        torch.testing.assert_close(distances[:, i * gw + j], nearest.values[:k], rtol=0, atol=1e-5)
        rows, columns = nearest.indices[:k] // (2 * r + 1), nearest.indices[:k] % (2 * r + 1)
        assert torch.equal(places[:, i * gw + j], (i + d * rows) * in_a_row + j + d * columns)


def test_a_patch_is_its_own_nearest():
    _, places = nearest_patches(torch.rand(20, 24), size=3, k=4, radius=2)
    rows, columns = torch.meshgrid(torch.arange(14), torch.arange(18), indexing="ij")
    assert torch.equal(places[0], ((rows + 2) * 22 + columns + 2).flatten())


def test_bands_of_rows_do_not_change_the_answer(monkeypatch):
    x = torch.rand(30, 20)
    whole = nearest_patches(x, 3, 5, 3)
    monkeypatch.setattr(neighbours, "BAND", 4)
    for ours, expected in zip(nearest_patches(x, 3, 5, 3), whole, strict=True):
        assert torch.equal(ours, expected)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 8])
@pytest.mark.parametrize("dilation", [1, 2])
def test_window_sums_are_sums_over_windows(size, dilation):
    x, extent = torch.rand(2, 17, 19), (size - 1) * dilation + 1
    expected = x.unfold(1, extent, 1).unfold(2, extent, 1)[..., ::dilation, ::dilation].sum((3, 4))
    torch.testing.assert_close(window_sums(x, size, dilation), expected)
