"""NLRN: its size, Eq. 6 evaluated naively, its variants, how it trains."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from bench.methods.fast import streamed
from bench.methods.fast.nlrn import Sliding, Tiling
from bench.methods.fast.streamed import Streamed
from bench.methods.fast.threads import Workers
from bench.methods.networks.nlrn import METRICS, NonLocal, NonLocalRecurrent, neighbours
from bench.methods.nlrn import NLRN, averaged_patches, starts
from torch import nn

from bench import methods
from bench.judge.papers import load
from bench.measure.complexity import count_macs
from bench.runner.contract import observe_disc
from bench.task import Observation
from bench.tasks import Setting
from bench.training.recipe import read_recipes

GRAY = Setting("denoise", 25, 1)
RECIPES = Path(methods.__file__).parent / "recipes" / "nlrn.toml"


def randomised(module):
    """With values that differ from those that training starts from: g and the last convolution are zero there."""
    torch.manual_seed(0)
    with torch.no_grad():
        for p in module.parameters():
            p.add_(0.05 * torch.randn_like(p))
    for m in module.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.running_mean.normal_(0, 0.1)
            m.running_var.uniform_(0.5, 1.5)
    return module.eval().requires_grad_(False)


def n_params(module):
    return sum(p.numel() for p in module.parameters())


def test_it_has_the_330k_parameters_of_the_paper_which_counts_convolutions():
    restorer = NLRN()
    restorer.prepare(GRAY, "cpu")
    convolutions = sum(n_params(m) for m in restorer.plain.modules() if isinstance(m, nn.Conv2d))
    assert convolutions == 330_625
    assert restorer.n_params() == convolutions + 2 + 37 * 2 * 128


# --- Eq. 6, pixel by pixel, in NumPy and float64 ---


PHI = {  # Table 1, for the vectors X_i and X_j and what theta and psi make of them
    "embedded-gaussian": lambda X_i, X_j, theta, psi: np.exp(theta(X_i) @ psi(X_j)),
    "symmetric-gaussian": lambda X_i, X_j, theta, psi: np.exp(theta(X_i) @ theta(X_j)),
    "gaussian": lambda X_i, X_j, theta, psi: np.exp(X_i @ X_j),
    "embedded-dot": lambda X_i, X_j, theta, psi: theta(X_i) @ psi(X_j),
    "dot": lambda X_i, X_j, theta, psi: X_i @ X_j,
    "euclidean": lambda X_i, X_j, theta, psi: np.exp(-np.sum((X_i - X_j) ** 2) / len(X_i)),
}


@pytest.mark.parametrize("metric", METRICS)
def test_the_non_local_module_is_eq_6_with_a_skip_connection(metric):
    width, length, H, W = 6, 4, 3, 4
    module = randomised(NonLocal(width, length, metric).double())
    features = torch.rand(1, width, H, W, dtype=torch.float64)
    Z, _ = module(features)

    conv = module.theta_psi_g
    kernels, biases = conv.weight[:, :, 0, 0].numpy(), conv.bias.numpy()
    theta, psi, g = (
        lambda x, rows=rows: kernels[rows] @ x + biases[rows]
        for rows in (slice(length), slice(length, 2 * length), slice(-width, None))
    )
    X = features[0].flatten(1).T.numpy()
    for i, Z_i in enumerate(Z[0].flatten(1).T.numpy()):
        weights = np.array([PHI[metric](X[i], X_j, theta, psi) for X_j in X])
        delta = len(X) if metric.endswith("dot") else weights.sum()  # a sum of products may be zero
        expected = X[i] + sum(phi_ij * g(X_j) for phi_ij, X_j in zip(weights, X, strict=True)) / delta
        np.testing.assert_allclose(Z_i, expected, rtol=1e-10)


def test_the_correlations_of_the_previous_state_are_added_before_they_are_normalised():
    module = randomised(NonLocal(6, 4, "embedded-gaussian").double())
    X, X_before = torch.rand(2, 1, 6, 3, 4, dtype=torch.float64)
    _, S = module(X_before)
    Z, S_both = module(X, S)
    theta, psi, g = (x.flatten(1, 2) for x in module.embed(X))
    assert torch.allclose(S_both, S + theta @ psi.transpose(1, 2))
    assert torch.allclose(Z, X + (torch.softmax(S_both, -1) @ g).transpose(1, 2).reshape(X.shape))


# --- two ways to run it ---


def small(**options):
    return randomised(NonLocalRecurrent(**{"n_steps": 3, "width": 16, "embedding": 8, **options}))


def test_neighbourhoods_are_centred_and_moved_inwards_at_the_border():
    H, W, q = 7, 6, 5
    S = neighbours(H, W, q).view(H, W, H, W)
    assert (S.sum((2, 3)) == q * q).all()
    for i, j in [(3, 2), (3, 3), (2, 2)]:
        assert S[i, j, i - 2 : i + 3, j - 2 : j + 3].all()
    assert S[0, 5, :5, 1:].all()


def test_an_image_smaller_than_the_neighbourhood_is_seen_whole():
    assert neighbours(3, 4, 5).all()


@pytest.mark.parametrize("variant", ["", "bf16", "patches"])
def test_the_neighbourhood_is_an_option(variant):
    restorer, seen = NLRN(variant), observe_disc(GRAY, (30, 20))
    restorer.options = {"n_steps": 2, "width": 16, "embedding": 8, "neighbourhood": 9}
    restorer.prepare(GRAY, "cpu")
    net = randomised(restorer.plain)
    restorer.net = restorer.compile(net, GRAY)
    y = restorer.to_tensor(seen.image)
    got = restorer.forward(y, seen)
    expected = averaged(net, y, 9) if variant == "patches" else net(y, neighbours(30, 20, 9))
    torch.testing.assert_close(got, expected, rtol=0, atol=0.02 if variant == "bf16" else 1e-5)
    if variant == "patches":
        pairs = 4 * 3 * 81**2  # patches of 9x9 from rows 0, 7, 14, 21 and columns 0, 7, 11
        assert starts(30, 9) == [0, 7, 14, 21]
        assert starts(20, 9) == [0, 7, 11]
    else:
        pairs = 600 * 81
    pixels = pairs // 81
    assert restorer.macs_per_pixel(seen) == net.macs(pixels, pairs) / 600


def averaged(net, y, q):
    """Of patches of q x q, one by one, each pixel's estimates averaged."""
    total, count = torch.zeros_like(y), torch.zeros_like(y)
    for i in starts(y.shape[2], q):
        for j in starts(y.shape[3], q):
            total[:, :, i : i + q, j : j + q] += net(y[:, :, i : i + q, j : j + q])
            count[:, :, i : i + q, j : j + q] += 1
    return total / count


