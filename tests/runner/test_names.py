"""Two things that can answer differently are never one figure: the same names, the same words, other things."""

import hashlib
import os
import shutil
import sqlite3
import sys

import numpy as np
import pytest
from PIL import Image

import bench
from bench.errors import RestorerError
from bench.records.record import COLUMNS
from bench.records.store import Store
from bench.runner.plan import make_plan
from bench.runner.request import make_request
from tests.conftest import PLUGINS

NET = f"{PLUGINS}/net.py:Affine"
PLUGIN = """
import numpy as np
from bench.restorer import Restorer
from helper import strength

class Mine(Restorer):
    name, tasks = "mine", {"denoise"}

    def restore(self, seen):
        return np.float32(strength()) * seen.image

class Other(Mine):
    name, tasks = "mine", {"denoise"}

    def restore(self, seen):
        return np.float32(0.5) * seen.image
"""


@pytest.fixture
def folder(tmp_path):
    """Folders a/test and b/test of two pictures each, and a/my.py and b/my.py, which answer alike."""
    for number, top in enumerate("ab"):
        for i in range(2):
            pixels = np.random.default_rng([number, i]).integers(0, 255, (20, 24), dtype=np.uint8)
            path = tmp_path / top / "test" / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
        plugin(tmp_path / top, 1.0)
    return tmp_path


def plugin(at, strength):
    (at / "my.py").write_text(PLUGIN)
    (at / "helper.py").write_text(f"def strength():\n    return {strength}  # as it is\n")


def run(folder, methods=None, datasets=None, **options):
    methods = methods or [f"{folder}/a/my.py:Mine"]
    datasets = datasets or [folder / "a" / "test"]
    return bench.run(methods, datasets=datasets, sigma=25, store=folder / "s.sqlite", **options)


def table(folder):
    return bench.table(folder / "s.sqlite")


def lines(text, *names):
    return [line.split() for line in text.splitlines() if line.startswith(("mine", "noisy", "restorer", *names))]


def rows(text, name="mine"):
    """The restorers of a table, whose labels may be of two words."""
    return [line.partition("  ")[0] for line in text.splitlines() if line.startswith(name)]


# --- data sets -------------------------------------------------------------------------------------------


def test_two_folders_of_one_name_are_two_columns_in_the_run_and_later(folder):
    outcome = run(folder, "noisy", [folder / "a/test", folder / "b/test"])
    assert outcome.n_measured == 4
    assert lines(outcome.table())[0][1:5] == ["a/test", "σ25", "b/test", "σ25"]
    assert table(folder) == outcome.table()
    own = [run(folder, "noisy", [folder / k / "test"]).table() for k in "ab"]
    shown = lines(outcome.table())[1]
    assert [lines(text)[1][1] for text in own] == [shown[1], shown[4]]


def test_folders_of_one_name_asked_for_one_after_the_other_are_told_apart_too(folder):
    run(folder, "noisy", [folder / "a/test"])
    run(folder, "noisy", [folder / "b/test"])
    assert lines(table(folder))[0][1:5] == ["a/test", "σ25", "b/test", "σ25"]


def test_the_same_pictures_in_another_place_are_another_set(folder):
    shutil.copytree(folder / "a/test", folder / "c/test")
    run(folder, "noisy", [folder / "a/test"])
    outcome = run(folder, "noisy", [folder / "c/test"])
    assert outcome.n_measured == 2
    assert lines(table(folder))[0][1:5] == ["a/test", "σ25", "c/test", "σ25"]
    assert lines(table(folder))[1][1] == lines(table(folder))[1][4]  # the noise goes by the names alone


def test_significance_keeps_folders_of_one_name_apart(folder):
    run(folder, ["noisy", f"{folder}/a/my.py:Other"], [folder / "a/test", folder / "b/test"])
    told = str(bench.compare(folder / "s.sqlite", significance=True))
    assert "denoise 25 on a/test" in told
    assert "denoise 25 on b/test" in told


