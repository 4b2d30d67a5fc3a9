"""Saved pictures: what is in the files, and the manifest that says what they are of."""

import json
import re

import numpy as np
import pytest
from bench.data.datasets import get, read
from PIL import Image

import bench
from bench.errors import BenchError, RequestError
from bench.measure.quality import psnr_db
from bench.records.pictures import Pictures, read_manifest
from tests.conftest import PLUGINS


def saved(photos, tmp_path, methods="noisy,nlm", **words):
    place = {"store": tmp_path / "s.sqlite", "save": tmp_path / "saved"}
    result = bench.run(methods, datasets=photos, **{"sigma": 25, **place, **words})
    return result, read_manifest(tmp_path / "saved")


def pixels(picture):
    with Image.open(picture.path) as image:
        return np.asarray(image).astype(float)


def test_each_restored_picture_is_the_one_that_was_scored(photos, tmp_path):
    result, pictures = saved(photos, tmp_path)
    by_key = {picture.key: picture for picture in pictures if picture.kind == "restored"}
    clean = {picture.image: picture for picture in pictures if picture.kind == "clean"}
    assert by_key.keys() == {record.key for record in result.records}
    assert len(clean) == 3
    for record in result.records:
        picture = by_key[record.key]
        assert (picture.label, picture.image, picture.level) == (record.label, record.image, record.level)
        assert psnr_db(pixels(picture), pixels(clean[record.image]), peak=255) == pytest.approx(
            record.psnr_db, abs=1e-9
        )


def test_the_clean_and_the_degraded_one_are_kept_once_for_all_restorers(photos, tmp_path):
    _, pictures = saved(photos, tmp_path, jobs=2)
    kinds = [picture.kind for picture in pictures]
    assert [kinds.count(kind) for kind in ("clean", "degraded", "restored")] == [3, 3, 6]
    entry = get(photos).entries[0]
    [one] = [picture for picture in pictures if picture.kind == "clean" and picture.image == entry.name]
    assert np.array_equal(pixels(one), np.rint(255 * read(get(photos), entry).pixels[..., 0]))
    assert len({picture.path.parent for picture in pictures}) == 3


def test_a_file_leads_back_to_its_record(photos, tmp_path):
    result, pictures = saved(photos, tmp_path, "noisy", repeats=2, save_float=True)
    for record in result.records:
        [picture] = [one for one in pictures if one.key == record.key]
        assert picture.path.stem == f"noisy-{record.key[:8]}"
        assert picture.repeat == record.repeat
        x_hat = np.load(picture.path.with_suffix(".npy"))
        assert x_hat.dtype == np.float32
        assert np.array_equal(np.rint(255 * np.clip(x_hat, 0, 1))[..., 0], pixels(picture))


def test_what_the_store_knows_is_not_restored_for_its_picture(photos, tmp_path):
    bench.run("noisy", datasets=photos, sigma=25, store=tmp_path / "s.sqlite")
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "manifest.jsonl").touch()
    result, pictures = saved(photos, tmp_path, "noisy")
    assert pictures == []
    assert any("no pictures were saved" in line for line in result.remarks())
    _, pictures = saved(photos, tmp_path, "noisy", force=True)
    assert len(pictures) == 9


@pytest.mark.parametrize(
    ("task", "words", "method"),
    [("superres", {"scale": 2}, "bicubic"), ("deblock", {"quality": 10}, "jpeg")],
)
def test_every_task_has_a_degraded_picture_of_the_size_of_its_answer(photos, tmp_path, task, words, method):
    _, pictures = saved(photos, tmp_path, method, task=task, sigma=None, **words)
    sizes = {}
    for picture in pictures:
        sizes.setdefault(picture.image, set()).add(pixels(picture).shape)
    assert len(sizes) == 3
    assert all(len(found) == 1 for found in sizes.values())


def test_one_that_failed_has_no_picture(photos, tmp_path):
    result, pictures = saved(photos, tmp_path, f"noisy,{PLUGINS}/bad.py:Raises")
    assert len(result.failures) == 3
    assert {picture.label for picture in pictures} == {"noisy", ""}


