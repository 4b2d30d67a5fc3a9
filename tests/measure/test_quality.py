"""PSNR and SSIM against their definitions, written out."""

import math

import numpy as np
import pytest

from bench.errors import DataError
from bench.measure.quality import psnr_db, ssim


def two_images(shape=(24, 31, 1), seed=0):
    random = np.random.RandomState(seed)
    x = random.uniform(0, 255, shape)
    return x, np.clip(x + random.normal(0, 20, shape), 0, 255)


def ssim_of_wang(x, y):
    """Wang et al. 2004, Eq. 13, window by window: 11x11 Gaussian of sigma 1.5, normalised, inside the image."""
    offsets = np.arange(11) - 5
    g = np.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / (2 * 1.5**2))
    g /= g.sum()
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    values = []
    for i in range(x.shape[0] - 10):
        for j in range(x.shape[1] - 10):
            a, b = x[i : i + 11, j : j + 11], y[i : i + 11, j : j + 11]
            mu_a, mu_b = (g * a).sum(), (g * b).sum()
            var_a, var_b = (g * (a - mu_a) ** 2).sum(), (g * (b - mu_b) ** 2).sum()
            cov = (g * (a - mu_a) * (b - mu_b)).sum()
            values.append((2 * mu_a * mu_b + c1) * (2 * cov + c2) / ((mu_a**2 + mu_b**2 + c1) * (var_a + var_b + c2)))
    return np.mean(values)


# 63, 64 and 65 windows in a column: strips of 64; and a single window in a row, a column, or both
@pytest.mark.parametrize(("height", "width"), [(24, 15), (73, 15), (74, 15), (75, 15), (11, 15), (15, 11), (11, 11)])
def test_ssim_agrees_with_the_definition_to_1e_6(height, width):
    x, y = two_images((height, width, 1))
    assert ssim(x, y, peak=255) == pytest.approx(ssim_of_wang(x[..., 0], y[..., 0]), abs=1e-6)


def test_ssim_of_colour_is_the_mean_over_channels():
    x, y = two_images((20, 22, 3))
    per_channel = [ssim_of_wang(x[..., c], y[..., c]) for c in range(3)]
    assert ssim(x, y, peak=255) == pytest.approx(np.mean(per_channel), abs=1e-6)


@pytest.mark.parametrize("shape", [(10, 40, 1), (40, 10, 1)], ids=str)
def test_ssim_of_an_image_smaller_than_the_window_is_not_a_number(shape):
    x, y = two_images(shape)
    assert math.isnan(ssim(x, y, peak=255))


def test_psnr_has_one_mean_squared_error_over_all_channels():
    x, y = two_images((8, 9, 3))
    assert psnr_db(x, y, peak=255) == pytest.approx(10 * math.log10(255**2 / np.mean((x - y) ** 2)))


def test_psnr_of_equal_images_is_infinite():
    x, _ = two_images()
    assert psnr_db(x, x.copy(), peak=255) == math.inf


@pytest.mark.parametrize("shape", [(0, 9, 1), (9, 0, 1), (0, 0, 3)], ids=str)
def test_psnr_of_nothing_is_an_error_and_not_infinite(shape):
    nothing = np.zeros(shape)
    with pytest.raises(DataError, match="no pixel is left to compare"):
        psnr_db(nothing, nothing, peak=255)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e-200], ids=str)  # the last one's square is 0
def test_psnr_that_is_not_finite_of_images_that_differ_is_an_error(value):
    x = np.zeros((8, 9, 1))
    y = x.copy()
    y[0, 0] = value
    with pytest.raises(DataError, match="of images that are not identical"):
        psnr_db(x, y, peak=255)


@pytest.mark.parametrize("height", [1, 10, 11])
def test_a_picture_smaller_than_the_window_of_ssim_has_a_psnr(height):
    x, y = two_images((height, 40, 1))
    assert math.isfinite(psnr_db(x, y, peak=255))
    assert math.isnan(ssim(x, y, peak=255)) == (height < 11)