@pytest.mark.parametrize(("q", "H", "W"), [(5, 12, 9), (11, 12, 9), (12, 12, 9), (45, 12, 9)])
def test_in_training_a_pixel_looks_no_further_than_the_neighbourhood_that_was_asked_for(q, H, W):
    y = torch.rand(2, 1, H, W)
    whole, net = small(), small(neighbourhood=q)
    net.load_state_dict(whole.state_dict())
    torch.testing.assert_close(net(y), whole(y, neighbours(H, W, q)), rtol=0, atol=0)
    assert (net.confined(H, W, y.device) is None) is (q >= H)
    assert whole.confined(100, 100, y.device) is None


@pytest.mark.parametrize("options", [{"neighbourhood": 3}, {"neighbourhood": 3, "metric": "dot"}], ids=str)
def test_with_a_neighbourhood_every_parameter_has_the_gradient_of_the_answer(options):
    net = small(n_steps=2, width=4, embedding=2, **options).double()
    y = torch.rand(1, 1, 5, 4, dtype=torch.float64)
    names, values = zip(*net.named_parameters(), strict=True)

    def answer(*values):
        return torch.func.functional_call(net, dict(zip(names, values, strict=True)), (y,))

    assert torch.autograd.gradcheck(answer, [x.detach().clone().requires_grad_() for x in values], fast_mode=True)


def test_a_neighbourhood_below_0_is_named():
    with pytest.raises(ValueError, match="neighbourhood is -3, expected a side in pixels, or 0"):
        NonLocalRecurrent(neighbourhood=-3)


VARIANTS = [{}, {"propagate": False}, {"every": 2}, {"every": 0}, {"tied": False}]


@pytest.mark.parametrize("options", [*VARIANTS, *({"metric": metric} for metric in METRICS)], ids=str)
@pytest.mark.parametrize(("H", "W", "q"), [(1, 1, 5), (5, 40, 13), (30, 41, 9), (20, 31, 45)])
def test_sliding_is_the_network_with_neighbourhoods(options, H, W, q):
    net, y = small(**options), torch.rand(1, 1, H, W)
    expected = net(y, neighbours(H, W, q))
    assert (expected - y).abs().max() > 0.01
    with torch.inference_mode():
        torch.testing.assert_close(Sliding(net, q, torch.float32)(y), expected, rtol=0, atol=1e-5)


