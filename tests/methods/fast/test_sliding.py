"""Sliding inference: the whole image at once gives what the network's own equations give, at any size."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from bench.methods.fast import windows
from bench.methods.fast.groupsc import sliding_restore
from bench.methods.fast.sweep import Sweep, turns
from bench.methods.fast.windows import Tiling, neighbourhood
from bench.methods.networks.sparse_coding import SparseCoding
from bench.methods.sparse.patches import reflect
from torch import Tensor


def network(window: int = 12, channels: int = 1, **options: Any) -> SparseCoding:
    """Thresholds that leave about half of the codes, weights of the distance and nu away from their first values."""
    torch.manual_seed(0)
    options = {"n_atoms": 64, **options}
    net = SparseCoding(channels, window=window, lmbda_init=0.01, **options).requires_grad_(False)
    net.lmbda += 0.005 * torch.rand_like(net.lmbda)
    net.kappa += 0.3 * torch.rand_like(net.kappa)
    net.W += 0.02 * torch.randn_like(net.W)
    return net


def noisy(height: int, width: int, channels: int = 1) -> Tensor:
    """Stripes, a ramp and an edge, in noise of sigma 25."""
    i, j = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    x = 0.5 + 0.2 * torch.sin(0.7 * i + 0.3 * j) * (j < 20) + 0.01 * (i - 20) * (j >= 20)
    x = x.expand(1, channels, height, width)
    return x + 25 / 255 * torch.randn(x.shape, generator=torch.Generator().manual_seed(1))


def dense(net: SparseCoding, y: Tensor, mask: Tensor | None = None) -> Tensor:
    """Algorithm 1 with Eq. 5, 6, 11, 12 and 14 on the reflected image, naively: every patch against every other."""
    s, pad = net.patch_size, net.patch_size - 1
    y = F.pad(y, (pad,) * 4, mode="reflect")
    H, W = y.shape[2:]
    M = 1 if mask is None else F.unfold(F.pad(mask, (pad,) * 4, mode="reflect"), s)[0].T
    i = torch.arange(H - pad).repeat_interleave(W - pad)
    j = torch.arange(W - pad).repeat(H - pad)
    rows, columns = i[None] - i[:, None], j[None] - j[:, None]
    low, high = -(net.window // 2), (net.window - 1) // 2
    window = (rows >= low) & (rows <= high) & (columns >= low) & (columns <= high)

    def average(patches: Tensor) -> Tensor:
        count = F.fold(torch.ones_like(patches).T[None], (H, W), s)[:, :1]
        return F.fold(patches.T[None], (H, W), s) / count[:, :1]

    def similarity(u: Tensor) -> Tensor:
        return torch.exp(-torch.cdist(u, u).square()) * window

    patches = F.unfold(y, s)[0].T
    mu = patches.mean(1, keepdim=True)
    y_c, nu = patches - mu, torch.sigmoid(net.nu)
    guessed = mask is None or bool(net.first_guess)
    u = y_c * net.kappa if guessed else (y_c * net.kappa).unflatten(1, (3, -1)).sum(1)
    Sigma, alpha = similarity(u), torch.zeros(len(y_c), net.D.shape[1])
    for k in range(net.n_steps):
        if k in range(net.freq + 1, net.n_steps, net.freq):
            x_hat = F.unfold(average(alpha @ net.W.T + mu), s)[0].T - mu
            Sigma = (1 - nu) * Sigma + nu * similarity(x_hat * net.kappa)
        B = alpha + ((1 if guessed and k == 0 else M) * (y_c - alpha @ net.D.T)) @ net.C
        norm = torch.sqrt(Sigma @ B.square() + 1e-8)
        alpha = torch.relu(1 - net.lmbda[k] * Sigma.sum(1, keepdim=True).sqrt() / norm) * B
    return average(alpha @ net.W.T + mu)[:, :, pad:-pad, pad:-pad]


def test_exact_settings_give_the_equations_evaluated_naively():
    y, net = noisy(40, 44), network()
    x_hat = sliding_restore(net, y, thin=1, dtype=torch.float32)
    assert (x_hat - y).abs().max() > 0.1  # it does something
    torch.testing.assert_close(x_hat, dense(net, y), rtol=0, atol=1e-5)


@pytest.mark.parametrize("window", [1, 7, 50])
def test_windows_odd_one_and_larger_than_the_image(window):
    y, net = noisy(12, 15), network(window)
    torch.testing.assert_close(sliding_restore(net, y, thin=1, dtype=torch.float32), dense(net, y), rtol=0, atol=1e-4)


@pytest.mark.parametrize(("window", "freq"), [(12, 2), (30, 1)])
def test_rows_of_tiles_that_are_done_make_room_for_others(monkeypatch, window, freq):
    """An image with more rows of tiles than are under way at once, and one whose windows reach over several."""
    monkeypatch.setattr(windows, "TILE", 6)
    y, net = noisy(130, 9), network(window, n_steps=5, freq=freq, patch_size=5)
    x_hat = sliding_restore(net, y, thin=1)
    torch.testing.assert_close(x_hat, dense(net, y), rtol=0, atol=1e-5)


def test_a_row_waits_for_what_it_needs():
    """Of the rows below: a step for its neighbours' codes, a refresh for the estimates around them too."""
    assert [tuple(turn) for turn in turns(n_steps=5, refreshed=[4], reach=1, overlap=2)] == [
        *((0, "begin", 0), (1, "step", 0), (1, "step", 1), (1, "step", 2), (1, "step", 3)),
        *((3, "refresh", 4), (0, "step", 4)),
    ]


