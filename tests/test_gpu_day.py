"""`.ci/gpu home`: what a day on a GPU brought back goes into the reference and among the weights, if it is better.

And what the tests of such a day see of the machine.
"""

import io
import json
import os
import shutil
import tarfile
from pathlib import Path

import pytest

from bench.judge.reference import read_reference, write
from bench.records.record import Record, frame_of
from bench.records.store import Store
from bench.training.files import export, sha256_of
from bench.training.queue import wanted
from bench.training.session import train
from tests.conftest import PLUGINS, hide_what_is_outside

torch = pytest.importorskip("torch")

GAINS = {"worse": 0.5, "present": 0.9, "better": 0.92, "best": 0.94}
"""By what factor a network multiplies each pixel of a noisy picture."""

ENTRY = """
["affine.gray-25"]
settings = [{{ task = "denoise", channels = 1, levels = [25] }}]
path = "weights/affine-25.safetensors"
sha256 = "{}"
bytes = {}
licence = "MIT"
trained_by = "us"
trained_on = ["sample"]
"""

QUEUE = """
[[wanted]]
restorer = "{net}"
sigma = 25
recipe = "quick"
start = "affine-25.safetensors"
tag = "affine.gray-25"
minutes = 1
why = "it is small"
goal = "more"

[[wanted]]
restorer = "{net}"
sigma = 50
recipe = "quick"
minutes = 1
why = "there is none"
goal = "some"
"""

CPU = json.dumps({"cpu": "x", "system": "Linux"})
GPU = json.dumps({"cpu": "y", "system": "Linux", "gpu": "NVIDIA H200"})


@pytest.fixture
def home(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / ".ci"))
    from day.home import home

    return home


@pytest.fixture
def root(tmp_path):
    """A checkout with one network, present weights for sigma 25, and a queue of 25 and 50."""
    methods = tmp_path / "root" / "methods"
    (methods / "weights").mkdir(parents=True)
    shutil.copy(PLUGINS / "net.py", methods)
    shutil.copytree(PLUGINS / "recipes", methods / "recipes")
    present = network("present", methods / "weights", "affine-25")
    manifest = '# of ours\n["affine.other"]\n' + ENTRY.partition("]\n")[2].format("0" * 64, 7)
    manifest = manifest.replace("affine-25", "other")
    manifest = manifest + ENTRY.format(sha256_of(present), present.stat().st_size)
    (methods / "weights.toml").write_text(manifest)
    (methods / "weights" / "wanted.toml").write_text(QUEUE.format(net=f"{methods}/net.py:Affine"))
    return tmp_path / "root"


@pytest.fixture
def day(tmp_path):
    """An empty folder for what came back."""
    (tmp_path / "day").mkdir()
    return tmp_path / "day"


def network(gain, folder, stem, dtype=torch.float32):
    """Weights, and their card, of a network that multiplies each pixel."""
    net = torch.nn.Conv2d(1, 1, 3, padding="same").to(dtype)
    torch.nn.init.zeros_(net.bias)
    torch.nn.init.zeros_(net.weight)
    with torch.no_grad():
        net.weight[0, 0, 1, 1] = GAINS[gain]
    folder.mkdir(parents=True, exist_ok=True)
    export(net.state_dict(), folder, {"options": {"size": 3}, "gain": gain}, stem)
    return folder / f"{stem}.safetensors"


def folder_of(root, sigma):
    return next(e.folder for e in wanted(root / "methods/weights/wanted.toml") if e.levels == {"sigma": str(sigma)})


def came_back(day, root, sigma=25, **gains):
    """The tar of a training with these files."""
    folder = day.parent / "work" / folder_of(root, sigma)
    for stem, gain in gains.items():
        network(gain, folder, stem)
    (folder / "log.csv").write_text("step,total,seconds\n0,70,1.0\n70,70,90.0\n")
    with tarfile.open(day / f"trained-{sigma}.tar", "w") as tar:
        tar.add(folder, arcname=folder.name)
    return folder


def files_in(root):
    """All but what Python compiles, and keeps where PYTHONDONTWRITEBYTECODE does not forbid it."""
    files = (path for path in root.rglob("*") if path.is_file() and path.parent.name != "__pycache__")
    return {path: path.read_bytes() for path in files}


def rows(text):
    """The table that was printed: of each training what stands behind the word sigma, in words."""
    lines = [line for line in text.splitlines() if "gray, sigma" in line and "shipped" in line]
    return [line.split("sigma ")[1].split() for line in lines]


# --- weights -----------------------------------------------------------------------------------------


