"""A checkpoint that is damaged or forged is refused by name; all else in a folder is written anew from it."""

import json
import math
import os
import shutil

import pytest

from bench.errors import TrainingError
from bench.training.session import train
from tests.conftest import PLUGINS

torch = pytest.importorskip("torch")

from bench.training import checkpoint as checkpoints  # noqa: E402

NET = f"{PLUGINS}/net.py:Affine"


@pytest.fixture
def folder(half_trained, tmp_path):
    shutil.copytree(half_trained, tmp_path / "t")
    return tmp_path / "t"


@pytest.fixture(scope="module")
def whole(half_trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "t"
    shutil.copytree(half_trained, folder)
    go_on(folder)
    return folder


def go_on(folder, **options):
    return train(NET, {"sigma": "25"}, folder=folder, steps=10, **options)


def read(folder):
    return checkpoints.read(folder, 1e9)


def weights(folder, stem="weights"):
    from safetensors.torch import load

    return load((folder / f"{stem}.safetensors").read_bytes())


def same_end(folder, whole):
    """Whether two folders end alike, in all but the seconds."""
    for stem in ("weights", "last"):
        for name, tensor in weights(folder, stem).items():
            assert torch.equal(tensor, weights(whole, stem)[name])
    logs = [(place / "log.csv").read_text().splitlines() for place in (folder, whole)]
    assert [line.split(",")[0] for line in logs[0]] == [line.split(",")[0] for line in logs[1]]
    card = json.loads((folder / "weights.json").read_text())
    assert card == json.loads(json.dumps(read(folder)["best"]["card"]))


# --- damage ----------------------------------------------------------------------------------------------


def test_a_bit_flipped_anywhere_is_seen(folder):
    path = folder / "checkpoint.pt"
    content = path.read_bytes()
    for place in [*range(0, len(content), 211), *range(len(content) - 90, len(content))]:
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        with pytest.raises(TrainingError, match=r"checkpoint\.pt (is|has) "):
            read(folder)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda content: b"", "is no checkpoint of bench"),
        (lambda content: content[:-1], "has no checksum: it is cut off, damaged, or of an older bench"),
        (lambda content: content + b"\0", "has no checksum"),
        (lambda content: content[: len(content) // 2], "has no checksum"),
        (lambda content: content[:500] + b"\0" + content[501:], "is damaged: its checksum is not that"),
    ],
    ids=["empty", "cut", "longer", "half", "zero"],
)
def test_what_is_damaged_is_refused_by_name_and_nothing_is_changed(folder, damage, says):
    path = folder / "checkpoint.pt"
    path.write_bytes(damage(path.read_bytes()))
    before = {file.name: file.read_bytes() for file in folder.iterdir() if file.name != ".lock"}
    with pytest.raises(TrainingError, match=says) as error:
        go_on(folder)
    assert str(path) in str(error.value)
    assert f"--start {folder}/weights.safetensors" in str(error.value)
    assert before == {file.name: file.read_bytes() for file in folder.iterdir() if file.name != ".lock"}


def test_what_the_refusal_says_to_do_works(folder):
    best = read(folder)["best"]
    (folder / "checkpoint.pt").write_bytes(b"damaged")
    (folder / "checkpoint.pt").rename(folder / "damaged.pt")
    go_on(folder, start=folder / "weights.safetensors")
    assert read(folder)["best"]["psnr_db"] >= best["psnr_db"]


def test_weights_without_a_checkpoint_are_not_replaced_by_a_training_from_nothing(folder):
    (folder / "checkpoint.pt").unlink()
    before = (folder / "weights.safetensors").read_bytes()
    with pytest.raises(TrainingError, match=r"has weights\.safetensors of a training, and no checkpoint\.pt"):
        go_on(folder)
    assert (folder / "weights.safetensors").read_bytes() == before


# --- forgery ---------------------------------------------------------------------------------------------


def forged(folder, *place, value):
    content = read(folder)
    at = content
    for key in place[:-1]:
        at = at[key]
    at[place[-1]] = value
    checkpoints.write(folder, content)


