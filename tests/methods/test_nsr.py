"""NSR: its size, Eq. 10 evaluated naively, how it trains."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from bench.methods.fast.nsr import Kernels, Mixed, cut
from bench.methods.networks.nsr import GATES, SparseConv2d, SparseResidual
from bench.methods.nsr import NSR
from torch import nn

from bench import methods
from bench.measure.complexity import count_macs
from bench.task import Observation
from bench.tasks import Setting, get_task
from bench.training.recipe import read_recipes

GRAY = Setting("denoise", 25, 1)
RECIPES = Path(methods.__file__).parent / "recipes" / "nsr.toml"


def n_params(module):
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ("scale", "groups", "expected"),
    [
        (1, 1, 1_187_334),
        (1, 4, 4_871_686),
        (2, 1, 1_193_460),
        (2, 4, 4_877_812),
        (3, 1, 1_203_285),
        (3, 4, 4_887_637),
        (4, 1, 1_217_040),
        (4, 4, 4_901_392),
    ],
)
def test_it_has_the_size_of_the_authors_colour_networks(scale, groups, expected):
    assert n_params(SparseResidual(3, scale=scale, n_features=64, width=1, groups=groups)) == expected


@pytest.mark.parametrize(("variant", "kernels"), [("", 2 * 589_824), ("sparse-", 589_824), ("dense", 589_824)])
def test_sparse_minus_is_as_large_as_the_dense_network_and_sparse_plus_twice_that(variant, kernels):
    restorer = NSR(variant)
    restorer.prepare(GRAY, "cpu")
    assert sum(conv.v.numel() for pair in restorer.plain.body for conv in pair) == kernels
    assert kernels < restorer.n_params() < 1.07 * kernels


# --- Eq. 10, kernel by kernel ---


def test_a_sparse_convolution_mixes_kernels_by_eq_10():
    torch.manual_seed(0)
    n_in, n_out, k, d, tau = 5, 8, 3, 4, 0.5
    conv = SparseConv2d(n_in, n_out, groups=k, cardinality=d, temperature=tau).double().requires_grad_(False)
    for p in conv.parameters():
        p.normal_()
    X = torch.rand(2, n_in, 6, 7, dtype=torch.float64)
    got = conv(X)
    for n in range(2):
        logits = (conv.mlp.weight @ X[n].mean((1, 2)) + conv.mlp.bias).view(k, d)
        gamma = np.exp(logits.numpy() / tau)
        gamma /= gamma.sum(0)
        mixed_kernels, mixed_biases = [], []
        for j in range(d):
            kernel, bias = 0, 0
            for i in range(k):
                rows = slice(i * n_out + j * n_out // d, i * n_out + (j + 1) * n_out // d)
                v = conv.v[rows]
                W_ji = conv.g[rows] * v / v.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
                kernel, bias = kernel + gamma[i, j] * W_ji, bias + gamma[i, j] * conv.bias[rows]
            mixed_kernels.append(kernel)
            mixed_biases.append(bias)
        expected = nn.functional.conv2d(X[n : n + 1], torch.cat(mixed_kernels), torch.cat(mixed_biases), padding=1)
        torch.testing.assert_close(got[n : n + 1], expected)


def test_a_cardinality_that_does_not_divide_the_channels_is_named():
    with pytest.raises(ValueError, match="cardinality is 16, expected a divisor of the 24 output channels"):
        SparseConv2d(8, 24, groups=2, cardinality=16)


@pytest.mark.parametrize("scale", [1, 2])
def test_the_features_are_those_of_the_image_less_its_mean_of_a_half(scale):
    net = SparseResidual(scale=scale, n_blocks=1, n_features=8, cardinality=4).requires_grad_(False)
    grey = torch.full((1, 1, 9, 9), 0.5)
    assert not net.begin(grey).any()  # the biases start at 0
    net.tail.g.zero_()
    torch.testing.assert_close(net(grey), torch.full((1, 1, 9 * scale, 9 * scale), 0.5))
    white = torch.ones(1, 1, 9, 9)
    torch.testing.assert_close(net.begin(white), net.head(white / 2))


# --- on a whole image ---


def small(**options):
    """With gates that choose: they start near 1/k."""
    torch.manual_seed(0)
    net = SparseResidual(**{"n_blocks": 2, "n_features": 8, "cardinality": 4, **options}).requires_grad_(False)
    for conv in net.modules():
        if isinstance(conv, SparseConv2d):
            conv.bias.normal_(0, 0.1)
            if conv.mlp is not None:
                conv.mlp.weight.normal_(0, 20)
    return net.eval()


KINDS = [
    {"gate": "sigmoid"},
    {"gate": "sigmoid", "groups": 1, "cardinality": 0},
    {"gate": "gumbel"},
    {"gate": "hard", "groups": 3},
    {"shared": True},
    {"shared": True, "gate": "sigmoid", "groups": 1},
]


@pytest.mark.parametrize("options", [{}, {"groups": 1}, {"groups": 3, "width": 1}, *KINDS], ids=str)
@pytest.mark.parametrize("size", [(1, 1), (9, 50), (48, 48)])
def test_an_image_of_one_patch_is_restored_as_in_training(options, size):
    net, y = small(**options), torch.rand(1, 1, *size)
    with torch.inference_mode():
        torch.testing.assert_close(Mixed(net)(y), net(y), rtol=0, atol=1e-5)


def test_a_dense_network_does_not_depend_on_the_patches():
    net, y = small(groups=1), torch.rand(1, 1, 110, 75)
    with torch.inference_mode():
        torch.testing.assert_close(Mixed(net)(y), net(y), rtol=0, atol=1e-5)


def test_every_patch_of_a_layer_has_the_kernels_that_its_own_features_choose():
    net, y = small(), torch.rand(1, 1, 100, 60) * torch.linspace(0, 1, 60)
    got = Mixed(net)(y)

    def by_patches(conv, x):
        """Eq. 10 for each patch, the kernels convolved with the whole image, the patch taken from it."""
        out = torch.zeros(1, len(conv.bias) // conv.k, *x.shape[2:])
        for rows in (slice(0, 50), slice(50, 100)):
            gamma = conv.gamma(conv.chosen(x[:, :, rows]))[0, ..., None]
            W = (gamma[..., None, None] * conv.kernels().unflatten(0, (conv.k, -1))).sum(0)
            b = (gamma[..., 0] * conv.bias.view(conv.k, -1)).sum(0)
            out[:, :, rows] = nn.functional.conv2d(x, W, b, padding=1)[:, :, rows]
        return out

    x = net.begin(y)
    for conv_1, conv_2 in net.body:
        x = x + by_patches(conv_2, torch.relu(by_patches(conv_1, x)))
    torch.testing.assert_close(got, net.end(x, y), rtol=0, atol=1e-5)
    assert (got - net(y)).abs().max() > 1e-3  # one set of kernels for the whole image


@pytest.mark.parametrize(
    ("n", "lengths"), [(1, [1]), (71, [71]), (72, [36, 36]), (130, [43, 44, 43]), (512, [47] * 6)]
)
def test_patches_are_about_as_large_as_the_crops_in_training(n, lengths):
    parts = cut(n)
    assert [part.start for part in parts] == [0, *(part.stop for part in parts[:-1])]
    assert parts[-1].stop == n
    assert [part.stop - part.start for part in parts][: len(lengths)] == lengths or n == 512
    assert all(abs(part.stop - part.start - 48) <= 24 for part in parts) or n < 24


@pytest.mark.parametrize("scale", [2, 3])
def test_super_resolution_of_one_patch_is_that_of_training(scale):
    net, y = small(scale=scale), torch.rand(1, 1, 20, 31)
    with torch.inference_mode():
        got = Mixed(net)(y)
        torch.testing.assert_close(got, net(y), rtol=0, atol=1e-5)
    assert got.shape == (1, 1, 20 * scale, 31 * scale)


@pytest.mark.parametrize(("variant", "paper"), [("", 0.60e6), ("sparse-", 0.30e6), ("dense", 0.59e6)])
def test_multiply_accumulates_per_pixel_are_the_papers(variant, paper):
    restorer = NSR(variant)
    restorer.prepare(GRAY, "cpu")
    seen = Observation(np.zeros((512, 512, 1), np.float32), "denoise", sigma=25)
    assert restorer.macs_per_pixel(seen) == pytest.approx(paper, rel=0.02)


def mix(kernels, n_patches):
    gammas, _ = kernels.gates(torch.zeros(n_patches, kernels.conv.v.shape[1]))
    for gamma in gammas:
        kernels.mixed(gamma)


def test_they_are_those_of_the_dense_network_and_of_mixing_kernels():
    sizes = {"n_blocks": 2, "n_features": 8, "cardinality": 4}
    restorer = NSR()
    restorer.options = {**sizes, "groups": 3}
    restorer.prepare(GRAY, "cpu")
    H, W, n_patches = 80, 40, 2
    convolving = count_macs(lambda: SparseResidual(**sizes, groups=1)(torch.zeros(1, 1, H, W)))
    mixing = sum(
        count_macs(lambda conv=conv: mix(Kernels(conv), n_patches)) for pair in restorer.plain.body for conv in pair
    )
    assert mixing > 0
    seen = Observation(np.zeros((H, W, 1), np.float32), "denoise", sigma=25)
    assert restorer.macs_per_pixel(seen) == (convolving + mixing) / (H * W)


# --- kinds of sparsity ---


def weights(gate, logits, tau=0.5, *, training=False):
    return GATES[gate](torch.tensor(logits).view(1, -1, 1), tau, training).flatten().tolist()


def test_gates_weigh_groups_as_table_1_has_them():
    logits = [1.0, 2.0, 0.0]
    assert weights("softmax", logits) == pytest.approx(np.exp([2, 4, 0]) / np.exp([2, 4, 0]).sum())
    assert weights("sigmoid", logits) == pytest.approx(1 / (1 + np.exp([-1, -2, 0])))
    assert weights("hard", logits) == weights("gumbel", logits) == [0, 1, 0]
    assert weights("softmax", logits, tau=0.01) == pytest.approx([0, 1, 0])
    assert weights("softmax", logits, tau=1e6) == pytest.approx([1 / 3] * 3, abs=1e-5)


def test_in_training_a_group_is_drawn_as_often_as_the_softmax_says():
    torch.manual_seed(0)
    logits = torch.tensor([1.0, 2.0, 0.0]).view(1, 3, 1).expand(20_000, 3, 1)
    drawn = GATES["gumbel"](logits, 0.5, True)
    assert bool(((drawn == 0) | (drawn == 1)).all())
    assert bool((drawn.sum(1) == 1).all())
    torch.testing.assert_close(drawn.mean(0), torch.softmax(logits[0], 0), atol=0.015, rtol=0)  # four deviations


@pytest.mark.parametrize("gate", ["hard", "gumbel"])
def test_straight_through_the_gradient_is_that_of_the_softmax(gate):
    logits = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    to = torch.randn(2, 3, 4, dtype=torch.float64)
    (ours,) = torch.autograd.grad((GATES[gate](logits, 0.5, False) * to).sum(), logits)
    (soft,) = torch.autograd.grad((torch.softmax(logits / 0.5, 1) * to).sum(), logits)
    torch.testing.assert_close(ours, soft)


@pytest.mark.parametrize("options", [{}, *KINDS[:2], *KINDS[4:]], ids=str)
def test_every_parameter_has_the_gradient_of_the_answer(options):
    net = small(n_blocks=1, n_features=4, **{"cardinality": 2, **options}).double()
    y = torch.rand(2, 1, 5, 6, dtype=torch.float64)
    names, values = zip(*net.named_parameters(), strict=True)

    def answer(*values):
        return torch.func.functional_call(net, dict(zip(names, values, strict=True)), (y,))

    assert torch.autograd.gradcheck(answer, [x.detach().clone().requires_grad_() for x in values], fast_mode=True)


def test_squeeze_and_excitation_scales_each_channel_by_itself():
    torch.manual_seed(0)
    conv, X = SparseConv2d(3, 6, gate="sigmoid", cardinality=0), torch.rand(2, 3, 7, 8)
    scale = torch.sigmoid(conv.mlp(X.mean((2, 3))))[..., None, None]
    torch.testing.assert_close(conv(X), scale * nn.functional.conv2d(X, conv.kernels(), conv.bias, padding=1))


def test_shared_the_second_convolution_has_the_weights_that_the_first_one_chooses():
    net, x = small(shared=True), torch.rand(1, 8, 9, 9)
    conv_1, conv_2 = net.body[0]
    assert conv_2.mlp is None
    chosen = conv_1.chosen(x)
    hidden = torch.relu(conv_1(x, chosen))
    kernels = (conv_2.gamma(chosen)[0, ..., None, None, None] * conv_2.kernels().unflatten(0, (2, -1))).sum(0)
    bias = (conv_2.gamma(chosen)[0] * conv_2.bias.view(2, -1)).sum(0)
    torch.testing.assert_close(conv_2(hidden, chosen), nn.functional.conv2d(hidden, kernels, bias, padding=1))
    own = small()
    fewer = n_params(own) - n_params(net)
    assert fewer == sum(n_params(conv_2.mlp) for _, conv_2 in own.body)


def test_whatever_chooses_the_groups_it_costs_the_same():
    costs = set()
    for gate in GATES:
        restorer = NSR()
        restorer.options = {"n_blocks": 2, "n_features": 8, "cardinality": 4, "gate": gate}
        restorer.prepare(GRAY, "cpu")
        seen = Observation(np.zeros((60, 50, 1), np.float32), "denoise", sigma=25)
        costs.add((restorer.n_params(), restorer.macs_per_pixel(seen)))
    assert len(costs) == 1


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"gate": "argmax"}, "gate is 'argmax', expected one of softmax, sigmoid, hard, gumbel"),
        ({"temperature": 0}, "temperature is 0, expected more than 0"),
        ({"shared": True, "cardinality": 0}, "shared weights need a cardinality"),
    ],
    ids=str,
)
def test_an_option_that_will_not_do_is_refused(options, says):
    with pytest.raises(ValueError, match=says):
        small(**options)


# --- training ---


@pytest.mark.parametrize("recipe", read_recipes(RECIPES).values(), ids=lambda recipe: recipe.name)
@pytest.mark.parametrize("variant", ["", "dense"])
def test_every_recipe_fits_the_network(recipe, variant):
    level = recipe.levels[0] if recipe.levels else get_task(recipe.task).levels[0]
    restorer = NSR(variant)
    restorer.options = recipe.network_options
    network = restorer.network(Setting(recipe.task, level, recipe.channels))
    scale = int(level) if recipe.task == "superres" else 1
    y = torch.rand(1, recipe.channels, recipe.crop // scale // 4, recipe.crop // scale // 4)
    assert network(y).shape[2:] == (y.shape[2] * scale, y.shape[3] * scale)


@pytest.mark.parametrize("variant", ["", "sparse-", "dense"])
def test_training_steps_under_autocast_lower_the_loss_and_reach_every_parameter(variant):
    torch.manual_seed(0)
    restorer = NSR(variant)
    restorer.options = {"n_blocks": 2, "n_features": 16}
    net = restorer.network(GRAY).train()
    x = torch.rand(2, 1, 12, 12).round()
    y = x + 0.1 * torch.randn_like(x)
    optimiser = torch.optim.Adam(net.parameters(), 3e-3)
    losses = []
    for _ in range(30):
        with torch.autocast("cpu", torch.bfloat16):
            x_hat = restorer.estimate(net, y, None, 25)
        loss = restorer.loss(x_hat.float(), x)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    assert not [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()]


def test_mixed_kernels_are_mixed_answers_and_so_are_their_gradients():
    torch.manual_seed(0)
    conv, X = SparseConv2d(8, 24, groups=3, cardinality=4).double(), torch.randn(5, 8, 9, 11).double()
    answers = []
    for mixed in (conv.by_mixed_kernels, conv.by_mixed_answers):
        x_hat = mixed(X, conv.gamma(conv.chosen(X)))
        answers.append([x_hat, *torch.autograd.grad(x_hat.square().sum(), list(conv.parameters()))])
    for ours, other in zip(*answers, strict=True):
        torch.testing.assert_close(ours, other, rtol=1e-10, atol=1e-10)


# --- what it chooses, and where: Fig. 6 ---


def test_maps_show_which_kernels_a_pixel_would_choose():
    restorer = NSR()
    restorer.options = {"n_blocks": 2, "n_features": 8, "groups": 3, "cardinality": 4}
    restorer.prepare(GRAY, "cpu")
    seen = get_task("denoise").observe(
        np.random.default_rng(0).random((9, 7, 1), np.float32), 25, np.random.RandomState(0)
    )
    maps = restorer.maps(seen, (0, 0))
    assert [*maps] == ["block 1", "block 2"]

    net, y = restorer.plain, torch.from_numpy(seen.image).permute(2, 0, 1)[None]
    x = net.begin(y)
    hidden = torch.relu(net.body[0][0](x))
    choices = np.empty((4, 9, 7))
    for i in range(9):
        for j in range(7):
            logits = net.body[0][1].mlp(hidden[0, :, i, j]).view(3, 4)
            choices[:, i, j] = torch.softmax(logits, 0).T.detach().numpy() @ [0, 0.5, 1]
    np.testing.assert_allclose(maps["block 1"], max(choices, key=np.var), atol=1e-5)


def test_maps_are_as_large_as_what_is_restored_and_sixteen_at_most():
    restorer = NSR("sparse-")
    restorer.options = {"n_features": 8, "cardinality": 4}
    restorer.prepare(Setting("superres", 3, 1), "cpu")
    maps = restorer.maps(Observation(np.zeros((5, 4, 1), np.float32), "superres", scale=3), (0, 0))
    assert [*maps] == [f"block {n}" for n in range(1, 33, 2)]
    assert {one.shape for one in maps.values()} == {(15, 12)}


def test_a_dense_network_has_none():
    restorer = NSR("dense")
    restorer.prepare(GRAY, "cpu")
    assert restorer.maps(Observation(np.zeros((5, 4, 1), np.float32), "denoise", sigma=25), (0, 0)) == {}
