"""Who watches is told how far it is with the records that are read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.records import counted
from bench.records.counted import along, watched
from bench.records.merging import merge
from bench.records.reading import reading
from bench.records.repair import check
from bench.records.store import Store
from tests.records.test_exported import record

Told = list[tuple[str, int, int]]


@pytest.fixture
def told() -> Told:
    return []


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of five records; of every second it is told."""
    monkeypatch.setattr(counted, "EVERY", 2)
    path = tmp_path / "a.sqlite"
    with Store(path) as opened:
        opened.add(*(record(f"{i}-untimed", image=f"{i}.png") for i in range(5)))
    return path


def test_nobody_watches_and_nothing_is_wrapped() -> None:
    items = iter("abc")
    assert along(items, "reading", 3) is items


def test_each_is_told_of_and_the_end(monkeypatch: pytest.MonkeyPatch, told: Told) -> None:
    monkeypatch.setattr(counted, "EVERY", 2)
    with watched(lambda *one: told.append(one)):
        assert [*along("abcde", "reading", 50, each=10)] == [*"abcde"]
    assert told == [("reading", n, 50) for n in (0, 10, 20, 30, 40, 50)]


def test_the_end_is_told_when_it_breaks_off(told: Told) -> None:
    with watched(lambda *one: told.append(one)):
        for _ in along("abc", "reading", 3):
            break
    assert told[-1] == ("reading", 3, 3)


@pytest.mark.parametrize("work", ["check", "merge", "frame"])
def test_what_reads_a_store_tells(work: str, store: Path, told: Told) -> None:
    with watched(lambda *one: told.append(one)):
        if work == "check":
            check(store)
        elif work == "merge":
            merge([store], store.with_name("into.sqlite"))
        else:
            with reading([store]) as records:
                records.frame()
    assert told == [(f"reading {store}", n, 5) for n in (0, 2, 4, 5)]


def test_what_is_read_in_full_tells(store: Path, told: Told) -> None:
    with watched(lambda *one: told.append(one)), reading([store]) as records:
        assert [len(some) for some in records.at(np.arange(5))] == [5]
    assert told == [(f"reading {store} in full", n, 5) for n in (0, 5)]