def test_better_weights_take_the_place_of_the_present_ones(home, root, day, capsys):
    back = came_back(day, root, weights="better")
    manifest, weights = root / "methods/weights.toml", root / "methods/weights"
    before = manifest.read_text()
    old, new = weights / "affine-25.safetensors", back / "weights.safetensors"
    expected = before.replace(sha256_of(old), sha256_of(new))
    assert home(root, day) == 0
    assert manifest.read_text() == expected != before
    assert old.read_bytes() == new.read_bytes()
    assert json.loads((weights / "affine-25.json").read_text())["gain"] == "better"
    [(level, present, best, last, gain, steps, minutes, *shipped)] = rows(capsys.readouterr().out)
    assert (level, last, steps, minutes) == ("25", "–", "70", "1.5")
    assert float(best) - float(present) == pytest.approx(float(gain), abs=2e-4)
    assert shipped == ["shipped:", "affine-25.safetensors"]


def test_brought_home_once_more_they_are_no_better(home, root, day, capsys):
    came_back(day, root, weights="better")
    home(root, day)
    before = files_in(root)
    assert home(root, day) == 0
    assert files_in(root) == before
    assert rows(capsys.readouterr().out)[1][4:] == ["+0.0000", "70", "1.5", "not", "shipped"]


@pytest.mark.parametrize("gain", ["worse", "present"])
def test_weights_that_are_no_better_are_not_shipped(home, root, day, capsys, gain):
    came_back(day, root, weights=gain, last="worse")
    before = files_in(root)
    assert home(root, day) == 0
    assert files_in(root) == before
    assert rows(capsys.readouterr().out)[0][-2:] == ["not", "shipped"]


def test_the_better_of_the_best_and_the_last_is_shipped(home, root, day):
    came_back(day, root, weights="better", last="best")
    home(root, day)
    assert json.loads((root / "methods/weights/affine-25.json").read_text())["gain"] == "best"


def test_weights_kept_in_half_precision_are_replaced_by_such(home, root, day):
    from safetensors.torch import load_file

    weights, manifest = root / "methods/weights", root / "methods/weights.toml"
    old = sha256_of(weights / "affine-25.safetensors")
    size = (weights / "affine-25.safetensors").stat().st_size
    half = network("present", weights, "affine-25", torch.float16)
    text = manifest.read_text().replace(old, sha256_of(half)).replace(f"= {size}", f"= {half.stat().st_size}")
    manifest.write_text(text)
    back = came_back(day, root, weights="better")
    assert load_file(back / "weights.safetensors")["weight"].dtype == torch.float32
    assert home(root, day) == 0
    shipped = load_file(half)
    assert {tensor.dtype for tensor in shipped.values()} == {torch.float16}
    assert shipped["weight"][0, 0, 1, 1].item() == pytest.approx(GAINS["better"], rel=1e-3)
    assert sha256_of(half) in manifest.read_text()
    assert f"bytes = {half.stat().st_size}\n" in manifest.read_text()
    assert json.loads((weights / "affine-25.json").read_text())["gain"] == "better"


def test_the_first_weights_of_a_level_want_an_entry(home, root, day, capsys):
    came_back(day, root, sigma=50, weights="worse")
    manifest = (root / "methods/weights.toml").read_text()
    assert home(root, day) == 0
    assert (root / "methods/weights.toml").read_text() == manifest
    name = f"{folder_of(root, 50)}.safetensors"
    assert (root / "methods/weights" / name).is_file()
    assert f"weights.toml has no entry for {name} yet" in capsys.readouterr().out


def test_a_checksum_that_stands_in_the_manifest_twice_is_an_error(home, root, day, capsys):
    manifest = root / "methods/weights.toml"
    manifest.write_text(f"# {sha256_of(root / 'methods/weights/affine-25.safetensors')}\n{manifest.read_text()}")
    came_back(day, root, weights="better")
    before = files_in(root)
    assert home(root, day) == 1
    assert "2 times, expected once. Nothing of it was shipped" in capsys.readouterr().err
    assert files_in(root) == before


def test_the_score_is_the_one_that_the_training_told(home, root, day, capsys):
    net = f"{root}/methods/net.py:Affine"
    work = day.parent / "work" / folder_of(root, 50)
    train(net, {"sigma": "50"}, recipe="quick", steps=7, folder=work)
    with tarfile.open(day / "trained-1.tar", "w") as tar:
        tar.add(work, arcname=work.name)
    assert home(root, day) == 0
    [(_, present, best, last, *_)] = rows(capsys.readouterr().out)
    assert present == "–"
    for told, stem in ((best, "weights"), (last, "last")):
        assert float(told) == json.loads((work / f"{stem}.json").read_text())["validation_psnr_db"]


