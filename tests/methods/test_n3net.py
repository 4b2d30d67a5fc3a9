"""N3Net: its network against a direct transcription, its neighbours, the authors' files and a figure of theirs."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from bench.methods.n3net import N3Net, read_authors
from bench.methods.networks import n3net
from bench.methods.networks.n3net import K, N3Block, N3Network, relaxed_nearest
from torch import Tensor

from bench.plugins.registry import choose
from bench.plugins.weights import candidates
from bench.restorer import Observation, RestorerError, Setting, WeightsFile
from tests.methods.published import mean_psnr_db, pictures, weights

GRAY = Setting("denoise", 25, 1)


def randomised(module: torch.nn.Module) -> torch.nn.Module:
    """Every tensor matters: no zeros, no ones, statistics of its own."""
    torch.manual_seed(0)
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point():
            if "norm" in name or tensor.ndim == 1:
                tensor.copy_(0.5 + torch.rand_like(tensor))
            else:
                tensor.normal_(std=(2 / tensor[0].numel()) ** 0.5)
    return module.requires_grad_(False).eval()


def soft(block: N3Block) -> N3Block:
    """With weights as spread as the published ones': where one is 1 but for rounding, all others are left to that."""
    randomised(block).norm.running_var.fill_(1e5)
    return block


def draws(logits: Tensor) -> list[Tensor]:
    """In logarithms: l <- l + log(1 - w)."""
    weights = []
    for _ in range(K):
        log_w = torch.log_softmax(logits, -1)
        weights.append(log_w.exp())
        logits = logits + torch.log1p(-log_w.exp())
    return weights


def direct(block: N3Block, x: Tensor) -> Tensor:
    """One patch after the other, each compared with those of its window."""
    (H, W), C = x.shape[2:], x.shape[1]
    grid = [1 + math.ceil((n - 10) / 5) for n in (H, W)]
    size = [10 + 5 * (n - 1) for n in grid]
    above, left = (size[0] - H) // 2, (size[1] - W) // 2

    def padded(z: Tensor) -> Tensor:
        out = torch.zeros(1, z.shape[1], *size, dtype=z.dtype)
        out[:, :, above : above + H, left : left + W] = z
        return out

    total, count = torch.zeros(K, C, *size, dtype=x.dtype), torch.zeros(size, dtype=x.dtype)
    patches, embedded = (F.unfold(padded(z), 10, stride=5)[0].T for z in (x, block.embedding(x)))
    temperature = torch.exp(math.log(0.1) + F.unfold(padded(block.temperature(x)), 10, stride=5)[0].mean(0))
    norm = block.norm
    for i in range(grid[0]):
        for j in range(grid[1]):
            own = i * grid[1] + j
            up, across = (max(0, min(at - 7, n - 15)) for at, n in zip((i, j), grid, strict=True))
            others = [
                r * grid[1] + c
                for r in range(up, min(up + 15, grid[0]))
                for c in range(across, min(across + 15, grid[1]))
                if (r, c) != (i, j)
            ]
            D = -(embedded[others] - embedded[own]).square().sum(1)
            D = (D - norm.running_mean) / torch.sqrt(norm.running_var + norm.eps) * norm.weight + norm.bias
            place = slice(5 * i, 5 * i + 10), slice(5 * j, 5 * j + 10)
            for k, w in enumerate(draws(D / temperature[own])):
                total[k][:, place[0], place[1]] += (w @ patches[others]).view(C, 10, 10)
            count[place] += 1
    volumes = (total / count)[:, :, above : above + H, left : left + W]
    return torch.cat([x, *((volume - x[0])[None] for volume in volumes)], 1)


@pytest.mark.parametrize("shape", [(20, 20), (33, 87), (82, 26)])
def test_a_block_of_neighbours_answers_as_the_transcription(shape):
    block = soft(N3Block(8)).double()
    x = torch.rand(1, 8, *shape, dtype=torch.float64)
    torch.testing.assert_close(block(x), direct(block, x), rtol=0, atol=1e-8)


def test_all_neighbour_volumes_differ():
    volumes = soft(N3Block(8))(torch.rand(1, 8, 40, 40)).unflatten(1, (1 + K, 8))[0, 1:]
    for k in range(1, K):
        assert (volumes[k] - volumes[k - 1]).abs().max() > 1e-3


def test_patches_compared_together_do_not_change_the_answer(monkeypatch):
    block, x = soft(N3Block(8)), torch.rand(1, 8, 25, 93)
    whole = block(x)
    monkeypatch.setitem(n3net.COLUMNS, "cpu", 4)
    torch.testing.assert_close(block(x), whole, rtol=0, atol=1e-4)


def test_the_draws_are_those_in_logarithms():
    logits = 3 * torch.randn(20, 30, dtype=torch.float64)
    torch.testing.assert_close(relaxed_nearest(logits, K), torch.stack(draws(logits)))


def test_where_distances_are_far_apart_the_draws_are_the_nearest_in_order():
    order = torch.randperm(20, generator=torch.Generator().manual_seed(0))
    logits = torch.empty(1, 20)
    logits[0, order] = -30.0 * torch.arange(20)
    logits[0, order[19]] = -math.inf
    weights = relaxed_nearest(logits, 2)[:, 0]
    torch.testing.assert_close(weights.argmax(1), order[:2])
    torch.testing.assert_close(weights.amax(1), torch.ones(2))


