"""Degradations: the same pixels for all, and the ones that the papers mean."""

from __future__ import annotations

import hashlib
import io
import math
import struct

import numpy as np
import pytest
from bench.data import BAYER_PATTERNS, datasets
from bench.data.colour import luma, to_8bit, to_unit
from bench.data.degrade import _contributions, awgn, bayer, bicubic, fingerprint, jpeg
from bench.data.errors import DataError
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio


def picture(height=24, width=32, channels=1):
    """Smooth waves, 8-bit values divided by 255."""
    y, x, c = np.ogrid[:height, :width, :channels]
    return to_unit(np.rint(127 + 60 * np.sin(x / 5 + c) + 60 * np.cos(y / 3 - c)).astype(np.uint8))


@pytest.mark.parametrize(
    ("channels", "degrade"),
    [
        (1, lambda x: awgn(x, 25, np.random.RandomState(0))),
        (3, lambda x: awgn(x, 25, np.random.RandomState(0))),
        (1, lambda x: jpeg(x, 10)),
        (1, lambda x: bicubic(x, 0.5)),
        (3, lambda x: bicubic(x, 0.5)),
        (1, lambda x: bicubic(x, 3)),
        (3, lambda x: bicubic(x, 3)),
    ],
    ids=["awgn-gray", "awgn-colour", "jpeg", "down-gray", "down-colour", "up-gray", "up-colour"],
)
def test_every_degradation_gives_float32_images_and_leaves_the_clean_one_untouched(degrade, channels):
    clean = picture(channels=channels)
    degraded = degrade(clean)
    assert (degraded.dtype, degraded.ndim, degraded.shape[2]) == (np.float32, 3, channels)
    assert degraded.flags.c_contiguous
    assert np.array_equal(clean, picture(channels=channels))


class TestNoise:
    def test_is_drawn_row_by_row_and_colour_by_colour(self):
        clean = picture(2, 3, 3)
        draws = np.random.RandomState(7).standard_normal(18) * (25 / 255)
        expected = [np.float32(float(x) + n) for x, n in zip(clean.ravel(), draws, strict=True)]
        assert awgn(clean, 25, np.random.RandomState(7)).ravel().tolist() == expected

    def test_has_the_same_bits_on_every_machine(self):
        noisy = awgn(np.zeros((64, 64, 3), np.float32), 25, np.random.RandomState([1, 2, 3]))
        assert fingerprint(noisy) == "0e8a2d268ce86996eac6738d7df28d0d901c2e7d1be11631deb8d958aef809e8"

    def test_has_the_level_asked_for_on_the_scale_of_255(self):
        noise = 255 * awgn(np.zeros((200, 200, 1), np.float32), 15, np.random.RandomState(0))
        assert noise.std() == pytest.approx(15, rel=0.01)
        assert noise.mean() == pytest.approx(0, abs=0.2)

    def test_is_neither_clipped_nor_rounded(self):
        noisy = awgn(np.ones((50, 50, 1), np.float32), 50, np.random.RandomState(0))
        assert noisy.max() > 1.2
        assert not np.array_equal(noisy, to_unit(to_8bit(noisy)))

    def test_of_level_0_changes_nothing(self):
        assert np.array_equal(awgn(picture(), 0, np.random.RandomState(0)), picture())


class TestJpeg:
    def test_is_what_a_saved_gray_jpeg_holds(self, tmp_path):
        clean = picture()
        Image.fromarray(to_8bit(clean)[..., 0], "L").save(tmp_path / "saved.jpg", quality=10)
        with Image.open(tmp_path / "saved.jpg") as saved:
            assert saved.mode == "L"
            assert np.array_equal(to_8bit(jpeg(clean, 10))[..., 0], np.asarray(saved))

    def test_uses_the_quantisation_tables_of_the_ijg(self):
        # Annex K.1 of ITU-T T.81 scaled by 5000 / 10 percent, the IJG's rule at quality 10: 16 becomes 80, ...
        coded = io.BytesIO()
        Image.fromarray(to_8bit(picture())[..., 0]).save(coded, "JPEG", quality=10)
        assert Image.open(coded).quantization[0][:4] == [80, 55, 50, 80]

    def test_loses_less_at_higher_quality(self):
        losses = [np.square(jpeg(picture(), quality) - picture()).mean() for quality in (5, 10, 20, 40, 80)]
        assert losses == sorted(losses, reverse=True)

    def test_leaves_a_flat_image_alone(self):
        flat = np.full((9, 11, 1), np.float32(128 / 255))
        assert np.array_equal(jpeg(flat, 10), flat)

    def test_is_of_gray_images_alone(self):
        with pytest.raises(ValueError, match="axis"):
            jpeg(picture(channels=3), 10)

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("name", "quality", "psnr_db"),
        # the column "JPEG" of NSR's Table 6 (Fan et al., NeurIPS 2020)
        [("classic5", q, p) for q, p in ((10, 27.82), (20, 30.12), (30, 31.48), (40, 32.43))]
        + [("live1", q, p) for q, p in ((10, 27.77), (20, 30.07), (30, 31.41), (40, 32.35))],
    )
    def test_gives_the_psnr_that_papers_print_for_it(self, mirror, name, quality, psnr_db):
        dataset = datasets.get(name)
        measured = []
        for entry in dataset.entries:
            y = luma(datasets.read(dataset, entry).pixels)
            measured.append(peak_signal_noise_ratio(to_8bit(y), to_8bit(jpeg(y, quality)), data_range=255))
        assert np.mean(measured) == pytest.approx(psnr_db, abs=0.01)


