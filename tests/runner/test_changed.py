"""Files that change in mid-run: no figure stands under the hash of what did not give it."""

import hashlib

import numpy as np
import pytest

import bench
from bench.plugins.unchanged import CHANGED
from bench.runner.plan import make_plan
from bench.runner.request import make_request
from bench.runner.slot import Slot
from bench.runner.worker import Limits

PLUGIN = """
import os
from pathlib import Path
import numpy as np
from bench.restorer import Restorer

class Mine(Restorer):
    name, tasks, reads = "mine", {"denoise"}, ["gain.txt"]

    def prepare(self, setting, device):
        self.gain = float((Path(__file__).parent / "gain.txt").read_text())
        if self.weights:
            self.gain *= float(np.load(self.weights.path))

    def restore(self, seen):
        from helper import LATER
        if seen.image.shape[0] == 17:
            os._exit(3)
        return seen.image * np.float32(self.gain * LATER)
"""


@pytest.fixture
def folder(tmp_path, photos):
    """A plugin that takes weights, opens a file, imports another late, and dies of the last picture."""
    (photos / "3.png").replace(photos / "2.png")
    (tmp_path / "mine.py").write_text(PLUGIN)
    (tmp_path / "helper.py").write_text("LATER = 1\n")
    (tmp_path / "gain.txt").write_text("1")
    np.save(tmp_path / "w.npy", 1.0)
    return tmp_path


def changed(folder, name):
    """The file as another, put in its place as `bench train` does; and the factor of its figures is 0.5."""
    path, new = folder / name, folder / "new"
    if name == "w.npy":
        with new.open("wb") as file:
            np.save(file, 0.5)
    else:
        text = {"mine.py": PLUGIN.replace("LATER)", "LATER / 2)"), "helper.py": "LATER = 0.5\n", "gain.txt": "0.5"}
        new.write_text(text[name])
    new.replace(path)


def planned(folder):
    """The cells of the two pictures at one level."""
    plan = make_plan(make_request(f"{folder}/mine.py:Mine@{folder}/w.npy", datasets=folder / "photos"))
    return [cell for cell in plan.cells if cell.setting.level == 25]


def run(folder, **options):
    asked = f"{folder}/mine.py:Mine@{folder}/w.npy"
    return bench.run(asked, datasets=folder / "photos", sigma=25, store=folder / "s.sqlite", **options)


FILES = ["w.npy", "mine.py", "helper.py", "gain.txt"]


@pytest.mark.parametrize("name", FILES)
def test_changed_between_plan_and_load_it_is_not_measured(folder, name):
    cell, _ = planned(folder)
    changed(folder, name)
    slot = Slot(Limits(), readings=1)
    try:
        record = slot.measure(cell)
    finally:
        slot.close()
    assert (record.status, record.psnr_db) == ("failed", None)
    assert record.reason == f"{folder / name} {CHANGED}: run again."


@pytest.mark.parametrize("name", FILES)
def test_changed_in_mid_run_figures_are_of_the_old_one_or_none(folder, name):
    """The first picture is measured, then the file changes; the second is asked of the process that has the old one,
    and a third, after it has died, of a new one."""
    first, dies = planned(folder)
    slot = Slot(Limits(), readings=1)
    try:
        before = slot.measure(first)
        changed(folder, name)
        again, died, anew = slot.measure(first), slot.measure(dies), slot.measure(first)
    finally:
        slot.close()
    assert before.status == "ok"
    if again.status == "ok":
        assert name in ("mine.py", "helper.py")
        assert again.psnr_db == before.psnr_db
        assert died.reason == "the process exited with status 3"
    assert (anew.status, anew.reason) == ("failed", f"{folder / name} {CHANGED}: run again.")


def test_what_failed_so_is_measured_by_the_next_run_even_if_the_file_is_as_it_was(folder, monkeypatch):
    content = (folder / "w.npy").read_bytes()
    measure = Slot.measure

    def after_a_change(slot, cell, upcoming=None):
        changed(folder, "w.npy")
        return measure(slot, cell, upcoming)

    monkeypatch.setattr(Slot, "measure", after_a_change)
    assert run(folder).frame()["reason"].str.contains(CHANGED).all()
    monkeypatch.setattr(Slot, "measure", measure)
    (folder / "w.npy").write_bytes(content)
    outcome = run(folder)
    assert outcome.n_measured == 2
    assert outcome.frame()["status"].tolist() == ["ok", "failed"]
    assert set(outcome.frame()["weights_sha256"]) == {hashlib.sha256(content).hexdigest()}
    assert run(folder).n_measured == 0
