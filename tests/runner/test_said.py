"""What a restorer prints for a cell: kept whole when it raises, hangs or crashes, and no more than that."""

from __future__ import annotations

import os
import shutil
from textwrap import dedent

import pytest
from PIL import Image

import bench
from bench.records.logs import Logs
from bench.report.failures import failures
from bench.runner.said import Said

FAILING = """
    import ctypes, time
    from bench.restorer import Restorer

    print("imported")

    class Raises(Restorer):
        name, tasks = "raises", {"denoise"}

        def restore(self, seen):
            print("shape", seen.image.shape)
            self.solve()

        def solve(self):
            raise ValueError("no convergence")

    class Hangs(Restorer):
        name, tasks = "hangs", {"denoise"}

        def restore(self, seen):
            while True:
                time.sleep(0.01)

    class Crashes(Restorer):
        name, tasks = "crashes", {"denoise"}

        def restore(self, seen):
            print("going down")
            ctypes.string_at(0)

    class CannotPrepare(Restorer):
        name, tasks = "cannot-prepare", {"denoise"}

        def prepare(self, setting, device):
            print("preparing")
            raise KeyError("weights")

        def restore(self, seen):
            return seen.image
"""


@pytest.fixture
def logs(photos, tmp_path):
    """Runs a class of FAILING on the photos, of which one is left; what was kept of each, by the image."""
    for name in ("2.png", "3.png"):
        (photos / name).unlink()
    (tmp_path / "failing.py").write_text(dedent(FAILING))

    def run(name, **options):
        store = tmp_path / "s.sqlite"
        result = bench.run(f"{tmp_path}/failing.py:{name}", datasets=photos, sigma=25, store=store, jobs=1, **options)
        assert [record.status for record in result.records] == ["failed"] * len(result.records)
        return {record.image: Logs(store).of(record.key) for record in result.records}, result

    return run


def test_prints_and_the_traceback_from_its_own_code_on_are_kept_of_each_cell(logs, photos):
    shutil.copy(photos / "1.png", photos / "2.png")
    Image.new("L", (19, 17)).save(photos / "3.png")
    kept, _ = logs("Raises")
    first, second = kept["1.png"].splitlines(), kept["3.png"].splitlines()
    assert first[:2] == ["imported", "shape (24, 32, 1)"]
    assert second[0] == "shape (17, 19, 1)"
    assert second[1] == "Traceback (most recent call last):"
    assert second[-1] == "ValueError: no convergence"
    places = [line.split(", in ")[1] for line in kept["2.png"].splitlines() if line.startswith("  File ")]
    assert places == ["restore", "solve"]


def test_of_a_call_that_hangs_it_is_kept_where_it_was(logs):
    kept, result = logs("Hangs", time_limit=0.5)
    assert "no answer within the time limit" in result.records[0].reason
    [place] = [line for line in kept["1.png"].splitlines() if line.startswith("  File ")]
    assert place.endswith("in restore")


def test_of_a_crash_it_is_kept_where_it_was_and_the_reason_is_what_was_printed_before(logs):
    kept, result = logs("Crashes")
    assert result.records[0].reason == "the process was killed by SIGSEGV: going down"
    assert "Fatal Python error: Segmentation fault" in kept["1.png"]
    assert "in string_at" in kept["1.png"]
    assert "bench/runner" not in kept["1.png"]


def test_what_could_not_be_prepared_is_told_of_every_cell(logs, photos):
    shutil.copy(photos / "1.png", photos / "2.png")
    kept, result = logs("CannotPrepare")
    for text in kept.values():
        assert text.splitlines()[-1] == "KeyError: 'weights'"
        assert "preparing" in text
    [failure] = failures(result.frame())
    assert str(failure).startswith("cannot-prepare on photos/1.png, photos/2.png: KeyError")


def test_what_was_taken_is_not_told_again():
    said = Said()
    os.write(said.other, b"one\n")
    assert said.take() == "one\n"
    os.write(said.other, b"two\n")
    assert said.take() == "two\n"
    os.close(said.other)
    assert said.take() == ""
    said.close()
