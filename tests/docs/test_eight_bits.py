"""What clipping and rounding is worth, on the page of degradations: what the script measured."""

import json

import pytest

from tests.docs.blocks import ROOT

ORIGIN = {"command": "python tests/asv/eight_bits.py --write", "day": "2026-01-02", "commit": "57d185d79a70"}
MACHINE = {"cpu": "Some CPU", "cores": "2", "torch": "2.0"}


@pytest.fixture
def generate(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs")
    import generate

    return generate


def row(restorer, sigma, pictures, denoise, denoise8):
    return {"restorer": restorer, "sigma": sigma, "pictures": pictures, "denoise": denoise, "denoise8": denoise8}


def test_the_page_shows_what_the_script_wrote(generate, tmp_path):
    rows = [
        *(row("one", 25.0, 12, 30.0, 30.1234), row("one", 50.0, 12, 27.0, 26.5)),
        *(row("two", 25.0, 4, 29.0, 29.0), row("two", 50.0, 4, 26.0, 26.0)),
    ]
    (tmp_path / "rows.json").write_text(json.dumps({**ORIGIN, "machine": MACHINE, "rows": rows}))
    table, origin = generate.eight_bits(tmp_path / "rows.json").split("\n\n")
    assert table.split("\n") == [
        "| restorer | pictures | σ25 | σ50 |",
        "|---|---|---|---|",
        "| `one` | 12 | 30.00, +0.12 dB | 27.00, -0.50 dB |",
        "| `two` | 4 | 29.00, +0.00 dB | 26.00, +0.00 dB |",
    ]
    assert "`python tests/asv/eight_bits.py --write`" in origin


def test_what_is_shown_is_of_six_restorers_at_three_levels(generate):
    rows = json.loads((ROOT / "results" / "eight_bits.json").read_text(encoding="utf-8"))["rows"]
    restorers = {row["restorer"] for row in rows} - {"noisy"}
    assert len(restorers) >= 6
    assert {(row["restorer"], row["sigma"]) for row in rows} >= {(r, s) for r in restorers for s in (15, 25, 50)}
