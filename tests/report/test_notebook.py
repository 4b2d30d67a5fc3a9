"""What a run shows in Python: a bar where somebody looks, and an outcome that is its table."""

import sys
from types import SimpleNamespace

import pytest

import bench
from bench.report.notebook import NotebookProgress, watch_in_python
from bench.report.progress import BarProgress, Progress
from tests.report.test_progress import FAILED, OK, cell


class Display:
    """Stands in for IPython's."""

    def __init__(self):
        self.shown = []

    def display(self, bundle, *, raw, display_id):
        assert raw
        assert display_id
        self.shown.append(bundle)
        return SimpleNamespace(update=lambda bundle, raw: self.shown.append(bundle))


@pytest.fixture
def display(monkeypatch):
    shown = Display()
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=1)))
    monkeypatch.setitem(sys.modules, "IPython.display", shown)
    return shown


@pytest.mark.parametrize(
    ("progress", "kind"), [(None, NotebookProgress), (True, NotebookProgress), (False, Progress)]
)
def test_in_a_notebook_a_bar_is_shown_unless_it_is_not_wanted(display, progress, kind):
    assert type(watch_in_python(progress)) is kind


@pytest.mark.parametrize(
    ("progress", "is_terminal", "kind"),
    [(None, True, BarProgress), (None, False, Progress), (True, False, BarProgress), (False, True, Progress)],
)
def test_elsewhere_a_bar_is_shown_in_a_terminal(monkeypatch, progress, is_terminal, kind):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_terminal, raising=False)
    assert type(watch_in_python(progress)) is kind


def test_the_bar_in_a_notebook_ends_in_a_line(display, monkeypatch):
    monkeypatch.setattr("bench.report.notebook.UPDATE_SECONDS", 0)
    with NotebookProgress() as watcher:
        watcher.started([cell(0, "a<b"), cell(1)])
        watcher.measured(cell(0, "a<b"), OK)
        watcher.measured(cell(1), FAILED)
    first, *_, last = display.shown
    assert first["text/html"].startswith('<progress value="0" max="2"></progress> a&lt;b, denoise sigma 25 gray')
    assert first["text/plain"] == "a<b, denoise sigma 25 gray, photos: 0 of 2"
    assert last["text/plain"].startswith("2 of 2 cells measured in ")
    assert last["text/plain"].endswith(" s, 1 failed")
    assert len(display.shown) == 4


def test_where_nothing_is_to_be_measured_nothing_is_shown(display):
    with NotebookProgress() as watcher:
        watcher.started([])
    assert display.shown == []


def test_an_outcome_is_its_table(photos, tmp_path):
    result = bench.run("noisy", datasets=photos, images="1.png", sigma=25, jobs=2, store=tmp_path / "s.sqlite")
    assert repr(result) == "\n".join([result.table(), *result.remarks()])
    assert result._repr_html_().startswith(result.table("html"))
    again = bench.run("noisy", datasets=photos, images="1.png", sigma=25, jobs=2, store=tmp_path / "s.sqlite")
    assert "<li>1 of 1 cells were in the store already" in again._repr_html_()