# --- restorers -------------------------------------------------------------------------------------------


def test_a_change_of_what_a_plugin_imports_is_measured_and_said(folder):
    before = run(folder)
    plugin(folder / "a", 0.5)
    after = run(folder)
    assert after.n_measured == 2
    assert dict(after.set_aside) == {("mine", "its code has changed"): 2}
    assert after.frame()["psnr_db"].mean() < before.frame()["psnr_db"].mean() - 1
    assert table(folder) == after.table()


def test_a_change_of_a_comment_measures_nothing(folder):
    run(folder)
    helper = folder / "a/helper.py"
    helper.write_text("# more to say\n" + helper.read_text().replace("  # as it is", ""))
    assert run(folder).n_measured == 0


def test_back_at_the_older_version_it_is_the_one_that_counts(folder):
    first = run(folder).table()
    plugin(folder / "a", 0.5)
    second = run(folder).table()
    assert second != first
    plugin(folder / "a", 1.0)
    again = run(folder)
    assert again.n_measured == 0
    assert again.table() == first == table(folder)


def test_a_table_never_mixes_what_two_versions_gave(folder):
    both = [folder / "a/test", folder / "b/test"]
    run(folder, datasets=both)
    plugin(folder / "a", 0.5)
    outcome = run(folder, datasets=both[:1])
    assert lines(table(folder))[1:] == lines(outcome.table())[1:]
    assert "2 records of mine on test: of other code or weights than those last asked for, and not shown" in table(
        folder
    )
    assert len(bench.read(folder / "s.sqlite")) == 6  # nothing is lost


def test_exports_mark_what_is_current(folder, capsys):
    run(folder)
    plugin(folder / "a", 0.5)
    run(folder)
    bench.export(folder / "s.sqlite", output=folder / "all.csv")
    text = (folder / "all.csv").read_text()
    assert [line.rpartition(",")[2] for line in text.splitlines()] == ["current", "False", "False", "True", "True"]
    assert bench.table(folder / "all.csv") == table(folder)


def test_two_classes_of_one_name_are_two_rows(folder):
    outcome = run(folder, [f"{folder}/a/my.py:Mine", f"{folder}/a/my.py:Other"])
    assert outcome.n_measured == 4
    assert rows(outcome.table()) == ["mine (my.py:Mine)", "mine (my.py:Other)"]
    assert table(folder) == outcome.table()


def test_one_class_name_in_two_files_is_two_rows_if_the_code_differs(folder):
    plugin(folder / "b", 0.5)
    outcome = run(folder, [f"{folder}/{k}/my.py:Mine" for k in "ab"])
    assert rows(outcome.table()) == ["mine (a/my.py:Mine)", "mine (b/my.py:Mine)"]
    assert table(folder) == outcome.table()


def test_a_copy_is_not_measured_twice_and_said_to_be_one(folder):
    outcome = run(folder, [f"{folder}/{k}/my.py:Mine" for k in "ab"])
    assert outcome.n_measured == 2
    assert rows(outcome.table()) == ["mine"]
    assert any("b/my.py:Mine holds what" in note for note in outcome.plan.notes)


def test_a_plugin_that_moved_is_known_by_its_new_place(folder):
    run(folder)
    outcome = run(folder, [f"{folder}/b/my.py:Mine"])
    assert outcome.n_measured == 0
    assert set(bench.read(folder / "s.sqlite")["plugin"]) == {f"{folder}/b/my.py:Mine"}


def test_a_data_file_that_is_named_is_part_of_the_plugin(folder):
    path = folder / "a/my.py"
    path.write_text(PLUGIN.replace("Restorer):\n", "Restorer):\n    reads = ['p.txt']\n", 1))
    (folder / "a/p.txt").write_text("1")
    run(folder)
    assert run(folder).n_measured == 0
    (folder / "a/p.txt").write_text("2")
    assert run(folder).n_measured == 2


