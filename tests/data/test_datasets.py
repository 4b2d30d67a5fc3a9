"""Data sets as data, folders as data sets, and what reading an image gives."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import pickle
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bench.data import datasets
from bench.data.colour import to_8bit
from bench.data.datasets import get, labelled, names, overlap, read
from bench.data.errors import DataError
from PIL import Image

from bench import data

FILES = Path(data.__file__).parent / "files"
HEX64 = re.compile(r"[0-9a-f]{64}")
PINNED = re.compile(r"https://raw\.githubusercontent\.com/[\w-]+/[\w-]+/[0-9a-f]{40}/[\w/]+/")
LEVELS = np.arange(0, 240, 2, dtype=np.uint8).reshape(10, 12)


def save(path: Path, pixels=LEVELS) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


# --- what is declared ------------------------------------------------------------------------------


def test_every_set_that_papers_use_is_known():
    gray = {"set12", "bsd68", "classic5", "urban100-gray"}
    colour = {"cbsd68", "kodak24", "kodak24-full", "live1", "set5", "set14", "bsd100", "urban100", "mcmaster"}
    training = {"bsd400", "cbsd400", "cbsd432", "bsd100-rest32"}
    assert set(names()) == {"sample", "sample-colour"} | gray | colour | training


@pytest.mark.parametrize("name", names())
class TestEveryDeclaredSet:
    def test_says_what_it_is_and_on_which_terms(self, name):
        dataset = get(name)
        assert dataset.title
        assert len(dataset.terms) > 10
        assert dataset.role in ("test", "training", "part")
        assert all(dataset.notes)

    def test_has_the_images_that_it_counts(self, name):
        dataset = get(name)
        assert len(dataset) == len(dataset.entries) == dataset.images
        assert {entry.channels for entry in dataset.entries} == set(dataset.channels)
        assert len({entry.name for entry in dataset.entries}) == len(dataset)

    def test_has_one_source(self, name):
        dataset = get(name)
        assert [bool(dataset.url), bool(dataset.composed_of), bool(dataset.embedded)].count(True) == 1
        assert not dataset.url or PINNED.fullmatch(dataset.url)
        assert (FILES / f"{name}.csv").exists() == (not dataset.composed_of)

    def test_declares_every_file_in_full(self, name):
        for entry in get(name).entries:
            assert HEX64.fullmatch(entry.sha256)
            assert HEX64.fullmatch(entry.pixels_sha256)
            assert entry.channels in (1, 3)
            assert min(entry.width, entry.height, entry.bytes) > 0
            if entry.url:
                assert entry.url == get(entry.dataset).url + entry.file.name

    def test_names_no_file_twice(self, name):
        entries = get(name).entries
        assert (
            len({entry.sha256 for entry in entries})
            == len({entry.pixels_sha256 for entry in entries})
            == len(entries)
        )

    def test_lists_its_files_as_people_count(self, name):
        numbers = [
            int(n) for entry in get(name).entries for n in re.findall(r"^(?:test_?|kodim|img_)?0*(\d+)", entry.name)
        ]
        assert numbers == sorted(numbers)

    def test_survives_the_way_to_another_process(self, name):
        assert pickle.loads(pickle.dumps(get(name))) == get(name)


def test_no_table_of_files_is_left_over():
    assert {path.stem for path in FILES.glob("*.csv")} == {name for name in names() if not get(name).composed_of}


def test_a_table_of_files_has_the_columns_that_are_read():
    for path in FILES.glob("*.csv"):
        with path.open(newline="") as opened:
            columns = next(csv.reader(opened))
        assert columns == ["name", "bytes", "sha256", "pixels_sha256", "width", "height", "channels"]


def test_a_composed_set_keeps_its_files_with_its_parts():
    stored_under = [entry.dataset for entry in get("bsd100").entries]
    assert (stored_under.count("cbsd68"), stored_under.count("bsd100-rest32")) == (68, 32)


def test_an_unknown_name_gets_the_near_miss():
    with pytest.raises(DataError, match=r"No data set named 'sett12'. Did you mean 'set12'\? Known: bsd100, "):
        get("sett12")


def test_listing_the_sets_loads_nothing_heavy():
    code = "import sys, data.datasets as d; d.get('bsd68').entries; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"numpy", "PIL", "pooch", "requests", "skimage"} & set(loaded)


@pytest.mark.slow
def test_the_declared_sets_are_those_of_the_mirrors_manifest(mirror):
    manifest = json.loads((mirror / "MANIFEST.json").read_text())["datasets"]
    assert set(manifest) == {name for name in names() if not get(name).embedded}
    mode = {"L": 1, "RGB": 3}
    for name, described in manifest.items():
        if described["stored"] == "composed":
            found = {(entry.dataset, entry.name) for entry in get(name).entries}
            assert found == {(file["set"], file["file"]) for file in described["files"]}
            continue
        of_manifest = {
            (
                f["name"],
                f["bytes"],
                f["sha256"],
                f["pixels_sha256"],
                f["width"],
                f["height"],
                f["url"],
                mode[f["mode"]],
            )
            for f in described["files"]
        }
        assert of_manifest == {
            (e.name, e.bytes, e.sha256, e.pixels_sha256, e.width, e.height, e.url, e.channels)
            for e in get(name).entries
        }


# --- what sets share -------------------------------------------------------------------------------


class TestOverlaps:
    @pytest.mark.parametrize(
        ("a", "b", "words"),
        [
            ("set12", "bsd400", "04.png"),
            ("set12", "cbsd400", "04.png"),
            ("set12", "cbsd432", "04.png"),
            ("bsd68", "cbsd68", "gray"),
            ("bsd68", "bsd100", "68 pictures"),
            ("cbsd68", "bsd100", "all 68 pictures of cbsd68"),
            ("bsd100", "cbsd432", "all 32 pictures of bsd100-rest32"),
            ("cbsd400", "cbsd432", "all 400 pictures of cbsd400"),
            ("bsd400", "cbsd400", "cut from"),
            ("bsd400", "cbsd432", "cut from"),
            ("kodak24", "kodak24-full", "24 pictures"),
            ("kodak24", "live1", "13 Kodak pictures"),
            ("kodak24-full", "live1", "13 Kodak pictures"),
            ("set5", "set14", "head_GT.bmp"),
            ("urban100", "urban100-gray", "100 pictures"),
            ("sample", "sample-colour", "astronaut.png"),
            ("cbsd432", "cbsd432", "same set"),
        ],
    )
    def test_are_known_both_ways(self, a, b, words):
        assert words in overlap(a, b)
        assert overlap(a, b) == overlap(b, a)

    @pytest.mark.parametrize(
        ("a", "b"),
        [
            ("bsd68", "bsd400"),
            ("cbsd68", "cbsd400"),
            ("cbsd68", "cbsd432"),
            ("bsd100", "bsd400"),
            ("set12", "photos"),
        ],
    )
    def test_are_not_claimed_where_there_are_none(self, a, b):
        assert overlap(a, b) is None

    def test_name_files_that_exist(self):
        for name in names():
            for other, text in get(name).overlaps.items():
                known = {entry.name for dataset in (name, other) for entry in get(dataset).entries}
                assert set(re.findall(r"\b\w+\.(?:png|jpg|bmp)\b", text)) <= known

    def test_tell_the_numbers_of_the_13_kodak_pictures_in_live1(self):
        numbers = re.findall(r"\b\d\d\b", overlap("kodak24", "live1").split(";")[0])
        assert len(numbers) == len(set(numbers)) + 1 == 14  # "13 Kodak pictures", then the 13


# --- the embedded sets -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sample", "sample-colour"])
class TestTheEmbeddedSets:
    def test_are_read_without_a_network_as_declared(self, name, cache):
        dataset = get(name)
        for entry in dataset.entries:
            clean = read(dataset, entry)
            assert clean.pixels.shape == (entry.height, entry.width, entry.channels)
            assert (clean.sha256, clean.note) == (entry.pixels_sha256, "")
        assert not cache.exists()

    def test_need_no_fetching_and_are_there(self, name):
        assert datasets.fetch_all(get(name)) == ()
        assert set(datasets.verify(get(name)).values()) == {"ok"}


def test_an_embedded_picture_is_the_centre_of_what_scikit_image_gives():
    from skimage.data import astronaut

    dataset = get("sample-colour")
    clean = read(dataset, dataset.entries[0])
    assert np.array_equal(to_8bit(clean.pixels), astronaut()[128:384, 128:384])


# --- known sets, from a mirror ---------------------------------------------------------------------


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A declared set of one image, and the mirror that has it."""
    path = save(tmp_path / "mirror/datasets/tiny/01.png")
    content = path.read_bytes()
    entry = datasets.ImageEntry(
        "01.png",
        "tiny",
        12,
        10,
        1,
        len(content),
        hashlib.sha256(content).hexdigest(),
        hashlib.sha256(LEVELS.tobytes()).hexdigest(),
        "https://example.invalid/01.png",
    )
    monkeypatch.setenv("BENCH_MIRROR", str(tmp_path / "mirror"))
    return datasets.Dataset("tiny", "one image", "test", "ours", 1, (1,), found=(entry,))


