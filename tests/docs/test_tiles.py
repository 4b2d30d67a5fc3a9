"""What tiles change, on the page of restoring: what the script measured."""

import json

import pytest

from tests.docs.blocks import ROOT

ORIGIN = {"command": "python tests/asv/tiles.py --write", "day": "2026-01-02", "commit": "57d185d79a70"}
MACHINE = {"cpu": "Some CPU", "cores": "2", "torch": "2.0"}


@pytest.fixture
def generate(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs")
    import generate

    return generate


def change(restorer, overlap, largest, mean, psnr_db):
    return {"restorer": restorer, "overlap": overlap, "largest": largest, "mean": mean, "psnr_db": psnr_db}


def test_the_page_shows_what_the_script_wrote(generate, tmp_path):
    changes = [
        *(change("near", 16, 1.987, 0.00977, 0.0004), change("near", 32, 2e-5, 1e-7, 0.0)),
        *(change("far", 16, 38.2, 3.41, -0.1234), change("far", 32, 16.0, 0.8, 0.0011)),
    ]
    (tmp_path / "tiles.json").write_text(json.dumps({**ORIGIN, "machine": MACHINE, "changes": changes}))
    table, origin = generate.tiles(tmp_path / "tiles.json").split("\n\n")
    assert table.split("\n") == [
        "| restorer | overlap 16 | overlap 32 |",
        "|---|---|---|",
        "| `near` | 2, 0.0098 | none |",
        "| `far` | 38, 3.4, -0.123 dB | 16, 0.8, +0.001 dB |",
    ]
    assert origin.strip() == (
        "2026-01-02, commit `57d185d79a70`, 2 cores of Some CPU, torch 2.0: `python tests/asv/tiles.py --write`"
    )


def test_what_is_shown_is_what_lies_in_the_results(generate):
    changes = json.loads((ROOT / "results" / "tiles.json").read_text(encoding="utf-8"))["changes"]
    exact = {one["restorer"] for one in changes if one["overlap"] == 32 and one["largest"] < generate.ROUNDING}
    assert exact == {"dncnn", "ffdnet", "sc", "deep-ksvd", "nlm"}  # as the page says