STREAMED = [*VARIANTS, {"metric": "symmetric-gaussian"}, {"width": 80, "embedding": 20}]


@pytest.mark.parametrize("options", STREAMED, ids=str)
@pytest.mark.parametrize(("H", "W", "q"), [(10, 9, 5), (30, 41, 9)])
def test_row_by_row_it_is_the_network_with_neighbourhoods(options, H, W, q):
    net, y = small(**options), torch.rand(1, 1, H, W)
    assert Streamed.can(net)
    streamed = Streamed(net, q)(y)
    exact = net.double()(y.double(), neighbours(H, W, q))
    torch.testing.assert_close(streamed.double(), exact, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("H", "W", "q"), [(1, 1, 5), (5, 40, 13), (9, 3, 5), (40, 12, 9), (50, 20, 45)])
@pytest.mark.parametrize("held", ["all", "some", "none"])
def test_it_is_so_whatever_is_held_of_the_correlations(H, W, q, held, monkeypatch):
    n_bytes = {"all": 2**30, "some": 4 * W * 48 * min(q, H) * 40, "none": 0}
    monkeypatch.setattr(streamed, "HELD_BYTES", n_bytes[held])
    net, y = small(), torch.rand(1, 1, H, W)
    torch.testing.assert_close(Streamed(net, q)(y), net(y, neighbours(H, W, q)), rtol=0, atol=1e-5)


def test_row_by_row_correlations_far_apart_are_weighed_as_the_network_weighs_them():
    net, y = small(), torch.rand(1, 1, 24, 30)
    for module in net.non_local:
        module.theta_psi_g.weight.data[:16] *= 12  # of the order of 100: most of what is weighed is 0
    torch.testing.assert_close(Streamed(net, 9)(y), net(y, neighbours(24, 30, 9)), rtol=0, atol=1e-4)


def test_the_correlations_held_are_those_that_the_memory_is_enough_for(monkeypatch):
    modules = [
        streamed.Attention(m, torch.ones(16), torch.zeros(16)) for m in small(tied=False, n_steps=12).non_local
    ]

    def begins(width):
        return streamed.Passed(streamed.Image(1024, width, 45, Workers(1, map)), modules, propagate=True).begins

    assert begins(768) == 0
    assert 0 < begins(1024) < begins(2048) <= 11
    assert begins(100_000) == 11


def test_threads_do_not_change_the_answer():
    net, y, n = small(), torch.rand(1, 1, 40, 50), torch.get_num_threads()
    answers = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        answers.append(Streamed(net, 9)(y))
        assert torch.get_num_threads() == threads
    torch.set_num_threads(n)
    assert torch.equal(*answers)


@pytest.mark.parametrize(
    ("variant", "options", "module"),
    [
        ("", {}, Streamed),
        ("bf16", {}, Sliding),
        ("", {"metric": "dot"}, Sliding),
        ("", {"metric": "gaussian"}, Sliding),
    ],
    ids=str,
)
def test_what_runs_a_network(variant, options, module):
    restorer = NLRN(variant)
    restorer.options = {"n_steps": 2, "width": 8, "embedding": 4, **options}
    restorer.prepare(GRAY, "cpu")
    assert type(restorer.net) is module


def test_sliding_in_bfloat16_stays_close():
    torch.manual_seed(0)
    net, y = small(), torch.rand(1, 1, 30, 41)
    with torch.inference_mode():
        exact, fast = (Sliding(net, 9, dtype)(y) for dtype in (torch.float32, torch.bfloat16))
    assert 0 < (exact - fast).abs().max() < 0.02 * (exact - y).abs().max()


def test_patches_and_sliding_agree_where_every_neighbourhood_is_a_patch():
    net = small()
    for H, W in [(45, 45), (45, 20), (30, 7)]:
        y = torch.rand(1, 1, H, W)
        with torch.inference_mode():
            sliding = Sliding(net, 45, torch.float32)(y)
            torch.testing.assert_close(averaged_patches(net, y), sliding, rtol=0, atol=1e-5)


def test_they_agree_inside_a_patch_too_where_neighbourhoods_are_smaller():
    """One state with 5x5 neighbourhoods sees 6 pixels far: 1 for the first convolution, 2, and 3 for the others."""
    net, y = small(n_steps=1), torch.rand(1, 1, 33, 30)
    with torch.inference_mode():
        whole = Sliding(net, 5, torch.float32)(y)
        patch = Sliding(net, 5, torch.float32)(y[:, :, 5:25, 4:24])
    assert torch.allclose(whole[:, :, 11:19, 10:18], patch[:, :, 6:14, 6:14], atol=1e-5)
    assert not torch.allclose(whole[:, :, 5:25, 4:24], patch, atol=1e-3)


