"""Masks: by chance, from files, and what is left of a picture."""

from __future__ import annotations

import numpy as np
import pytest
from bench.data.errors import DataError
from bench.data.holes import pierced, random_mask, read_mask
from PIL import Image


def test_as_many_pixels_are_missing_as_was_asked():
    mask = random_mask(200, 300, 0.8, np.random.RandomState(0))
    assert (mask.shape, mask.dtype) == ((200, 300, 1), bool)
    assert 1 - mask.mean() == pytest.approx(0.8, abs=0.01)


def test_a_mask_comes_from_its_stream_alone():
    mask = random_mask(2, 4, 0.5, np.random.RandomState(3))
    assert mask[..., 0].tolist() == (np.random.RandomState(3).random_sample((2, 4)) >= 0.5).tolist()


@pytest.mark.parametrize(("missing", "left"), [(0, 1), (1, 0)])
def test_none_or_all_may_be_missing(missing, left):
    assert random_mask(20, 20, missing, np.random.RandomState(0)).mean() == left


def test_all_colours_of_a_missing_pixel_are_0_and_the_others_stay():
    clean = np.random.RandomState(0).rand(3, 4, 3).astype(np.float32)
    mask = np.ones((3, 4, 1), bool)
    mask[1, 2] = False
    seen = pierced(clean, mask)
    assert seen[1, 2].tolist() == [0, 0, 0]
    assert np.array_equal(seen[mask[..., 0]], clean[mask[..., 0]])
    assert seen.dtype == np.float32


def test_black_is_missing_in_a_file(tmp_path):
    Image.fromarray(np.array([[0, 255], [255, 0]], np.uint8)).save(tmp_path / "m.png")
    np.save(tmp_path / "m.npy", np.array([[False, True], [True, False]]))
    for name in ("m.png", "m.npy"):
        assert read_mask(tmp_path / name)[..., 0].tolist() == [[False, True], [True, False]]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.array([[0, 3, 9]]), "has 3 different values: 0 for missing pixels and one other are expected."),
        (np.array([[4, 9]]), "has 2 different values: 0 for missing pixels and one other are expected."),
        (np.zeros((2, 2)), "leaves no pixel: what is not 0 is there."),
        (np.ones((2, 2, 3)), "has the shape (2, 2, 3): rows and columns are expected."),
    ],
    ids=["smooth", "no-zero", "none-left", "colour"],
)
def test_a_file_that_is_no_mask_is_one_line(tmp_path, values, words):
    np.save(tmp_path / "m.npy", values)
    with pytest.raises(DataError) as raised:
        read_mask(tmp_path / "m.npy")
    assert str(raised.value) == f"The mask {tmp_path / 'm.npy'} {words}"


def test_a_mask_of_another_size_is_one_line():
    with pytest.raises(DataError, match=r"^The mask is 5x3 and the picture 4x3: they must be of one size\.$"):
        pierced(np.zeros((3, 4, 1), np.float32), np.ones((3, 5, 1), bool))


def test_a_share_out_of_range_is_one_line():
    with pytest.raises(DataError, match=r"^A share of 1.5 missing pixels: it must be from 0 to 1\.$"):
        random_mask(2, 2, 1.5, np.random.RandomState(0))
