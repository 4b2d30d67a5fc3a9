"""What a cluster's parts carry, on the page of clusters: what the script measured, and what follows from it."""

import json

import pytest

from tests.docs.blocks import ROOT

NAMES = ["cells", "seconds", "scheduler_ms", "head_ms", "worker_ms", "scheduler_mib", "head_mib", "store_mib"]
ENTRY = {
    "command": "python tests/asv/cluster_rates.py --write",
    "day": "2026-01-02",
    "commit": "57d185d79a70",
    "machine": {"cpu": "Some CPU", "cores": "2", "torch": "2.0"},
    "runs": [
        dict(zip(NAMES, (1000.0, 4.0, 0.6, 5.0, 1.0, 90.0, 200.0, 2.0), strict=True)),
        dict(zip(NAMES, (101000.0, 202.0, 0.5, 2.0, 1.0, 95.0, 400.0, 101.0), strict=True)),
    ],
    "store": [{"at_a_time": 1, "records_per_second": 300}, {"at_a_time": 256, "records_per_second": 8000}],
    "staged_mib": 200,
}


@pytest.fixture
def generate(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs")
    import generate

    return generate


def test_the_page_shows_what_the_script_wrote_and_what_follows(generate, tmp_path):
    (tmp_path / "rates.json").write_text(json.dumps(ENTRY))
    runs, store, origin, paper = generate.cluster_rates(tmp_path / "rates.json").split("\n\n")
    assert "| 101,000 | 500 | 0.5 | 2 | 1 | 95 | 400 | 101 |" in runs
    assert "| 256 | 8,000 |" in store
    assert "`python tests/asv/cluster_rates.py --write`" in origin
    told = dict(line.strip("| ").split(" | ")[:2] for line in paper.strip().splitlines()[2:])
    assert told == {
        "scheduler: the most that it carries": "2000 cells/s",
        "head: the most that it carries": "500 cells/s",
        "store: the most that it carries": "8000 cells/s",
        "a cell must take, for all cores to be busy": "20 s",
        "the run takes at least": "33 min",
        "memory of the head": "2.1 GiB",
        "memory of the scheduler": "95 MiB",
        "the store": "1.0 GiB",
        "data sets and weights are there after": "31 s",
    }


def test_what_is_shown_goes_to_100_000_cells():
    entry = json.loads((ROOT / "results" / "cluster_rates.json").read_text(encoding="utf-8"))
    assert max(run["cells"] for run in entry["runs"]) >= 100_000