def test_the_name_of_a_built_in_is_refused(folder):
    (folder / "a/my.py").write_text(PLUGIN.replace('"mine"', '"noisy"'))
    with pytest.raises(RestorerError, match="is a built-in restorer's"):
        run(folder)


def test_two_checkpoints_of_one_network_are_two_rows(folder):
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    for top, shift in (("a", 0.0), ("b", 0.5)):
        save_file({"scale": torch.ones(1), "shift": torch.full((1,), shift)}, folder / top / "best.safetensors")
    files = [f"{NET}@{folder}/{top}/best.safetensors" for top in "ab"]
    outcome = run(folder, files)
    assert rows(outcome.table(), "affine") == ["affine@a/best", "affine@b/best"]
    assert table(folder) == outcome.table()
    assert [r.weights_file for r in outcome.records[::2]] == [f"{folder}/{top}/best.safetensors" for top in "ab"]
    assert rows(run(folder, files[1:]).table(), "affine") == ["affine"]
    assert lines(run(folder, files[1:]).table(), "affine")[1][1] == lines(outcome.table(), "affine")[2][1]


def test_weights_that_were_trained_on_are_measured_again_and_the_older_figures_are_kept(folder):
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    file = folder / "best.safetensors"
    for shift in (0.0, 0.5):
        save_file({"scale": torch.ones(1), "shift": torch.full((1,), shift)}, file)
        outcome = run(folder, [f"{NET}@{file}"])
        assert outcome.n_measured == 2
    assert dict(outcome.set_aside) == {("affine", "its weights have changed"): 2}
    assert table(folder) == outcome.table()
    assert len(bench.read(folder / "s.sqlite")) == 4


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are bytes on Linux alone")
def test_names_of_files_that_are_not_utf_8_are_kept_in_words(folder):
    odd = os.fsdecode(os.fsencode(str(folder)) + b"/caf\xe9")
    shutil.copytree(folder / "a", odd)
    outcome = run(folder, [f"{odd}/my.py:Mine"], [folder / "a/test"])
    assert [record.status for record in outcome.records] == ["ok", "ok"]
    assert outcome.records[0].plugin == rf"{folder}/caf\udce9/my.py:Mine"
    assert table(folder) == outcome.table()


# --- what records tell ------------------------------------------------------------------------------------


def test_records_tell_code_place_and_time(folder):
    frame = run(folder).frame()
    one = frame.iloc[0]
    assert len(one["code_sha256"]) == 64
    assert one["plugin"] == f"{folder}/a/my.py:Mine"
    assert one["folder"] == str(folder / "a/test")
    assert (one["label"], one["bench_version"]) == ("mine", "0.1.0")
    assert one["measured_at"][:2] == "20"
    assert one["measured_at"].endswith("+00:00")
    assert one["asked_at"] > one["measured_at"]
    assert frame["asked_at"].is_monotonic_increasing


def test_the_order_of_a_table_is_that_of_the_last_run(folder):
    run(folder, ["noisy", f"{folder}/a/my.py:Mine"])
    turned = run(folder, [f"{folder}/a/my.py:Mine", "noisy"])
    assert turned.n_measured == 0
    assert [line[0] for line in lines(table(folder))] == ["restorer", "mine", "noisy"]
    assert table(folder) == turned.table()


# --- stores of the layout before -----------------------------------------------------------------------------


