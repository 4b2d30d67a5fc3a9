"""Image files of every kind: converted and said, or refused and said."""

from __future__ import annotations

import os
import struct
import zlib

import numpy as np
import pytest
import tifffile
from bench.data.datasets import get
from bench.data.decode import decode, header
from bench.data.errors import DataError
from PIL import Image, features

LEVELS = np.arange(0, 240, 2, dtype=np.uint8).reshape(10, 12)
COLOURS = np.stack([LEVELS, LEVELS[::-1], LEVELS[:, ::-1]], axis=-1)
OPAQUE = np.full_like(LEVELS, 255)


def png(values, colour_type):
    """A 16-bit PNG, which Pillow does not write in colour. values  (H, W, C)."""
    height, width = values.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    chunks = {b"IHDR": struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0), b"IDAT": zlib.compress(rows)}
    body = b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in {**chunks, b"IEND": b""}.items()
    )
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".tiff", ".PNG"])
@pytest.mark.parametrize("pixels", [LEVELS, COLOURS], ids=["gray", "colour"])
def test_a_lossless_8_bit_file_gives_its_own_pixels_and_nothing_to_say(tmp_path, suffix, pixels):
    path = tmp_path / f"image{suffix}"
    Image.fromarray(pixels).save(path)
    decoded, note = decode(path)
    assert np.array_equal(decoded, pixels.reshape(10, 12, -1))
    assert note == ""
    assert header(path) == (12, 10, decoded.shape[2])


@pytest.mark.parametrize(("suffix", "pixels"), [(".pgm", LEVELS), (".ppm", COLOURS), (".webp", COLOURS)])
def test_so_do_the_rarer_formats(tmp_path, suffix, pixels):
    path = tmp_path / f"image{suffix}"
    Image.fromarray(pixels).save(path, **({"lossless": True} if suffix == ".webp" else {}))
    assert np.array_equal(decode(path)[0], pixels.reshape(10, 12, -1))
    assert decode(path)[1] == ""


class TestConvertedAndSaid:
    @pytest.mark.parametrize(("colour_type", "pixels"), [(0, LEVELS[..., None]), (2, COLOURS)])
    def test_16_bits_of_a_png_keep_the_upper_8(self, tmp_path, colour_type, pixels):
        path = tmp_path / "deep.png"
        path.write_bytes(png(pixels.astype(np.uint16) * 256 + 200, colour_type))
        decoded, note = decode(path)
        assert np.array_equal(decoded, pixels)
        assert note == "16 bits a channel reduced to the upper 8"
        assert header(path) == (12, 10, pixels.shape[2])

    @pytest.mark.parametrize(("kind", "pixels"), [("P5", LEVELS[..., None]), ("P6", COLOURS)])
    def test_and_of_a_pgm_or_ppm(self, tmp_path, kind, pixels):
        path = tmp_path / "deep.ppm"
        path.write_bytes(f"{kind} 12 10 65535 ".encode() + (pixels.astype(">u2") * 257).tobytes())
        decoded, note = decode(path)
        assert np.array_equal(decoded, pixels)
        assert note == "16 bits a channel reduced to the upper 8"

    def test_and_of_a_tiff(self, tmp_path):
        Image.fromarray(LEVELS.astype(np.uint16) * 256 + 200).save(tmp_path / "deep.tif")
        decoded, note = decode(tmp_path / "deep.tif")
        assert np.array_equal(decoded[..., 0], LEVELS)
        assert "16 bits" in note

    @pytest.mark.parametrize("order", ["contig", "separate"])
    @pytest.mark.parametrize("compression", [None, "zlib"])
    def test_and_of_a_tiff_in_colour(self, tmp_path, order, compression):
        path, deep = tmp_path / "deep.tif", COLOURS.astype(np.uint16) * 256 + 200
        planes = deep if order == "contig" else np.moveaxis(deep, -1, 0)
        tifffile.imwrite(path, planes, photometric="rgb", planarconfig=order, compression=compression)
        if (order, compression) == ("separate", None):  # of which Pillow makes another picture
            with pytest.raises(DataError, match="keeps its channels of 16 bits apart"):
                decode(path)
        else:
            decoded, note = decode(path)
            assert np.array_equal(decoded, COLOURS)
            assert note == "16 bits a channel reduced to the upper 8"

    @pytest.mark.parametrize("channels", [(LEVELS, OPAQUE), (*np.moveaxis(COLOURS, -1, 0), OPAQUE)])
    def test_an_opaque_alpha_channel_is_dropped(self, tmp_path, channels):
        Image.fromarray(np.stack(channels, axis=-1)).save(tmp_path / "alpha.png")
        decoded, note = decode(tmp_path / "alpha.png")
        assert np.array_equal(decoded, np.stack(channels[:-1], axis=-1))
        assert note == "alpha channel dropped (opaque)"
        assert header(tmp_path / "alpha.png") == (12, 10, len(channels) - 1)

    def test_a_palette_is_expanded(self, tmp_path):
        paletted = Image.fromarray(COLOURS).quantize(8)
        paletted.save(tmp_path / "palette.png")
        decoded, note = decode(tmp_path / "palette.png")
        assert np.array_equal(decoded, np.asarray(paletted.convert("RGB")))
        assert note == "palette expanded to RGB"
        assert header(tmp_path / "palette.png") == (12, 10, 3)

    def test_black_and_white_becomes_gray(self, tmp_path):
        Image.fromarray(LEVELS > 100).save(tmp_path / "bilevel.png")
        decoded, note = decode(tmp_path / "bilevel.png")
        assert np.array_equal(decoded[..., 0], np.where(LEVELS > 100, 255, 0))
        assert note == "black and white as 0 and 255"

    def test_a_camera_s_jpeg_with_previews_gives_the_picture(self, tmp_path):
        first, preview = Image.fromarray(COLOURS), Image.fromarray(COLOURS[::2, ::2])
        first.save(tmp_path / "camera.jpg", format="MPO", save_all=True, append_images=[preview])
        decoded, note = decode(tmp_path / "camera.jpg")
        assert decoded.shape == (10, 12, 3)
        assert note.startswith("first of several pictures; a JPEG of quality 75")


