"""The networks of DnCNN's Fig. 2: batch normalisation leaves with the export, and the answers stay."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from bench.methods.dncnn import DnCNN, Residual, convolutions
from bench.methods.dncnn_fig2 import Direct, DnCNNFig2, merged, normalised
from safetensors.torch import load_file
from torch import nn

from bench.plugins.registry import choose
from bench.restorer import Observation, Setting, WeightsFile
from bench.training.recipe import read_recipes
from bench.training.session import train

pytestmark = pytest.mark.usefixtures("one_thread")

GRAY_25 = Setting("denoise", 25.0, channels=1)


@pytest.fixture
def one_thread():
    """The machine has others to serve, and threads that wait for each other wait long."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


def network(**options):
    restorer = DnCNNFig2()
    restorer.options = options
    torch.manual_seed(1)
    return restorer, restorer.network(GRAY_25)


def seen_by(trained):
    """Let batch normalisation see something, and learn scales and shifts, so that merging has something to do."""
    for module in trained.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.uniform_(module.bias, -0.5, 0.5)
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return trained.eval()


def test_batch_normalisation_stands_in_all_layers_but_the_first_and_the_last():
    _, net = network(batch_norm=True)
    kinds = [type(layer).__name__ for layer in net.body]
    assert kinds == ["Conv2d", "ReLU", *["Conv2d", "Sequential"] * 15, "Conv2d"]
    assert [type(layer).__name__ for layer in net.body[3]] == ["BatchNorm2d", "ReLU"]
    assert all(layer[0].num_features == 64 for layer in net.body[3:32:2])


def test_depth_and_width_make_it_smaller():
    _, net = network(depth=5, width=4, batch_norm=True)
    convs = [layer for layer in net.modules() if isinstance(layer, nn.Conv2d)]
    assert [(conv.in_channels, conv.out_channels) for conv in convs] == [(1, 4), *[(4, 4)] * 3, (4, 1)]
    _, net = network(width=4)
    assert sum(isinstance(layer, nn.Conv2d) for layer in net.modules()) == 17


def test_without_options_it_is_dncnn():
    _, net = network()
    torch.manual_seed(1)
    expected = DnCNN().network(GRAY_25).state_dict()
    assert expected.keys() == net.state_dict().keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in net.state_dict().items())