class TestReadingAKnownSet:
    def test_gives_float_pixels_and_the_checksum_of_the_8_bit_ones(self, tiny):
        clean = read(tiny, tiny.entries[0])
        assert clean.pixels.dtype == np.float32
        assert np.array_equal(clean.pixels, (LEVELS / 255).astype(np.float32)[..., None])
        assert (clean.sha256, clean.note) == (tiny.entries[0].pixels_sha256, "")

    def test_works_from_the_cache_once_fetched(self, tiny, monkeypatch):
        datasets.fetch_all(tiny)
        monkeypatch.delenv("BENCH_MIRROR")
        assert read(tiny, tiny.entries[0]).pixels.shape == (10, 12, 1)

    def test_says_when_a_decoder_gives_other_pixels_than_declared(self, tiny):
        assert "another decoder" in read(tiny, replace(tiny.entries[0], pixels_sha256="0" * 64)).note

    def test_is_verified_by_name(self, tiny, cache):
        assert datasets.verify(tiny) == {"01.png": "missing"}
        (fetched,) = datasets.fetch_all(tiny)
        assert datasets.verify(tiny) == {"01.png": "ok"}
        fetched.write_bytes(b"?")
        assert datasets.verify(tiny) == {"01.png": "damaged"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["set12", "classic5", "live1", "set14", "kodak24-full", "bsd100", "bsd400", "cbsd400"]
)
def test_every_stored_image_has_the_declared_pixels(name, mirror, cache):
    dataset = get(name)
    assert {read(dataset, entry).sha256 == entry.pixels_sha256 for entry in dataset.entries} == {True}


