"""Parts of data sets: which pictures, said how, and the same ones as in the whole."""

from __future__ import annotations

import numpy as np
import pytest
from bench.data.datasets import get, labelled
from bench.data.errors import DataError
from bench.data.selection import Selection
from PIL import Image

NAMES = ["1.png", "2.png", "3.jpg", "10.png", "night/4.png"]


def chosen(**words):
    return [NAMES[place] for place in Selection(**words).of(NAMES, "set")]


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ({}, NAMES),
        ({"images": "*.png"}, ["1.png", "2.png", "10.png", "night/4.png"]),
        ({"images": "night/*"}, ["night/4.png"]),
        ({"images": "[12].png, *.jpg"}, ["1.png", "2.png", "3.jpg"]),
        ({"limit": 2}, NAMES[:2]),
        ({"limit": 100}, NAMES),
        ({"subset": "every-2nd"}, ["1.png", "3.jpg", "night/4.png"]),
        ({"subset": "every-10th"}, ["1.png"]),
        ({"subset": "every-1"}, NAMES),
        ({"images": "*.png", "subset": "every-2nd", "limit": 1}, ["1.png"]),
    ],
    ids=str,
)
def test_names_then_each_nth_then_the_first_few(words, names):
    assert chosen(**words) == names


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"limit": 0}, "--limit 0: expected a whole number of at least 1."),
        ({"subset": "every-0th"}, "--subset every-0th: expected every-Nth, e.g. every-10th."),
        ({"subset": "third"}, "--subset third: expected every-Nth, e.g. every-10th."),
        ({"images": "*.gif"}, "--images '*.gif': none of the 5 pictures of set has such a name, e.g. 1.png."),
    ],
    ids=str,
)
def test_what_will_not_do_is_one_line(words, said):
    with pytest.raises(DataError) as raised:
        chosen(**words)
    assert str(raised.value) == said


def test_a_part_of_a_known_set_is_that_set_with_fewer_pictures():
    whole, part = get("set12"), get("set12", Selection(limit=4))
    assert part.entries == whole.entries[:4]
    assert (part.name, part.location, len(part)) == ("set12", "", 4)
    assert part.part == "4 of 12 pictures (--limit 4)"
    assert not whole.part


@pytest.fixture
def folder(tmp_path):
    for name in ("b.png", "a/b.png", "a/deep/c.png", ".hidden/d.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(path)
    return tmp_path


def test_folders_in_a_folder_are_searched_if_that_is_asked_for(folder):
    assert [entry.name for entry in get(folder).entries] == ["b.png"]
    below = get(folder, Selection(recursive=True))
    assert [entry.name for entry in below.entries] == ["a/b.png", "a/deep/c.png", "b.png"]
    assert [entry.path.is_file() for entry in below.entries] == [True] * 3
    assert below.name == get(folder).name
    assert not below.part


def test_links_that_lead_in_a_circle_are_not_followed(folder):
    (folder / "a" / "back").symlink_to(folder)
    assert len(get(folder, Selection(recursive=True))) == 3


def test_a_folder_of_folders_alone_says_what_to_ask_for(tmp_path, folder):
    (folder / "b.png").unlink()
    with pytest.raises(DataError, match="its folders are searched with --recursive alone"):
        get(folder)


def test_a_part_and_the_whole_are_the_whole():
    [both] = labelled([get("set12", Selection(limit=4)), get("set12")])
    assert len(both) == 12
    assert not both.part
