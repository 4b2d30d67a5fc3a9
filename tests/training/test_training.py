"""Training: killed and resumed it gives the same weights; what it writes is whole; bad input is named."""

import csv
import json
import math
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.cli import main
from bench.errors import BenchError, RequestError, TrainingError
from bench.plugins.registry import choose
from bench.tasks import Setting
from bench.training import checkpoint as checkpoints
from bench.training import files
from bench.training.crops import Crops
from bench.training.recipe import find_recipe, read_recipes
from bench.training.session import train
from tests.conftest import PLUGINS

torch = pytest.importorskip("torch")

NET = f"{PLUGINS}/net.py:Affine"
RECIPE = PLUGINS / "recipes" / "affine.toml"


def run(folder, **options):
    return train(options.pop("name", NET), {"sigma": "25"}, folder=folder, **options)


def weights(folder):
    from safetensors.torch import load_file

    return load_file(folder / "weights.safetensors")


def state(folder):
    return checkpoint(folder)["state"]["network"]


def checkpoint(folder):
    return checkpoints.read(folder, 1e9)


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def log(folder, column):
    with (folder / "log.csv").open() as opened:
        return [float(row[column]) for row in csv.DictReader(opened)]


class KilledError(Exception):
    pass


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "soap"])
def test_killed_and_resumed_it_gives_the_weights_of_an_uninterrupted_training(tmp_path, monkeypatch, optimizer):
    name = with_recipe(tmp_path, f"optimizer = '{optimizer}'")
    run(tmp_path / "whole", name=name)
    run_killed_at_step_13(monkeypatch, tmp_path / "killed", name)
    run(tmp_path / "killed", name=name)
    assert same(state(tmp_path / "killed"), state(tmp_path / "whole"))
    assert same(weights(tmp_path / "killed"), weights(tmp_path / "whole"))
    assert log(tmp_path / "killed", "step") == [0, 5, 10, 15, 20]


def run_killed_at_step_13(monkeypatch, folder, name):
    original, calls = Crops.batch, []

    def dies_at_step_13(self, step):
        calls.append(step)
        if step == 13:
            raise KilledError
        return original(self, step)

    with monkeypatch.context() as patched:
        patched.setattr(Crops, "batch", dies_at_step_13)
        with pytest.raises(KilledError):
            run(folder, name=name)
    assert 13 in calls


DRAWING = """
class Drawing(Affine):
    def estimate(self, network, y, seen, level):
        return network(y + 0.1 * torch.randn_like(y))
"""


def test_what_a_network_itself_draws_is_drawn_again(tmp_path, monkeypatch):
    """As dropout does: it hangs on seed and step, not on what was drawn before."""
    name = with_recipe(tmp_path, "seed = 0", "Drawing")
    with (tmp_path / "net.py").open("a") as file:
        file.write(DRAWING)
    run(tmp_path / "whole", name=name)
    run_killed_at_step_13(monkeypatch, tmp_path / "killed", name)
    torch.rand(3)
    run(tmp_path / "killed", name=name)
    assert same(state(tmp_path / "killed"), state(tmp_path / "whole"))


def test_a_finished_training_is_not_trained_further(tmp_path, capsys):
    run(tmp_path)
    before = state(tmp_path)
    run(tmp_path)
    assert same(state(tmp_path), before)


def test_training_lowers_the_error(tmp_path):
    run(tmp_path, steps=60)
    psnr = log(tmp_path, "psnr_db")
    assert psnr[-1] > psnr[0] + 1


def test_the_weights_carry_their_card_and_options_and_can_be_measured(tmp_path, photos):
    import bench

    run(tmp_path / "t")
    card = json.loads((tmp_path / "t" / "weights.json").read_text())
    assert card["setting"] == "denoise sigma 25 gray"
    assert card["recipe"]["options"] == {"size": 3}
    assert len(card["data_sha256"]) == 64
    outcome = bench.run(
        f"{NET}@{tmp_path}/t/weights.safetensors", datasets=photos, sigma=25, store=tmp_path / "s.sqlite"
    )
    assert list(outcome.frame()["status"]) == ["ok"] * 3
    assert set(outcome.frame()["weights"]) == {"file:weights.safetensors"}
    assert set(outcome.frame()["params"]) == {10}


