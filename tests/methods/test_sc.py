"""SC: its network, its inference, how its training begins and what it minimises."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bench.task import Observation, Setting
from methods.groupsc import merged_blocks
from methods.sc import BAND, SC, sc_restore
from methods.sparse.network import SparseCoding
from methods.sparse.patches import coverage

GRAY, COLOUR = Setting("denoise", 25, 1), Setting("denoise", 25, 3)


@pytest.mark.parametrize(("setting", "n_params"), [(GRAY, 68_352), (COLOUR, 119_040)])
def test_it_has_as_many_parameters_as_the_authors_say(setting, n_params):
    restorer = SC()
    restorer.prepare(setting, "cpu")
    assert restorer.n_params() == n_params


def test_one_pass_over_the_padded_image_equals_the_authors_blocks():
    torch.manual_seed(0)
    net, y = SparseCoding(1, n_atoms=32, n_steps=4), torch.rand(1, 1, 70, 60)
    with torch.no_grad():
        torch.testing.assert_close(sc_restore(net, y), merged_blocks(net, y, stride=48), rtol=0, atol=1e-5)


def test_bands_of_rows_do_not_change_the_answer(monkeypatch):
    net, y = SparseCoding(3, patch_size=5, n_atoms=16, n_steps=3), torch.rand(1, 3, 33, 20)
    whole = sc_restore(net, y)
    monkeypatch.setitem(BAND, "cpu", 100)
    torch.testing.assert_close(sc_restore(net, y), whole)


def test_bfloat16_products_stay_close():
    image = np.random.default_rng(0).random((20, 24, 1), dtype=np.float32)
    answers = []
    for variant in ("", "bf16"):
        restorer = SC(variant)
        restorer.prepare(GRAY, "cpu")
        answers.append(restorer.restore(Observation(image, "denoise", sigma=25)))
    assert 0 < np.abs(answers[0] - answers[1]).max() < 0.01


def test_training_begins_with_a_learned_dictionary_of_spectral_norm_1():
    restorer = SC()
    restorer.options = {"patch_size": 4, "n_atoms": 20, "n_steps": 3}
    net = restorer.network(GRAY).requires_grad_(False)
    restorer.initialise(net, torch.rand(4, 1, 30, 30))
    assert torch.linalg.matrix_norm(net.D, 2).item() == pytest.approx(1, abs=1e-5)
    assert torch.equal(net.C, net.D)
    assert torch.equal(net.W, net.D)
    norms = net.D.norm(dim=0)
    assert norms.std() < 1e-5 * norms.mean()  # atoms of norm 1, scaled together


def test_the_loss_weighs_pixels_by_how_many_patches_cover_them():
    x = torch.zeros(2, 1, 20, 20)
    w = coverage(20, 20, 9, like=x) / 81
    assert w.max() == 1
    assert SC().loss(x + 0.1, x) == pytest.approx(float((0.1 * w).square().sum()))


def test_training_steps_under_autocast_lower_the_loss():
    torch.manual_seed(0)
    restorer = SC()
    restorer.options = {"patch_size": 5, "n_atoms": 32, "n_steps": 4}
    net = restorer.network(GRAY)
    x = torch.rand(2, 1, 16, 16).round()
    y = x + 0.1 * torch.randn_like(x)
    optimiser = torch.optim.Adam(net.parameters(), 1e-3)
    losses = []
    for _ in range(30):
        with torch.autocast("cpu", torch.bfloat16):
            loss = restorer.loss(net(y), x)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
