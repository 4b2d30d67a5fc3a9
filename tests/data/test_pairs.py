"""Pairs of clean and noisy pictures: folders, patterns, stacks, crops, and what is wrong with them in one line."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from bench.data import pairs
from bench.data.colour import to_unit
from bench.data.datasets import get, read
from bench.data.degrade import awgn
from bench.data.errors import DataError
from bench.data.noise_level import estimated_sigma
from bench.data.selection import Selection
from PIL import Image
from scipy.io import savemat

RANDOM = np.random.RandomState(0)


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def picture(height=8, width=10, channels=3):
    shape = (height, width) if channels == 1 else (height, width, channels)
    return RANDOM.randint(0, 256, shape).astype(np.uint8)


@pytest.fixture
def folder(tmp_path):
    """Two pairs: clean/a.png and noisy/a.jpg and its like."""
    for name in ("a", "b"):
        save(tmp_path / "mine" / "clean" / f"{name}.png", picture())
        save(tmp_path / "mine" / "noisy" / f"{name}.png", picture())
    return tmp_path / "mine"


def declare(folder, text):
    path = folder / "set.toml"
    path.write_text(text)
    return path


def refusal(place):
    with pytest.raises(DataError) as raised:
        get(place)
    assert "\n" not in str(raised.value)
    return str(raised.value).replace(str(place.parent), "")


class TestAFolder:
    def test_of_clean_and_noisy_holds_pairs(self, folder):
        dataset = get(folder)
        assert (dataset.name, len(dataset), dataset.channels) == ("mine", 2, (3,))
        assert [entry.name for entry in dataset.entries] == ["a.png", "b.png"]
        image = read(dataset, dataset.entries[1])
        clean, noisy = (np.asarray(Image.open(folder / part / "b.png")) for part in ("clean", "noisy"))
        assert np.array_equal(image.pixels, to_unit(clean))
        assert np.array_equal(image.noisy, to_unit(noisy))
        assert image.sha256 == hashlib.sha256(clean.tobytes() + noisy.tobytes()).hexdigest()

    def test_names_may_end_otherwise(self, folder):
        (folder / "noisy" / "a.png").rename(folder / "noisy" / "a.bmp")
        Image.fromarray(picture()).save(folder / "noisy" / "a.bmp")
        assert [entry.name for entry in get(folder).entries] == ["a.bmp", "b.png"]

    def test_holds_pairs_even_if_its_folders_are_searched(self, folder):
        entries = get(folder, Selection(recursive=True)).entries
        assert [entry.name for entry in entries] == ["a.png", "b.png"]
        assert [entry.pair.noisy.path.parent.name for entry in entries] == ["noisy", "noisy"]

    def test_that_holds_images_itself_is_a_folder_of_images(self, folder):
        save(folder / "c.png", picture())
        assert [entry.pair for entry in get(folder).entries] == [None]

    @pytest.mark.parametrize("part", ["clean", "noisy"])
    def test_a_missing_partner_is_one_line(self, folder, part):
        other = {"clean": "noisy", "noisy": "clean"}[part]
        (folder / part / "b.png").unlink()
        assert refusal(folder) == f"/mine/{other}/b.png has no {part} partner. Add it, or take the picture away."

    def test_pictures_of_two_sizes_are_one_line(self, folder):
        save(folder / "noisy" / "b.png", picture(height=9))
        dataset = get(folder)
        with pytest.raises(DataError) as raised:
            read(dataset, dataset.entries[1])
        assert str(raised.value) == (
            "b.png: the clean picture is 10x8 of 3 channels and the noisy one 10x9 of 3: they must be alike."
        )
        assert read(dataset, dataset.entries[0]).noisy is not None

    def test_gray_and_colour_are_no_pair(self, folder):
        save(folder / "noisy" / "a.png", picture(channels=1))
        dataset = get(folder)
        with pytest.raises(DataError, match="10x8 of 3 channels and the noisy one 10x8 of 1"):
            read(dataset, dataset.entries[0])

    def test_a_noisy_jpeg_is_told_and_does_not_count_as_clean(self, folder):
        (folder / "noisy" / "a.png").unlink()
        save(folder / "noisy" / "a.jpg", picture())
        dataset = get(folder)
        assert read(dataset, dataset.entries[0]).note == "the noisy picture: a JPEG of quality 75"

    def test_a_noisy_picture_that_is_the_clean_one_is_told(self, folder):
        save(folder / "noisy" / "a.png", np.asarray(Image.open(folder / "clean" / "a.png")))
        dataset = get(folder)
        assert read(dataset, dataset.entries[0]).note == "its noisy picture is its clean one"

    def test_without_any_picture_is_one_line(self, folder):
        for path in [*folder.glob("*/*")]:
            path.unlink()
        assert refusal(folder).startswith("/mine holds no pairs. Looked for .bmp,")


class TestAToml:
    def test_declares_pairs_by_patterns(self, tmp_path):
        for scene in ("s1", "s2"):
            save(tmp_path / "Data" / scene / "7_GT_1.png", picture())
            save(tmp_path / "Data" / scene / "7_NOISY_1.png", picture())
        text = (
            'clean = "Data/*/*_GT_*.png"\nnoisy = "Data/*/*_NOISY_*.png"\nsigma = 12.5\ntitle = "T"\nterms = "mine"'
        )
        dataset = get(declare(tmp_path, text))
        assert (dataset.name, dataset.title, dataset.terms) == ("set", "T", "mine")
        assert [entry.name for entry in dataset.entries] == ["s1/7_NOISY_1.png", "s2/7_NOISY_1.png"]
        assert [entry.pair.clean.path.parent.name for entry in dataset.entries] == ["s1", "s2"]
        assert {entry.pair.sigma for entry in dataset.entries} == {12.5}

    def test_declares_several_noisy_pictures_of_one_clean_one(self, folder):
        (folder / "noisy").rename(folder / "iso100")
        save(folder / "iso800" / "a.png", picture())
        save(folder / "iso800" / "b.png", picture())
        text = 'clean = "clean/*.png"\nnoisy = ["iso100/*.png", "iso800/*.png"]\nsigma = [2, 9]'
        entries = get(declare(folder, text)).entries
        assert [entry.name for entry in entries] == ["iso100/a.png", "iso100/b.png", "iso800/a.png", "iso800/b.png"]
        assert [entry.pair.sigma for entry in entries] == [2, 2, 9, 9]
        assert entries[0].pair.clean == entries[2].pair.clean

    def test_declares_crops(self, folder):
        text = 'clean = "clean/*.png"\nnoisy = "noisy/*.png"\ncrops = [[0, 0, 4, 3], [4, 2, 5, 6]]'
        dataset = get(declare(folder, text))
        assert [entry.name for entry in dataset.entries][:2] == ["a.png@4x3+0+0", "a.png@5x6+4+2"]
        assert (dataset.entries[1].width, dataset.entries[1].height) == (5, 6)
        image = read(dataset, dataset.entries[1])
        whole = to_unit(np.asarray(Image.open(folder / "noisy" / "a.png")))
        assert np.array_equal(image.noisy, whole[2:8, 4:9])
        [chosen] = get(folder / "set.toml", Selection(images="a.png@5x6+4+2")).entries
        assert chosen == dataset.entries[1]

    def test_a_star_stands_for_no_hidden_name(self, folder):
        for name in ("clean/._a.png", "noisy/._a.png", ".clean/a.png", ".noisy/a.png"):
            save(folder / name, picture())
        entries = get(declare(folder, "clean = 'clean/*.png'\nnoisy = 'noisy/*.png'")).entries
        assert [entry.name for entry in entries] == ["a.png", "b.png"]
        assert len(get(declare(folder, "clean = '*clean/a.png'\nnoisy = '*noisy/a.png'")).entries) == 1
        [entry] = get(declare(folder, "clean = '.clean/*.png'\nnoisy = '.noisy/*.png'")).entries
        assert entry.pair.clean.path == folder / ".clean" / "a.png"

    @pytest.mark.parametrize("write", ["mat", "npy"])
    def test_declares_stacks_of_blocks(self, tmp_path, write):
        clean, noisy = RANDOM.randint(0, 256, (2, 2, 3, 6, 5, 3)).astype(np.uint8)
        for name, stack in (("gt", clean), ("seen", noisy)):
            if write == "npy":
                np.save(tmp_path / f"{name}.npy", stack)
            else:
                savemat(tmp_path / f"{name}.mat", {"Blocks": stack, "note": "x"})
        dataset = get(declare(tmp_path, f'clean = "gt.{write}"\nnoisy = "seen.{write}"'))
        assert [entry.name for entry in dataset.entries] == ["1-1", "1-2", "1-3", "2-1", "2-2", "2-3"]
        assert (dataset.entries[0].width, dataset.entries[0].height, dataset.channels) == (5, 6, (3,))
        image = read(dataset, dataset.entries[4])
        assert np.array_equal(image.pixels, to_unit(clean[1, 1]))
        assert np.array_equal(image.noisy, to_unit(noisy[1, 1]))

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("clean = 'clean/*.png'", "/set.toml has no `noisy`: a pattern or a file, or several patterns."),
            ("clean = ", "/set.toml is no TOML: "),
            (
                "cleen = 'x'",
                "/set.toml has 'cleen', which says nothing of pairs. Did you mean 'clean'? Known: clean, ",
            ),
            ("clean = 1\nnoisy = 'b'", "/set.toml: `clean` is 1; expected a pattern or a file."),
            ("clean = 'clean/*.png'\nnoisy = 'n/*.png'", "/set.toml: no file fits 'n/*.png'."),
            ("clean = '../*.png'\nnoisy = 'n/*.png'", "/set.toml: '../*.png' is no pattern below its folder"),
            ("clean = 'a.png'\nnoisy = 'n/*.png'", "/set.toml: 'a.png' is no pattern below its folder"),
            (
                "clean = 'clean/*.png'\nnoisy = 'noisy/*.png'\nsigma = -1",
                "/set.toml: `sigma` is -1; expected a number from 0 to 255, or one for each pattern of `noisy`.",
            ),
            (
                "clean = 'clean/*.png'\nnoisy = 'noisy/*.png'\nsigma = [1, 2]",
                "/set.toml: `sigma` has 2 values, and `noisy` 1 patterns.",
            ),
            (
                "clean = 'clean/*.png'\nnoisy = 'noisy/*.png'\ncrops = [[0, 0, 4]]",
                "/set.toml: a crop is [0, 0, 4]; expected [x, y, width, height] in pixels.",
            ),
            (
                "clean = 'clean/*.png'\nnoisy = 'noisy/*.png'\ncrops = [[0, 0, 4, 4], [3, 3, 4, 4]]",
                "/set.toml: crops 1 and 2 overlap, so that their pixels would count twice.",
            ),
            ("clean = 'a.mat'\nnoisy = 'noisy/*.png'", "/set.toml: `clean` is one file of pictures, and so must"),
            ("clean = 'a.mat'\nnoisy = 'b.mat'", "/a.mat cannot be read: No such file or directory."),
        ],
    )
    def test_that_will_not_do_is_one_line(self, folder, text, said):
        assert refusal(declare(folder, text)).startswith(said)

    def test_a_crop_that_leaves_its_picture_is_one_line(self, folder):
        dataset = get(declare(folder, "clean = 'clean/*.png'\nnoisy = 'noisy/*.png'\ncrops = [[5, 5, 6, 4]]"))
        with pytest.raises(DataError, match=r"a\.png is 10x8: the crop \[5, 5, 6, 4\] leaves it\.$"):
            read(dataset, dataset.entries[0])

    @pytest.mark.parametrize(
        ("arrays", "said"),
        [
            ({"x": np.zeros((2, 4, 4, 3))}, "/a.mat holds no one array of uint8 values, but none."),
            (
                {"x": np.zeros((2, 4, 4), np.uint8), "y": np.zeros((2, 4, 4), np.uint8)},
                "/a.mat holds no one array of uint8 values, but x, y. Name it in `variables`.",
            ),
        ],
        ids=["floats", "two"],
    )
    def test_a_mat_file_without_one_array_of_bytes_is_one_line(self, tmp_path, arrays, said):
        savemat(tmp_path / "a.mat", arrays)
        assert refusal(declare(tmp_path, "clean = 'a.mat'\nnoisy = 'a.mat'")).startswith(said)

    def test_stacks_of_two_shapes_are_one_line(self, tmp_path):
        np.save(tmp_path / "a.npy", np.zeros((2, 4, 4, 3), np.uint8))
        np.save(tmp_path / "b.npy", np.zeros((3, 4, 4, 3), np.uint8))
        said = refusal(declare(tmp_path, "clean = 'a.npy'\nnoisy = 'b.npy'"))
        assert said == "/set.toml: `clean` holds 2x4x4x3 values and `noisy` 3x4x4x3: they must be alike."

    def test_a_stack_that_is_large_once_it_is_unpacked_is_not_read(self, tmp_path, monkeypatch):
        stack = np.zeros((5, 200, 200), np.uint8)
        savemat(tmp_path / "a.mat", {"x": stack}, do_compression=True)
        path = declare(tmp_path, "clean = 'a.mat'\nnoisy = 'a.mat'")
        monkeypatch.setattr(pairs, "MOST_BYTES", stack.size)
        assert len(get(path)) == 5
        pairs._stack.cache_clear()
        monkeypatch.setattr(pairs, "MOST_BYTES", stack.size - 1)
        assert (tmp_path / "a.mat").stat().st_size < 1000
        monkeypatch.setattr("scipy.io.loadmat", None)
        assert refusal(path) == "/a.mat has more than 0 GiB, which are all that is read."

    def test_an_archive_of_arrays_is_no_stack(self, tmp_path):
        with (tmp_path / "a.npy").open("wb") as file:
            np.savez(file, x=np.zeros((2, 4, 4), np.uint8))
        said = refusal(declare(tmp_path, "clean = 'a.npy'\nnoisy = 'a.npy'"))
        assert said == "/a.npy cannot be read as an array: it is an archive of arrays."

    @pytest.mark.parametrize("content", [b"", b"MATLAB 7.3 MAT-file" + b" " * 105 + b"\0\2IM", b"x" * 200])
    def test_a_damaged_stack_is_one_line(self, tmp_path, content):
        (tmp_path / "a.mat").write_bytes(content)
        said = refusal(declare(tmp_path, "clean = 'a.mat'\nnoisy = 'a.mat'"))
        assert said.startswith(("/a.mat cannot be read as an array: ", "/a.mat is a MATLAB 7.3 file."))


class TestTheEstimate:
    @pytest.mark.parametrize("sigma", [5, 25, 50])
    def test_of_white_noise_on_a_smooth_picture_is_its_sigma(self, sigma):
        y, x = np.mgrid[:200, :200] / 200
        clean = np.stack([x, y, x * y], axis=2).astype(np.float32)
        assert estimated_sigma(awgn(clean, sigma, np.random.RandomState(0))) == pytest.approx(sigma, rel=0.02)

    def test_of_no_noise_is_0_and_of_one_pixel_no_number(self):
        assert estimated_sigma(np.full((9, 9, 1), np.float32(0.4))) == 0
        assert np.isnan(estimated_sigma(np.zeros((1, 9, 1), np.float32)))