def test_log_and_curves_are_drawn(tmp_path):
    run(tmp_path)
    assert (tmp_path / "curves.svg").read_text().count("<polyline") == 2


def test_the_drawing_leaves_out_the_beginning_and_marks_the_best():
    figures = [(0, math.nan, 20.0), (5, 0.1, 29.0), (10, 0.01, 31.0), (15, 0.001, 30.0)]
    rows = [files.Validation(step, 15, 1.0, 1e-3, loss, psnr, 31.0) for step, loss, psnr in figures]
    drawn = files.draw_curves(rows)
    assert re.findall(r'text-anchor="end">([\d.: best]+)<', drawn) == [
        *("29.00", "29.50", "30.00", "30.50", "31.00", "best: 31.000"),
        *("0.001", "0.00316", "0.01", "0.0316", "0.1"),
    ]
    x, y = re.search(r'<circle cx="([\d.]+)" cy="([\d.]+)"', drawn).groups()
    assert f" {x},{y} " in re.search('points="(.*?)"', drawn)[1]
    assert float(y) == files.MARGIN


@pytest.mark.parametrize("losses", [(-1.0, -2.0), (0.0, 0.0), (1.0, 1.0)])
def test_any_loss_is_drawn(losses):
    rows = [files.Validation(step, 2, 1.0, 1e-3, loss, 30.0, 30.0) for step, loss in enumerate(losses, 1)]
    assert files.draw_curves(rows).count("<polyline") == 2


def test_a_budget_stretches_the_schedule(tmp_path):
    run(tmp_path, minutes=0.01)
    assert log(tmp_path, "seconds")[-1] == pytest.approx(0.6, abs=0.4)
    assert log(tmp_path, "step")[-1] == log(tmp_path, "total")[-1]


def test_training_can_start_from_other_weights(tmp_path):
    run(tmp_path / "first")
    run(tmp_path / "second", start=tmp_path / "first" / "weights.safetensors", steps=5)
    assert log(tmp_path / "second", "psnr_db")[0] == pytest.approx(log(tmp_path / "first", "best_db")[-1], abs=1e-6)


def test_a_drop_of_the_validation_goes_back_to_the_last_accepted_state(tmp_path, monkeypatch):
    from bench.training.loop import Training

    measured = iter([20.0, 30.0, 5.0, 30.5, 31.0])
    states = []
    monkeypatch.setattr(Training, "_psnr_db", lambda self: next(measured))
    original = Training._backtrack

    def spy(self, psnr_db):
        before = {k: v.clone() for k, v in self.network.state_dict().items()}
        original(self, psnr_db)
        states.append((before, {k: v.clone() for k, v in self.network.state_dict().items()}, self.lr_factor))

    monkeypatch.setattr(Training, "_backtrack", spy)
    run(tmp_path)
    assert same(states[2][1], states[1][0])
    assert [factor for _, _, factor in states] == [1, 1, 0.5, 0.5, 0.5]


def with_recipe(tmp_path, change, net="Affine"):
    """The name of a restorer whose recipe has `change` in place of its line, or one line more."""
    key = change.partition(" =")[0]
    lines = [line for line in RECIPE.read_text().splitlines() if not line.startswith(f"{key} =")]
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "affine.toml").write_text("\n".join([*lines, change]))
    shutil.copy(PLUGINS / "net.py", tmp_path)
    return f"{tmp_path}/net.py:{net}"


def trained_steps(tmp_path, change, net="Affine", **options):
    """The folder of a training by that recipe."""
    run(tmp_path / "t", name=with_recipe(tmp_path, change, net), **options)
    return tmp_path / "t"


def test_the_learning_rate_falls_at_the_fractions_that_a_recipe_names(tmp_path):
    folder = trained_steps(tmp_path, "schedule = 'steps'\ndecay = 0.1\ndecay_at = [0.25, 0.75]")
    lrs = dict(zip(log(folder, "step"), log(folder, "lr"), strict=True))
    assert lrs == pytest.approx({0: 1e-2, 5: 1e-3, 10: 1e-3, 15: 1e-4, 20: 1e-4})


