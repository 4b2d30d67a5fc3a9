"""Pictures of one's own: what is read is written again, whole or not at all."""

import struct
import sys
import zlib

import numpy as np
import pytest
import tifffile
from bench.data import decoder
from bench.data.errors import DataError
from bench.data.photo import read_photo
from bench.data.picture import MOST_ICC_BYTES
from bench.data.saving import FORMATS, Kept, save, written_whole
from PIL import Image, ImageCms

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


NONE_TO_SPARE = (
    "import bench.data.decoder as d, bench.data.photo_values; "
    "d._BASE_BYTES = 4096 * int(open('/proc/self/statm').read().split()[0])"
)
"""for the process that decodes: a limit of what it holds when it starts, and what a picture takes"""


def picture(channels, bits=8, height=23, width=17):
    """Every value of so many bits may occur."""
    most = 2**bits - 1
    values = np.random.default_rng(channels).integers(0, most + 1, (height, width, channels))
    return values.astype(np.float32) / np.float32(most)


KINDS = [
    (suffix, bits, channels, with_alpha)
    for suffix in FORMATS
    for bits in (8, 16)
    for channels in (1, 3)
    for with_alpha in (False, True)
    if not (suffix == ".webp" and bits == 16)
    if not (suffix in (".tif", ".tiff") and (bits, channels, with_alpha) == (16, 1, True))  # Pillow reads none
]


@pytest.mark.parametrize(("suffix", "bits", "channels", "with_alpha"), KINDS)
def test_what_is_written_is_read_again(tmp_path, suffix, bits, channels, with_alpha):
    planes = picture(channels + with_alpha, bits)
    image, alpha = planes[..., :channels], planes[..., channels:] if with_alpha else None
    save(image, tmp_path / f"a{suffix}", Kept(alpha, bits, SRGB, 6))
    photo = read_photo(tmp_path / f"a{suffix}")
    n_read = 3 if suffix == ".webp" else channels  # it has no gray
    assert photo.image.shape == (23, 17, n_read)
    assert np.array_equal(photo.image[..., :channels], image)
    assert (photo.alpha is None) if alpha is None else np.array_equal(photo.alpha, alpha)
    assert (photo.bits, photo.icc, photo.orientation) == (bits, SRGB, 6)


@pytest.mark.parametrize(
    ("suffix", "channels"),
    [(".png", 1), (".png", 2), (".png", 3), (".png", 4), (".tif", 1), (".tif", 3), (".tif", 4)],
)
def test_sixteen_bits_are_read_whole_of_a_file_without_a_tag_of_rotation(tmp_path, suffix, channels):
    planes, colours = picture(channels, 16), 3 if channels > 2 else 1
    save(
        planes[..., :colours], tmp_path / f"a{suffix}", Kept(planes[..., colours:] if channels % 2 == 0 else None, 16)
    )
    photo = read_photo(tmp_path / f"a{suffix}")
    assert (photo.bits, photo.orientation) == (16, 1)
    assert np.array_equal(photo.image, planes[..., :colours])


def test_values_are_clipped_and_rounded_to_the_nearest(tmp_path):
    save(np.float32([[[-0.5], [1.5], [0.5019], [0.5021]]]), tmp_path / "a.png")
    assert np.asarray(Image.open(tmp_path / "a.png")).tolist() == [[0, 255, 128, 128]]


def test_other_programs_read_what_is_written(tmp_path):
    image = picture(3, 16, 300, 40)  # more rows than are filtered at a time
    for name in ("a.png", "a.tif"):
        save(image, tmp_path / name, Kept(bits=16))
    upper = np.rint(image * 65535).astype(np.uint16) >> 8
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a.png")), upper)
    assert np.array_equal(tifffile.imread(tmp_path / "a.tif") >> 8, upper)