def test_patches_are_averaged_with_the_last_flush_with_the_border():
    assert starts(61) == [0, 7, 14, 16]
    assert starts(45) == starts(9) == [0]
    net, y = small(n_steps=1), torch.rand(1, 1, 48, 45)
    with torch.inference_mode():
        upper, lower = net(y[:, :, :45]), net(y[:, :, 3:])
        got = averaged_patches(net, y)
    torch.testing.assert_close(got[:, :, :3], upper[:, :, :3])
    torch.testing.assert_close(got[:, :, 3:45], (upper[:, :, 3:] + lower[:, :, :42]) / 2)
    torch.testing.assert_close(got[:, :, 45:], lower[:, :, 42:])


def test_the_tiles_hold_every_pixel_once_and_all_its_neighbours():
    H, W, q = 40, 29, 9
    tiling, seen = Tiling(H, W, q), torch.zeros(H, W, 1)
    every = slice(None)
    tiling.add(seen, torch.ones(len(tiling.tiles), tiling.h * tiling.w, 1), every)
    assert (seen == 1).all()
    pixel = torch.arange(H * W).view(H, W, 1)
    S = neighbours(H, W, q)
    for k in range(len(tiling.tiles)):
        own, near = tiling.inside(pixel, slice(k, k + 1)).flatten(), tiling.around(pixel, slice(k, k + 1)).flatten()
        assert torch.equal(tiling.penalty(k) == 0, S[own][:, near])
        assert (S[own][:, near].sum(1) == q * q).all()


def test_multiply_accumulates_are_those_counted_while_it_runs():
    restorer = NLRN("patches")
    restorer.options = {"n_steps": 2, "width": 8, "embedding": 4}
    restorer.prepare(GRAY, "cpu")
    seen = Observation(np.zeros((50, 12, 1), np.float32), "denoise", sigma=25)
    y = restorer.to_tensor(seen.image)
    counted = count_macs(lambda: restorer.forward(y, seen))
    assert restorer.macs_per_pixel(seen) == counted / (50 * 12)


def test_multiply_accumulates_of_sliding_are_a_few_times_fewer_per_pixel():
    image = np.zeros((256, 256, 1), np.float32)
    macs = {}
    for variant in ("", "patches"):
        restorer = NLRN(variant)
        restorer.plain = NonLocalRecurrent()
        macs[variant] = restorer.macs_per_pixel(Observation(image, "denoise", sigma=25))
    assert macs["patches"] > 20 * macs[""]


@pytest.mark.parametrize("variant", ["", "patches"])
@pytest.mark.parametrize("setting", [GRAY, Setting("denoise", 25, 3), Setting("superres", 2, 1)], ids=str)
def test_a_small_one_keeps_to_the_contract(variant, setting):
    restorer = NLRN(variant)
    restorer.options = {"n_steps": 2, "width": 8, "embedding": 4}
    restorer.prepare(setting, "cpu")
    randomised(restorer.plain)
    restorer.net = restorer.compile(restorer.plain, setting)
    for size in ((1, 1), (7, 9), (24, 30)):
        seen = observe_disc(setting, size)
        image = seen.image.copy()
        first, second = restorer.restore(seen), restorer.restore(seen)
        assert first.shape == seen.restored_shape
        assert first.dtype == np.float32
        assert np.isfinite(first).all()
        assert np.array_equal(first, second)
        assert np.array_equal(image, seen.image)


# --- super-resolution ---


def test_super_resolution_starts_from_the_enlarged_image():
    restorer = NLRN()
    restorer.options = {"n_steps": 2, "width": 16, "embedding": 8, "levels": [2, 3]}
    restorer.prepare(Setting("superres", 3, 1), "cpu")
    seen = Observation(np.random.default_rng(0).random((5, 7, 1), dtype=np.float32), "superres", scale=3)
    np.testing.assert_allclose(restorer.restore(seen), seen.upscaled(), atol=1e-6)  # untrained: the identity
    y = torch.from_numpy(seen.image).permute(2, 0, 1)[None]
    np.testing.assert_allclose(
        restorer.estimate(restorer.plain, y, seen, 3)[0, 0], seen.upscaled()[..., 0], atol=1e-6
    )