def test_the_learning_rate_rises_over_the_steps_that_a_recipe_names(tmp_path):
    folder = trained_steps(tmp_path, "schedule = 'steps'\nwarm_up = 8")
    lrs = dict(zip(log(folder, "step"), log(folder, "lr"), strict=True))
    assert lrs == pytest.approx({0: 1e-2 / 8, 5: 6e-2 / 8, 10: 1e-2, 15: 1e-2, 20: 1e-2})


def test_the_last_weights_are_kept_beside_the_best(tmp_path, monkeypatch):
    from bench.training.loop import Training

    measured = iter([30.0, 31.0, 30.5, 30.5, 30.5])
    monkeypatch.setattr(Training, "_psnr_db", lambda self: next(measured))
    run(tmp_path)
    best, last = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("weights", "last"))
    assert [(card["step"], card["validation_psnr_db"]) for card in (best, last)] == [(5, 31.0), (20, 30.5)]
    assert (tmp_path / "last.safetensors").is_file()


def test_the_running_mean_of_the_weights_keeps_what_batch_normalisation_has_seen(tmp_path):
    state = checkpoint(trained_steps(tmp_path, "ema = 0.9", net="Normalised"))["state"]
    assert state["network"]["1.num_batches_tracked"] == 20
    for name in ("1.running_mean", "1.running_var"):
        assert torch.equal(state["mean"][name], state["network"][name])
    assert not torch.equal(state["mean"]["0.weight"], state["network"]["0.weight"])


def test_batch_normalisation_keeps_what_it_has_seen_from_the_fraction_that_a_recipe_names(tmp_path):
    state = checkpoint(trained_steps(tmp_path, "fix_norms_at = 0.25", net="Normalised"))["state"]
    assert state["network"]["1.num_batches_tracked"] == 5
    assert state["optimizer"][0]["step"] == 20


def test_a_network_that_is_its_own_teacher_has_nothing_to_learn(tmp_path):
    run(tmp_path / "first")
    start = tmp_path / "first" / "weights.safetensors"
    run(tmp_path / "taught", name=with_recipe(tmp_path, f"teacher = '{NET}@{start}'"), start=start)
    assert same(state(tmp_path / "taught"), weights(tmp_path / "first"))
    card = json.loads((tmp_path / "taught" / "weights.json").read_text())
    assert card["teacher_sha256"] == files.sha256_of(start) == card["start_sha256"]
    assert json.loads((tmp_path / "first" / "weights.json").read_text())["teacher_sha256"] is None


@pytest.mark.parametrize(
    ("teacher", "says"),
    [
        ("dncn", "No restorer named 'dncn'. Did you mean 'dncnn'"),
        ("noisy", "teacher = 'noisy': expected a network, and not its self-ensemble"),
        ("dncnn+", r"teacher = 'dncnn\+': expected a network, and not its self-ensemble"),
        ("sc@published", "teacher = 'sc@published': sc has no 'published' weights"),
        (NET, "teacher = '.*Affine': affine needs weights and declares none"),
        (f"{NET}@none.safetensors", "there is no file 'none.safetensors'"),
    ],
)
def test_a_teacher_that_will_not_do_is_named(tmp_path, teacher, says):
    with pytest.raises(BenchError, match=says):
        trained_steps(tmp_path, f"teacher = '{teacher}'")


