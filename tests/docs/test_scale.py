"""What stores cost by their size, on the page of stores: what the script measured."""

import json

import pytest

from tests.docs.blocks import ROOT


@pytest.fixture
def generate(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs")
    import generate

    return generate


def found(cpu_seconds, peak_mib):
    return {"seconds": 99.0, "cpu_seconds": cpu_seconds, "peak_mib": peak_mib}


def test_the_page_shows_what_the_script_wrote(generate, tmp_path):
    rows = [
        {"records": 1000, "work": "opening it", "before": None, "now": found(0.0021, 80.4)},
        {"records": 1_000_000, "work": "opening it", "before": found(123.4, 5625.1), "now": found(9.41, 99.6)},
        {"records": 1000, "work": "checking all", "now": found(0.25, 81.0)},
    ]
    entry = {"command": "python tests/asv/scale.py --write", "day": "2026-01-02", "commit": "57d185d79a70"}
    machine = {"cpu": "Some CPU", "cores": "2", "torch": "2.0"}
    (tmp_path / "scale.json").write_text(json.dumps({**entry, "machine": machine, "rows": rows}))
    table, *_, origin = generate.scale(tmp_path / "scale.json").strip().split("\n\n")
    assert table.split("\n") == [
        "| | 1,000 records, before | 1,000 records | 1,000,000 records, before | 1,000,000 records |",
        "|---|---|---|---|---|",
        "| opening it | – | 2.1 ms, 80 MiB | 123 s, 5625 MiB | 9.4 s, 100 MiB |",
        "| checking all | – | 0.2 s, 81 MiB | – | – |",
    ]
    assert "`python tests/asv/scale.py --write`" in origin


def test_what_is_shown_is_of_a_million_records(generate):
    rows = json.loads((ROOT / "results" / "scale.json").read_text(encoding="utf-8"))["rows"]
    of_a_million = {row["work"]: row["now"] for row in rows if row["records"] == 1_000_000}
    assert {"adding a record", "a run of 1,000 known cells", "a table of a task"} <= {*of_a_million}
