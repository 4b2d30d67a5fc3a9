"""How times grow with pixels and threads, on the page of performance: what the script measured."""

import json

import pytest

from tests.docs.blocks import ROOT


@pytest.fixture
def generate(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs")
    import generate

    return generate


@pytest.fixture
def file(tmp_path):
    rows = [
        {"restorer": name, "side": side, "seconds": seconds, "threads": threads}
        for name, side, seconds, threads in [
            ("sc", 64, 0.0512, 1),
            ("sc", 128, 0.213, 1),
            ("sc", 64, 0.0301, 2),
            ("bm3d", 64, 1.23, 1),
        ]
    ]
    entry = {"command": "python tests/asv/scaling.py --write", "day": "2026-01-02", "commit": "57d185d79a70"}
    machine = {"cpu": "Some CPU", "cores": "2", "torch": "2.0"}
    path = tmp_path / "scaling.json"
    path.write_text(json.dumps({**entry, "machine": machine, "cores_busy_with_others": 0.04, "rows": rows}))
    return path


def test_the_page_shows_what_the_script_wrote(generate, file):
    words, table, origin = generate.scaling(file)
    assert "(scaling.svg)" in words
    assert table.split("\n") == [
        "| | threads | 64² | 128² |",
        "|---|---:|---:|---:|",
        "| `sc` | 1 | 0.0512 | 0.213 |",
        "| `sc` | 2 | 0.0301 | – |",
        "| `bm3d` | 1 | 1.23 | – |",
        "| `bm3d` | 2 | – | – |",
    ]
    assert origin.endswith("Other work kept 0.0 cores busy.")


def test_the_drawing_names_each_restorer_once(generate, file):
    pytest.importorskip("matplotlib")
    output = file.with_name("scaling.svg")
    generate.draw_scaling(output, file)
    drawn = output.read_text()
    assert drawn.startswith("<?xml")
    assert drawn.count("<!-- sc -->") == drawn.count("<!-- bm3d -->") == 1