# --- training ---


def test_training_begins_with_the_identity():
    y = torch.rand(2, 1, 12, 12)
    assert torch.equal(NonLocalRecurrent(n_steps=3)(y), y)


@pytest.mark.parametrize("options", [*VARIANTS, {"metric": "dot"}], ids=str)
def test_training_steps_under_autocast_lower_the_loss_and_reach_every_parameter(options):
    torch.manual_seed(0)
    restorer = NLRN()
    restorer.options = {"n_steps": 4, "width": 16, "embedding": 8, **options}
    net = restorer.network(GRAY).train()
    x = torch.rand(2, 1, 12, 12).round()
    y = x + 0.1 * torch.randn_like(x)
    optimiser = torch.optim.Adam(net.parameters(), 3e-3)
    losses = []
    for _ in range(30):
        with torch.autocast("cpu", torch.bfloat16):
            x_hat = restorer.estimate(net, y, Observation(y[0].numpy(), "denoise", sigma=25), 25)
        loss = restorer.loss(x_hat.float(), x)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    assert not [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()]


def test_an_unknown_metric_is_named():
    with pytest.raises(ValueError, match="metric is 'cosine', expected one of embedded-gaussian"):
        NonLocalRecurrent(metric="cosine")


@pytest.mark.parametrize("name", read_recipes(RECIPES))
def test_every_recipe_makes_a_network_of_the_size_that_its_table_compares(name):
    restorer = NLRN()
    restorer.options = read_recipes(RECIPES)[name].options
    convolutions = sum(n_params(m) for m in restorer.network(GRAY).modules() if isinstance(m, nn.Conv2d))
    kernels_and_biases = {
        "euclidean": 330_625 - 2 * 129 * 64,  # without theta and psi
        "dot": 330_625 - 2 * 129 * 64,
        "gaussian": 330_625 - 2 * 129 * 64,
        "symmetric": 330_625 - 129 * 64,  # without psi
        "untied": 330_625 + 11 * (2 * 9 * 128 * 128 + 128 * 256 + 512),
        "local": 330_886,
    }
    assert convolutions == kernels_and_biases.get(name, 330_625)


def test_the_ablations_differ_from_the_papers_recipe_in_their_options_only():
    recipes = read_recipes(RECIPES)
    names = [entry.id.removeprefix("nlrn-") for entry in load("nlrn-2018").entries if entry.table in ("1", "2")]
    ablations = {name: recipe for name, recipe in recipes.items() if recipe.options}
    assert ablations.keys() == {*names} - {"nlrn"}
    for recipe in ablations.values():
        assert replace(recipe, name="paper", source=recipes["paper"].source, options={}) == recipes["paper"]


# --- what it looks at: Fig. 1 ---


@pytest.mark.parametrize("pixel", [(0, 0), (9, 4), (19, 12)])
def test_maps_are_the_weights_of_a_pixel_in_its_neighbourhood(pixel):
    restorer = NLRN()
    restorer.options = {"n_steps": 3, "width": 16, "embedding": 8, "neighbourhood": 9}
    restorer.prepare(GRAY, "cpu")
    net = restorer.plain = randomised(restorer.plain)
    seen = observe_disc(GRAY, (20, 13))
    maps = restorer.maps(seen, pixel)
    assert [*maps] == ["state 1", "state 2", "state 3"]

    top, left = (min(max(i - 4, 0), n - 9) for i, n in zip(pixel, (20, 13), strict=True))
    y = torch.from_numpy(seen.image[top : top + 9, left : left + 9, 0])[None, None].double()
    net = net.double()
    X = torch.relu(net.norms[0][0](net.input(y)))
    theta, psi, _ = (x.flatten(1, 2)[0] for x in net.non_local[0].embed(X))
    weights = torch.softmax(psi @ theta[(pixel[0] - top) * 9 + pixel[1] - left], 0)
    want = np.zeros((20, 13))
    want[top : top + 9, left : left + 9] = (weights / weights.max()).view(9, 9).numpy()
    np.testing.assert_allclose(maps["state 1"], want, atol=1e-5)


def test_maps_are_of_the_states_that_look_around():
    restorer = NLRN()
    seen = observe_disc(GRAY, (12, 10))
    for every, titles in ((2, ["state 1", "state 5", "state 7"]), (0, [])):
        restorer.options = {"n_steps": 8, "width": 8, "embedding": 4, "every": every}
        restorer.prepare(GRAY, "cpu")
        assert [*restorer.maps(seen, (3, 3))] == titles