@pytest.mark.parametrize("quality", [1, 10, 50, 75, 90, 100])
def test_a_jpegs_quality_is_read_from_its_tables_and_said(tmp_path, quality):
    Image.fromarray(COLOURS).save(tmp_path / "photo.jpg", quality=quality)
    assert decode(tmp_path / "photo.jpg")[1].startswith(f"a JPEG of quality {quality},")


def test_a_jpeg_of_no_ijg_quality_is_said_to_be_about_one(tmp_path):
    tables = [[12] * 64, [20] * 64]
    Image.fromarray(LEVELS).save(tmp_path / "camera.jpg", qtables=tables)
    assert decode(tmp_path / "camera.jpg")[1].startswith("a JPEG of quality about ")


class TestRefusedAndSaid:
    def refusal(self, path):
        with pytest.raises(DataError) as refused:
            decode(path)
        assert str(path) in str(refused.value)
        return str(refused.value)

    @pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
    def test_real_transparency(self, tmp_path, suffix):
        alpha = OPAQUE.copy()
        alpha[3, 4] = 254
        Image.fromarray(np.dstack([COLOURS, alpha])).save(tmp_path / f"image{suffix}")
        assert "has transparent pixels" in self.refusal(tmp_path / f"image{suffix}")

    def test_a_transparent_entry_of_a_palette(self, tmp_path):
        Image.fromarray(COLOURS).quantize(8).save(tmp_path / "image.png", transparency=0)
        assert "has transparent pixels" in self.refusal(tmp_path / "image.png")

    def test_cmyk(self, tmp_path):
        Image.fromarray(COLOURS).convert("CMYK").save(tmp_path / "print.jpg")
        assert "CMYK" in self.refusal(tmp_path / "print.jpg")

    @pytest.mark.parametrize(("dtype", "reason"), [(np.float32, "floating-point"), (np.int32, "32-bit")])
    def test_values_of_unknown_range(self, tmp_path, dtype, reason):
        Image.fromarray(LEVELS.astype(dtype)).save(tmp_path / "values.tif")
        assert reason in self.refusal(tmp_path / "values.tif")

    @pytest.mark.parametrize("suffix", [".tif", ".png", ".webp"])
    def test_several_pages_or_frames(self, tmp_path, suffix):
        frames = [Image.fromarray(COLOURS), Image.fromarray(COLOURS[::-1])]
        frames[0].save(tmp_path / f"film{suffix}", save_all=True, append_images=frames[1:])
        assert "several pictures" in self.refusal(tmp_path / f"film{suffix}")

    @pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif", ".webp", ".ppm"])
    def test_a_file_cut_off_in_the_middle(self, tmp_path, suffix):
        path = tmp_path / f"cut{suffix}"
        Image.fromarray(np.kron(COLOURS, np.ones((9, 9, 1), np.uint8))).save(path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        assert "cannot be read as an image" in self.refusal(path)

    @pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n"])
    def test_what_is_no_image_at_all(self, tmp_path, content):
        path = tmp_path / "broken.png"
        path.write_bytes(content)
        assert "Replace or remove it" in self.refusal(path)
        assert header(path) is None


BIG = np.kron(COLOURS, np.ones((4, 4, 1), np.uint8))


class TestLossesAreSaidWhateverTheContainer:
    """A file is known by its content: each is called .png here."""

    def note(self, tmp_path, kind, pixels=BIG, **options):
        path = tmp_path / "picture.png"
        Image.fromarray(pixels).save(path, kind, **options)
        decoded, note = decode(path)
        assert decoded.shape[:2] == pixels.shape[:2]
        return note

    def test_jpeg(self, tmp_path):
        assert self.note(tmp_path, "JPEG", quality=80) == "a JPEG of quality 80, whose losses count as clean here"

    @pytest.mark.parametrize("pixels", [BIG, BIG[..., 0]], ids=["colour", "gray"])
    def test_jpeg_in_a_tiff(self, tmp_path, pixels):
        note = self.note(tmp_path, "TIFF", pixels, compression="jpeg")
        assert note == "a TIFF compressed as JPEG, whose losses count as clean here"

    @pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_deflate", "packbits"])
    def test_but_no_other_tiff(self, tmp_path, compression):
        assert self.note(tmp_path, "TIFF", compression=compression) == ""

    @pytest.mark.parametrize(
        "extended", [{}, {"icc_profile": b"odd"}, {"exif": Image.Exif()}], ids=["plain", "icc", "exif"]
    )
    def test_webp_unless_it_is_lossless(self, tmp_path, extended):
        lossy = self.note(tmp_path, "WEBP", quality=90, **extended)
        assert lossy == "a lossy WebP, whose losses count as clean here"
        assert self.note(tmp_path, "WEBP", lossless=True, **extended) == ""

    @pytest.mark.parametrize(("options", "note"), [({}, "a lossy WebP"), ({"lossless": True}, "")], ids=str)
    def test_webp_that_is_a_film_of_one_frame(self, tmp_path, options, note):
        height, width = BIG.shape[:2]
        Image.fromarray(BIG).save(tmp_path / "still.webp", **options)
        picture = (tmp_path / "still.webp").read_bytes()[12:]
        size = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
        chunks = [
            (b"VP8X", bytes([2, 0, 0, 0]) + size),
            (b"ANIM", bytes(6)),
            (b"ANMF", bytes(6) + size + bytes(4) + picture),
        ]
        body = b"".join(kind + struct.pack("<I", len(content)) + content for kind, content in chunks)
        path = tmp_path / "film.webp"
        path.write_bytes(b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body)
        assert decode(path)[0].shape == BIG.shape
        assert decode(path)[1].partition(",")[0] == note

    def test_webp_with_an_opaque_alpha_channel(self, tmp_path):
        opaque = np.dstack([BIG, np.full(BIG.shape[:2], 255, np.uint8)])
        assert self.note(tmp_path, "WEBP", opaque).startswith("a lossy WebP")

    @pytest.mark.parametrize("kind", ["PNG", "BMP", "PPM"])
    def test_and_of_lossless_kinds_nothing(self, tmp_path, kind):
        assert "losses" not in self.note(tmp_path, kind)


class TestNoOtherKindIsDecoded:
    """Whatever the file is called: each is called .png or .jpg here, and none reaches a decoder of its own kind."""

    def refusal(self, path):
        with pytest.raises(DataError, match=r"cannot be read as an image: .* Replace or remove it") as refused:
            decode(path)
        assert header(path) is None
        return str(refused.value)

    @pytest.mark.parametrize(
        ("kind", "named"),
        [
            ("GIF", "a GIF"),
            ("JPEG2000", "a JPEG 2000"),
            ("AVIF", "an AVIF"),
            ("EPS", "a PostScript"),
            ("PDF", "a PDF"),
        ],
    )
    def test_that_pillow_knows(self, tmp_path, kind, named):
        if kind == "AVIF" and not features.check("avif"):
            pytest.skip("this Pillow has no AVIF")
        Image.fromarray(BIG).save(tmp_path / "picture.png", kind)
        assert f"it is {named}" in self.refusal(tmp_path / "picture.png")

    @pytest.mark.parametrize("kind", ["TGA", "PCX", "SGI"])
    def test_even_if_its_first_bytes_do_not_tell(self, tmp_path, kind):
        Image.fromarray(BIG).save(tmp_path / "picture.png", kind)
        assert "unknown or damaged" in self.refusal(tmp_path / "picture.png")

    @pytest.mark.parametrize(
        ("content", "named"),
        [
            (b"#!/bin/sh\nrm -rf /", "a script"),
            (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
            (b"PK\3\4....", "a zip archive"),
            (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        ],
    )
    def test_nor_what_is_no_picture(self, tmp_path, content, named):
        (tmp_path / "a.jpg").write_bytes(content)
        assert named in self.refusal(tmp_path / "a.jpg")

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes")
    def test_nor_is_a_pipe_a_device_or_a_folder_waited_for(self, tmp_path):
        os.mkfifo(tmp_path / "pipe.png")
        (tmp_path / "zeros.png").symlink_to("/dev/zero")
        (tmp_path / "folder.png").mkdir()
        for name, what in (("pipe", "a pipe"), ("zeros", "a device"), ("folder", "a folder")):
            assert f"it is {what} and not a file" in self.refusal(tmp_path / f"{name}.png")

    def test_nor_does_a_circle_of_links_lead_anywhere(self, tmp_path):
        (tmp_path / "a.png").symlink_to("b.png")
        (tmp_path / "b.png").symlink_to("a.png")
        self.refusal(tmp_path / "a.png")

    def test_and_the_name_is_told_in_one_line(self, tmp_path):
        path = tmp_path / os.fsdecode(b"two\nlines \xff\x1b[31m.png")
        path.write_bytes(b"")
        assert r"two\nlines \xff\x1b[31m.png cannot be read" in self.refusal(path)


def claiming(width, height):
    """A PNG of a few bytes whose header tells of so many pixels."""
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = {b"IHDR": head, b"IDAT": zlib.compress(bytes(99)), b"IEND": b""}
    body = b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks.items()
    )
    return b"\x89PNG\r\n\x1a\n" + body


class TestPixelsAreBounded:
    """Before anything is decoded, by what the header says."""

    def refusal(self, tmp_path, content):
        (tmp_path / "a.png").write_bytes(content)
        assert header(tmp_path / "a.png") is None
        with pytest.raises(DataError, match=r"a\.png cannot be read") as refused:
            decode(tmp_path / "a.png")
        return str(refused.value)

    @pytest.mark.parametrize("size", [(10_001, 10_000), (20_000, 20_000), (2**31 - 1, 2**31 - 1)])
    def test_to_a_hundred_million(self, tmp_path, size):
        assert "more than 100000000 pixels" in self.refusal(tmp_path, claiming(*size))

    def test_or_to_what_the_variable_says(self, tmp_path, monkeypatch):
        monkeypatch.setenv("BENCH_MAX_PIXELS", "119")
        Image.fromarray(LEVELS).save(tmp_path / "b.png")
        assert "more than 119 pixels, which are all that BENCH_MAX_PIXELS" in self.refusal(
            tmp_path, (tmp_path / "b.png").read_bytes()
        )
        monkeypatch.setenv("BENCH_MAX_PIXELS", "120")
        assert header(tmp_path / "a.png") == (12, 10, 1)

    def test_which_may_be_more_than_pillow_s_own_limit(self, tmp_path, monkeypatch):
        monkeypatch.setenv("BENCH_MAX_PIXELS", "1000000000")
        (tmp_path / "a.png").write_bytes(claiming(20_000, 20_000))
        assert header(tmp_path / "a.png") == (20_000, 20_000, 1)
        assert Image.MAX_IMAGE_PIXELS == 89_478_485

    def test_a_file_of_more_bytes_than_they_take_is_not_searched(self, tmp_path):
        (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff\xe0")
        os.truncate(tmp_path / "a.jpg", 10**12)
        with pytest.raises(DataError, match=r"it has 1000000000000 bytes, more than .*BENCH_MAX_PIXELS\) takes"):
            decode(tmp_path / "a.jpg")

    def test_no_pixels_are_no_picture(self, tmp_path):
        self.refusal(tmp_path, claiming(0, 10))
        self.refusal(tmp_path, b"P5 0 0 255 ")

    @pytest.mark.parametrize("word", ["0", "-1", "1e8", "many", "1" * 30, "\u0663"])
    def test_another_word_is_one_clear_line(self, tmp_path, monkeypatch, word):
        monkeypatch.setenv("BENCH_MAX_PIXELS", word)
        Image.fromarray(LEVELS).save(tmp_path / "a.png")
        with pytest.raises(DataError, match=r"BENCH_MAX_PIXELS is '.*'\. Expected a whole number from 1 to"):
            decode(tmp_path / "a.png")
        with pytest.raises(DataError, match="BENCH_MAX_PIXELS is"):
            get(tmp_path)

    def test_pages_are_not_counted(self, tmp_path):
        page = struct.pack("<HHHI", 1, 256, 3, 1) + bytes(4)  # one tag: its width
        pages = b"".join(page[:-4] + struct.pack("<I", 8 + 18 * (i + 1)) for i in range(200_000))
        (tmp_path / "a.tif").write_bytes(b"II*\0" + struct.pack("<I", 8) + pages)
        with pytest.raises(DataError):
            decode(tmp_path / "a.tif")


def turned(orientation):
    exif = Image.Exif()
    exif[274] = orientation
    return {"exif": exif}


class TestARotationTagIsNotAppliedAndSaid:
    @pytest.mark.parametrize("orientation", range(2, 9))
    @pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
    def test_and_the_pixels_are_those_stored(self, tmp_path, suffix, orientation):
        path = tmp_path / f"turned{suffix}"
        options = {".webp": {"lossless": True}, ".tif": {"compression": "tiff_lzw"}}.get(suffix, {})
        Image.fromarray(COLOURS).save(path, **turned(orientation), **options)
        decoded, note = decode(path)
        assert np.array_equal(decoded, COLOURS)
        assert note == "its EXIF tag says that it is to be rotated: ignored, measured as stored"
        assert header(path) == (12, 10, 3)

    @pytest.mark.parametrize("orientation", [3, 6])
    @pytest.mark.parametrize(("kind", "options"), [("JPEG", {}), ("TIFF", {"compression": "jpeg"}), ("MPO", {})])
    def test_of_a_camera_s_file(self, tmp_path, kind, options, orientation):
        for name, tags in (("turned", turned(orientation)), ("plain", {})):
            Image.fromarray(BIG).save(tmp_path / name, kind, **tags, **options)
        (stored, plain), (decoded, note) = decode(tmp_path / "plain"), decode(tmp_path / "turned")
        assert np.array_equal(decoded, stored)
        assert note == f"{plain}; its EXIF tag says that it is to be rotated: ignored, measured as stored"

    def test_but_not_where_there_is_nothing_to_turn(self, tmp_path):
        for orientation in (0, 1, 9):
            Image.fromarray(COLOURS).save(tmp_path / "a.png", **turned(orientation))
            assert decode(tmp_path / "a.png")[1] == ""

    def test_beside_16_bits(self, tmp_path):
        Image.fromarray(LEVELS.astype(np.uint16) * 256).save(tmp_path / "deep.png", **turned(8))
        decoded, note = decode(tmp_path / "deep.png")
        assert np.array_equal(decoded[..., 0], LEVELS)
        assert note.startswith("16 bits a channel reduced to the upper 8; its EXIF tag says that it is to be rotated")

    def test_and_damaged_metadata_spoils_no_picture(self, tmp_path):
        Image.fromarray(COLOURS).save(tmp_path / "a.png", exif=b"Exif\0\0nonsense of some length")
        assert np.array_equal(decode(tmp_path / "a.png")[0], COLOURS)


class TestThreeEqualChannelsAreSaid:
    NOTE = "its three channels are equal: a gray picture stored as colour, measured as colour"

    @pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".ppm"])
    def test_of_any_colour_file(self, tmp_path, suffix):
        Image.fromarray(np.dstack([LEVELS] * 3)).save(tmp_path / f"a{suffix}")
        decoded, note = decode(tmp_path / f"a{suffix}")
        assert decoded.shape == (10, 12, 3)
        assert note == self.NOTE

    def test_of_a_gray_palette(self, tmp_path):
        Image.fromarray(LEVELS).convert("P").save(tmp_path / "a.png")
        assert decode(tmp_path / "a.png")[1] == f"palette expanded to RGB; {self.NOTE}"

    def test_of_a_colour_jpeg_of_a_gray_picture(self, tmp_path):
        Image.fromarray(np.dstack([BIG[..., 0]] * 3)).save(tmp_path / "a.jpg", quality=90)
        assert decode(tmp_path / "a.jpg")[1].endswith(f"; {self.NOTE}")

    def test_but_not_where_one_value_differs_nor_of_gray_files(self, tmp_path):
        nearly = np.dstack([LEVELS] * 3)
        nearly[3, 4, 2] += 1
        for name, pixels in (("nearly.png", nearly), ("gray.png", LEVELS)):
            Image.fromarray(pixels).save(tmp_path / name)
            assert decode(tmp_path / name)[1] == ""
