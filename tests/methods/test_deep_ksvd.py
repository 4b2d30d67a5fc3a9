"""Deep K-SVD: its size, its coding step, its weighted mean, its training."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from bench.methods.deep_ksvd import BAND, DeepKSVD, SoftThreshold, Unrolled, covers
from bench.methods.sparse.patches import coverage, extract

from bench.restorer import Observation, Setting

GRAY = Setting("denoise", 25, 1)


@pytest.mark.parametrize(("n_stages", "n_params"), [(1, 35_138), (2, 53_891), (3, 72_644)])
def test_it_has_as_many_parameters_as_the_authors_code(n_stages, n_params):
    restorer = DeepKSVD()
    restorer.options = {"n_stages": n_stages}
    restorer.prepare(GRAY, "cpu")
    assert restorer.n_params() == n_params


def test_stages_that_share_all_are_one_applied_again():
    torch.manual_seed(0)
    sizes = {"patch_size": 3, "atoms_side": 4, "n_steps": 2, "lmbda_init": 0.1}
    once, twice = Unrolled(**sizes), Unrolled(**sizes, n_stages=2, shared=True)
    twice.load_state_dict(once.state_dict())
    y = torch.rand(1, 1, 8, 9)
    torch.testing.assert_close(twice(y), once(once(y)))
    (twice(y) - y).square().sum().backward()
    assert all(p.grad.any() for p in twice.parameters())


def test_shared_two_stages_cost_twice_one_and_have_its_parameters():
    seen, costs = Observation(np.zeros((20, 30, 1), np.float32), "denoise", sigma=25), []
    for options in ({}, {"n_stages": 2, "shared": True}):
        restorer = DeepKSVD()
        restorer.options = options
        restorer.prepare(GRAY, "cpu")
        costs.append((restorer.n_params(), restorer.macs_per_pixel(seen)))
    (n_params, macs), twice = costs
    assert twice == (n_params, 2 * macs)


def test_it_declines_colour():
    assert DeepKSVD().why_not(Setting("denoise", 25, 3)) == "deep-ksvd is for gray images"


def test_it_starts_from_256_cosines_and_the_square_of_their_norm():
    net = Unrolled()
    torch.testing.assert_close(net.D.detach().norm(dim=0), torch.ones(256))
    assert net.c.item() == pytest.approx(14.0066, abs=1e-4)  # what the authors' c starts from


@pytest.mark.parametrize("threshold", [0.3, -0.3])
def test_soft_threshold_is_its_formula_and_has_its_gradient(threshold):
    b = torch.tensor([[-2.0, -0.1, 0.2, 1.0], [0.5, -0.5, 3.0, 0.01]], dtype=torch.float64, requires_grad=True)
    l = torch.full((2, 1), threshold, dtype=torch.float64, requires_grad=True)  # noqa: E741
    formula = b.sign() * (b.abs() - l).clamp_min(0)
    torch.testing.assert_close(SoftThreshold.apply(b, l), formula)
    assert torch.autograd.gradcheck(SoftThreshold.apply, (b, l))


def test_codes_are_those_of_ista_written_out():
    torch.manual_seed(0)
    net, y = Unrolled(patch_size=4, atoms_side=6, n_steps=3), torch.rand(5, 16)
    threshold = 0.1 * torch.rand(5, 1)
    D, c = net.D.detach(), net.c.item()

    def S(x):
        return x.sign() * (x.abs() - threshold).clamp_min(0)

    z = S(y @ D)
    for _ in range(3):
        z = S(z @ (torch.eye(36) - D.T @ D / c) + y @ D / c)
    with torch.no_grad():
        torch.testing.assert_close(net.codes(y, threshold), z, rtol=0, atol=1e-5)


def test_every_pixel_is_the_weighted_mean_of_its_patches_estimates():
    torch.manual_seed(0)
    net, x = Unrolled(patch_size=3, atoms_side=4), torch.rand(2, 1, 7, 5)
    stage = net.stages[0]
    with torch.no_grad():
        y = extract(2 * x - 1, 3)
        estimates = (net.codes(y.flatten(0, 2), stage.threshold(y).flatten(0, 2) / net.c) @ net.D.T).clamp(-1, 1)
        estimates, w = estimates.view(2, 5, 3, 3, 3), stage.w.view(3, 3)
        total, weights = torch.zeros(2, 7, 5), torch.zeros(7, 5)
        for i in range(5):
            for j in range(3):
                total[:, i : i + 3, j : j + 3] += w * estimates[:, i, j]
                weights[i : i + 3, j : j + 3] += w
        torch.testing.assert_close(net(x)[:, 0], (total / weights + 1) / 2)


def test_weights_of_1_count_the_patches_of_a_pixel():
    like = torch.empty(0)
    assert torch.equal(covers(9, 4, like) @ torch.ones(4, 4) @ covers(6, 4, like).T, coverage(9, 6, 4, like))


def test_in_bands_and_compiled_it_answers_as_the_plain_network():
    torch.manual_seed(0)
    net, y = Unrolled(n_stages=2, lmbda_init=0.1), torch.rand(2, 1, 33, 300)
    plain = net(y).detach()  # with gradients the network is run as it is written
    with torch.no_grad():
        torch.testing.assert_close(net(y), plain, rtol=0, atol=1e-5)


def test_bfloat16_goes_band_by_band(monkeypatch):
    net, y = Unrolled(patch_size=5, atoms_side=6, n_stages=2).requires_grad_(False), torch.rand(1, 1, 33, 20)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        whole = net(y)
        monkeypatch.setitem(BAND, "cpu", 100)
        torch.testing.assert_close(net(y), whole)


def test_multiplications_are_those_of_the_products_with_the_dictionary():
    restorer = DeepKSVD()
    restorer.prepare(GRAY, "cpu")
    seen = Observation(np.zeros((100, 100, 1), np.float32), "denoise", sigma=25)
    # 107 x 107 patches, each with 16 products with D and the 18,464 weights of the layers of lambda
    assert restorer.macs_per_pixel(seen) == pytest.approx(1.07**2 * (16 * 64 * 256 + 18_464))


@pytest.mark.parametrize("bf16", [False, True])
def test_training_steps_lower_the_loss(bf16):
    torch.manual_seed(0)
    restorer = DeepKSVD()
    restorer.options = {"n_stages": 2, "patch_size": 5, "atoms_side": 6, "lmbda_init": 0.3}
    net = restorer.network(GRAY)
    x = torch.rand(2, 1, 16, 16).round()
    y = x + 0.1 * torch.randn_like(x)
    optimiser = torch.optim.Adam(net.parameters(), 3e-3)
    losses = []
    for _ in range(30):
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = restorer.loss(net(y), x)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in net.parameters())