def test_what_the_queue_does_not_have_is_named_and_the_rest_taken_in(home, root, day, capsys):
    came_back(day, root, weights="better")
    with tarfile.open(day / "trained-2.tar", "w") as tar:
        tar.add(PLUGINS / "net.py", arcname="another/weights.safetensors")
    assert home(root, day) == 1
    told = capsys.readouterr()
    assert told.err.endswith("FAILED: another: the queue has no training of that name.\n")
    assert rows(told.out)[0][-2] == "shipped:"


@pytest.mark.parametrize("name", ["../escaped", "a/../../escaped"])
def test_a_tar_that_would_write_elsewhere_is_refused_with_all_the_rest(home, root, day, capsys, name):
    came_back(day, root, weights="better")
    with tarfile.open(day / "trained-2.tar", "w") as tar:
        member = tarfile.TarInfo(name)
        member.size = 3
        tar.addfile(member, io.BytesIO(b"bad"))
    before = files_in(day.parent)
    assert home(root, day) == 1
    assert "escaped" in capsys.readouterr().err
    assert files_in(day.parent) == before


def test_a_folder_without_a_day_in_it_is_named(home, root, day, capsys):
    assert home(root, day) == 1
    assert "no day came back in it" in capsys.readouterr().err


# --- records -----------------------------------------------------------------------------------------


def record(device="cuda", **changes):
    known = {
        "restorer": "dncnn",
        "weights": "published:a.mat",
        "task": "denoise",
        "level": 25.0,
        "channels": 1,
        "dataset": "bsd68",
        "image": "a.png",
        "protocol": "standard-v1",
        "repeat": 0,
        "status": "ok",
        "psnr_db": 29.0,
        "ssim": 0.8,
        "seconds": 0.01,
        "params": 10,
        "threads": 1,
        "restorer_version": "1",
        "device": device,
        "environment": CPU if device == "cpu" else GPU,
    }
    fields = known | changes
    cell = (fields[name] for name in ("restorer", "dataset", "image", "device"))
    return Record(**fields, key=f"{'/'.join(cell)}-t")


def store_of(day, *records):
    with Store(day / "records.sqlite") as store:
        for one in records:
            store.add(one)


def test_records_of_the_gpu_come_in_beside_those_of_the_cpu(home, root, day, capsys):
    at = root / "results/reference"
    write(frame_of([record("cpu"), record("cpu", image="b.png")]), at)
    before = (at / "records.csv").read_text().splitlines()
    failed = {"status": "failed", "reason": "out of memory", "psnr_db": None, "ssim": None}
    store_of(
        day,
        record(),
        record(dataset="256x256", image="astronaut.png"),
        record(restorer="nlrn", dataset="1024x1024", image="astronaut.png", **failed),
        record("cpu", psnr_db=1.0),
    )
    assert home(root, day) == 0
    after = (at / "records.csv").read_text().splitlines()
    assert [line for line in after if ",cuda," not in line] == before
    reference = read_reference(at)
    assert sorted(reference[reference["device"] == "cuda"]["dataset"]) == ["256x256", "bsd68"]
    told = capsys.readouterr().out
    assert "left out, failed: nlrn on 1024x1024, astronaut.png: out of memory" in told
    assert "2 records of NVIDIA H200 came in, on 256x256 among others" in told
    assert "bench compare --paper all --store results/reference/records.csv" in told


def test_what_replaced_weights_gave_is_to_be_measured_again(home, root, day, capsys):
    of_ours = {"restorer": "affine", "weights": "ours:affine-25.safetensors"}
    cells = [record("cpu", **of_ours, dataset=name) for name in ("bsd68", "set12")]
    write(frame_of([*cells, record("cpu")]), root / "results/reference")
    came_back(day, root, weights="better")
    assert home(root, day) == 0
    told = capsys.readouterr().out.split("Measure again")[1].splitlines()
    assert told[1:3] == [
        "    bench run --methods affine@ours --task denoise --datasets bsd68,set12 --sigma 25 --protocol standard-v1"
        " --store results/reference.sqlite",
        "    bench reference --write --store results/reference.sqlite",
    ]
    assert any("bench weights wanted --markdown" in line for line in told)


# --- checks ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("markers", "seen"), [({"gpu", "parametrize"}, "packed"), (set(), None)])
def test_its_checks_see_the_weights_that_travelled_and_no_network(markers, seen, monkeypatch, tmp_path_factory):
    for name in ("BENCH_MIRROR", "BENCH_CACHE"):
        monkeypatch.setenv(name, "packed")
    monkeypatch.delenv("BENCH_OFFLINE")
    hide_what_is_outside(markers, monkeypatch, tmp_path_factory)
    assert os.environ.get("BENCH_MIRROR") == seen
    assert (os.environ["BENCH_CACHE"] == "packed") is bool(seen)
    assert os.environ["BENCH_OFFLINE"] == "1"