def test_variants_of_a_restorer_are_trained_apart(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert train(NET, {"sigma": "25"}, steps=5) == Path("training/affine-gray-25")
    variant = f"{PLUGINS}/net.py:Normalised:biased"
    assert train(variant, {"sigma": "25"}, steps=5) == Path("training/affine-biased-gray-25")
    with pytest.raises(TrainingError, match=r"holds another training \(other restorer, code\)"):
        train(variant, {"sigma": "25"}, folder=Path("training/affine-gray-25"))


def test_the_images_held_out_are_not_trained_on():
    recipe = find_recipe(choose(NET).info, None)
    crops = Crops(recipe, Setting("denoise", 25.0, 1))
    assert (len(crops.training), len(crops.held_out)) == (3, 1)
    assert not any(image is crops.held_out[0] for image in crops.training)


def test_crops_are_a_function_of_the_step_alone():
    crops = Crops(find_recipe(choose(NET).info, None), Setting("denoise", 25.0, 1))
    first = crops.batch(7)
    crops.batch(8)
    assert (crops.batch(7).y == first.y).all()
    assert not (crops.batch(8).y == first.y).all()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("batch_size = 4", "No key named 'batch_size'. Did you mean 'batch'"),
        ("schedule = 'linear'", "No schedule named 'linear'"),
        ("optimizer = 'sgdd'", "No optimizer named 'sgdd'. Did you mean 'sgd'"),
        ("lr = 0", "lr is 0, expected more than 0"),
        ("decay_at = [0.5, 1.5]", r"decay_at is \[0.5, 1.5\], expected fractions of 1"),
        ("fix_norms_at = 2", "fix_norms_at is 2, expected a fraction of 1"),
        ("crop = 3000", "no gray image of at least 3000x3000 pixels: 0 of its 4 images are not gray, 4 are smaller"),
        ("channels = 3", "no colour image of at least 16x16 pixels: 4 of its 4 images are not colour, 0 are smaller"),
        ("held_out = 4", "4 images, and 4 are held out of them: there is none to train on. Set held_out to 1\\."),
        ("data = 'a\\u0000b'", "recipe 'quick': data = "),
        ("options = { size = 'x' }", "affine does not work with options 'size = 'x'': TypeError"),
        ("options = { size = 0 }", "affine does not work with options 'size = 0': "),
        ("data = 'bsd40'", "No data set named 'bsd40'. Did you mean 'bsd400'"),
        ("task = 'denoice'", "No task named 'denoice'"),
    ],
)
def test_a_recipe_that_will_not_do_is_named(tmp_path, change, says):
    with pytest.raises(BenchError, match=says):
        trained_steps(tmp_path, change)


PICKY = """
class Picky(Affine):
    def network(self, setting):
        raise ValueError("size is 2; expected one of " + ", ".join(map(str, range(3, 40))))
"""


def test_what_a_network_says_of_its_options_is_told_to_its_end(tmp_path):
    name = with_recipe(tmp_path, "options = { size = 2 }", "Picky")
    with (tmp_path / "net.py").open("a") as file:
        file.write(PICKY)
    with pytest.raises(TrainingError, match=r"ValueError: size is 2; expected one of 3, 4, .* 38, 39\.$"):
        run(tmp_path / "t", name=name)


def test_a_recipe_takes_over_what_it_does_not_say(tmp_path):
    path = tmp_path / "affine.toml"
    path.write_text(RECIPE.read_text() + '[other]\nlike = "quick"\nbatch = 7\n')
    recipes = read_recipes(path)
    assert recipes["other"] == replace(recipes["quick"], name="other", batch=7)
    path.write_text(path.read_text() + '[third]\nlike = "third"\n')
    with pytest.raises(TrainingError, match="recipe 'third': like = 'third', expected one above it: quick, other"):
        read_recipes(path)


def test_a_recipe_of_several_levels_draws_one_each_step_and_validates_them_all():
    recipe = replace(find_recipe(choose(NET).info, None), held_out=2, levels=(15.0, 50.0))
    assert recipe.network_options == {"size": 3, "levels": [15.0, 50.0]}
    crops = Crops(recipe, Setting("denoise", 50.0, 1))
    for batch in [*map(crops.batch, range(8)), *crops.validation()]:
        assert 255 * (batch.y - batch.x).std() == pytest.approx(batch.level, rel=0.15)
    assert {crops.batch(step).level for step in range(8)} == {15.0, 50.0}
    assert [batch.level for batch in crops.validation()] == [15.0, 50.0]