@pytest.mark.parametrize(
    "layout",
    [
        {"byteorder": ">"},
        {"compression": "zlib", "byteorder": ">", "predictor": True},
        {"compression": "zlib", "tile": (16, 16)},
        {"rowsperstrip": 5},
    ],
    ids=["big-endian", "predictor", "tiles", "strips"],
)
def test_sixteen_bits_of_colour_are_read_whole_however_they_are_laid_out(tmp_path, layout):
    values = np.random.default_rng(0).integers(0, 65536, (33, 35, 3), np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb", **layout)
    photo = read_photo(tmp_path / "a.tif")
    assert np.array_equal(np.rint(photo.image * 65535), values)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_layout_that_would_be_read_wrongly_is_refused(tmp_path, compression):
    values = np.zeros((3, 8, 9), np.uint16)
    words = {"photometric": "rgb", "planarconfig": "separate", "compression": compression}
    tifffile.imwrite(tmp_path / "a.tif", values, **words)
    with pytest.raises(DataError, match=r"a\.tif keeps its channels of 16 bits apart"):
        read_photo(tmp_path / "a.tif")


def test_a_jpeg_tells_its_quality_and_keeps_its_tag_of_rotation(tmp_path):
    tag = Image.Exif()
    tag[274] = 8
    pixels = (255 * picture(3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.jpg", quality=35, exif=tag)
    photo = read_photo(tmp_path / "a.jpg")
    assert (photo.quality, photo.orientation, photo.note, photo.bits) == ("35", 8, "", 8)
    assert photo.image.shape == (23, 17, 3)


def test_palettes_become_colours_and_keep_what_is_transparent(tmp_path):
    palette = Image.fromarray((255 * picture(3)).astype(np.uint8)).quantize(8)
    palette.save(tmp_path / "a.png", transparency=0)
    photo = read_photo(tmp_path / "a.png")
    assert photo.note == "palette expanded to RGB"
    assert set(np.unique(photo.alpha)) == {0, 1}


def test_one_gray_of_16_bits_that_is_transparent_is_alpha(tmp_path):
    gray = np.array([[0, 700, 65535], [700, 701, 1]], np.uint16)
    Image.fromarray(gray).save(tmp_path / "a.png", transparency=700)
    photo = read_photo(tmp_path / "a.png")
    assert np.array_equal(np.rint(photo.image[..., 0] * 65535), gray)
    assert photo.alpha[..., 0].tolist() == [[1, 0, 1], [0, 1, 1]]


def test_one_colour_of_16_bits_that_is_transparent_is_alpha(tmp_path):
    save(np.float32([[[1, 2, 300], [1, 2, 301], [9, 2, 300]]]) / 65535, tmp_path / "a.png", Kept(bits=16))
    content = (tmp_path / "a.png").read_bytes()
    chunk = b"tRNS" + struct.pack(">HHH", 1, 2, 300)
    at = content.index(b"IDAT") - 4
    chunk = struct.pack(">I", 6) + chunk + struct.pack(">I", zlib.crc32(chunk))
    (tmp_path / "a.png").write_bytes(content[:at] + chunk + content[at:])
    photo = read_photo(tmp_path / "a.png")
    assert np.rint(photo.image * 65535).tolist() == [[[1, 2, 300], [1, 2, 301], [9, 2, 300]]]
    assert photo.alpha[..., 0].tolist() == [[0, 1, 1]]


def test_what_is_no_picture_is_named(tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\nnot much more")
    with pytest.raises(DataError, match=r"a\.png cannot be read as an image"):
        read_photo(tmp_path / "a.png")


class TestAStrangersPhoto:
    def test_is_decoded_by_the_other_process(self, tmp_path, monkeypatch):
        save(picture(3, 16), tmp_path / "a.tif", Kept(bits=16))
        monkeypatch.setattr(Image, "open", None)
        assert np.array_equal(read_photo(tmp_path / "a.tif").image, picture(3, 16))

    def test_may_bring_a_profile_of_a_length_that_is_bounded(self, tmp_path):
        values = np.zeros((8, 9), np.uint8)
        for name, n_bytes in (("a.tif", MOST_ICC_BYTES), ("b.tif", MOST_ICC_BYTES + 1)):
            tifffile.imwrite(tmp_path / name, values, iccprofile=bytes(n_bytes))
        assert len(read_photo(tmp_path / "a.tif").icc) == MOST_ICC_BYTES
        photo = read_photo(tmp_path / "b.tif")
        assert (photo.icc, photo.note) == (b"", "its colour profile, of 16 MiB, was left out")

    @pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell what a process holds")
    def test_has_the_memory_that_a_photo_of_the_allowed_size_takes(self, tmp_path, monkeypatch):
        height, width = 1000, 1200
        values = np.zeros((height, width, 4), np.uint16)
        tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb", compression="zlib")
        monkeypatch.setattr(decoder, "_START", decoder._START.replace("serve()", f"{NONE_TO_SPARE}; serve()"))
        monkeypatch.setattr(decoder, "_process", None)
        monkeypatch.setenv("BENCH_MAX_PIXELS", str(height * width))
        try:
            assert read_photo(tmp_path / "a.tif").alpha.shape == (height, width, 1)
        finally:
            decoder._process.end()


class TestWriting:
    @pytest.mark.parametrize(
        ("name", "bits", "says"),
        [
            ("a.jpg", 8, r"a\.jpg: '\.jpg' is none of the lossless formats \.png, \.tif, \.tiff, \.webp"),
            ("a", 8, "no suffix is"),
            ("a.webp", 16, "WebP holds 8 bits a channel, and the picture has 16"),
            ("no/a.png", 8, "cannot be written: No such file or directory"),
        ],
    )
    def test_what_cannot_be_held_is_refused(self, tmp_path, name, bits, says):
        with pytest.raises(DataError, match=says):
            save(picture(3), tmp_path / name, Kept(bits=bits))
        assert not [*tmp_path.iterdir()]

    def test_a_failure_leaves_what_was_there_and_no_part(self, tmp_path):
        (tmp_path / "a.png").write_bytes(b"before")

        def fail():
            with written_whole(tmp_path / "a.png") as file:
                file.write(b"half")
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            fail()
        assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
        assert (tmp_path / "a.png").read_bytes() == b"before"
