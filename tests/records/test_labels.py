"""Labels: the name alone where it tells, and as much more as it takes where it does not."""

import pytest

from bench.records.labels import Maker, column_labels, labels_of, row_labels
from bench.records.record import frame_of

PLUGIN = "bench.methods.dncnn:DnCNN"


def labelled(*makers):
    return [*labels_of(Maker(*maker) for maker in makers).values()]


@pytest.mark.parametrize(
    ("makers", "labels"),
    [
        ([("dncnn", PLUGIN, "published:a.mat", "")], ["dncnn"]),
        ([("dncnn", PLUGIN, "published:a.mat", ""), ("dncnn", PLUGIN, "published:b.mat", "")], ["dncnn", "dncnn"]),
        (
            [("dncnn", PLUGIN, "published:a.mat", ""), ("dncnn", PLUGIN, "ours:a.safetensors", "")],
            ["dncnn@published", "dncnn@ours"],
        ),
        ([("net", "n:N", "file:g.pth", "/w/g.pth"), ("net", "n:N", "file:h.pth", "/w/h.pth")], ["net@g", "net@h"]),
        (
            [("net", "n:N", "file:best.pth", "/a/best.pth"), ("net", "n:N", "file:best.pth", "/b/best.pth")],
            ["net@a/best", "net@b/best"],
        ),
        (
            [("net", "n:N", "file:g.pth", "/w/g.pth"), ("net", "n:N", "file:g.safetensors", "/w/g.safetensors")],
            ["net@g.pth", "net@g.safetensors"],
        ),
        ([("net", "n:N", "", ""), ("net", "n:N", "file:g.pth", "/w/g.pth")], ["net", "net@g"]),
        (
            [("net", "n:N", "ours:x", ""), ("net", "n:N", "file:ours.pth", "/w/ours.pth")],
            ["net@ours", "net@ours.pth"],
        ),
        ([("mine", "/x/my.py:A", "", ""), ("mine", "/x/my.py:B", "", "")], ["mine (my.py:A)", "mine (my.py:B)"]),
        ([("mine", "/x/my.py:A", "", ""), ("mine", "/y/my.py:A", "", "")], ["mine (x/my.py:A)", "mine (y/my.py:A)"]),
        ([("mine", "/x/my.py:A", "", ""), ("mine", "pkg.my:A", "", "")], ["mine (my.py:A)", "mine (pkg.my:A)"]),
        ([("mine", "/x/my.py:A", "", ""), ("mine+", "/x/my.py:A", "", "")], ["mine", "mine+"]),
        (
            [("net", "/x/n.py:N", "file:a", "/a"), ("net", "/y/n.py:N", "file:a", "/a")],
            ["net (x/n.py:N)", "net (y/n.py:N)"],
        ),
        (
            [("net", f"/{k}/n.py:N", f"file:{w}", f"/{w}") for k in "xy" for w in "ab"],
            ["net (x/n.py:N)@a", "net (x/n.py:N)@b", "net (y/n.py:N)@a", "net (y/n.py:N)@b"],
        ),
    ],
)
def test_labels_grow_until_they_differ(makers, labels):
    assert labelled(*makers) == labels


def test_in_a_frame_each_record_has_the_label_of_its_maker():
    rows = [{"restorer": "net", "weights": "file:a", "weights_file": "/a"}, {"restorer": "net", "weights": None}]
    assert row_labels(frame_of([*rows, rows[0]])).tolist() == ["net@a", "net", "net@a"]


def test_folders_of_one_name_are_columns_apart_and_a_known_set_keeps_its_name():
    rows = [{"dataset": "test", "folder": folder} for folder in ("/x/test", "/y/test", "/x/test")]
    rows += [{"dataset": "set12", "folder": ""}, {"dataset": "./set12", "folder": "/z/set12"}]
    assert column_labels(frame_of(rows)).tolist() == ["x/test", "y/test", "x/test", "set12", "./set12"]


def test_a_folder_whose_place_is_not_known_is_told_from_one_whose_is():
    rows = [{"dataset": "test", "folder": ""}, {"dataset": "test", "folder": "/x/test"}]
    assert column_labels(frame_of(rows)).tolist() == ["test", "x/test"]
