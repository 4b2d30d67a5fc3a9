"""MATLAB's colour conversions, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
from bench.data import datasets
from bench.data.colour import luma, rgb2gray, to_8bit, to_unit
from skimage.color import rgb2ycbcr

WHITE, BLACK = (255, 255, 255), (0, 0, 0)
RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def pixel(*rgb):
    return np.array(rgb, np.uint8).reshape(1, 1, 3)


def random_colours(n=100_000):
    return np.random.RandomState(0).randint(0, 256, (n, 1, 3)).astype(np.uint8)


@pytest.mark.parametrize(
    ("rgb", "gray"),
    # For the last two, the rounded weights 0.2989, 0.5870, 0.1140 give 170, and Pillow's convert("L") gives 145.
    [(WHITE, 255), (BLACK, 0), (RED, 76), (GREEN, 150), (BLUE, 29), ((178, 193, 35), 171), ((237, 107, 95), 144)],
)
def test_rgb2gray_gives_matlabs_gray(rgb, gray):
    assert rgb2gray(pixel(*rgb)).tolist() == [[gray]]


def test_rgb2gray_is_the_inverse_of_matlabs_ntsc_matrix():
    colours = random_colours()
    ntsc = np.array([[1.0, 0.956, 0.621], [1.0, -0.272, -0.647], [1.0, -1.106, 1.703]])  # rgb2ntsc.m
    yiq = np.linalg.solve(ntsc, colours.reshape(-1, 3).T.astype(float))
    assert np.array_equal(rgb2gray(colours).ravel(), np.floor(yiq[0] + 0.5))


@pytest.mark.parametrize(("rgb", "y"), [(WHITE, 235), (BLACK, 16), (RED, 81), (GREEN, 145), (BLUE, 41)])
def test_luma_has_the_studio_swing_of_bt601(rgb, y):
    assert to_8bit(luma(to_unit(pixel(*rgb)))).tolist() == [[[y]]]


def test_luma_is_scikit_images_rounded():
    colours = random_colours()
    y = rgb2ycbcr(colours)[..., :1]
    decided = np.abs(y % 1 - 0.5) > 1e-9  # where the fraction is one half, its floating point decides by chance
    assert np.array_equal(to_8bit(luma(to_unit(colours)))[decided], np.rint(y)[decided])


def test_luma_rounds_one_half_up():
    # 16 + (128.553 * 204 + 24.966 * 68) / 255 = 125.5
    assert to_8bit(luma(to_unit(pixel(0, 204, 68)))).item() == 126


def test_luma_of_a_gray_image_is_the_image_itself():
    gray = np.random.RandomState(0).rand(5, 7, 1).astype(np.float32)
    assert luma(gray) is gray


def test_luma_keeps_the_convention_of_images():
    y = luma(np.zeros((5, 7, 3), np.float32))
    assert (y.shape, y.dtype) == ((5, 7, 1), np.float32)


def test_eight_bits_survive_the_way_to_floats_and_back():
    levels = np.arange(256, dtype=np.uint8)
    assert np.array_equal(to_8bit(to_unit(levels)), levels)


def test_what_lies_outside_is_clipped_to_8_bits():
    assert to_8bit(np.array([-0.3, 0.5, 1.7], np.float32)).tolist() == [0, 128, 255]


@pytest.mark.slow
def test_bsd68_is_the_gray_of_cbsd68_in_68_images_of_68(mirror):
    gray_set, colour_set = datasets.get("bsd68"), datasets.get("cbsd68")
    in_colour = sorted(colour_set.entries, key=lambda entry: entry.name)  # as text: 101085.png before 3096.png
    for gray, colour in zip(gray_set.entries, in_colour, strict=True):
        converted = rgb2gray(to_8bit(datasets.read(colour_set, colour).pixels))
        assert np.array_equal(converted, to_8bit(datasets.read(gray_set, gray).pixels)[..., 0]), gray.name