def as_layout_3(folder, methods, **options):
    """A store as the last layout had it: without the columns that came later, under its keys."""
    plan = make_plan(make_request(methods, datasets=[folder / "a/test"], levels={"sigma": 25}))
    records = run(folder, methods, **options).records
    path = folder / "s.sqlite"
    path.unlink()
    columns = COLUMNS[: COLUMNS.index("key") + 1]
    with sqlite3.connect(path) as db:
        db.execute(f"CREATE TABLE records ({', '.join(columns[:-1])}, key PRIMARY KEY)")
        for cell, record in zip(plan.cells, records, strict=True):
            version, _, key = f"{record.restorer_version}|{cell.quality_key_of_layout_3}".partition("|")
            if cell.spec.info.is_file:
                version += "+" + hashlib.sha256(cell.spec.info.source.read_bytes()).hexdigest()[:12]
            timing = cell.machine.timing_key_of_layout_3 if record.seconds is not None else "untimed"
            old = {"key": f"{key}-{timing}", "restorer_version": version}
            db.execute(
                f"INSERT INTO records VALUES ({', '.join('?' * len(columns))})",
                [old.get(name, getattr(record, name)) for name in columns],
            )
        db.execute("PRAGMA application_id = 1651401576")
        db.execute("PRAGMA user_version = 3")
    db.close()
    return records


SINGLE = PLUGIN.replace("from helper import strength\n", "strength = lambda: 1.0\n")


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_store_of_layout_3_keeps_its_figures_and_answers_where_its_code_is_certain(folder, jobs):
    (folder / "a/alone.py").write_text(SINGLE.replace('"mine"', '"alone"'))
    names = ["noisy", "bicubic", f"{folder}/a/my.py:Mine", f"{folder}/a/alone.py:Mine"]
    before = as_layout_3(folder, names, jobs=jobs)
    with Store(folder / "s.sqlite") as store:
        kept = store.records()
    assert [(r.restorer, r.image, r.psnr_db, r.seconds) for r in kept] == [
        (r.restorer, r.image, r.psnr_db, r.seconds) for r in before
    ]
    outcome = run(folder, names, jobs=jobs)
    assert outcome.n_measured == 2
    assert dict(outcome.set_aside) == {("mine", "an earlier bench did not write down which code made them"): 2}
    assert [r.psnr_db for r in outcome.records] == [r.psnr_db for r in before]
    assert run(folder, names, jobs=jobs).n_measured == 0
    with Store(folder / "s.sqlite") as store:
        assert len(store.records()) == len(before) + 2


def test_a_built_in_whose_code_has_changed_since_layout_3_is_measured_again(folder, monkeypatch):
    as_layout_3(folder, "noisy")
    known = {"noisy": {"plugin": "bench.methods.identity:Noisy", "version": "1", "code_sha256": "of then"}}
    monkeypatch.setattr("bench.records.layout_3.built_in", lambda: known)
    outcome = run(folder, "noisy")
    assert outcome.n_measured == 2
    assert dict(outcome.set_aside) == {("noisy", "its code has changed"): 2}


def test_what_code_a_version_of_layout_3_stood_for_is_written_down():
    from bench.plugins.registry import infos
    from bench.records.layout_3 import built_in

    known = built_in()
    assert {name for name, info in infos().items() if info.is_built_in} >= {*known}
    assert all(len(one["code_sha256"]) == 64 for one in known.values())


INSIDE = """
from bench.restorer import Restorer


class Mine(Restorer):
    name, tasks = "mine", {{"denoise"}}

    def restore(self, seen):
        return seen.image * {factor}
"""


def test_two_denoisers_of_one_name_inside_are_two_restorers(photos, tmp_path):
    for name, factor in (("a", 0), ("b", 1)):
        (tmp_path / f"{name}.py").write_text(INSIDE.format(factor=factor), encoding="utf-8")
    methods = [f"vst:{tmp_path}/{name}.py:Mine" for name in "ab"]
    store = tmp_path / "s.sqlite"
    result = bench.run(methods, "poisson-gaussian", photos, level="0/0.01", store=store, jobs=2)
    black, seen = (next(one for one in result.records if f"{name}.py" in one.label) for name in "ab")
    assert black.psnr_db < seen.psnr_db
    assert black.code_sha256 != seen.code_sha256
    assert len({one.label for one in result.records}) == 2
