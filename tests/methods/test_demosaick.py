"""Demosaicking: what was measured stays, what a method cannot get wrong is right, and others' code agrees."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from bench.methods.demosaick import Bilinear, Malvar, Menon
from bench.methods.fast import bayer

from bench.restorer import Observation
from tests.methods import convolved

METHODS = [Bilinear, Malvar, Menon]
PATTERNS = ["RGGB", "BGGR", "GRBG", "GBRG"]

every_method = pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
every_pattern = pytest.mark.parametrize("pattern", PATTERNS)


def mosaicked(image: np.ndarray, pattern: str = "RGGB") -> Observation:
    """What is seen of a colour image (H, W, 3) through a Bayer pattern: `pattern` spells its top-left 2x2 pixels."""
    mask = np.zeros(image.shape, bool)
    for n, colour in enumerate(pattern):
        mask[n // 2 :: 2, n % 2 :: 2, "RGB".index(colour)] = True
    mosaic = np.where(mask, image, 0).sum(axis=2, keepdims=True, dtype=np.float32)
    return Observation(mosaic, "demosaick", pattern=pattern, mask=mask)


def photo(height: int = 48, width: int = 61) -> np.ndarray:
    from skimage.data import astronaut

    return (astronaut()[100 : 100 + height, 200 : 200 + width] / 255).astype(np.float32)


@every_method
@every_pattern
def test_keeps_what_was_measured_and_answers_finite_float32(method, pattern):
    for shape in [(2, 2), (2, 5), (7, 9), (37, 61)]:
        seen = mosaicked(photo(*shape), pattern)
        x_hat = method().restore(seen)
        assert (x_hat.shape, x_hat.dtype) == ((*shape, 3), np.float32)
        assert np.isfinite(x_hat).all()
        assert np.array_equal(x_hat[seen.mask], photo(*shape)[seen.mask])


@every_method
@every_pattern
def test_a_picture_of_one_colour_comes_back_border_and_all(method, pattern):
    image = np.broadcast_to(np.float32([0.9, 0.5, 0.1]), (8, 11, 3))
    # Malvar takes green's Laplacian into red, which is none here: equality holds for all three
    np.testing.assert_allclose(method().restore(mosaicked(image, pattern)), image, atol=1e-6)


@every_method
def test_one_row_lacks_colours_and_is_answered_in_gray(method):
    seen = mosaicked(photo(1, 9))
    assert np.array_equal(method().restore(seen), np.repeat(seen.image, 3, axis=2))


@every_method
@every_pattern
def test_is_what_filters_of_the_whole_image_give_border_and_all(method, pattern):
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 5, (31, 40, 3)) / 4  # of few values: often both directions are equally good
    for image in (photo(), photo(9, 30), photo(2, 7), photo(3, 2), coarse.astype(np.float32)):
        seen = mosaicked(image, pattern)
        expected = getattr(convolved, method.name)(seen.image[..., 0], seen.mask)
        np.testing.assert_allclose(method().restore(seen), expected, rtol=0, atol=5e-7)


@every_method
def test_bands_of_rows_and_threads_do_not_change_a_bit(method, monkeypatch):
    seen = mosaicked(photo())
    x_hat = method().restore(seen)
    monkeypatch.setattr(bayer, "ROWS", 7)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert np.array_equal(method().restore(seen), x_hat)


@pytest.mark.parametrize("place", [(0, 0), (1, 1), (5, 0), (0, 6), (7, 8)], ids=str)
def test_a_mask_that_is_no_bayer_pattern_is_refused(place):
    seen = mosaicked(photo(8, 9))
    seen.mask[place] = ~seen.mask[place]
    with pytest.raises(ValueError, match=r"^The mask is not that of a Bayer pattern: two greens, a red and a blue"):
        Malvar().restore(seen)


@every_pattern
def test_each_method_does_better_than_the_one_before(pattern):
    image = photo(96, 96)
    errors = [np.mean((method().restore(mosaicked(image, pattern)) - image) ** 2) for method in METHODS]
    assert errors == sorted(errors, reverse=True)


@every_pattern
@pytest.mark.parametrize(
    ("method", "theirs"),
    [
        (Bilinear, "demosaicing_CFA_Bayer_bilinear"),
        (Malvar, "demosaicing_CFA_Bayer_Malvar2004"),
        (Menon, "demosaicing_CFA_Bayer_Menon2007"),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_agrees_with_colour_demosaicing_inside_the_image(colour_demosaicing, method, theirs, pattern):
    seen = mosaicked(photo(), pattern)
    expected = getattr(colour_demosaicing, theirs)(seen.image[..., 0], pattern)
    inside = np.s_[11:-11, 11:-11]  # what no filter of Menon's chain sees the border from
    np.testing.assert_allclose(method().restore(seen)[inside], expected[inside], atol=1e-6)


@pytest.fixture
def colour_demosaicing():
    """The package, without what importing it does besides: it warns and sets how NumPy prints."""
    with warnings.catch_warnings(), np.printoptions():
        warnings.simplefilter("ignore")
        yield pytest.importorskip("colour_demosaicing")
