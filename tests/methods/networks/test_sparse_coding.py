"""The network as a whole: gradients of every parameter, short products, masks, SC within GroupSC."""

from __future__ import annotations

import pytest
import torch
from bench.methods.networks.sparse_coding import SparseCoding


def small(**options):
    torch.manual_seed(0)
    net = SparseCoding(**{"patch_size": 3, "n_atoms": 5, "n_steps": 5, "freq": 2, "window": 4, "tile": 3, **options})
    return net.set_dictionary(torch.randn_like(net.D)) or net


@pytest.mark.parametrize("window", [0, 4])
@pytest.mark.parametrize("masked", [False, True])
def test_every_parameter_has_the_gradient_of_the_answer(window, masked):
    net = small(window=window).double()
    y = torch.rand(2, 1, 7, 8, dtype=torch.float64)
    mask = (torch.rand(2, 1, 7, 8) < 0.8).double() if masked else None
    names, values = zip(*net.named_parameters(), strict=True)

    def answer(*values):
        return torch.func.functional_call(net, dict(zip(names, values, strict=True)), (y, mask))

    assert len(names) == (6 if window else 4)
    assert torch.autograd.gradcheck(answer, [x.detach().clone().requires_grad_() for x in values])


def test_autocast_shortens_the_products_only():
    net, y = small(n_atoms=64), torch.rand(1, 1, 20, 20)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        short = net(y)
    assert short.dtype == torch.float32
    difference = (short - net(y)).abs().max()
    assert 0 < difference < 0.01


def test_sc_ignores_what_a_patch_has_around_it_and_groupsc_does_not():
    y = torch.rand(1, 1, 12, 12)
    elsewhere = y.clone()
    elsewhere[..., -1] = 0.5
    for window, same in ((0, True), (4, False)):
        with torch.no_grad():
            near = [small(window=window)(x)[..., :9] for x in (y, elsewhere)]  # not the last column
        assert torch.equal(*near) is same


def test_the_parameters_of_sc_start_groupsc():
    sc, groupsc = small(window=0), small()
    missing, unexpected = groupsc.load_state_dict(sc.state_dict(), strict=False)
    assert (missing, unexpected) == (["kappa", "nu"], [])


@pytest.mark.parametrize(("first_guess", "same"), [("", True), ("menon", False)])
def test_pixels_that_were_not_observed_do_not_enter_but_through_the_mean_and_a_first_guess(first_guess, same):
    y, net = torch.rand(1, 1, 3, 3), small(window=0, first_guess=first_guess)  # one patch
    mask = torch.ones_like(y)
    mask[..., 0, 0] = mask[..., 2, 2] = 0
    moved = y + torch.tensor([0.2, 0, 0, 0, 0, 0, 0, 0, -0.2]).view(1, 1, 3, 3)  # the same mean
    with torch.no_grad():
        assert torch.allclose(net(y, mask), net(moved, mask)) is same


def test_only_the_first_codes_see_the_values_of_a_first_guess():
    y, mask = torch.rand(1, 1, 3, 3), torch.zeros(1, 1, 3, 3)  # nothing else was observed
    net = small(window=0, first_guess="menon", n_steps=2)
    with torch.no_grad():
        net.lmbda.zero_()
        patch = y.flatten() - y.mean()
        torch.testing.assert_close(net(y, mask).flatten(), net.W @ (net.C.T @ patch) + y.mean())


def test_a_first_guess_that_is_unknown_is_refused():
    with pytest.raises(ValueError, match=r"first_guess is 'lanczos'; expected one of bilinear, malvar, menon, or ''"):
        small(first_guess="lanczos")


def test_the_first_step_may_be_longer():
    net, long = small(window=0), small(window=0, step_init=3.0)
    assert torch.equal(long.C, 3 * net.C)
    assert torch.equal(long.D, net.D)
