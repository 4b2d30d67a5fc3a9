"""The rule that says which records count: by the order in which runs asked for them, never two versions at once."""

from itertools import permutations

import pytest

from bench.records.current import current, left_out, on_one_device
from bench.records.record import Record, frame_of, standing


def record(psnr_db=20.0, asked_at="", **figures):
    return Record(
        **{
            "restorer": "mine",
            "plugin": "/p/my.py:Mine",
            "weights": "",
            "task": "denoise",
            "level": 25.0,
            "channels": 1,
            "dataset": "photos",
            "folder": "/photos",
            "image": "1.png",
            "protocol": "standard-v1",
            "repeat": 0,
            "status": "ok",
            "psnr_db": psnr_db,
            "asked_at": asked_at,
            "code_sha256": "a",
            "key": f"{figures.get('code_sha256', 'a')}{figures.get('image', '1.png')}-untimed",
            **figures,
        }
    )


def counting(*records, **options):
    return current(frame_of(records), **options)["psnr_db"].tolist()


def test_the_code_last_asked_for_counts_and_going_back_counts_again():
    first, second = record(1.0, "2026-01-01", code_sha256="a"), record(2.0, "2026-01-02", code_sha256="b")
    assert counting(first, second) == counting(second, first) == [2.0]
    gone_back = record(1.0, "2026-01-03", code_sha256="a")
    assert counting(second, gone_back) == counting(gone_back, second) == [1.0]


def test_a_mean_is_never_over_two_versions():
    """Of the old code three pictures, of the new one the first: two are left out, and said to be."""
    old = [record(1.0, "1", image=f"{i}.png") for i in (1, 2, 3)]
    new = record(2.0, "2", code_sha256="b")
    frame = frame_of([*old, new])
    assert counting(*old, new) == [2.0]
    assert left_out(frame)["image"].tolist() == ["2.png", "3.png"]
    assert left_out(frame_of(old)).empty


def test_what_an_older_code_gave_at_another_task_is_another_table_and_counts():
    assert counting(record(1.0, "1", task="deblock"), record(2.0, "2", code_sha256="b")) == [1.0, 2.0]


def test_the_same_class_name_from_two_files_is_two_restorers():
    assert counting(record(1.0, code_sha256="a"), record(2.0, code_sha256="b", plugin="/q/my.py:Mine")) == [1.0, 2.0]


def test_two_folders_of_one_name_are_two_sets():
    assert counting(record(1.0), record(2.0, folder="/other/photos", key="x-untimed")) == [1.0, 2.0]


def test_two_weight_files_of_one_name_are_two():
    files = [{"weights": "file:best", "weights_file": f"/{k}/best", "key": f"{k}-untimed"} for k in "ab"]
    assert counting(*(record(float(i), **file) for i, file in enumerate(files))) == [0.0, 1.0]


def test_of_weights_that_were_trained_on_only_the_last_content_counts():
    weights = {"weights": "file:best", "weights_file": "/best"}
    before = [record(1.0, "1", **weights, weights_sha256="a", image=f"{i}.png") for i in (1, 2)]
    after = record(2.0, "2", **weights, weights_sha256="b", key="other-untimed")
    assert counting(*before, after) == [2.0]


def test_of_two_declared_files_of_one_origin_the_one_last_asked_for_counts_at_its_level():
    """A setting may be served by another file tomorrow: one for all levels, then one of its own."""
    blind, own = (
        {"weights": f"ours:{name}", "weights_sha256": name, "key": f"{name}-x"} for name in ("blind", "own")
    )
    before = [record(1.0, "1", **blind, image=f"{i}.png") for i in (1, 2)]
    after = record(2.0, "2", **own)
    elsewhere = record(3.0, "1", **blind, level=15.0)
    assert counting(*before, after, elsewhere) == [2.0, 3.0]
    assert left_out(frame_of([*before, after]))["image"].tolist() == ["2.png"]
    published = record(4.0, "1", weights="published:x", key="p-x")
    assert counting(after, published) == [2.0, 4.0]


def test_each_device_has_a_row_whose_code_is_its_own():
    cpu, gpu = record(1.0, "2", code_sha256="b"), record(2.0, "1", device="cuda", code_sha256="a")
    assert counting(cpu, gpu, by_device=True) == [1.0, 2.0]
    assert counting(cpu, gpu) == [1.0]


def test_verdicts_take_nothing_of_a_gpu_that_another_code_computed():
    cpu = record(1.0, code_sha256="b")
    others = [record(2.0, device="cuda", image="2.png", code_sha256=code) for code in "ab"]
    assert on_one_device(frame_of([cpu, others[0]]))["psnr_db"].tolist() == [1.0]
    assert on_one_device(frame_of([cpu, others[1]]))["psnr_db"].tolist() == [1.0, 2.0]


def test_records_that_do_not_know_their_code_go_by_their_version():
    old, new = (record(float(v), str(v), code_sha256="", restorer_version=str(v), key=f"{v}-untimed") for v in (1, 2))
    assert counting(old, new) == [2.0]


RANKED = [
    record(0.0, "3", status="failed", seconds=1.0),
    record(1.0, "2"),
    record(2.0, "3"),
    record(3.0, "1", seconds=0.5),
    record(4.0, "2", seconds=0.7),
]


@pytest.mark.parametrize("order", [*permutations(range(5))])
def test_of_one_version_good_goes_before_failed_then_timed_then_later(order):
    assert counting(*(RANKED[i] for i in order)) == [4.0]
    assert max(RANKED, key=standing).psnr_db == 4.0


def test_ranks_are_in_that_order():
    assert sorted(RANKED, key=standing) == RANKED
    for i in range(1, 5):
        assert counting(*RANKED[:i]) == [RANKED[i - 1].psnr_db]


def test_nothing_of_nothing():
    assert current(frame_of([])).empty
    assert left_out(frame_of([])).empty
