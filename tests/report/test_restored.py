"""What is said while one's own pictures are restored."""

from pathlib import Path
from types import SimpleNamespace

from bench.report import restored
from bench.report.restored import RestoreProgress
from bench.restoring.photos import Done, Errand


def test_without_a_terminal_a_large_picture_is_told_of_every_minute(monkeypatch, capsys):
    now = [1000.0]
    monkeypatch.setattr(restored, "time", SimpleNamespace(monotonic=lambda: now[0]))
    errand = Errand(Path("a.png"), Path("b.png"), 100)
    with RestoreProgress() as progress:
        progress.started([errand])
        for at, share in ((1030, 0.1), (1090, 0.2), (1140, 0.1), (1160, 0.4), (1300, 0.2)):
            now[0] = at
            progress.restored(errand, share)
        progress.tell(Done(errand, 300.0))
    assert capsys.readouterr().err.splitlines() == [
        "a.png: 30 % of all, about 210 s left",
        "a.png: 80 % of all, about 40 s left",
        "a.png -> b.png (300.0 s)",
    ]
