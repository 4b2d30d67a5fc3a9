"""The ratios of the page of performance: what a speed script writes is what the page shows, with where it is from."""

import json
import sys

import pytest

from tests.asv import speed
from tests.docs.blocks import ROOT

COMPARISON = speed.Comparison("a picture", "quick way", 0.5, "slow way", 61.04, 122.1, "estimated")


@pytest.fixture
def generate(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs")
    import generate

    return generate


@pytest.fixture
def written(monkeypatch, tmp_path):
    """The file that a script `pictures.py` has written, in a folder of its own."""
    monkeypatch.setattr(speed, "FOLDER", tmp_path / "speed")
    monkeypatch.setattr(speed, "ROOT", tmp_path)
    monkeypatch.setattr(speed, "commit", lambda: "57d185d79a70")
    monkeypatch.setattr(sys, "argv", ["pictures.py", "--side", "64", "--write"])
    speed.write("pictures.py", [COMPARISON], threads=2)
    return tmp_path / "speed" / "pictures.json"


def test_the_page_shows_what_the_script_wrote(generate, written):
    page = "\n".join(generate.speed(written.parent))
    entry = json.loads(written.read_text(encoding="utf-8"))
    assert "### pictures" in page
    assert "| a picture (estimated) | quick way | 0.5 | slow way | 61 | 122 |" in page
    assert f"{entry['day']}, commit `57d185d79a70`, {generate.named(entry['machine'])}, 2 threads." in page
    assert "python tests/asv/pictures.py --side 64 --write" in page


def test_a_bar_stands_beside_its_ratio(generate):
    table = generate.speed_table([{**speed.told(COMPARISON), "bar": 60.0}, speed.told(COMPARISON)])
    assert [line.split(" | ")[-1] for line in table.splitlines()] == ["asked for |", "---: |", "60 |", "– |"]


@pytest.mark.parametrize("missing", ["command", "day", "commit", "machine", "threads", "comparisons"])
def test_the_page_refuses_figures_that_do_not_say_where_they_are_from(generate, written, missing):
    entry = json.loads(written.read_text(encoding="utf-8"))
    del entry[missing]
    written.write_text(json.dumps(entry), encoding="utf-8")
    with pytest.raises(ValueError, match=f"pictures.json does not say its {missing}"):
        list(generate.speed(written.parent))


def test_a_script_that_compared_nothing_leaves_the_file_as_it_is(written):
    before = written.read_text(encoding="utf-8")
    with pytest.raises(SystemExit, match="nothing to write"):
        speed.write("pictures.py", [], threads=2)
    assert written.read_text(encoding="utf-8") == before


def test_a_script_replaces_its_own_file_alone(written):
    speed.write("others.py", [COMPARISON], threads=1)
    before = written.read_text(encoding="utf-8")
    speed.write("others.py", [COMPARISON, COMPARISON], threads=1)
    assert written.read_text(encoding="utf-8") == before
    assert {path.name for path in written.parent.iterdir()} == {"others.json", "pictures.json"}


def test_the_ratio_is_the_median_turn_by_turn():
    assert speed.ratio([10, 30, 10], [1, 1, 2]) == 10


def test_runs_take_turns_and_the_first_warms_up():
    calls = []
    seconds = speed.in_turns({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, repeats=2)
    assert calls == ["a", "b"] * 3
    assert [len(readings) for readings in seconds.values()] == [2, 2]


def test_the_committed_files_make_a_page(generate):
    assert list(generate.speed(ROOT / "results" / "speed"))
