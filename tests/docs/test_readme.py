"""The README is short, its figures are the reference run's, and its links lead somewhere."""

import re

import pytest

import bench
from tests.docs.blocks import PAGES, ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_it_is_short():
    assert len(README.splitlines()) <= 130


def test_its_first_table_is_the_reference_runs():
    """What `bench table --store results/reference/records.csv --format markdown --select …` prints."""
    condition, shown = re.search(r"<!-- table: (.*?) -->\n(.*?)\n<!-- end -->", README, re.DOTALL).groups()
    assert shown == bench.table(ROOT / "results" / "reference" / "records.csv", "markdown", select=condition)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_to_files(page):
    """Those to pages that are made by the build are its own to check."""
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)[^)]*\)", page.read_text(encoding="utf-8"))
    missing = [name for name in targets if "generated/" not in name and not (page.parent / name).exists()]
    assert not missing
