"""SC: its network, its inference, how its training begins and what it minimises."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from bench.methods.groupsc import merged_blocks
from bench.methods.networks.sparse_coding import FIRST_GUESSES, SparseCoding
from bench.methods.sc import BAND, SC, observed, sc_restore
from bench.methods.sparse.patches import coverage, reflect

from bench.task import Observation
from bench.tasks import Setting

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
        x_hat = sc_restore(net, y, dtype=torch.float32)
        torch.testing.assert_close(x_hat, merged_blocks(net, y, stride=48), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("channels", "masked"), [(1, False), (3, True)])
def test_in_bands_and_compiled_it_answers_as_the_plain_network(channels, masked):
    torch.manual_seed(0)
    net = SparseCoding(channels, lmbda_init=0.002).requires_grad_(False)
    net.lmbda[3] = -0.001
    y = torch.rand(1, channels, 33, 300)  # more patches than a band has
    M = (torch.rand_like(y) < 0.5).float() if masked else None
    s, x = net.patch_size, y if M is None else y * M
    plain = net(reflect(x, s - 1), None if M is None else reflect(M, s - 1))[:, :, s - 1 : 1 - s, s - 1 : 1 - s]
    torch.testing.assert_close(sc_restore(net, x, M), plain, rtol=0, atol=1e-5)


def test_bfloat16_goes_band_by_band(monkeypatch):
    net, y = SparseCoding(3, patch_size=5, n_atoms=16, n_steps=3), torch.rand(1, 3, 33, 20)
    whole = sc_restore(net, y, dtype=torch.bfloat16)
    monkeypatch.setitem(BAND, "cpu", 100)
    torch.testing.assert_close(sc_restore(net, y, dtype=torch.bfloat16), whole, rtol=0, atol=1e-5)


def test_bfloat16_products_stay_close():
    torch.manual_seed(0)
    net, y = SparseCoding(1).requires_grad_(False), torch.rand(1, 1, 20, 24)
    long, short = (sc_restore(net, y, dtype=dtype) for dtype in (torch.float32, torch.bfloat16))
    assert 0 < (long - short).abs().max() < 0.01


@pytest.mark.parametrize("pattern", ["RGGB", "GRBG"])
@pytest.mark.parametrize("first_guess", ["", *FIRST_GUESSES])
def test_a_mosaic_is_restored_from_its_measured_values_alone(pattern, first_guess):
    """As the network's own forward pass does it, block by block."""
    from bench.data.degrade import bayer

    torch.manual_seed(0)
    net = SparseCoding(3, patch_size=5, n_atoms=16, n_steps=3, first_guess=first_guess).requires_grad_(False)
    mosaic, mask = bayer(np.random.default_rng(0).random((17, 20, 3), dtype=np.float32), pattern)
    seen = Observation(mosaic, "demosaick", pattern=pattern, mask=mask)
    y, M = observed(torch.from_numpy(mosaic).permute(2, 0, 1)[None], seen, first_guess)
    assert torch.equal((y * M).sum(1), torch.from_numpy(mosaic[None, ..., 0]))
    assert bool((y * (1 - M)).any()) is bool(first_guess)
    assert M.sum() == 17 * 20
    x_hat = sc_restore(net, y, M, dtype=torch.float32)
    torch.testing.assert_close(x_hat, merged_blocks(net, y, 13, 17, mask=M), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("pattern", "down", "right"), [("BGGR", 1, 1), ("GRBG", 0, 1), ("GBRG", 1, 0)])
def test_the_other_bayer_patterns_are_the_first_one_moved(pattern, down, right):
    """Away from the border the same picture under another pattern is answered alike, wherever the mosaic starts."""
    from bench.data.degrade import bayer

    torch.manual_seed(0)
    net = SparseCoding(3, patch_size=5, n_atoms=16, n_steps=3, first_guess="menon").requires_grad_(False)
    picture = np.random.default_rng(0).random((45, 46, 3), dtype=np.float32)
    answers = []
    for x, name in ((picture, pattern), (picture[down:, right:], "RGGB")):
        mosaic, mask = bayer(x, name)
        seen = Observation(mosaic, "demosaick", pattern=name, mask=mask)
        y, M = observed(torch.from_numpy(mosaic).permute(2, 0, 1)[None], seen, "menon")
        answers.append(sc_restore(net, y, M, dtype=torch.float32))
    far = 16  # Menon's filters see 11 pixels, a patch 4 more
    here, moved = answers[0][..., down:, right:], answers[1]
    torch.testing.assert_close(here[..., far:-far, far:-far], moved[..., far:-far, far:-far], rtol=0, atol=1e-5)


def test_thresholds_are_those_of_the_nearest_level():
    net = SparseCoding(1, n_atoms=4, n_steps=2, levels=[5, 15, 25]).requires_grad_(False)
    net.lmbda.copy_(torch.arange(3.0)[:, None, None].expand_as(net.lmbda))
    assert [net.thresholds(level)[0, 0].item() for level in (0.0, 9.0, 11.0, 24.0, 60.0)] == [0, 0, 1, 2, 2]
    with pytest.raises(ValueError, match="must be told one"):
        net(torch.rand(1, 1, 12, 12))


def test_blind_the_noise_level_is_measured_and_told():
    restorer = SC()
    restorer.options = {"levels": [5, 50], "n_atoms": 8, "n_steps": 2, "patch_size": 4}
    restorer.prepare(Setting("denoise-blind", 50.0, 1), "cpu")
    noisy = np.random.default_rng(0).normal(0.5, 50 / 255, (256, 256, 1)).astype(np.float32)
    restorer.restore(Observation(noisy, "denoise-blind"))
    assert restorer.estimated_level == pytest.approx(50, rel=0.06)


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