class TestBayer:
    RGB = np.arange(1, 2 * 3 * 3 + 1, dtype=np.float32).reshape(2, 3, 3)
    """Two rows of three pixels: (1, 2, 3), (4, 5, 6), (7, 8, 9) and (10, 11, 12), ..."""

    @pytest.mark.parametrize(
        ("pattern", "mosaic"),
        [
            ("RGGB", [[1, 5, 7], [11, 15, 17]]),
            ("BGGR", [[3, 5, 9], [11, 13, 17]]),
            ("GRBG", [[2, 4, 8], [12, 14, 18]]),
            ("GBRG", [[2, 6, 8], [10, 14, 16]]),
        ],
    )
    def test_lets_one_colour_through_at_each_pixel(self, pattern, mosaic):
        assert bayer(self.RGB, pattern)[0][..., 0].tolist() == mosaic

    @pytest.mark.parametrize("pattern", BAYER_PATTERNS)
    def test_its_mask_says_which(self, pattern):
        clean = picture(7, 5, 3)
        mosaic, mask = bayer(clean, pattern)
        assert (mosaic.shape, mosaic.dtype, mask.shape, mask.dtype) == ((7, 5, 1), np.float32, (7, 5, 3), bool)
        assert (mask.sum(axis=2) == 1).all()
        assert np.array_equal(clean[mask], mosaic.ravel())

    def test_refuses_a_gray_image_and_an_unknown_pattern(self):
        with pytest.raises(DataError, match="3 channels; this one has 1"):
            bayer(picture(), "RGGB")
        with pytest.raises(DataError, match=r"'RGBG'.*RGGB, BGGR"):
            bayer(picture(channels=3), "RGBG")


def imresize_by_its_definition(image, factor):
    """MATLAB's imresize, bicubic, one output pixel at a time on an image extended by mirroring."""

    def kernel(x):
        x = abs(x)
        if x <= 1:
            return 1.5 * x**3 - 2.5 * x**2 + 1
        return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x <= 2 else 0.0

    shrink, border = min(factor, 1), 60
    extended = np.pad(image.astype(float), [(border, border), (border, border), (0, 0)], "symmetric")
    height, width = (math.ceil(n * factor) for n in image.shape[:2])
    resized = np.zeros((height, width, image.shape[2]))
    for i, j in np.ndindex(height, width):
        weights = [
            [kernel(shrink * (n - border + 0.5 - (k + 0.5) / factor)) for n in range(length)]
            for k, length in ((i, extended.shape[0]), (j, extended.shape[1]))
        ]
        w_rows, w_columns = (np.array(w) / sum(w) for w in weights)
        resized[i, j] = np.einsum("i,j,ijc->c", w_rows, w_columns, extended)
    return resized


def resizing_matrix(n, factor):
    """(n_out, n): what each of n pixels weighs in each pixel of the answer."""
    indices, weights = _contributions(n, factor)
    W = np.zeros((len(indices), n))
    np.add.at(W, (np.arange(len(indices))[:, None], indices), weights)
    return W