@pytest.mark.parametrize("residual", [True, False])
def test_merged_it_answers_the_same_with_the_parameters_of_dncnn(residual):
    restorer, net = network(batch_norm=True, residual=residual)
    y = torch.rand(1, 1, 24, 20, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = seen_by(net)(y)
        exported = restorer.exported(net)
        x_hat = exported(y)
    assert type(exported) is (Residual if residual else Direct)
    assert not [module for module in exported.modules() if isinstance(module, nn.BatchNorm2d)]
    scale = float((expected - y).abs().max() if residual else expected.abs().max())
    assert float((x_hat - expected).abs().max()) < 1e-5 * max(1.0, scale)
    assert sum(p.numel() for p in exported.parameters()) == 555_137


def test_merging_turns_the_weights_by_what_was_seen():
    body = normalised(convolutions(1, depth=3, width=2)).eval()
    norm = body[3][0]
    norm.weight.data, norm.bias.data = torch.tensor([2.0, 3.0]), torch.tensor([0.5, -1.0])
    norm.running_mean, norm.running_var = torch.tensor([0.25, -0.5]), torch.tensor([4.0, 9.0])
    norm.eps = 0.0
    conv = merged(body)[2]
    assert torch.allclose(conv.weight, body[2].weight * torch.tensor([1.0, 1.0])[:, None, None, None])
    assert torch.allclose(conv.bias, torch.tensor([0.25, -0.5]))  # (0 - mean) weight / deviation + bias


@pytest.mark.parametrize("residual", [True, False])
def test_running_it_fast_changes_nothing(residual):
    restorer, net = network(residual=residual)
    image = np.random.default_rng(0).random((17, 23, 1), dtype=np.float32)
    restorer.prepare(GRAY_25, "cpu")
    seen = Observation(image, "denoise", sigma=25.0)
    with torch.inference_mode():
        expected = restorer.plain(torch.from_numpy(image)[None, None, :, :, 0])[0, 0]
    assert type(net) is type(restorer.plain)
    np.testing.assert_allclose(restorer.restore(seen)[..., 0], expected, atol=1e-5)
    assert restorer.macs_per_pixel(seen) == pytest.approx(554_112)


@pytest.mark.parametrize("residual", [True, False])
def test_trained_it_is_exported_without_batch_normalisation(tmp_path, monkeypatch, residual):
    monkeypatch.setattr("bench.methods.dncnn.convolutions", lambda channels, depth: convolutions(channels, 3, 4))
    (tmp_path / "r.toml").write_text(
        "[mine]\ndata = 'sample'\nheld_out = 1\ncrop = 16\nbatch = 2\nsteps = 2\nvalidate_every = 2\n"
        f"optimizer = 'sgd'\nlr = 0.5\noptions = {{ batch_norm = true, residual = {str(residual).lower()} }}\n"
    )
    options = {"recipe": f"{tmp_path}/r.toml", "folder": tmp_path / "t"}
    train("dncnn-fig2", {"sigma": "25"}, **options)
    card = json.loads((tmp_path / "t" / "weights.json").read_text())
    assert card["options"] == {"residual": residual}
    assert card["recipe"]["options"]["batch_norm"] is True
    restorer = DnCNNFig2("", WeightsFile(tmp_path / "t" / "last.safetensors", "file:last.safetensors", ""))
    restorer.prepare(GRAY_25, "cpu")
    assert restorer.n_params() == 40 + 148 + 37
    path = tmp_path / "t" / "weights.safetensors"
    written = load_file(path)
    path.unlink()
    train("dncnn-fig2", {"sigma": "25"}, **options)  # it has ended: what is missing is written anew
    assert written.keys() == load_file(path).keys()
    assert all(torch.equal(tensor, written[name]) for name, tensor in load_file(path).items())


def test_its_recipes_are_the_eight_curves_of_the_figure():
    recipes = read_recipes(choose("dncnn-fig2").info.companion("recipes/dncnn-fig2.toml"))
    curves = {
        (recipe.optimizer, recipe.options.get("residual", True), recipe.options.get("batch_norm", False))
        for recipe in recipes.values()
        if recipe.task == "denoise"
    }
    assert len(curves) == len(recipes) - 2 == 8
    sgd = recipes["rl-bn"]
    assert (sgd.lr / 800, sgd.weight_decay * 800) == pytest.approx((0.1, 1e-4))  # as the paper scales its loss
    assert sgd.lr * sgd.decay**49 / 800 == pytest.approx(1e-4, rel=1e-2)
    assert (sgd.steps, sgd.decay_every * sgd.steps) == (50 * 1600, 1600)


@pytest.mark.parametrize(("name", "crop", "steps_of_an_epoch"), [("blind", 50, 3000), ("three", 48, 8000)])
def test_networks_for_more_than_one_level_are_trained_as_the_paper_says(name, crop, steps_of_an_epoch):
    """Sec. IV-A; its loss is half the squared error of a crop, and ours the mean over its pixels."""
    recipe = read_recipes(choose("dncnn-fig2").info.companion("recipes/dncnn-fig2.toml"))[name]
    scale = crop**2 / 2
    assert recipe.crop == crop
    assert (recipe.lr / scale, recipe.weight_decay * scale) == pytest.approx((0.1, 1e-4), rel=1e-3)
    assert recipe.lr * recipe.clip == pytest.approx(0.02, rel=1e-2)
    assert (recipe.steps, recipe.validate_every, recipe.batch) == (50 * steps_of_an_epoch, steps_of_an_epoch, 128)
    assert recipe.options == {"batch_norm": True}
    assert [*recipe.levels_of(Setting("denoise-blind", 55.0, 1))] == (
        ["denoise-blind"] if name == "blind" else ["denoise-blind", "superres", "deblock"]
    )
