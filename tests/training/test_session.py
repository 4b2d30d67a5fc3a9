"""What `bench train` says: where it begins, how far it is, and how what it made is measured."""

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest

from bench.cli import main
from bench.errors import TrainingError
from bench.training import progress
from bench.training.session import train
from tests.conftest import PLUGINS

torch = pytest.importorskip("torch")

from bench.training import checkpoint as checkpoints  # noqa: E402
from bench.training.progress import _curve, duration  # noqa: E402

NET = f"{PLUGINS}/net.py:Affine"


def run(folder, **options):
    return train(options.pop("name", NET), {"sigma": "25"}, folder=folder, **options)


def step_of(folder):
    return checkpoints.read(folder, 1e9)["step"]


def test_minutes_after_an_end_go_on_and_say_so(tmp_path, capsys):
    run(tmp_path, steps=5)
    capsys.readouterr()
    for _ in range(2):
        before = step_of(tmp_path)
        run(tmp_path, minutes=0.003)
        assert step_of(tmp_path) > before
        said = capsys.readouterr().err
        told = (
            rf"^It had ended at step {before}, after [\d.]+ s, and goes on for 0\.18 s more\. The learning rate is "
        )
        assert re.search(told, said, re.MULTILINE)


def test_minutes_that_a_kill_cut_short_end_where_they_would_have(tmp_path, capsys):
    run(tmp_path, steps=5)
    ended = checkpoints.read(tmp_path, 1e9)
    ended.update(total=9, budget_began=ended["elapsed"])
    checkpoints.write(tmp_path, ended)
    capsys.readouterr()
    run(tmp_path, minutes=0.003)
    assert "It goes on from step 5" in capsys.readouterr().err
    assert checkpoints.read(tmp_path, 1e9)["budget_began"] == ended["budget_began"]


def test_steps_after_an_end_go_on_and_say_so(tmp_path, capsys):
    run(tmp_path, steps=5)
    run(tmp_path, steps=10)
    said = capsys.readouterr().err
    assert re.search(
        r"It had ended at step 5, .* s, and goes on to step 10\. The learning rate is 0\.005 again\.", said
    )
    run(tmp_path, steps=10)
    told = r"It has ended at step 10, .* s\. To go on: --minutes for so many more, or --steps above 10\."
    assert re.search(told, capsys.readouterr().err)
    assert step_of(tmp_path) == 10


def test_it_ends_with_a_command_that_measures_the_weights(tmp_path, monkeypatch, capsys):
    folder = tmp_path / 'a, "b" @ c'
    folder.mkdir()
    monkeypatch.chdir(folder)
    shutil.copytree(PLUGINS / "recipes", "recipes")
    shutil.copy(PLUGINS / "net.py", "net.py")
    run(folder / "out", name="./net.py:Affine", steps=5)
    told, command = capsys.readouterr().err.splitlines()[-2:]
    assert told == "Measure them:"
    with pytest.raises(SystemExit) as ended:
        main([*shlex.split(command)[1:], "--store", "s.sqlite"])
    assert ended.value.code == 0
    said = capsys.readouterr()
    assert re.search(r"^affine +\d+\.\d\d / ", said.out, re.MULTILINE)
    assert "trained for" not in said.err


def test_a_recipe_for_what_the_restorer_does_not_do_is_named(tmp_path):
    (tmp_path / "r.toml").write_text("[mine]\ntask = 'superres'\n")
    with pytest.raises(TrainingError, match="recipe 'mine': task is superres, and affine does denoise"):
        train(NET, {"scale": "2"}, recipe=f"{tmp_path}/r.toml", folder=tmp_path / "t")


@pytest.mark.parametrize(
    ("also", "says"),
    [
        ("{ demosaick = ['RGGB'] }", "also.demosaick, and dncnn does deblock, denoise"),
        ("{ superres = [2, 3], deblock = [10] }", "crop is 40, expected a multiple of 6: 36 or 42"),
    ],
)
def test_a_task_beside_that_will_not_do_is_named(tmp_path, also, says):
    channels = 3 if "demosaick" in also else 1
    (tmp_path / "r.toml").write_text(f"[mine]\nchannels = {channels}\nalso = {also}\n")
    with pytest.raises(TrainingError, match=f"recipe 'mine': {re.escape(says)}"):
        train("dncnn", {"sigma": "25"}, recipe=f"{tmp_path}/r.toml", folder=tmp_path / "t")


def test_one_network_learns_several_tasks_and_is_measured_in_each_without_a_remark(tmp_path, monkeypatch, capsys):
    """As DnCNN-3: trained together for a few steps, and the same weights serve all three."""
    monkeypatch.chdir(tmp_path)
    Path("r.toml").write_text(
        "[mine]\ntask = 'denoise-blind'\nlevels = [5, 50]\nalso = { superres = [2, 4], deblock = [10, 40] }\n"
        "data = 'sample'\nheld_out = 1\ncrop = 24\nbatch = 2\nsteps = 6\nvalidate_every = 3\n"
    )
    train("dncnn:three", {}, recipe="r.toml", folder=Path("t"))
    name = "dncnn:three@t/weights.safetensors"
    for task, level, n_remarks in (
        ("denoise-blind", 25, 0),
        ("superres", 3, 0),
        ("deblock", 10, 0),
        ("deblock", 80, 1),
    ):
        option = {"denoise-blind": "sigma", "superres": "scale", "deblock": "quality"}[task]
        words = ["run", "--methods", name, "--task", task, f"--{option}", str(level)]
        with pytest.raises(SystemExit) as ended:
            main([*words, "--datasets", "sample", "--limit", "1", "--store", "s.sqlite"])
        assert ended.value.code == 0
        said = capsys.readouterr()
        assert said.err.count("trained for") == n_remarks
        assert "dncnn:three" in said.out


