"""Runs: measured once, the same each time, whatever a plugin or the machine does meanwhile."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

import bench
from bench.errors import RequestError
from bench.measure.environment import n_cores
from bench.records.store import Store
from bench.runner import run as runs
from tests.conftest import BAD

FIGURES = ["restorer", "dataset", "image", "level", "psnr_db", "ssim", "input_sha256"]


def run(photos, methods="noisy", sigma=25, **options):
    store = options.pop("store", photos.parent / "s.sqlite")
    return bench.run(methods, datasets=photos, sigma=sigma, store=store, **options)


def test_noise_of_sigma_25_measures_as_such(photos):
    frame = run(photos).frame()
    assert list(frame["image"]) == ["1.png", "2.png", "3.png"]
    assert (frame["status"] == "ok").all()
    assert frame["psnr_db"].mean() == pytest.approx(20.17, abs=0.5)  # 20 log10(255 / 25)
    assert frame["seconds"].gt(0).all()
    assert frame["peak_mib"].gt(1).all()


def test_the_second_time_everything_is_known(photos):
    assert run(photos).n_measured == 3
    assert run(photos).n_measured == 0
    assert run(photos, sigma=[25, 50]).n_measured == 3


@pytest.mark.parametrize("options", [{"force": True}, {"force": True, "jobs": 2}, {"force": True, "threads": 1}])
def test_figures_do_not_depend_on_when_or_how_they_are_measured(photos, options):
    first = run(photos, "noisy,tv").frame()[FIGURES]
    again = run(photos, "noisy,tv", **options)
    assert again.n_measured == 6
    assert again.frame()[FIGURES].equals(first)


def test_side_by_side_no_times_are_taken_and_cores_are_shared(photos):
    frame = run(photos, jobs=2).frame()
    assert frame["seconds"].isna().all()
    assert set(frame["threads"]) == {max(1, n_cores() // 2)}


def test_timed_records_serve_an_untimed_run_but_not_the_other_way_round(photos):
    run(photos)
    assert run(photos, jobs=2).n_measured == 0
    other = photos.parent / "other.sqlite"
    run(photos, jobs=2, store=other)
    assert run(photos, store=other).n_measured == 3


def test_a_changed_picture_is_measured_again(photos):
    from PIL import Image

    run(photos)
    Image.new("L", (20, 20), 7).save(photos / "2.png")
    outcome = run(photos)
    assert outcome.n_measured == 1


def test_a_changed_plugin_is_measured_again(photos, tmp_path):
    plugin = tmp_path / "mine.py"
    text = (
        "from bench.restorer import Restorer\n"
        "class Mine(Restorer):\n"
        "    name, tasks = 'mine', {'denoise'}\n"
        "    def restore(self, seen):\n"
        "        return seen.image * FACTOR\n"
        "FACTOR = 1\n"
    )
    plugin.write_text(text)
    run(photos, f"{plugin}:Mine")
    assert run(photos, f"{plugin}:Mine").n_measured == 0
    plugin.write_text(text.replace("FACTOR = 1", "FACTOR = 0.5"))
    assert run(photos, f"{plugin}:Mine").n_measured == 3


@pytest.fixture
def limit_passes_when_asleep(monkeypatch, tmp_path):
    """The runner's clock leaps by an hour whenever it finds `bad.Sleeps` asleep: a busy machine exceeds no limit.

    Not once alone: the first time may be before the deadline is set. What is found after its end does no harm, for
    the next reading of the clock sets a deadline.
    """
    asleep = tmp_path / "asleep"
    monkeypatch.setenv("BENCH_TEST_ASLEEP", str(asleep))
    leaps = []

    def monotonic():
        if asleep.exists():
            asleep.unlink()
            leaps.append(3600)
        return time.monotonic() + sum(leaps)

    monkeypatch.setattr("bench.runner.worker.time", SimpleNamespace(monotonic=monotonic))


def test_six_that_misbehave_cost_only_their_own_cells(photos, limit_passes_when_asleep):
    names = ["Raises", "AnswersNaN", "WrongShape", "Sleeps", "Exits", "Allocates"]
    for picture in ("2.png", "3.png"):
        (photos / picture).unlink()
    methods = [*(f"{BAD}:{name}" for name in names), "noisy"]
    outcome = run(photos, methods, time_limit=120, memory_limit=700)
    frame = outcome.frame().set_index("restorer")
    assert frame.loc["noisy", "psnr_db"] == pytest.approx(20.2, abs=0.6)
    assert (frame.drop("noisy")["status"] == "failed").all()
    reasons = frame["reason"].to_dict()
    assert reasons["raises"] == "ValueError: no convergence after 7 iterations (bad.py, line 16)"
    assert reasons["nan"] == "1 of 768 values of the answer are not finite"
    assert reasons["wrong-shape"] == "answered with shape (23, 32, 1), expected (24, 32, 1)"
    assert reasons["sleeps"] == "no answer within the time limit of 120 s"
    assert reasons["exits"] == "the process exited with status 3"
    assert reasons["allocates"] == "its resident memory grew past the limit of 700 MiB"
    assert "failed" in outcome.table()


HUNGRY = """
import weakref
import torch
from bench.restorer import Restorer

