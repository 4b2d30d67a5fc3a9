"""The ratios of the page of performance: what a speed script writes is what the page shows, with where it is from."""

import json
import sys
from types import SimpleNamespace

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


def test_the_page_shows_how_near_restorers_come_to_the_machine(generate, monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(ROOT / "tests" / "asv")
    import peak

    monkeypatch.setattr(peak, "ROOT", tmp_path)
    monkeypatch.setattr(peak, "FILE", tmp_path / "peak.json")
    monkeypatch.setattr(sys, "argv", ["peak.py", "sc", "--write"])
    row = {"restorer": "sc", "seconds": 0.61, "macs_per_pixel": 1.059e6, "gflops": 227.5, "share": 0.751}
    row |= {"megabytes": 1.0, "floor_seconds": 0.458}
    told = {"side": 256, "channels": 1, "threads": 2, "gflops": 303.0, "gigabytes_a_second": 20.0}
    for seconds in (9.0, 0.61):  # the second takes the place of the first
        peak.write("times", told, [{**row, "seconds": seconds}])
    memory = [{"restorer": "", "256": 250, "1024": 303}, {"restorer": "sc", "256": 371, "1024": 1446}]
    peak.write("memory", {"channels": 3, "threads": 2}, memory)
    page = "\n".join(generate.peak(tmp_path / "peak.json"))
    assert "### 256x256, gray" in page
    assert "| sc | 0.61 | 1.06M | 228 | 75% | 0.458 |" in page
    assert "Products reach 303 GFLOP/s here, copies 20 GB/s." in page
    assert "### Memory, colour" in page
    assert "| *nothing* | 250 | 303 |\n| sc | 371 | 1,446 |" in page
    assert "python tests/asv/peak.py sc --write" in page
    assert "| sc | 9" not in page


def test_without_measurements_the_page_does_not_speak_of_them(generate, tmp_path):
    assert list(generate.peak(tmp_path / "peak.json")) == []


def test_rates_and_times_are_those_of_what_was_run(monkeypatch, capsys, tmp_path):
    monkeypatch.syspath_prepend(ROOT / "tests" / "asv")
    import peak

    monkeypatch.setattr(peak, "matrix_rate", lambda: 4e9)
    monkeypatch.setattr(peak, "memory_rate", lambda: 1e9)
    monkeypatch.setattr(peak, "_seconds", lambda run, repeats: 0.5)
    monkeypatch.setattr(sys, "argv", ["peak.py", "ffdnet", "deep-ksvd", "--side", "24", "--channels", "3"])
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    peak.main()
    lines = capsys.readouterr().out.splitlines()
    name, seconds, macs, rate, share, *_ = lines[2].split()
    assert (name, seconds) == ("ffdnet", "0.500")
    assert float(rate) == round(2 * float(macs) * 24**2 / 0.5 / 1e3)
    assert share == f"{2 * float(macs) * 1e6 * 24**2 / 0.5 / 4e9:.0%}"
    assert lines[3] == "deep-ksvd  left out: deep-ksvd is for gray images"


def test_every_restorer_has_its_time_and_memory(generate, written):
    """Of a size that took too long there is a dash, and a table for each task."""
    rows = [
        {
            "restorer": "quick",
            "task": "denoise",
            "seconds": {"256": 0.0123, "1024": 2.5},
            "peak_mib": {"256": 90, "1024": 1100},
        },
        {"restorer": "slow", "task": "denoise", "seconds": {"256": 130.0}, "peak_mib": {"256": 205}},
        {"restorer": "mosaics", "task": "demosaick", "seconds": {"256": 1.0}, "peak_mib": {"256": 150}},
    ]
    written.write_text(json.dumps(json.loads(written.read_text(encoding="utf-8")) | {"rows": rows}), encoding="utf-8")
    lines = "\n".join(generate.time_and_memory(written)).splitlines()
    assert "|  | 256x256, seconds | 1024x1024, seconds | 256x256, peak MiB | 1024x1024, peak MiB |" in lines
    assert "| `quick` | 0.0123 | 2.5 | 90 | 1,100 |" in lines
    assert "| `slow` | 130 | – | 205 | – |" in lines
    assert lines.index("| `mosaics` | 1 | – | 150 | – |") > lines.index("### Each restorer: demosaicking")
    assert not [*generate.time_and_memory(written.parent / "none.json")]


@pytest.fixture
def table(monkeypatch, tmp_path):
    """tests/asv/time_and_memory.py, with a file of its own."""
    monkeypatch.syspath_prepend(ROOT / "tests" / "asv")
    import time_and_memory

    monkeypatch.setattr(time_and_memory, "ROOT", tmp_path)
    monkeypatch.setattr(time_and_memory, "FILE", tmp_path / "table.json")
    monkeypatch.setattr(time_and_memory, "commit", lambda: "57d185d79a70")
    return time_and_memory


def row(restorer, seconds, task="denoise"):
    return {"restorer": restorer, "task": task, "seconds": {"256": seconds}, "peak_mib": {"256": 100}}


def test_a_restorer_measured_again_replaces_its_own_row(table):
    table.write([row("tv", 1.0), row("menon", 2.0, "demosaick"), row("nlm", 3.0)], SimpleNamespace(threads=2))
    table.write([row("tv", 4.0)], SimpleNamespace(threads=2))
    rows = json.loads(table.FILE.read_text(encoding="utf-8"))["rows"]
    assert [(r["restorer"], r["seconds"]["256"]) for r in rows] == [("nlm", 3.0), ("tv", 4.0), ("menon", 2.0)]


def test_rows_of_other_threads_do_not_stay_beside_new_ones(table):
    table.write([row("tv", 1.0), row("nlm", 3.0)], SimpleNamespace(threads=2))
    table.write([row("tv", 4.0)], SimpleNamespace(threads=1))
    assert [r["restorer"] for r in json.loads(table.FILE.read_text(encoding="utf-8"))["rows"]] == ["tv"]


def test_every_restorer_that_can_run_here_has_a_row(table):
    assert {"bm3d", "dncnn", "menon", "vdsr", "jpeg", "lssc"} <= {*table.every()}
    assert not {"vst", "pnp", "onnx"} & {*table.every()}
    assert [s.channels for s in table.settings({"demosaick", "denoise"})] == [
        1,
        3,
        3,
    ]  # gray first; mosaics are colour