def test_a_level_is_not_asked_for_where_the_recipe_names_them(tmp_path):
    path = tmp_path / "net.py"
    path.write_text((PLUGINS / "net.py").read_text())
    (tmp_path / "recipes").mkdir()
    text = RECIPE.read_text().replace("channels = 1", "channels = 1\nlevels = [15, 50]")
    (tmp_path / "recipes" / "affine.toml").write_text(text)
    with pytest.raises(RequestError, match="recipe quick names its levels itself: 15, 50"):
        train(f"{path}:Affine", {"sigma": "25"}, folder=tmp_path / "t")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"minutes": 0}, "--minutes 0: expected more than 0"),
        ({"minutes": float("nan")}, "--minutes nan: expected more than 0"),
        ({"minutes": float("inf")}, "--minutes inf: expected more than 0, and 1000000 at most"),
        ({"minutes": 1e300}, r"--minutes 1e\+300: expected more than 0"),
        ({"steps": 10**40}, "--steps 10*: expected more than 0, and 1000000000 at most"),
        ({"steps": -1}, "--steps -1: expected more than 0"),
        ({"minutes": 1, "steps": 1}, "choose one"),
        ({"recipe": "quik"}, "No recipe named 'quik'. Did you mean 'quick'"),
        ({"name": "noisy"}, "There is no recipe for noisy"),
    ],
    ids=str,
)
def test_options_that_will_not_do_are_named(tmp_path, options, says):
    with pytest.raises((RequestError, TrainingError), match=says):
        run(tmp_path, **options)


def test_a_level_is_needed_and_only_of_the_right_kind(tmp_path):
    with pytest.raises(RequestError, match="--sigma: which one to train for was not said"):
        train(NET, {}, folder=tmp_path)
    with pytest.raises(RequestError, match="--quality does not concern denoise"):
        train(NET, {"sigma": "25", "quality": "10"}, folder=tmp_path)


def test_a_step_whose_gradient_overflows_is_left_out(tmp_path, monkeypatch):
    original, calls = Crops.batch, []

    def overflows_at_step_3(self, step):
        calls.append(step)
        batch = original(self, step)
        return batch._replace(y=batch.y * np.inf) if step == 3 else batch

    monkeypatch.setattr(Crops, "batch", overflows_at_step_3)
    run(tmp_path, steps=10)
    assert 3 in calls
    assert all(tensor.isfinite().all() for tensor in state(tmp_path).values())


def test_the_checkpoint_of_another_training_is_not_continued(tmp_path):
    run(tmp_path)
    with pytest.raises(TrainingError, match=r"holds another training \(other setting\)"):
        train(NET, {"sigma": "50"}, folder=tmp_path)


def test_a_network_that_was_rewritten_does_not_go_on_from_the_checkpoint_of_the_old_one(tmp_path):
    """The tensors have the same names and shapes: nothing else would tell."""
    plugin = tmp_path / "act.py"
    text = (
        "import torch\nfrom bench.restorer import TorchRestorer\n\n\nclass Act(TorchRestorer):\n"
        "    name, tasks = 'affine', {'denoise'}\n\n    def network(self, setting):\n"
        "        return torch.nn.Sequential(torch.nn.Conv2d(1, 1, 1), torch.nn.ReLU())\n"
    )
    plugin.write_text(text)
    shutil.copytree(PLUGINS / "recipes", tmp_path / "recipes")
    train(f"{plugin}:Act", {"sigma": "25"}, steps=5, folder=tmp_path / "out")
    plugin.write_text(f"# the same\n{text}")
    train(f"{plugin}:Act", {"sigma": "25"}, steps=5, folder=tmp_path / "out")
    plugin.write_text(text.replace("ReLU", "GELU"))
    with pytest.raises(TrainingError, match=r"holds another training \(other code\)\. Name another --folder"):
        train(f"{plugin}:Act", {"sigma": "25"}, steps=5, folder=tmp_path / "out")


def test_weights_of_another_architecture_are_refused_by_name(tmp_path):
    from safetensors.torch import save_file

    save_file({"weight": torch.zeros(1, 1, 5, 5)}, tmp_path / "other.safetensors")
    with pytest.raises(TrainingError, match=r"weight has shape \(1, 1, 5, 5\), expected \(1, 1, 3, 3\)"):
        run(tmp_path / "t", start=tmp_path / "other.safetensors")