class Fake:
    held = None  # what the failed call had on the device
    broken = False

    def synchronize():
        if Fake.broken:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")

    def empty_cache():
        assert Fake.held() is None
        Fake.held = None

torch.cuda.is_initialized = lambda: Fake.held is not None
torch.cuda.synchronize, torch.cuda.empty_cache = Fake.synchronize, Fake.empty_cache

class Hungry(Restorer):
    name, tasks = "hungry", {"denoise"}

    def restore(self, seen):
        if Fake.held is not None:
            raise RuntimeError("the cache was not emptied")
        if seen.image.shape[0] == 17:
            large = torch.zeros(8)
            Fake.held = weakref.ref(large)
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return seen.image

class Breaks(Hungry):
    name, tasks = "breaks", {"denoise"}

    def restore(self, seen):
        Fake.broken = seen.image.shape[0] == 17
        return super().restore(seen)
"""


def test_out_of_memory_on_a_gpu_costs_its_own_cell(photos, tmp_path):
    (tmp_path / "hungry.py").write_text(HUNGRY)
    frame = run(photos, f"{tmp_path}/hungry.py:Hungry", sigma=[15, 25]).frame()
    assert frame["status"].tolist() == ["ok", "ok", "failed"] * 2
    reason = frame["reason"].iloc[2]
    assert reason == "OutOfMemoryError: CUDA out of memory (hungry.py, line 30)"


def test_a_process_whose_cuda_is_broken_is_replaced(photos, tmp_path):
    (tmp_path / "hungry.py").write_text(HUNGRY)
    frame = run(photos, f"{tmp_path}/hungry.py:Breaks", sigma=[15, 25]).frame()
    assert frame["status"].tolist() == ["ok", "ok", "failed"] * 2
    reason = frame["reason"].iloc[2]
    assert reason.startswith("the process exited with status 1: OutOfMemoryError: CUDA out of memory")


def test_no_answer_within_the_time_limit_is_a_failure(photos):
    (photos / "3.png").unlink()
    frame = run(photos, f"{BAD}:Sleeps", time_limit=0.5).frame()
    assert frame["reason"].tolist() == ["no answer within the time limit of 0.5 s"] * 2


def test_a_failure_is_tried_again_only_when_asked_for(photos):
    assert run(photos, f"{BAD}:Raises").n_measured == 3
    assert run(photos, f"{BAD}:Raises").n_measured == 0
    assert run(photos, f"{BAD}:Raises", retry_failed=True).n_measured == 3


def test_a_plugin_that_cannot_be_imported_fails_once_per_cell_with_the_reason(photos, tmp_path):
    plugin = tmp_path / "needy.py"
    plugin.write_text(
        "import no_such_module\nfrom bench.restorer import Restorer\n"
        "class Needy(Restorer):\n    name, tasks = 'needy', {'denoise'}\n"
    )
    frame = run(photos, f"{plugin}:Needy").frame()
    assert frame["reason"].str.startswith("ModuleNotFoundError: No module named 'no_such_module'").all()


def test_what_a_plugin_prints_does_not_mix_with_the_answer(photos, capfd):
    assert (run(photos, f"{BAD}:Prints").frame()["status"] == "ok").all()
    assert "chatter" not in capfd.readouterr().out


def test_a_broken_picture_is_named_and_the_others_are_measured(photos):
    (photos / "2.png").write_bytes((photos / "2.png").read_bytes()[:60])
    outcome = run(photos)
    assert list(outcome.frame()["image"]) == ["1.png", "3.png"]
    [(dataset, image, reason)] = outcome.plan.broken
    assert (dataset, image) == ("photos", "2.png")
    assert "2.png" in reason


def test_what_a_restorer_cannot_do_is_skipped_with_the_reason_beside_one_that_can(photos):
    frame = bench.run("jpeg,tv", "deblock", str(photos), quality=10, store=photos.parent / "s.sqlite").frame()
    skipped = frame[frame["status"] == "skipped"]
    assert list(skipped["restorer"]) == ["tv"]
    assert skipped["reason"].item() == "tv does not deblock (it does denoise)"


def test_the_table_is_of_records_and_what_was_skipped_is_said_beside_it(photos):
    store = photos.parent / "s.sqlite"
    outcome = bench.run("jpeg,tv", "deblock", str(photos), quality=10, store=store)
    assert [*outcome.remarks()] == ["skipped: tv does not deblock (it does denoise)"]
    assert outcome.table() == bench.table(store)
    assert [*bench.run("jpeg", "deblock", str(photos), quality=10, store=store).remarks()] == [
        "3 of 3 cells were in the store already (--force measures again)."
    ]


def test_nothing_left_to_measure_is_an_error_with_the_reasons(photos):
    with pytest.raises(RequestError, match="tv does not deblock"):
        bench.run("tv", "deblock", str(photos), store=photos.parent / "s.sqlite")


def test_a_sigma_without_weights_is_skipped_with_those_that_there_are(photos):
    frame = run(photos, "noisy,dncnn", sigma=20).frame()
    reason = frame[frame["restorer"] == "dncnn"]["reason"].item()
    assert reason == ("dncnn has no weights for denoise sigma 20 gray; for denoise gray it has sigma 15, 25, 50")


def test_a_network_by_inheritance_from_another_file_is_not_measured_without_weights(photos, tmp_path):
    mine = tmp_path / "mine.py"
    mine.write_text(
        'from bench.methods.dncnn import DnCNN\n\n\nclass Mine(DnCNN):\n    name, tasks = "mine", {"denoise"}\n'
    )
    frame = run(photos, f"{mine}:Mine").frame()
    assert (frame["status"] == "skipped").all()
    assert (frame["reason"] == "mine needs weights, and none are declared for denoise sigma 25 gray").all()


def test_weights_that_cannot_be_had_cost_only_their_own_restorer(photos):
    frame = run(photos, "noisy,dncnn@published").frame()
    assert (frame[frame["restorer"] == "noisy"]["status"] == "ok").all()
    reason = frame[frame["restorer"] == "dncnn"]["reason"].item()
    assert reason.startswith("dncnn: weights/dncnn/sigma_25.mat is not in the cache")


def test_weights_of_ours_stand_in_for_published_ones_and_a_note_says_so(photos):
    outcome = run(photos, "dncnn")
    frame = outcome.frame()
    assert (frame["status"] == "ok").all()
    assert set(frame["weights"]) == {"ours:dncnn-gray-25.safetensors"}
    assert any("weights/dncnn/sigma_25.mat is not in the cache" in note for note in outcome.plan.notes)


SLOW = """
import time
from pathlib import Path
from bench.restorer import Restorer

