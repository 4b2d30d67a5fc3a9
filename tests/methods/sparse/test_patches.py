"""Patches out of an image and, averaged, back into it."""

from __future__ import annotations

import pytest
import torch
from bench.methods.sparse.patches import average, centre, coverage, extract, reflect, sum_of_estimates
from hypothesis import given
from hypothesis import strategies as st


def test_a_patch_is_its_pixels_channel_by_channel_row_by_row():
    x = torch.rand(2, 3, 7, 9)
    patches = extract(x, 4)
    assert patches.shape == (2, 4, 6, 3 * 4 * 4)
    assert torch.equal(patches[1, 2, 5], x[1, :, 2:6, 5:9].flatten())


def test_centring_takes_one_mean_over_all_channels():
    y, mu = centre(extract(torch.rand(1, 3, 5, 5), 4))
    assert mu.shape == (1, 2, 2, 1)
    torch.testing.assert_close(y.mean(-1), torch.zeros(1, 2, 2))


def test_or_each_channel_loses_its_own():
    patches = extract(torch.rand(1, 3, 5, 5), 4)
    y, mu = centre(patches, channels=3)
    torch.testing.assert_close(y.unflatten(-1, (3, 16)).mean(-1), torch.zeros(1, 2, 2, 3))
    torch.testing.assert_close(y + mu, patches)


@pytest.mark.parametrize(("h", "w", "size"), [(9, 11, 3), (4, 30, 4), (5, 5, 5), (6, 7, 5)])
def test_averaging_untouched_patches_gives_the_image_back(h, w, size):
    x = torch.rand(2, 1, h, w)
    torch.testing.assert_close(average(extract(x, size), size), x)


@given(data=st.data(), channels=st.sampled_from([1, 3]), size=st.integers(1, 6))
def test_an_image_of_any_size_comes_back_from_its_patches(data, channels, size):
    h, w = (data.draw(st.integers(size, 12)) for _ in "hw")
    x = torch.rand(2, channels, h, w, dtype=torch.float64)
    patches = extract(x, size)
    assert patches.shape == (2, h - size + 1, w - size + 1, channels * size**2)
    torch.testing.assert_close(average(patches, size), x)
    total = sum_of_estimates(x[:1], size, lambda patches: patches)
    torch.testing.assert_close(total / coverage(h, w, size, like=x), x[:1])


def test_coverage_counts_the_patches_over_each_pixel():
    count = torch.zeros(6, 9)
    for i in range(6 - 4 + 1):
        for j in range(9 - 4 + 1):
            count[i : i + 4, j : j + 4] += 1
    assert torch.equal(coverage(6, 9, 4, like=count), count)


def test_reflection_is_that_of_torch_and_goes_on_where_the_image_is_too_small():
    x = torch.rand(1, 2, 6, 8)
    assert torch.equal(reflect(x, 4), torch.nn.functional.pad(x, (4, 4, 4, 4), mode="reflect"))
    assert torch.equal(reflect(x, 2, 1, 3), torch.nn.functional.pad(x, (2, 3, 2, 1), mode="reflect"))
    row = torch.tensor([0.0, 1.0, 2.0]).reshape(1, 1, 1, 3)
    assert reflect(row, 5)[0, 0, 0].tolist() == [1, 0, 1, 2, 1, 0, 1, 2, 1, 0, 1, 2, 1]