def test_weights_of_one_level_start_all_levels(tmp_path):
    from bench.methods.networks.sparse_coding import SparseCoding
    from safetensors.torch import save_file

    from bench.training.start import read_weights

    one = SparseCoding(patch_size=3, n_atoms=4, n_steps=2)
    torch.nn.init.normal_(one.lmbda)
    save_file(one.state_dict(), tmp_path / "one.safetensors")
    several = SparseCoding(patch_size=3, n_atoms=4, n_steps=2, levels=(10, 20, 30))
    read_weights(several, tmp_path / "one.safetensors", 20)
    assert several.lmbda.shape == (3, 2, 4)
    assert all(torch.equal(lmbda, one.lmbda) for lmbda in several.lmbda)
    assert torch.equal(several.D, one.D)


@pytest.mark.parametrize(("level", "taken"), [(20, 1), (28.0, 2), ("RGGB", 0)])
def test_weights_of_several_levels_start_one_of_them(tmp_path, level, taken):
    from bench.methods.networks.sparse_coding import SparseCoding

    from bench.training.files import export
    from bench.training.start import read_weights

    several = SparseCoding(patch_size=3, n_atoms=4, n_steps=2, levels=(10, 20, 30))
    torch.nn.init.normal_(several.lmbda)
    export(several.state_dict(), tmp_path, {"options": {"levels": [10, 20, 30]}})
    one = SparseCoding(patch_size=3, n_atoms=4, n_steps=2)
    read_weights(one, tmp_path / "weights.safetensors", level)
    assert torch.equal(one.lmbda, several.lmbda[taken])


def test_weights_of_another_scale_start_all_but_what_makes_its_pixels(tmp_path):
    from bench.methods.nsr import NSR

    from bench.training.files import export
    from bench.training.start import read_weights

    by_2, by_3 = (NSR().network(Setting("superres", scale, 1)) for scale in (2, 3))
    export(by_2.state_dict(), tmp_path, {"options": {}})
    own = by_3.tail.v.clone()
    read_weights(by_3, tmp_path / "weights.safetensors", 3, NSR.of_level)
    assert torch.equal(by_3.tail.v, own)
    assert torch.equal(by_3.head.v, by_2.head.v)
    assert torch.equal(by_3.body[0][0].v, by_2.body[0][0].v)


def test_a_file_that_is_no_checkpoint_is_named_and_kept(tmp_path):
    (tmp_path / "checkpoint.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(TrainingError, match=r"checkpoint\.pt is no checkpoint"):
        run(tmp_path)
    assert (tmp_path / "checkpoint.pt").read_bytes() == b"not a checkpoint"


def test_with_no_space_left_the_previous_checkpoint_survives(tmp_path, monkeypatch):
    run(tmp_path, steps=5)
    before = (tmp_path / "checkpoint.pt").read_bytes()

    def disk_full(content, file):
        file.write(b"half of i")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", disk_full)
    with pytest.raises(TrainingError, match=r"Cannot write .*checkpoint\.pt .*No space left"):
        run(tmp_path, steps=10)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before
    assert not list(tmp_path.glob("*.part"))


def test_the_command_line_says_how_far_it_is(tmp_path, capsys):
    with pytest.raises(SystemExit) as done:
        main(["train", NET, "--sigma", "25", "--steps", "5", "--folder", str(tmp_path)])
    assert done.value.code == 0
    said = capsys.readouterr().err
    assert "step      5 of 5: loss" in said
    assert "step      0 of 5: validation" in said
    assert "nan" not in said


def test_it_runs_where_only_the_few_packages_of_a_gpu_machine_are(tmp_path):
    blocked = ("bm3d", "certifi", "h5py")
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({blocked}))\n"
        "from bench.cli import main\n"
        f"main(['train', {NET!r}, '--sigma', '25', '--steps', '5', '--folder', {str(tmp_path)!r}])"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert (tmp_path / "weights.safetensors").exists()
