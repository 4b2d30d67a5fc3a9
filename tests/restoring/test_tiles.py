"""Tiles cover a picture once, and are shown with what surrounds them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import RequestError
from bench.restoring.tiles import check_tiles, cut, enlarged, sides, tiles
from bench.task import Observation

sizes = st.integers(1, 70)


@given(sizes, sizes, st.integers(8, 40), st.integers(0, 20))
def test_each_pixel_is_kept_once(height, width, tile, overlap):
    times = np.zeros((height, width), int)
    for one in tiles(height, width, tile, overlap):
        times[one.kept] += 1
        assert one.n_pixels <= tile**2
    assert (times == 1).all()


@given(sizes, sizes, st.integers(8, 40), st.integers(0, 20))
def test_a_tile_sees_the_overlap_or_the_edge_of_the_picture(height, width, tile, overlap):
    for one in tiles(height, width, tile, overlap):
        for kept, shown, end in zip(one.kept, one.shown, (height, width), strict=True):
            assert shown.start % 8 == 0
            assert shown.start == 0 or shown.start <= kept.start - overlap
            assert shown.stop == end or shown.stop >= kept.stop + overlap


@pytest.mark.parametrize("factor", [1, 3])
def test_what_is_kept_of_each_answer_makes_the_whole(factor):
    whole = np.arange(30 * factor * 21 * factor).reshape(30 * factor, 21 * factor)
    made = np.zeros_like(whole)
    for tile in tiles(30, 21, 8, 3):
        rows, columns = (slice(part.start * factor, part.stop * factor) for part in tile.shown)
        made[enlarged(tile.kept, factor)] = whole[rows, columns][tile.within(tile.kept, factor)]
    assert np.array_equal(made, whole)


def test_seams_lie_in_what_the_tiles_before_have_kept():
    done = np.zeros((40, 50), bool)
    for tile in tiles(40, 50, 16, 3):
        for place in tile.seams:
            assert done[place].all()
        done[tile.kept] = True
    assert [done[place].size for place in tile.seams] == [8 * 2, 8 * 8]


def test_one_tile_is_the_whole_picture():
    [tile] = tiles(30, 21, None, 32)
    assert tile.kept == tile.shown == (slice(0, 30), slice(0, 21))


def test_the_mask_of_a_mosaic_is_cut_as_the_mosaic_is():
    image = np.random.default_rng(0).random((20, 24, 1), dtype=np.float32)
    mask = image.repeat(3, axis=2) > 0.5
    tile = [*tiles(20, 24, 8, 0)][4]
    seen = cut(Observation(image, "demosaick", pattern="RGGB", mask=mask), tile)
    assert np.array_equal(seen.mask[..., 0], seen.image[..., 0] > 0.5)


@pytest.mark.parametrize(
    ("tile", "overlap", "says"),
    [(7, 32, "--tile 7: expected auto, or"), ("wide", 32, "--tile wide: expected"), (64, -1, "--overlap -1")],
)
def test_sizes_that_will_not_do_are_named(tile, overlap, says):
    with pytest.raises(RequestError, match=says):
        check_tiles(tile, overlap)


def test_sides_to_try_are_smaller_than_the_picture():
    assert sides("auto", 600, 500) == [None, 512, 256, 128]
    assert sides("auto", 100, 90) == sides(None, 600, 500) == [None]
    assert sides(check_tiles("64", 0), 600, 500) == [64]
