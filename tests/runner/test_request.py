"""Words, paths and numbers, as people write them, become one request."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bench.errors import DataError, RequestError
from bench.runner.request import make_request


def folder(place):
    place.mkdir(parents=True)
    Image.new("L", (12, 12), 7).save(place / "a.png")
    return place


def labels(*datasets, methods="noisy"):
    return [dataset.label for dataset in make_request(methods, datasets=datasets).datasets]


def levels(given, task="denoise", kind="sigma"):
    return make_request("noisy", task, levels={kind: given}).tasks[task][1]


# --- data sets -----------------------------------------------------------------------------------------


def test_folders_of_one_name_are_both_there_and_told_apart(tmp_path):
    one, two = folder(tmp_path / "x/test"), folder(tmp_path / "y/test")
    request = make_request("noisy", datasets=f"{one},{two},sample")
    assert [d.label for d in request.datasets] == ["x/test", "y/test", "sample"]
    assert [d.name for d in request.datasets] == ["test", "test", "sample"]
    assert labels(one) == ["test"]


def test_labels_grow_until_they_differ_whatever_the_order(tmp_path):
    one, two, other = (folder(tmp_path / place) for place in ("a/x/test", "b/x/test", "a/val"))
    assert labels(two, other, one) == ["b/x/test", "val", "a/x/test"]


def test_two_spellings_of_one_folder_are_one_data_set(tmp_path, monkeypatch):
    folder(tmp_path / "x/test")
    (tmp_path / "link").symlink_to(tmp_path / "x/test")
    monkeypatch.chdir(tmp_path)
    spellings = ["./x/test", "x/test/", "./x/../x/test", "./link", Path("x/test"), str(tmp_path / "x/test")]
    assert labels(*spellings) == ["test"]


def test_a_path_is_a_folder_and_text_a_known_set(tmp_path, monkeypatch):
    folder(tmp_path / "sample")
    monkeypatch.chdir(tmp_path)
    request = make_request("noisy", datasets=[Path("sample"), "sample"])
    assert [(d.role, d.label) for d in request.datasets] == [("folder", "./sample"), ("test", "sample")]
    assert make_request("noisy", datasets=Path("sample")).datasets == request.datasets[:1]


def test_a_path_with_a_comma_is_one_folder_and_text_is_split(tmp_path):
    odd, a, b = (folder(tmp_path / name) for name in ("a,b", "a", "b"))
    assert labels(odd) == labels(str(odd)) == ["a,b"]  # in a list
    assert [d.label for d in make_request("noisy", datasets=odd).datasets] == ["a,b"]
    assert [d.label for d in make_request("noisy", datasets=f"{a},{b}").datasets] == ["a", "b"]


def test_two_known_sets_keep_their_names():
    assert labels("sample", "sample-colour", "sample") == ["sample", "sample-colour"]


def test_folders_whose_names_differ_in_their_spelling_alone_are_told_apart_by_the_rest(tmp_path):
    composed, apart = folder(tmp_path / "x/caf\u00e9"), folder(tmp_path / "y/cafe\u0301")
    assert labels(composed, apart) == ["x/caf\u00e9", "y/caf\u00e9"]


def test_and_where_no_rest_differs_they_are_refused_by_both_spellings(tmp_path):
    composed, apart = folder(tmp_path / "caf\u00e9"), folder(tmp_path / "cafe\u0301")
    with pytest.raises(DataError, match=r"caf\\xe9' and '.*cafe\\u0301' have one name, spelled in two ways"):
        labels(composed, apart)


@pytest.mark.parametrize("nothing", ["", " , ", [], [" "]])
def test_nothing_named_is_an_error(nothing):
    with pytest.raises(RequestError, match="--datasets: nothing was named"):
        make_request("noisy", datasets=nothing)


@pytest.mark.skipif(os.sep != "/", reason="bytes in names")
def test_a_folder_whose_name_is_no_text_has_one_that_is(tmp_path):
    place = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    [dataset] = make_request("noisy", datasets=folder(place)).datasets
    assert (dataset.name, dataset.location) == (r"\xff", rf"{tmp_path}/\xff")
    assert dataset.entries[0].path.exists()


# --- levels --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [
        "15, 25",
        (15, 25.0),
        ["15,25"],
        np.array([15, 25]),
        np.array([15.0, 25.0], np.float32),
        [np.int64(15), np.float32(25)],
        [np.array(15), np.array(25.0)],
        torch.tensor([15.0, 25.0], requires_grad=True),
        [torch.tensor(15), 25],
        range(15, 26, 10),
        np.arange(15, 26, 10, dtype=np.uint8),
    ],
    ids=repr,
)
def test_several_levels_may_be_given_in_many_ways(given):
    found = levels(given)
    assert found == (15.0, 25.0)
    assert {*map(type, found)} == {float}


@pytest.mark.parametrize(
    "given", [25, 25.0, np.float64(25), np.int8(25), np.array(25), torch.tensor(25.0), "25"], ids=repr
)
def test_and_so_may_one(given):
    assert levels(given) == (25.0,)


def test_whole_numbers_and_words_too():
    assert levels(np.array([10, 20]), "deblock", "quality") == (10.0, 20.0)
    assert levels(np.int64(2), "superres", "scale") == (2.0,)
    assert levels(np.array(["rggb", "BGGR"]), "demosaick", "pattern") == ("RGGB", "BGGR")


def test_a_level_is_the_number_that_was_given():
    assert levels([0.1 + 0.2, np.float32(0.1), 25.123456789, 1e-7]) == (
        0.30000000000000004,
        0.10000000149011612,
        25.123456789,
        1e-7,
    )


def test_zero_has_no_sign():
    assert [str(level) for level in levels([-0.0, 0, "-0"])] == ["0.0"]


@pytest.mark.parametrize(
    "given", [np.array([[15, 25]]), np.nan, np.array([]), True, b"25", 25j, [None], np.inf], ids=repr
)
def test_what_is_no_level_is_refused(given):
    with pytest.raises(RequestError, match="denoise takes a noise standard deviation from 0 to 255"):
        levels(given)


@pytest.mark.parametrize("option", ["threads", "repeats", "jobs", "readings"])
def test_whole_numbers_of_numpy_become_pythons(option):
    assert type(getattr(make_request("noisy", **{option: np.int64(1)}), option, 1)) is int
    for bad in (0, 1.5, "2", np.float64(1)):
        with pytest.raises(RequestError, match=rf"--{option} .*: expected a whole number of at least 1"):
            make_request("noisy", **{option: bad})