class TestBicubic:
    @pytest.mark.parametrize("factor", [1 / 2, 1 / 3, 1 / 4, 0.6, 2, 3, 4])
    def test_is_imresize_up_to_the_borders(self, factor):
        image = np.random.RandomState(0).rand(12, 24, 2).astype(np.float32)
        assert np.abs(bicubic(image, factor) - imresize_by_its_definition(image, factor)).max() < 1e-6

    def test_halves_with_the_eight_weights_that_the_kernel_gives(self):
        # Output pixel j lies at 2j + 1/2 on the axis of the input, so 7/2, 3/2, 1/2 and 5/2 away from input pixel
        # 16 for j = 6, 7, 8, 9. The kernel, twice as wide and half as high, is -3, 29, 111 and -9 over 256 there.
        impulse = np.zeros((32, 1, 1), np.float32)
        impulse[16] = 256
        assert bicubic(impulse, 0.5).ravel().tolist() == [0] * 6 + [-3, 29, 111, -9] + [0] * 6

    @given(n=st.integers(1, 40), factor=st.sampled_from([2, 3, 4, 1.5, 0.6, 1 / 2, 1 / 3, 1 / 4]))
    def test_makes_each_pixel_of_weights_that_sum_to_1(self, n, factor):
        W = resizing_matrix(n, factor)
        assert W.shape == (math.ceil(n * factor), n)
        assert W.sum(axis=1) == pytest.approx(1)

    @given(n=st.integers(1, 12), scale=st.integers(2, 4), larger=st.booleans())
    def test_treats_left_and_right_alike(self, n, scale, larger):
        W = resizing_matrix(n, scale) if larger else resizing_matrix(n * scale, 1 / scale)
        assert np.allclose(W, W[::-1, ::-1], rtol=0, atol=1e-12)

    def test_does_not_change_a_flat_image(self):
        for factor in (1 / 4, 1 / 3, 0.5, 0.6, 1.5, 2, 3, 4):
            assert bicubic(np.full((12, 12, 1), np.float32(0.3)), factor) == pytest.approx(0.3, abs=1e-7)

    def test_doubles_a_ramp_into_a_ramp_away_from_the_borders(self):
        ramp = np.arange(20, dtype=np.float32).reshape(1, 20, 1)
        expected = (np.arange(40) + 0.5) / 2 - 0.5
        assert bicubic(ramp, 2)[0, 4:-4, 0] == pytest.approx(expected[4:-4], abs=1e-6)

    def test_overshoots_at_an_edge_and_does_not_clip(self):
        edge = np.repeat(np.float32([0, 1]), 8).reshape(1, 16, 1)
        assert bicubic(edge, 2).max() > 1
        assert bicubic(edge, 2).min() < 0

    def test_of_8_bits_clips_and_rounds_after_the_columns_and_again_after_the_rows(self):
        image = np.random.RandomState(0).randint(0, 2, (12, 14, 3)).astype(np.float32)  # overshoots
        columns = [bicubic(image[:, [j]], 0.5) for j in range(14)]  # one pixel in a row stays what it is
        half = to_unit(to_8bit(np.hstack(columns)))
        rows = [bicubic(half[[i]], 0.5) for i in range(6)]
        small = bicubic(image, 0.5, rounded=True)
        assert np.array_equal(small, to_unit(to_8bit(np.vstack(rows))))
        assert not np.array_equal(small, to_unit(to_8bit(bicubic(image, 0.5))))

    @pytest.mark.parametrize("scale", [2, 3, 4])
    def test_a_multiple_of_the_scale_divides_without_remainder(self, scale):
        sizes = range(scale, 3000, 7 * scale)
        assert [len(bicubic(np.zeros((n, 1, 1), np.float32), 1 / scale)) for n in sizes] == [
            n // scale for n in sizes
        ]

    def test_rounds_other_sizes_up(self):
        assert bicubic(picture(7, 9), 0.5).shape == (4, 5, 1)
        assert bicubic(picture(1, 1), 1 / 4).shape == (1, 1, 1)

    @pytest.mark.parametrize("factor", [0, -2, float("nan"), float("inf")])
    def test_refuses_a_factor_that_makes_no_size(self, factor):
        with pytest.raises(DataError, match="factor"):
            bicubic(picture(), factor)

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("name", "scale", "psnr_db"),
        # the column "Bicubic" of NSR's Table 4 (Fan et al., NeurIPS 2020)
        [("set5", s, p) for s, p in ((2, 33.66), (3, 30.39), (4, 28.42))]
        + [("set14", s, p) for s, p in ((2, 30.24), (3, 27.55), (4, 26.00))]
        + [("bsd100", s, p) for s, p in ((2, 29.56), (3, 27.21), (4, 25.96))],
    )
    def test_gives_the_psnr_that_papers_print_for_it(self, mirror, name, scale, psnr_db):
        dataset = datasets.get(name)
        measured = []
        for entry in dataset.entries:
            clean = datasets.read(dataset, entry).pixels
            height, width = (n - n % scale for n in clean.shape[:2])
            y = luma(clean[:height, :width])
            upscaled = bicubic(bicubic(y, 1 / scale), scale)
            inner = np.s_[scale:-scale, scale:-scale]
            measured.append(peak_signal_noise_ratio(to_8bit(y)[inner], to_8bit(upscaled)[inner], data_range=255))
        assert np.mean(measured) == pytest.approx(psnr_db, abs=0.01)


class TestFingerprint:
    def test_is_the_sha256_of_the_little_endian_values_in_order(self):
        image = picture(2, 3, 3)
        packed = struct.pack("<18f", *image.ravel().tolist())
        assert fingerprint(image) == hashlib.sha256(packed).hexdigest()

    def test_does_not_depend_on_how_the_values_lie_in_memory(self):
        image = picture(4, 6, 3)
        assert fingerprint(np.asfortranarray(image)) == fingerprint(image)
        assert fingerprint(np.repeat(image, 2, axis=1)[:, ::2]) == fingerprint(image)

    def test_sees_the_last_bit(self):
        image = picture()
        other = image.copy()
        other[3, 4, 0] = np.nextafter(other[3, 4, 0], np.float32(2))
        assert fingerprint(other) != fingerprint(image)