@pytest.mark.parametrize(("n_atoms", "channels"), [(64, 1), (50, 1), (70, 3)])
def test_a_tall_image_is_the_same_on_any_number_of_threads(n_atoms, channels):
    """So tall that rows take the memory of those before them, with codes that do not fill whole vectors too."""
    y, net = noisy(150, 20, channels), network(channels=channels, n_steps=4, freq=2, patch_size=5, n_atoms=n_atoms)
    n, answers = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            answers.append(sliding_restore(net, y, thin=1))
    finally:
        torch.set_num_threads(n)
    plain = net(reflect(y, 4))[:, :, 4:-4, 4:-4]
    torch.testing.assert_close(answers[0], plain, rtol=0, atol=1e-5)
    assert torch.equal(answers[0], answers[1])
    assert torch.equal(answers[0], answers[2])


@pytest.mark.parametrize(
    "options",
    [
        {"penalty": "group-sum"},
        {"penalty": "centred"},
        {"freq": 0},
        {"freq": 3, "averaged": False},
        {"online_average": False},
        {"step_thresholds": False},
    ],
    ids=str,
)
@pytest.mark.parametrize("channels", [1, 3])
def test_with_every_option_it_answers_as_the_network_itself(options, channels):
    y, net = noisy(20, 25, channels), network(channels=channels, n_steps=9, patch_size=5, **options)
    plain = net(reflect(y, 4))[:, :, 4:-4, 4:-4]
    torch.testing.assert_close(sliding_restore(net, y, thin=1), plain, rtol=0, atol=1e-5)


def test_sweeping_is_for_the_papers_penalty_and_averaged_estimates():
    """What is no option of these leaves the products between the steps as they are."""
    assert Sweep.can(network(online_average=False, learned_distance=False, step_thresholds=False, freq=0))
    assert not any(Sweep.can(network(**options)) for options in ({"penalty": "centred"}, {"averaged": False}))


def test_the_number_of_threads_changes_nothing():
    y, net = noisy(40, 44), network(n_steps=9)
    before = torch.get_num_threads()
    answers = []
    try:
        for n in (1, 3):
            torch.set_num_threads(n)
            answers.append(sliding_restore(net, y))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*answers)


@pytest.mark.parametrize("first_guess", ["", "menon"])
def test_colour_with_a_mask(first_guess):
    y, net = noisy(20, 25, channels=3), network(channels=3, first_guess=first_guess)
    net.kappa *= 0.3  # without which all similarities are nearly 0
    mask = (torch.rand(y.shape, generator=torch.Generator().manual_seed(2)) < 0.5).float()
    y = y if first_guess else y * mask
    x_hat = sliding_restore(net, y, mask, thin=1, dtype=torch.float32)
    torch.testing.assert_close(x_hat, dense(net, y, mask), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("thin", "dtype", "grey_levels"), [(1, torch.bfloat16, 0.1), (2, torch.float32, 0.2), (2, torch.bfloat16, 0.2)]
)
def test_what_makes_it_fast_moves_the_answer_little(thin, dtype, grey_levels):
    y, net = noisy(40, 44), network()
    difference = sliding_restore(net, y, thin=thin, dtype=dtype) - dense(net, y)
    assert 255 * difference.square().mean().sqrt() < grey_levels


@pytest.mark.parametrize("size", [(1, 1), (1, 30), (7, 9), (37, 61)])
def test_any_size(size):
    y = noisy(*size)
    before = y.clone()
    x_hat = sliding_restore(network(), y)
    assert (x_hat.shape, x_hat.dtype) == (y.shape, torch.float32)
    assert torch.isfinite(x_hat).all()
    assert torch.equal(y, before)


def test_batches_and_tiles_are_a_matter_of_speed_only(monkeypatch):
    y, net = noisy(33, 9), network()
    once = sliding_restore(net, y, thin=1, dtype=torch.float32)
    monkeypatch.setattr(windows, "TILE", 5)
    torch.testing.assert_close(sliding_restore(net, y, thin=1, dtype=torch.float32), once, rtol=0, atol=1e-5)


def test_constant_image_and_negative_or_zero_thresholds_stay_finite():
    net = network()
    net.lmbda[:, ::2], net.lmbda[:, 1::4] = 0, -0.01
    assert torch.isfinite(sliding_restore(net, torch.full((1, 1, 12, 12), 0.3))).all()


def test_cutting_into_tiles_and_joining_again_changes_nothing():
    x = torch.rand(1, 25, 14, 3)
    tiling = Tiling(25, 14, 8, 2, x.device)
    assert torch.equal(tiling.join(tiling.cut(x)), x)


def test_thinned_neighbourhood_counts_as_many_neighbours_as_the_whole():
    di, dj, times = neighbourhood(12, 12, 25, thin=2)
    assert len(set(zip(di.tolist(), dj.tolist(), strict=True))) == len(di) < 0.45 * 36**2
    assert times.sum() == pytest.approx(36**2, rel=0.05)


@pytest.mark.slow
def test_memory_grows_with_the_image_no_faster_than_its_area():
    small, large = _peak_mib(96), _peak_mib(384)
    assert large < 17 * small


def _peak_mib(side: int) -> float:
    """Of a process of its own, above what it needs before the call."""
    program = (
        "import torch; from bench.measure.memory import peak_mib; "
        "from bench.methods.networks.sparse_coding import SparseCoding; "
        "from bench.methods.fast.groupsc import sliding_restore; net = SparseCoding(window=24, n_steps=9); "
        "sliding_restore(net, torch.rand(1, 1, 16, 16)); "
        "before = peak_mib('cpu'); "
        f"sliding_restore(net, torch.rand(1, 1, {side}, {side})); print(peak_mib('cpu') - before)"
    )
    return float(subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout)
