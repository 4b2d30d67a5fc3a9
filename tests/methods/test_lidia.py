"""LIDIA: its layers and its image against a direct transcription, its statistics, the authors' files and figures."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from bench.methods.fast import lidia as fast
from bench.methods.fast.nearest import ACROSS, DOWN, nearest
from bench.methods.lidia import LIDIA, read_authors
from bench.methods.networks import lidia
from bench.methods.networks.adaptation import Adaptation
from bench.methods.networks.lidia import PatchNetwork, Separable, lidia_denoise, lidia_estimate, split
from bench.methods.sparse.neighbours import nearest_patches
from torch import Tensor, nn

from bench.plugins.registry import choose
from bench.plugins.weights import candidates
from bench.restorer import Observation, Setting
from tests.methods.published import mean_psnr_db, pictures, weights


def randomised(channels: int, *, small: bool = False) -> PatchNetwork:
    """A network in which every tensor matters: no zeros, no ones, statistics of its own."""
    torch.manual_seed(0)
    net = PatchNetwork(channels, small=small).requires_grad_(False).eval()
    for tensor in net.state_dict().values():
        if tensor.is_floating_point():
            tensor.mul_(0.8).add_(0.1 * torch.rand_like(tensor))
    net.out.hor.mul_(0.01)  # estimates of the size of an image, or the weights of all patches of a pixel may be 0
    return net


def surrounded(x: Tensor, n: int) -> Tensor:
    """x with n pixels of noise around it, always the same.

    Stands for the reflection: in that, patches on the border are their own mirror images, exactly as far from any
    patch as from its mirror image, and which of the two is the nearer is left to the rounding.
    """
    noise = torch.Generator().manual_seed(n)
    answer = torch.rand(*x.shape[:2], x.shape[2] + 2 * n, x.shape[3] + 2 * n, generator=noise).to(x) - 0.5
    answer[:, :, n:-n, n:-n] = x
    return answer


def direct(net: PatchNetwork, y: Tensor, training: bool, *, inner: bool = False) -> Tensor:
    """All groups at once, distances to all candidates, layers on (n, hor, ver) with torch's batch normalisation."""
    s, C, (H, W) = net.size, y.shape[1], (n - 2 * net.margin * inner for n in y.shape[2:])
    norm = lambda bn, x: F.batch_norm(  # noqa: E731
        x, *(None, None) if training else (bn.running_mean, bn.running_var), bn.weight, bn.bias, training
    )

    def layer(unit: Separable, x: Tensor) -> Tensor:
        x = unit.hor @ (x @ unit.ver.T) + unit.b
        x = x if unit.bn is None else norm(unit.bn, x)
        return F.relu(x) if unit.relu else x

    def part(p: nn.Module, x: Tensor) -> Tensor:
        x = layer(p.first, x)
        return x if p.second is None else p.a * x + (1 - p.a) * layer(p.second, x)

    def blur(x: Tensor) -> Tensor:
        kernel = torch.tensor([1.0, 2.0, 1.0]) / 4
        return F.conv2d(x.transpose(0, 1), torch.outer(kernel, kernel)[None, None]).transpose(0, 1)

    y = 2 * y - 1
    mean = y.mean((2, 3), keepdim=True)
    y = y - mean
    if inner:  # of the crop itself there are so many pixels around what patches and their candidates reach
        far = net.margin - (s - 1) - 14
        images = y[:, :, far:-far, far:-far], blur(y)
    else:
        images = surrounded(y, s - 1), blur(surrounded(y, (s - 1) // 2 + 1 + s - 1))
        images = [F.pad(image, [14 * d] * 4, value=-1.0) for d, image in enumerate(images, start=1)]
    own, back = [], []
    for d, (image, scale) in enumerate(zip(images, net.scales, strict=True), start=1):
        patches = F.unfold(image, s, dilation=d)[0].T
        gray = (torch.tensor([0.2989, 0.5870, 0.1140]).view(1, 3, 1, 1) * image).sum(1, True) if C == 3 else image
        gray = F.unfold(gray, s, dilation=d)[0].T
        columns = image.shape[3] - (s - 1) * d
        i, j = torch.meshgrid(torch.arange(H + s - 1), torch.arange(W + s - 1), indexing="ij")
        corner = (i * columns + j).flatten()
        shift = d * torch.arange(29)
        places = corner[:, None] + (shift[:, None] * columns + shift).flatten()
        itself = places[:, 14 * 29 + 14]
        found = (gray[places] - gray[itself][:, None]).square().sum(2).topk(14, largest=False)
        groups = patches[places.gather(1, found.indices)]
        distances = torch.cat([found.values[:, 1:], groups[:, 0].std(1, keepdim=True) ** 2 * groups.shape[2]], 1)
        w = torch.exp(-scale.weights.alpha.abs() * distances)
        for m in scale.weights.layers:
            w = norm(m, w) if isinstance(m, nn.BatchNorm1d) else m(w)
        x = part(scale.part1, w[:, :, None] * groups)
        own.append(x)
        z = layer(scale.to_patch, x)[:, 0]
        shape = [n + (s - 1) * d for n in (H + s - 1, W + s - 1)]
        z = z / w[:, :1] if d == 2 else z
        z = F.fold(z.T[None], shape, s, dilation=d) / F.fold(torch.ones_like(z.T[None]), shape, s, dilation=d)
        z = blur(surrounded(z, 1)) if d == 2 else z
        z = F.unfold(z, s, dilation=d)[0].T
        back.append(layer(scale.from_patch, (w[:, :1] * z if d == 2 else z)[:, None]))
        first = groups[:, 0] if d == 1 else first  # noqa: F821
    x_hat = first - layer(net.out, part(net.part2, torch.cat(own + back, 1)))[:, 0]
    weight = torch.exp(-net.beta.abs() * (x_hat - x_hat.mean(1, keepdim=True)).square().mean(1, keepdim=True))
    shape = (H + 2 * s - 2, W + 2 * s - 2)
    total = F.fold((weight * x_hat).T[None], shape, s)
    total /= F.fold(weight.expand(-1, x_hat.shape[1]).T[None], shape, s)
    return ((total[:, :, s - 1 : -s + 1, s - 1 : -s + 1] + mean).clamp(-1, 1) + 1) / 2


@pytest.mark.parametrize(("channels", "small"), [(1, False), (3, False), (1, True)])
@pytest.mark.parametrize("statistics", ["sample", "authors", "stored"])
def test_it_answers_as_the_transcription(channels, small, statistics, monkeypatch):
    monkeypatch.setattr(lidia, "reflect", surrounded)
    monkeypatch.setattr(fast, "reflect", surrounded)
    net, y = randomised(channels, small=small), torch.rand(1, channels, 15, 18)
    if statistics == "stored" and not small:
        net.out.hor.mul_(1e-3)  # else all is clamped to black
    expected = direct(net, y, statistics != "stored")
    assert expected.std() > 0.05
    # fewer patches than a sample or a chunk: both have them all
    torch.testing.assert_close(lidia_denoise(net, y, statistics), expected, rtol=0, atol=2e-5)
    torch.testing.assert_close(fast.restored(net, y, statistics), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("channels", "small"), [(1, False), (3, False), (1, True)])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("inner", [True, False])
def test_training_sees_what_the_transcription_says_but_for_the_clamp(channels, small, training, inner, monkeypatch):
    monkeypatch.setattr(lidia, "reflect", surrounded)
    net = randomised(channels, small=small).train(training)
    y = torch.rand(1, channels, *(n + 2 * net.margin * inner for n in (15, 18)))
    if not training and not small:
        net.out.hor.mul_(1e-3)
    expected = direct(net, y, training, inner=inner)
    assert expected.shape[2:] == (15, 18)
    before = {name: tensor.clone() for name, tensor in net.named_buffers()}
    twice = lidia_estimate(net, y.repeat(2, 1, 1, 1), inner=inner)  # which leaves statistics of a batch as they are
    torch.testing.assert_close(twice.clamp(0, 1), expected.repeat(2, 1, 1, 1), rtol=0, atol=2e-5)
    learned = [name for name, tensor in net.named_buffers() if not torch.equal(tensor, before[name])]
    assert len(learned) == (len(before) if training else 0)


@pytest.mark.parametrize("channels", [1, 3])
def test_in_bfloat16_it_finds_the_same_neighbours(channels):
    net, y = randomised(channels), torch.rand(1, channels, 12, 15)
    images = lidia.surrounded(net, y - 0.5)
    expected = lidia.groups_of(net, images, stored=True)
    with torch.autocast("cpu", torch.bfloat16):
        found = lidia.groups_of(net, images, stored=True)
        assert torch.isfinite(lidia_estimate(net, y, inner=False)).all()
    assert all(torch.equal(a.places, b.places) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize(("channels", "small", "training"), [(1, False, True), (1, False, False), (3, True, True)])
def test_its_gradients_are_those_of_differences(channels, small, training):
    net = randomised(channels, small=small).double().train(training).requires_grad_(True)
    y = torch.rand(1, channels, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    lidia_estimate(net, y, inner=False).square().mean().backward()
    random, h = torch.Generator().manual_seed(2), 1e-6
    for name, p in net.named_parameters():
        along = F.normalize(torch.randn(p.shape, generator=random, dtype=torch.float64).flatten(), dim=0).view_as(p)
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                p.add_(along, alpha=sign * h)
                values.append(lidia_estimate(net, y, inner=False).square().mean())
                p.sub_(along, alpha=sign * h)
        expected = float(values[0] - values[1]) / (2 * h)
        assert float((p.grad * along).sum()) == pytest.approx(expected, rel=1e-3), name


def test_lidia_adapted_answers_the_same_whenever_it_is_asked(monkeypatch):
    monkeypatch.setattr("bench.methods.lidia.ADAPTATION", Adaptation(steps=2, crops=2, side=16, lr=1e-3))
    seen = observation(24, 13, sigma=25)  # less than a crop along one side
    answers = {}
    for variant in ("", "adapted"):
        restorer = LIDIA(variant)
        restorer.prepare(Setting("denoise", 25, 1), "cpu")
        answers[variant] = restorer.restore(seen)
        np.testing.assert_array_equal(restorer.restore(seen), answers[variant])
    assert np.abs(answers["adapted"] - answers[""]).max() > 1e-4
    nothing_to_remove = observation(24, 13, sigma=0)
    assert np.isfinite(restorer.restore(nothing_to_remove)).all()


def test_the_cost_of_adapting_is_that_of_what_it_runs(monkeypatch):
    """Both restorations, and three times a crop's forward pass, which is counted here."""
    from bench.measure.complexity import count_macs

    how = Adaptation(steps=5, crops=2, side=16, lr=1e-3)
    monkeypatch.setattr("bench.methods.lidia.ADAPTATION", how)
    macs = {}
    for variant in ("", "adapted"):
        restorer = LIDIA(variant)
        restorer.prepare(Setting("denoise", 25, 1), "cpu")
        macs[variant] = restorer.macs_per_pixel(observation(30, 20, sigma=25))
    of_a_crop = count_macs(lambda: lidia_estimate(restorer.plain, torch.rand(1, 1, 92, 92), inner=True))
    learning = 3 * how.steps * how.crops * of_a_crop / (30 * 20)
    assert macs["adapted"] == pytest.approx(2 * macs[""] + learning)


@pytest.mark.parametrize(("channels", "side", "rim"), [(1, 80, 38), (3, 76, 35), (1, 40, 0)])
def test_the_rim_of_a_crop_is_not_learned_from(channels, side, rim):
    """What is on it changes nothing but as others' neighbours; a crop that would be all rim is taken whole."""
    restorer, net = LIDIA(), randomised(channels).train().requires_grad_(True)
    y, x = torch.rand(2, 2, channels, side, side)
    x_hat = restorer.estimate(net, y, observation(4, 4, sigma=25), 25.0)
    inner = x_hat[:, :, rim : side - rim, rim : side - rim]
    torch.testing.assert_close(
        restorer.loss(x_hat, x), (inner - x[:, :, rim : side - rim, rim : side - rim]).square().mean()
    )
    changed = (x_hat != y).any(0).any(0)
    assert int(changed.sum()) == (side - 2 * rim) ** 2
    assert bool(changed[rim : side - rim, rim : side - rim].all())


def observation(height: int, width: int, *, sigma: float) -> Observation:
    random = np.random.default_rng(0)
    clean = 0.5 + 0.3 * np.sin(np.arange(width) / 2) * np.ones((height, 1))
    image = (clean + random.normal(0, sigma / 255, clean.shape)).astype(np.float32)[..., None]
    return Observation(image, "denoise", sigma=sigma)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("statistics", ["sample", "authors"])
def test_the_fast_way_is_the_plain_one(channels, statistics, monkeypatch):
    """Over several tiles of the search, several pieces of the authors' and a sample that is not everything.

    Both are held against the plain one in double precision. In colour these random weights leave 4e-5 of rounding in
    the plain one, so the fast one may have that too, and no more than a tenth beyond it.
    """
    for module in (lidia, fast):
        monkeypatch.setattr(module, "reflect", surrounded)
    monkeypatch.setattr(lidia, "AUTHORS_CHUNK", 700)
    monkeypatch.setattr(lidia, "SAMPLE", 300)
    net, y = randomised(channels), torch.rand(1, channels, 17, 45)
    plain, quick = lidia_denoise(net, y, statistics), fast.restored(net, y, statistics)
    exact = lidia_denoise(net.double(), y.double(), statistics)
    of_plain, of_quick = ((x_hat - exact).abs().max() for x_hat in (plain, quick))
    assert of_quick < max(1.1 * of_plain, 1e-6)


@pytest.mark.parametrize(("size", "dilation", "shape"), [(7, 1, (30, 50)), (5, 2, (21, 12))])
def test_the_search_in_tiles_finds_what_the_plain_search_finds(size, dilation, shape):
    x = F.pad(torch.rand(shape, generator=torch.Generator().manual_seed(0)), [14 * dilation] * 4, value=-1.0)
    gh, gw = (n - (size - 1) * dilation for n in shape)
    expected, places = nearest_patches(x, size, 14, 14, dilation)
    distances, candidates = found_in_tiles(x, size, dilation, gh, gw)
    np.testing.assert_allclose(distances[:, :13], expected[1:].T, rtol=0, atol=1e-5)
    n, in_a_row = np.arange(gh * gw)[:, None], x.shape[1] - (size - 1) * dilation
    rows, columns = n // gw + candidates // 29 * dilation, n % gw + candidates % 29 * dilation
    assert (rows * in_a_row + columns == places.T.numpy()).all()


def test_where_all_patches_are_alike_each_has_itself_and_thirteen_others():
    distances, candidates = found_in_tiles(torch.full((44, 44), 0.5), 7, 1, 10, 10)
    assert (distances[:, :13] == 0).all()
    assert (candidates[:, 0] == 14 * 29 + 14).all()
    assert all(len(set(group)) == 14 for group in candidates.tolist())


def found_in_tiles(x: Tensor, size: int, dilation: int, gh: int, gw: int) -> tuple[np.ndarray, np.ndarray]:
    image = F.pad(x, (0, -gw % ACROSS, 0, -gh % DOWN)).contiguous().numpy()
    distances, candidates = np.empty((gh * gw, 14), np.float32), np.empty((gh * gw, 14), np.int16)
    for top in range(0, gh, DOWN):
        for left in range(0, gw, ACROSS):
            nearest(image, size, 14, 14, dilation, top, left, gh, gw, distances, candidates)
    return distances, candidates


def test_patches_worked_on_at_a_time_do_not_change_the_answer(monkeypatch):
    net, y = randomised(1), torch.rand(1, 1, 13, 16)
    whole = lidia_denoise(net, y, "sample")
    monkeypatch.setitem(lidia.CHUNK, "cpu", 50)
    torch.testing.assert_close(lidia_denoise(net, y, "sample"), whole, rtol=0, atol=1e-5)


def test_the_authors_statistics_change_from_chunk_to_chunk(monkeypatch):
    net, y = randomised(1), torch.rand(1, 1, 13, 16)
    one = lidia_denoise(net, y, "authors")
    monkeypatch.setattr(lidia, "AUTHORS_CHUNK", 200)
    assert (lidia_denoise(net, y, "authors") - one).abs().max() > 1e-4


@pytest.mark.parametrize("grid", [(7, 7), (80, 64), (262, 262), (128, 1024)])
def test_the_sample_is_spread_over_all_columns(grid):
    (piece,) = split(grid, "sample")
    assert len(piece.groups) == grid[0] * grid[1]
    assert min(len(piece.groups), lidia.SAMPLE) / 2 < len(piece.sample) <= max(lidia.SAMPLE * 2, len(piece.groups))
    assert len({place % grid[1] for place in piece.sample}) == min(grid[1], len(piece.sample))


@pytest.mark.parametrize(("hor_in", "hor_out"), [(14, 1), (1, 14), (5, 5)])
def test_either_order_of_a_separable_layer_is_the_same_and_costs_what_it_says(hor_in, hor_out):
    unit = Separable(9, 6, hor_in, hor_out, relu=False).requires_grad_(False)
    unit.b.normal_()
    X = torch.rand(hor_in, 8, 9)
    expected = torch.einsum("oh,hnv,wv->onw", unit.hor, X, unit.ver) + unit.b[:, None]
    torch.testing.assert_close(unit(X), expected)
    from bench.measure.complexity import count_macs

    assert count_macs(lambda: unit(X)) == 8 * unit.macs()


@pytest.mark.parametrize(
    ("variant", "channels", "n_params"), [("", 1, 61_589), ("", 3, 94_067), ("small", 1, 40_226)]
)
def test_has_as_many_parameters_as_the_authors_train(variant, channels, n_params):
    restorer = LIDIA(variant)
    restorer.prepare(Setting("denoise", 25, channels), "cpu")
    assert restorer.n_params() == n_params


@pytest.mark.parametrize(
    ("variant", "task", "channels", "expected"),
    [
        ("", "denoise-blind", 1, None),
        ("", "denoise-blind", 3, "lidia has no blind model for colour"),
        ("small", "denoise", 1, None),
        ("small", "denoise-blind", 1, None),
        ("small", "denoise", 3, "lidia:small is for gray images"),
        ("small", "deblock", 3, "lidia does not deblock"),
        ("adapted", "denoise", 3, None),
        (
            "adapted",
            "denoise-blind",
            1,
            "lidia:adapted adds noise of the picture's own sigma, which it has to be told (denoise)",
        ),
    ],
)
def test_says_what_its_authors_have_no_model_for(variant, task, channels, expected):
    assert LIDIA(variant).why_not(Setting(task, 20, channels)) == expected


@pytest.mark.parametrize("variant", ["", "adapted", "authors", "stored", "small"])
def test_the_published_files_are_those_of_the_network_that_is_asked_for(variant):
    spec = choose(f"lidia:{variant}" if variant else "lidia")
    settings = [Setting("denoise", sigma, 1) for sigma in (15, 25, 50)] + [Setting("denoise-blind", 20, 1)]
    files = [one.file for setting in settings for one in candidates(spec, setting)]
    assert len(files) == 4
    assert all(("small" in file) == (variant == "small") for file in files)


@pytest.mark.slow
@pytest.mark.parametrize("sigma", ["15", "25", "50", "blind"])
@pytest.mark.parametrize(("size", "channels", "kind"), [("", 1, "bw"), ("", 3, "c"), ("small_", 1, "bw")])
def test_every_tensor_of_the_published_files_has_its_place(sigma, size, channels, kind):
    if (sigma, channels) == ("blind", 3):
        pytest.skip("not published")
    file = weights("lidia", f"model_state_{size}sigma_{sigma}_{kind}.pt", loader="lidia-authors")
    PatchNetwork(channels, small=bool(size)).load_state_dict(read_authors(file.path))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variant", "psnr_db"),
    [
        pytest.param("authors", (29.95, 33.11), marks=pytest.mark.weekly),
        ("", (29.95, 33.11)),
        ("stored", (29.92, 33.00)),
    ],
)
def test_reaches_the_figures_of_the_authors_code(variant, psnr_db):
    # what their code gives for the first two pictures of Set12, on other noise; as it is, and after eval()
    restorer = LIDIA(variant, weights("lidia", "model_state_sigma_25_bw.pt", loader="lidia-authors"))
    restorer.prepare(Setting("denoise", 25, 1), "cpu")
    for file, expected in zip(pictures("set12"), psnr_db, strict=False):
        assert mean_psnr_db(restorer, [file], sigma=25) == pytest.approx(expected, abs=0.05)
