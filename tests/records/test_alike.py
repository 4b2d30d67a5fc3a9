"""Remarks that differ in numbers alone become one."""

import pytest

from bench.records.alike import alike


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        ([], {}),
        (["a 1"], {"a 1": ["a 1"]}),
        (["a 2", "b", "a 10"], {"a 2 to 10": ["a 2", "a 10"], "b": ["b"]}),
        (["told 12.6", "told 9", "told 19.27"], {"told 9 to 19.27": ["told 12.6", "told 9", "told 19.27"]}),
        (["1 of 7", "3 of 7"], {"1 to 3 of 7": ["1 of 7", "3 of 7"]}),
    ],
    ids=["none", "one", "whole", "decimals", "two"],
)
def test_numbers_become_ranges(texts, told):
    assert alike(texts) == told


def test_a_sign_that_is_no_number_stays_apart_from_numbers() -> None:
    assert alike(["x 1", "x #"]) == {"x 1": ["x 1"], "x #": ["x #"]}