@pytest.mark.parametrize(
    ("place", "value", "says"),
    [
        (("step",), "five", "'step' is not of its kind"),
        (("step",), 7, "its log ends at another step"),
        (("elapsed",), math.nan, "'elapsed' is not of its kind"),
        (("total",), True, "'total' is not of its kind"),
        (("lr_factor",), 2.0, "'lr_factor' is not of its kind"),
        (("identity",), [1], "'identity' is not of its kind"),
        (("identity", "setting"), "denoise", r"holds another training \(other setting\)"),
        (("identity", "more"), 1, r"holds another training \(other more\)"),
        (("log",), [], "'log' is not of its kind"),
        (("log", 0), [1, 2], "'log' is not of its kind"),
        (("best",), None, "'best' is not of its kind"),
        (("best", "psnr_db"), "31", "'best' is not of its kind"),
        (("best", "card"), {}, "'best' is not of its kind"),
        (("best", "weights", "weight"), torch.zeros(2), "best.weight is a tensor of another kind"),
        (("state",), 3, "'state' is not of its kind"),
        (("state", "network"), {}, "state.network has other entries"),
        (("state", "mean", "weight"), None, "state.mean.weight is no tensor"),
        (("state", "network", "weight"), torch.empty(1, 1, 3, 3, device="meta"), "another kind"),
        (("state", "network", "weight"), torch.zeros(1).expand(10**12), "another kind"),
        (("state", "optimizer"), {0: {"step": 1}}, r"state.optimizer.0 has other entries"),
        (("state", "optimizer", 0, "exp_avg"), torch.zeros(1), "state.optimizer.0.exp_avg is a tensor of another"),
        (("accepted", "state", "network", "bias"), torch.zeros(1).double(), "accepted.network.bias"),
        (("start_sha256",), 3, "'start_sha256' is not of its kind"),
    ],
)
def test_a_forged_entry_is_named(folder, place, value, says):
    forged(folder, *place, value=value)
    with pytest.raises(TrainingError, match=says):
        go_on(folder)


@pytest.mark.parametrize("name", list(checkpoints.FIELDS))
def test_a_missing_entry_is_named(folder, name):
    content = read(folder)
    del content[name]
    checkpoints.write(folder, content)
    with pytest.raises(TrainingError, match=f"it lacks '{name}'"):
        read(folder)


class Runs:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_no_code_of_a_checkpoint_is_run(folder, tmp_path):
    forged(folder, "step", value=Runs(tmp_path / "ran"))
    with pytest.raises(TrainingError, match=r"checkpoint\.pt is no checkpoint of bench"):
        go_on(folder)
    assert not (tmp_path / "ran").exists()


def test_more_bytes_than_the_training_can_have_are_not_read(folder):
    with (folder / "checkpoint.pt").open("r+b") as file:
        file.truncate(10**10)  # a hole: it takes no place
    with pytest.raises(TrainingError, match="has 10000000000 bytes, more than this training can have written"):
        go_on(folder)


# --- what is written from it -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "log", ["", "step\n1\n", "step,total\nnan,x\n", "9" * 200_000, 'a,"b\nc', None], ids=range(6)
)
def test_the_log_is_the_checkpoints_whatever_was_in_its_place(folder, whole, log):
    if log is None:
        (folder / "log.csv").unlink()
    else:
        (folder / "log.csv").write_text(log)
    go_on(folder)
    same_end(folder, whole)


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.json", "curves.svg"])
def test_weights_and_card_are_the_checkpoints(folder, whole, name):
    (folder / name).write_bytes(b"damaged")
    go_on(folder)
    same_end(folder, whole)


@pytest.mark.parametrize("n", [0, 1, 3, 5, 6])
def test_a_kill_between_two_files_leaves_nothing_that_disagrees(folder, whole, monkeypatch, n):
    """A validation at the end puts seven files in their places."""
    original, done = os.replace, []

    def replace(part, path):
        done.append(path)
        if len(done) == n + 3:  # log and curves are written when it goes on, too
            raise InterruptedError
        original(part, path)

    monkeypatch.setattr(os, "replace", replace)
    # an OSError, as a full disk's, ends the training where a kill would
    with pytest.raises(TrainingError, match="What was there before is still there"):
        go_on(folder)
    monkeypatch.undo()
    go_on(folder)
    same_end(folder, whole)


def test_weights_that_are_as_the_checkpoint_has_them_are_left_alone(whole):
    before = (whole / "weights.safetensors").stat().st_mtime_ns
    go_on(whole)
    assert (whole / "weights.safetensors").stat().st_mtime_ns == before