@pytest.mark.parametrize(
    ("crop", "level", "says"),
    [(40, {"scale": "3"}, "a multiple of 3: 39 or 42"), (1, {"scale": "2"}, "a multiple of 2: 2")],
)
def test_a_crop_that_cannot_be_made_small_is_named(tmp_path, crop, level, says):
    (tmp_path / "r.toml").write_text(f"[mine]\ntask = 'superres'\ncrop = {crop}\n")
    with pytest.raises(TrainingError, match=f"recipe 'mine': crop is {crop}, expected {says}"):
        train("nsr", level, recipe=f"{tmp_path}/r.toml", folder=tmp_path / "t")


@pytest.mark.parametrize(
    ("layer", "told"),
    [
        ("torch.nn.Conv2d(3, 1, 1)", "1 x 1 x 72 x 72"),
        ("torch.nn.Conv2d(3, 3, 3)", "1 x 3 x 70 x 70"),
    ],
)
def test_answers_of_another_shape_are_named_and_nothing_is_written(tmp_path, layer, told):
    (tmp_path / "net.py").write_text(
        "import torch\nfrom bench.restorer import TorchRestorer\n\n\nclass Odd(TorchRestorer):\n"
        f"    name, tasks = 'odd', {{'denoise'}}\n\n    def network(self, setting):\n        return {layer}\n"
    )
    (tmp_path / "r.toml").write_text("[mine]\nchannels = 3\ndata = 'sample-colour'\nheld_out = 1\n")
    with pytest.raises(TrainingError, match=f"odd answers a batch of 1 x 3 x 72 x 72 with one of {told}"):
        run(tmp_path / "t", name=f"{tmp_path}/net.py:Odd", recipe=f"{tmp_path}/r.toml")
    assert not (tmp_path / "t" / "weights.safetensors").exists()


def test_a_parameter_of_the_restorer_is_part_of_its_training(tmp_path):
    (tmp_path / "net.py").write_text(
        "import torch\nfrom bench.restorer import TorchRestorer\n\n\nclass Wide(TorchRestorer):\n"
        "    name, tasks = 'affine', {'denoise'}\n\n"
        "    def __init__(self, variant='', weights=None, size=1):\n"
        "        super().__init__(variant, weights)\n        self.size = size\n\n"
        "    def network(self, setting):\n"
        "        return torch.nn.Conv2d(1, 1, self.size, padding='same')\n"
    )
    shutil.copytree(PLUGINS / "recipes", tmp_path / "recipes")
    name = f"{tmp_path}/net.py:Wide"
    run(tmp_path / "t", name=f"{name}(size=5)", steps=5)
    assert json.loads((tmp_path / "t" / "weights.json").read_text())["parameters"] == {"size": 5}
    assert checkpoints.read(tmp_path / "t", 1e9)["state"]["network"]["weight"].shape[2:] == (5, 5)
    with pytest.raises(TrainingError, match=r"holds another training \(other parameters\)"):
        run(tmp_path / "t", name=f"{name}(size=3)", steps=5)


def test_between_validations_it_says_how_far_it_is(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(progress, "SECONDS_IN_A_FILE", 0.0)
    run(tmp_path, steps=5)
    told = re.findall(
        r"^step +(\d) of 5: [\d.e+]+ steps a second, [\d.e-]+ s left$", capsys.readouterr().err, re.MULTILINE
    )
    assert told == ["1", "2", "3", "4", "5"]


def test_on_a_terminal_that_is_one_line_which_moves(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(progress, "SECONDS_ON_A_TERMINAL", 0.0)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    run(tmp_path, steps=5)
    said = capsys.readouterr().err
    assert said.count("steps a second") == 5
    lines = [line.rpartition("\r\x1b[K")[2] for line in said.split("\n")]
    assert not [line for line in lines if "steps a second" in line]
    assert "step      5 of 5: loss" in said


def test_the_line_that_moves_is_gone_before_an_error_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(progress, "SECONDS_ON_A_TERMINAL", 0.0)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    (tmp_path / "r.toml").write_text(
        "[mine]\ndata = 'sample'\nheld_out = 1\nlr = 1e3\noptimizer = 'sgd'\nclip = 0.0\n"
    )
    with pytest.raises(TrainingError, match="The training diverged"):
        run(tmp_path / "t", recipe=f"{tmp_path}/r.toml", steps=30)
    assert capsys.readouterr().err.endswith("\r\x1b[K")


@pytest.mark.parametrize(("seconds", "told"), [(0.18, "0.18 s"), (59, "59 s"), (90, "1.5 min"), (9000, "2.5 h")])
def testdurations_are_told_in_what_one_counts_them(seconds, told):
    assert duration(seconds) == told


@pytest.mark.parametrize(
    ("values", "told"),
    [([], ""), ([20.0], ""), ([20.0, 21.0], " ▁█"), ([3.0, 3.0], " ▁▁"), ([0, 1, 2, 3, 4, 5, 6, 7], " ▁▂▃▄▅▆▇█")],
)
def test_the_curve_of_validations_is_drawn_in_the_line(values, told):
    assert _curve(values) == told


def test_a_long_curve_is_thinned_and_ends_with_the_last():
    drawn = _curve([0.0] * 99 + [1.0])
    assert len(drawn) <= 25
    assert drawn[-1] == "█"
