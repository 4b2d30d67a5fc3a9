"""Labels: the shortest endings that tell places apart."""

from pathlib import PurePosixPath

import pytest
from bench.data.labels import shortest_labels
from hypothesis import given
from hypothesis import strategies as st

COMPONENT = st.sampled_from(["a", "b", "test", "val", "é", "x y", "a,b"])
PATH = st.lists(COMPONENT, min_size=1, max_size=5).map("/".join)
PATHS = st.lists(st.one_of(PATH, PATH.map("/{}".format)), max_size=12, unique=True)


@pytest.mark.parametrize(
    ("paths", "labels"),
    [
        (["/data/photos"], ["photos"]),
        (["/d/x/test", "/d/y/test"], ["x/test", "y/test"]),
        (["/a/x/test", "/b/x/test"], ["a/x/test", "b/x/test"]),
        (["/a/x/test", "/b/x/test", "/a/y/test", "/a/val"], ["a/x/test", "b/x/test", "y/test", "val"]),
        (["/x/test", "/a/x/test"], ["/x/test", "a/x/test"]),
        (["x/test", "a/x/test"], ["x/test", "a/x/test"]),
        (["test", "y/test"], ["test", "y/test"]),
        (["/", "/a"], ["/", "a"]),
        ([], []),
    ],
)
def test_only_those_that_clash_grow(paths, labels):
    assert shortest_labels(paths) == labels


@given(paths=PATHS)
def test_labels_are_distinct_endings_in_whole_components(paths):
    labels = shortest_labels(paths)
    assert len(set(labels)) == len(paths)
    for path, label in zip(paths, labels, strict=True):
        parts = PurePosixPath(label).parts
        assert PurePosixPath(path).parts[-len(parts) :] == parts


@given(paths=PATHS, data=st.data())
def test_labels_do_not_depend_on_the_order(paths, data):
    labels = dict(zip(paths, shortest_labels(paths), strict=True))
    turned = data.draw(st.permutations(paths))
    assert shortest_labels(turned) == [labels[path] for path in turned]


@given(paths=PATHS)
def test_no_label_could_be_shorter(paths):
    """One component less would be an ending of another path too."""
    for path, label in zip(paths, shortest_labels(paths), strict=True):
        shorter = PurePosixPath(label).parts[1:]
        others = [PurePosixPath(other).parts for other in paths if other != path]
        assert not shorter or any(parts[-len(shorter) :] == shorter for parts in others)


@given(paths=PATHS)
def test_one_more_path_changes_only_the_labels_that_it_clashes_with(paths):
    for last in paths[-1:]:
        before, after = shortest_labels(paths[:-1]), shortest_labels(paths)
        for path, old, new in zip(paths, before, after, strict=False):
            assert old == new or PurePosixPath(path).name == PurePosixPath(last).name