class Slow(Restorer):
    name, tasks = "slow", {"denoise"}

    def restore(self, seen):
        time.sleep(0.1)
        return seen.image
"""


def test_a_signal_while_records_wait_for_others_costs_none_that_is_there(photos, monkeypatch):
    real = runs._finished

    def stopped(*words):
        yield next(real(*words))
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(runs, "_finished", stopped)
        with pytest.raises(KeyboardInterrupt):
            run(photos)
    assert run(photos).n_measured == 2


def test_killed_in_the_middle_only_the_missing_cells_are_measured(photos, tmp_path):
    plugin = tmp_path / "slow.py"
    plugin.write_text(SLOW)
    command = [sys.executable, "-c", "from bench.cli import main; main()", "run", "--methods", f"noisy,{plugin}:Slow"]
    command += ["--datasets", str(photos), "--sigma", "25", "--store", str(tmp_path / "s.sqlite")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: n_records(tmp_path / "s.sqlite") == 4)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()

    methods = f"noisy,{plugin}:Slow"
    resumed = run(photos, methods, store=tmp_path / "s.sqlite")
    whole = run(photos, methods, store=tmp_path / "whole.sqlite")
    assert 1 <= resumed.n_measured <= 2
    assert resumed.frame()[FIGURES].equals(whole.frame()[FIGURES])


def n_records(path):
    if not path.exists():
        return 0
    with Store(path) as store:
        return len(store.records())


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_worker_does_not_outlive_a_killed_run(photos, tmp_path):
    pids = tmp_path / "pids"
    plugin = tmp_path / "lingers.py"
    plugin.write_text(
        "import os, time\nfrom bench.restorer import Restorer\n"
        "class Lingers(Restorer):\n    name, tasks = 'lingers', {'denoise'}\n"
        f"    def restore(self, seen):\n        open({str(pids)!r}, 'w').write(str(os.getpid()))\n"
        "        time.sleep(600)\n"
    )
    command = [sys.executable, "-c", "from bench.cli import main; main()", "run", "--methods", f"{plugin}:Lingers"]
    command += ["--datasets", str(photos), "--store", str(tmp_path / "s.sqlite")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: pids.exists() and pids.read_text())
    process.kill()
    process.wait()
    worker = int(pids.read_text())
    wait_for(lambda: not is_running(worker), seconds=10)


def is_running(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_a_restorer_that_computes_elsewhere_is_skipped_and_not_timed_under_the_devices_name(photos, tmp_path):
    (tmp_path / "mine.py").write_text(
        "from bench.restorer import Restorer\n\n\nclass Mine(Restorer):\n"
        '    name, tasks, devices = "mine", {"denoise"}, ("cuda",)\n\n'
        "    def restore(self, seen):\n        return seen.image\n"
    )
    frame = run(photos, f"{tmp_path}/mine.py:Mine").frame()
    assert set(frame["status"]) == {"skipped"}
    assert set(frame["reason"]) == {"mine computes on cuda, not on cpu"}
    assert frame["seconds"].isna().all()