# --- a folder --------------------------------------------------------------------------------------


class TestAFolder:
    def test_is_a_data_set_named_after_itself(self, tmp_path):
        save(tmp_path / "photos/a.png")
        dataset = get(f"{tmp_path}/photos")
        assert (dataset.name, dataset.role, dataset.location) == ("photos", "folder", str(tmp_path / "photos"))
        assert len(dataset) == 1

    def test_may_be_given_as_a_path_or_by_its_bare_name(self, tmp_path, monkeypatch):
        save(tmp_path / "photos/a.png")
        monkeypatch.chdir(tmp_path)
        assert get(Path("photos")) == get("photos") == get("./photos")

    def test_called_dot_has_the_name_of_where_one_is(self, tmp_path, monkeypatch):
        save(tmp_path / "photos/a.png")
        monkeypatch.chdir(tmp_path / "photos")
        assert get(".").name == "photos"

    def test_does_not_hide_a_known_set_nor_pass_for_it(self, tmp_path, monkeypatch):
        save(tmp_path / "set12/a.png")
        monkeypatch.chdir(tmp_path)
        assert get("set12").role == "test"
        for asked in ("./set12", Path("set12")):
            assert (get(asked).role, get(asked).name) == ("folder", "./set12")

    def test_two_of_one_name_differ_in_location(self, tmp_path):
        one, two = (get(save(tmp_path / side / "photos/a.png").parent) for side in ("left", "right"))
        assert one.name == two.name
        assert one.location != two.location

    def test_takes_images_in_the_order_people_count_whatever_the_capitals(self, tmp_path):
        for name in ("10.png", "2.PNG", "a10.Jpg", "A2.tif", "1.webp", "b.bmp"):
            save(tmp_path / name)
        assert [entry.name for entry in get(tmp_path).entries] == [
            "1.webp",
            "2.PNG",
            "10.png",
            "A2.tif",
            "a10.Jpg",
            "b.bmp",
        ]

    def test_leaves_out_hidden_files_other_files_and_folders(self, tmp_path):
        save(tmp_path / "a.png")
        save(tmp_path / ".hidden.png")
        save(tmp_path / "deeper.png/b.png")
        (tmp_path / "notes.txt").write_text("")
        assert [entry.name for entry in get(tmp_path).entries] == ["a.png"]

    def test_tells_sizes_and_channels_before_anything_is_decoded(self, tmp_path, monkeypatch):
        save(tmp_path / "colour.png", np.dstack([LEVELS] * 3))
        save(tmp_path / "gray.png")
        monkeypatch.setattr(Image.Image, "load", None)
        dataset = get(tmp_path)
        assert dataset.channels == (1, 3)
        assert [(e.name, e.width, e.height, e.channels) for e in dataset.entries] == [
            ("colour.png", 12, 10, 3),
            ("gray.png", 12, 10, 1),
        ]

    def test_with_a_damaged_image_loses_that_image_only(self, tmp_path):
        save(tmp_path / "a.png")
        (tmp_path / "b.png").write_bytes(b"\x89PNG broken")
        dataset = get(tmp_path)
        a, b = dataset.entries
        assert np.array_equal(to_8bit(read(dataset, a).pixels)[..., 0], LEVELS)
        assert b.channels is None
        with pytest.raises(DataError, match=r"b\.png cannot be read as an image"):
            read(dataset, b)
        assert datasets.verify(dataset) == {"a.png": "ok", "b.png": "damaged"}

    def test_image_that_was_converted_says_so(self, tmp_path):
        Image.fromarray(np.dstack([LEVELS, LEVELS[::-1], LEVELS, 0 * LEVELS + 255])).save(tmp_path / "a.png")
        dataset = get(tmp_path)
        assert read(dataset, dataset.entries[0]).note == "alpha channel dropped (opaque)"

    def test_image_deleted_meanwhile_is_named(self, tmp_path):
        path = save(tmp_path / "a.png")
        dataset = get(tmp_path)
        path.unlink()
        with pytest.raises(DataError, match=r"a\.png cannot be read"):
            read(dataset, dataset.entries[0])

    def test_works_from_another_place_than_where_it_was_asked_for(self, tmp_path, monkeypatch):
        save(tmp_path / "photos/a.png")
        monkeypatch.chdir(tmp_path)
        dataset = get("./photos")
        monkeypatch.chdir("/")
        assert read(dataset, dataset.entries[0]).pixels.shape == (10, 12, 1)

    def test_has_names_in_composed_letters_and_keeps_the_files_own_spelling(self, tmp_path):
        path = save(tmp_path / "cafe\u0301/e\u0301te\u0301.png")
        dataset = get(path.parent)
        assert (dataset.name, dataset.label, dataset.location) == ("caf\u00e9", "caf\u00e9", str(path.parent))
        assert [(entry.name, entry.path) for entry in dataset.entries] == [("\u00e9t\u00e9.png", path)]
        assert read(dataset, dataset.entries[0]).pixels.shape == (10, 12, 1)

    @pytest.mark.parametrize(
        ("one", "other"), [("\u00e9", "e\u0301"), ("\u212b", "\u00c5"), ("\uac00", "\u1100\u1161")]
    )
    def test_with_two_files_of_one_name_is_refused_by_both_spellings(self, tmp_path, one, other):
        for name in (one, other):
            save(tmp_path / f"{name}.png")
        with pytest.raises(DataError, match="have one name, spelled in two ways") as refused:
            get(tmp_path)
        assert all(ascii(f"{name}.png") in str(refused.value) for name in (one, other))

    def test_tells_capitals_and_lookalikes_apart(self, tmp_path):
        for name in ("a.png", "A.png", "\u0430.png", "\uff41.png"):  # the last two are Cyrillic and full-width
            save(tmp_path / name)
        assert len(get(tmp_path)) == 4

    def test_file_whose_name_is_no_text_has_one_that_is(self, tmp_path):
        path = tmp_path / os.fsdecode(b"\xe9.png")
        save(path)
        [entry] = get(tmp_path).entries
        assert (entry.name, entry.path) == (r"\xe9.png", path)

    def test_that_is_missing_is_named(self):
        with pytest.raises(
            DataError, match=r"There is no folder './no-such-folder'. Data sets known by name: sample, "
        ):
            get("./no-such-folder")

    def test_that_is_empty_is_named(self, tmp_path):
        (tmp_path / "notes.txt").write_text("")
        with pytest.raises(DataError, match=rf"'{tmp_path}' holds no images \(1 other file.*\.png"):
            get(tmp_path)

    def test_one_file_is_that_picture_of_its_folder(self, tmp_path):
        path = save(tmp_path / "a.png")
        save(tmp_path / "b.png")
        one, whole = get(path), get(tmp_path)
        assert (one.name, one.location, one.entries) == (whole.name, whole.location, whole.entries[:1])

    def test_a_file_of_another_kind_is_named(self, tmp_path):
        path = tmp_path / "a.gif"
        path.write_bytes(b"GIF89a")
        with pytest.raises(
            DataError, match=rf"'{path}' is neither an image \(.*\) nor a \.toml that declares pairs\.$"
        ):
            get(path)

    def test_two_files_of_one_folder_are_one_set_of_both(self, tmp_path):
        paths = [save(tmp_path / name) for name in ("b.png", "a.png", "c.png")]
        [both] = labelled([get(path) for path in paths[:2]])
        assert [entry.name for entry in both.entries] == ["a.png", "b.png"]
        assert len(both) == 2

    def test_survives_the_way_to_another_process(self, tmp_path):
        save(tmp_path / "a.png")
        assert pickle.loads(pickle.dumps(get(tmp_path))) == get(tmp_path)
