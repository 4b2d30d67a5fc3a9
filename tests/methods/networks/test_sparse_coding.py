"""The network as a whole: gradients of every parameter, short products, masks, SC within GroupSC."""

from __future__ import annotations

import pytest
import torch
from bench.methods.networks.similarity import similarity
from bench.methods.networks.sparse_coding import SparseCoding
from bench.methods.sparse.patches import average, centre, extract


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


# --- options ---

NOT_THE_PAPERS = [
    {"penalty": "group-sum"},
    {"penalty": "centred"},
    {"freq": 0},
    {"averaged": False},
    {"online_average": False},
    {"learned_distance": False},
    {"step_thresholds": False},
]


def told(options):
    return " ".join(f"{name}={value}" for name, value in options.items())


@pytest.mark.parametrize("options", NOT_THE_PAPERS, ids=told)
def test_with_every_option_every_parameter_has_the_gradient_of_the_answer(options):
    net = small(**options).double()
    y = torch.rand(1, 1, 6, 7, dtype=torch.float64)
    names, values = zip(*net.named_parameters(), strict=True)

    def answer(*values):
        return torch.func.functional_call(net, dict(zip(names, values, strict=True)), (y,))

    # fast: along one random direction of each parameter
    assert torch.autograd.gradcheck(answer, [x.detach().clone().requires_grad_() for x in values], fast_mode=True)


@pytest.mark.parametrize("options", [{}, *NOT_THE_PAPERS, {"penalty": "centred", "averaged": False}], ids=told)
def test_with_every_option_it_answers_as_the_equations_evaluated_naively(options):
    net, y = small(lmbda_init=0.1, **options).double(), torch.rand(1, 1, 9, 10, dtype=torch.float64)
    with torch.no_grad():
        net.kappa += 0.2 * torch.rand_like(net.kappa)
        torch.testing.assert_close(net(y)[0], naive(net, y, **options), rtol=0, atol=1e-7)


def naive(net, y, penalty="group", freq=2, averaged=True, online_average=True, **rest):
    """Every patch against every other."""
    patches, mu = centre(extract(y, 3))
    i, j = (z.flatten() for z in torch.meshgrid(*(torch.arange(n) for n in patches.shape[1:3]), indexing="ij"))
    near = [(z[None] - z[:, None] >= -2) & (z[None] - z[:, None] <= 1) for z in (i, j)]
    mass_counts = penalty == "group"
    nu = torch.sigmoid(net.nu) if online_average else 1.0
    Y, means = patches[0].flatten(0, 1), mu[0].flatten(0, 1)
    Sigma = similarity(Y, net.kappa) * (near[0] & near[1])
    A = torch.zeros(len(Y), 5, dtype=y.dtype)
    for k in range(5):
        if freq and k > 1 and (k - 1) % freq == 0:
            x = (A @ net.W.T + means).view(patches.shape)
            x = (extract(average(x, 3), 3) if averaged else x)[0].flatten(0, 1) - means
            Sigma = (1 - nu) * Sigma + nu * similarity(x, net.kappa) * (near[0] & near[1])
        lmbda, mass = net.lmbda[k if len(net.lmbda) > 1 else 0], Sigma.sum(1, keepdim=True)
        B = A + (Y - A @ net.D.T) @ net.C
        if penalty == "centred":
            beta = Sigma @ B / mass
            A = beta + torch.sign(B - beta) * torch.relu((B - beta).abs() - lmbda)
        else:
            norm = torch.sqrt(Sigma @ B**2 + 1e-8)
            A = B * torch.relu(1 - lmbda * (mass.sqrt() if mass_counts else 1) / norm)
    return average((A @ net.W.T + means).view(patches.shape), 3)[0]


@pytest.mark.parametrize(
    ("options", "without"),
    [
        ({"online_average": False}, ["nu"]),
        ({"learned_distance": False}, ["kappa"]),
        ({"penalty": "l1"}, ["kappa", "nu"]),
        ({"window": 0}, ["kappa", "nu"]),
    ],
    ids=str,
)
def test_what_is_not_learned_is_no_parameter_and_stands_in_no_file(options, without):
    whole, net = small(), small(**options)
    assert {*dict(whole.named_parameters())} - {*dict(net.named_parameters())} == {*without}
    assert {*whole.state_dict()} - {*net.state_dict()} == {*without}


def test_one_set_of_thresholds_serves_all_steps():
    net = small(step_thresholds=False)
    assert net.lmbda.shape == (1, 5)
    assert torch.equal(net.thresholds(None), net.lmbda.expand(5, 5))


def test_thresholds_by_level_alone_leave_as_many_parameters_as_the_paper_prints():
    """Table 1: 115 thousand of each model, for five levels in colour."""
    levels = [5, 10, 15, 20, 25]
    net = SparseCoding(3, window=48, levels=levels, step_thresholds=False)
    assert sum(p.numel() for p in net.parameters()) == 3 * 147 * 256 + 5 * 256 + 147 + 1 == 114_324


@pytest.mark.parametrize(("freq", "refreshed"), [(0, []), (12, [13]), (6, [7, 13, 19]), (3, [*range(4, 24, 3)])])
def test_similarities_are_refreshed_before_every_so_many_steps(freq, refreshed):
    assert [*SparseCoding(1, n_atoms=4, window=4, freq=freq).refreshed] == refreshed


def test_codes_of_patches_that_resemble_no_other_are_drawn_to_themselves():
    net = small(penalty="centred", n_steps=1, lmbda_init=1e6, learned_distance=False, kappa_init=100.0).double()
    y = torch.rand(1, 1, 9, 10, dtype=torch.float64)
    with torch.no_grad():
        patches, mu = centre(extract(y, 3))
        unshrunk = average(net.patches(patches @ net.C, mu, y.dtype), 3)
        torch.testing.assert_close(net(y), unshrunk)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"penalty": "groups"}, "penalty is 'groups'; expected one of group, group-sum, centred, l1"),
        ({"freq": -1}, "freq is -1; expected steps between refreshes, or 0"),
    ],
    ids=str,
)
def test_an_option_that_will_not_do_is_refused(options, says):
    with pytest.raises(ValueError, match=says):
        small(**options)