@pytest.mark.parametrize("far", [1e2, 1e4, 1e30])
def test_no_distance_is_too_far_for_weights_that_sum_to_1(far):
    logits = -far * torch.arange(9.0)[None]
    logits[0, 4] = -math.inf
    weights = relaxed_nearest(logits, K)
    torch.testing.assert_close(weights.sum(2), torch.ones(K, 1))
    assert not weights[:, 0, 4].any()


def test_the_first_channels_of_a_block_of_convolutions_are_its_input_and_a_correction():
    block = randomised(N3Network()).blocks[0]
    block.body[-1].weight.zero_()
    block.body[-1].bias.zero_()
    y = torch.rand(1, 1, 20, 20)
    torch.testing.assert_close(block(y), torch.cat([y, torch.zeros(1, 7, 20, 20)], 1))


def authors_file(path, network: N3Network) -> dict[str, Tensor]:
    """What `read_authors` reads: their names, and what their network never used."""
    theirs = {}
    for name, tensor in network.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        name = name.replace("body.0.", "conv1.").replace("body.14.", "conv2.")
        name = re.sub(r"body\.(\d+)\.", lambda m: f"layer1.{int(m[1]) - 2}.", name)
        name = re.sub(r"^n3\.(\d)\.norm", r"nls.\1.n3aggregation.aggregation.nnn.bn", name)
        name = name.replace("n3.", "nls.", 1) if name.startswith("n3.") else name
        theirs[name.replace("embedding", "embedcnn").replace("temperature", "tempcnn")] = tensor
    for i in range(3):
        for name in ("weight", "bias", "running_mean", "running_var"):
            theirs[f"blocks.{i}.bn1.{name}"] = torch.rand(64)
    torch.save({"net": theirs, "epoch": 51}, path, _use_new_zipfile_serialization=False)
    return theirs


def test_every_weight_of_a_file_of_the_authors_finds_its_place(tmp_path):
    network = randomised(N3Network())
    theirs = authors_file(tmp_path / "051_ckpt.t7", network)
    assert {"blocks.0.layer1.10.running_var", "nls.1.embedcnn.6.bias", "blocks.2.conv2.weight"} <= theirs.keys()
    learned = [t for name, t in theirs.items() if "running" not in name]
    assert (sum(t.numel() for t in learned), sum(t.numel() for t in theirs.values())) == (705_895, 705_895 + 2_948)
    restorer = N3Net(weights=weights_at(tmp_path / "051_ckpt.t7"))
    restorer.prepare(GRAY, "cpu")
    assert restorer.n_params() == 705_511
    ours = restorer.plain.state_dict()
    assert all(torch.equal(tensor, ours[name]) for name, tensor in network.state_dict().items())


def weights_at(path):
    return WeightsFile(path, "published", "", "n3net-authors")


def test_the_compiled_network_answers_as_the_plain_one(tmp_path):
    authors_file(tmp_path / "net.t7", randomised(N3Network()))
    restorer = N3Net(weights=weights_at(tmp_path / "net.t7"))
    restorer.prepare(GRAY, "cpu")
    y = torch.rand(1, 1, 26, 31)
    plain = restorer.plain(y)
    torch.testing.assert_close(restorer.net(y), plain, rtol=0, atol=2e-3 * plain.abs().max().item())


def test_the_multiplications_are_those_that_are_done_where_all_patches_are_candidates():
    from bench.measure.complexity import count_macs

    restorer = N3Net()
    restorer.prepare(GRAY, "cpu")
    y = torch.rand(1, 1, 40, 35)
    told = restorer.macs_per_pixel(Observation(np.zeros((40, 35, 1), np.float32), "denoise", sigma=25)) * 40 * 35
    assert count_macs(lambda: restorer.plain(y)) == pytest.approx(told, rel=1e-6)


def test_is_for_gray_images_at_the_published_levels_and_is_not_trained():
    assert N3Net().why_not(Setting("denoise", 25, 3)) == "n3net is for gray images"
    assert N3Net().why_not(GRAY) is None
    served = {
        sigma: [d.tag for d in candidates(choose("n3net"), Setting("denoise", sigma, 1))] for sigma in (15, 25, 70)
    }
    assert served == {15: [], 25: ["gray-25"], 70: ["gray-70"]}
    with pytest.raises(RestorerError, match="cannot be trained"):
        N3Net().initialise(N3Network(), torch.rand(2, 1, 40, 40))


@pytest.mark.slow
def test_reaches_what_was_measured_with_the_published_weights():
    file = weights("n3net", "pretrained_sigma25_051_ckpt.t7", loader="n3net-authors")
    if not file.path.exists():
        pytest.skip("the authors' terms let no mirror have their weights")
    read_authors(file.path)
    restorer = N3Net(weights=file)
    restorer.prepare(GRAY, "cpu")
    assert mean_psnr_db(restorer, pictures("set12")[1:2], sigma=25) == pytest.approx(33.26, abs=0.01)