def test_a_picture_that_cannot_be_written_ends_the_run_and_its_record_is_kept(photos, tmp_path, monkeypatch):
    def full(image, path):
        raise bench.errors.DataError(f"{path} cannot be written: No space left on device.")

    monkeypatch.setattr("bench.records.pictures.save", full)
    (tmp_path / "one").mkdir()
    (photos / "1.png").rename(tmp_path / "one" / "1.png")
    with pytest.raises(BenchError, match="No space left"):
        saved(tmp_path / "one", tmp_path, "noisy")
    assert len(bench.read(tmp_path / "s.sqlite")) == 1


def test_a_folder_that_is_none_is_told_before_anything_is_measured(photos, tmp_path):
    (tmp_path / "saved").write_text("a file")
    with pytest.raises(BenchError, match=r"--save .*saved: File exists"):
        saved(photos, tmp_path)
    assert not (tmp_path / "s.sqlite").exists()
    with pytest.raises(RequestError, match="--save-float goes with --save DIR"):
        bench.run("noisy", datasets=photos, sigma=25, store=tmp_path / "s.sqlite", save_float=True)


def test_names_of_others_stay_inside_the_folder(tmp_path):
    from bench.records.record import Record
    from bench.task import Observation

    image = np.zeros((8, 8, 1), np.float32)
    record = Record("a/../b:c", "", "denoise", 25.0, 1, "..", "../../x.png", "standard-v1", 0, "ok", key="k" * 24)
    Pictures(tmp_path / "p").add(record, image, Observation(image, "denoise", sigma=25.0), image)
    files = list(tmp_path.rglob("*.png"))
    assert len(files) == 3
    assert all(path.is_relative_to(tmp_path / "p") for path in files)
    assert len(read_manifest(tmp_path / "p")) == 3


# --- the manifest ------------------------------------------------------------------------------------------


def test_half_a_line_of_a_killed_run_is_dropped(photos, tmp_path):
    saved(photos, tmp_path, "noisy")
    manifest = tmp_path / "saved" / "manifest.jsonl"
    whole = manifest.read_text()
    manifest.write_text(whole + whole[:40])
    assert len(read_manifest(tmp_path / "saved")) == 9
    Pictures(tmp_path / "saved")
    assert manifest.read_text() == whole


ENTRY = {
    "file": "a.png",
    "kind": "clean",
    "dataset": "photos",
    "folder": "",
    "image": "1.png",
    "task": "denoise",
    "level": 25,
    "protocol": "standard-v1",
    "repeat": 0,
    "label": "",
    "key": "",
}
BROKEN = {
    "no JSON": ("{", "manifest.jsonl, line 1: Expecting property name"),
    "a list": ("[]", "line 1: expected exactly the keys"),
    "nested too deep": ("[" * 100_000, "line 1: maximum recursion depth"),
    "a key is missing": (json.dumps({"file": "a.png"}), "line 1: expected exactly the keys"),
    **{
        f"{name} {value!r}": (json.dumps({**ENTRY, name: value}), says)
        for name, value, says in [
            ("kind", "odd", "'kind' is 'odd', expected one of clean, degraded, restored"),
            ("repeat", "1", "'repeat' cannot be '1'"),
            ("repeat", True, "'repeat' cannot be True"),
            ("label", None, "'label' cannot be None"),
            ("file", "../a.png", "the file '../a.png' lies outside of the folder"),
            ("file", "/etc/passwd", "the file '/etc/passwd' lies outside of the folder"),
        ]
    },
}


@pytest.mark.parametrize(("text", "says"), BROKEN.values(), ids=BROKEN)
def test_a_manifest_that_will_not_do_is_refused_in_one_line(tmp_path, text, says):
    (tmp_path / "manifest.jsonl").write_text(f"{text}\n", encoding="utf-8")
    with pytest.raises(RequestError, match=re.escape(says)) as refused:
        read_manifest(tmp_path)
    assert "\n" not in str(refused.value)
