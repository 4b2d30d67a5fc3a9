"""MMNet: the authors' file, all four patterns, that what was measured stays, and its size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from bench.methods.demosaick import Menon
from bench.methods.mmnet import MMNet, bilinear, read_authors
from PIL import Image

from bench.protocol import get_protocol
from bench.restorer import Setting
from tests.methods.published import pictures, weights

PATTERNS = ("RGGB", "BGGR", "GRBG", "GBRG")
RULES = get_protocol("standard-v1")


def setting(pattern="RGGB"):
    return Setting("demosaick", pattern, 3)


def prepared(published=None):
    torch.manual_seed(0)
    restorer = MMNet(weights=published)
    restorer.prepare(setting(), "cpu")
    return restorer


def smooth(height, width):
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    return np.stack([0.5 + 0.3 * np.sin((rows + c * columns) / 7) for c in range(3)], 2).astype(np.float32)


def authors_file(path, network):
    """What `read_authors` reads: every kernel as g v / |v|, under the authors' names."""
    state = {}
    for name, value in network.state_dict().items():
        for ours, theirs in (("denoiser.first.", "model.conv1."), ("denoiser.last.", "model.conv_out.")):
            name = name.replace(ours, theirs)
        name = name.replace("denoiser.blocks.", "model.layer1.")
        if value.ndim == 4:
            state[f"{name}_g"] = value.flatten(1).norm(dim=1)[:, None, None, None]
            state[f"{name}_v"] = 3 * value
        else:
            state[name] = value
    torch.save([state, 20, 5], path)


def test_every_weight_of_a_file_of_the_authors_finds_its_place(tmp_path):
    network = MMNet().network(setting())
    for parameter in network.parameters():
        parameter.data.normal_()
    authors_file(tmp_path / "net.pth", network)
    read, state = read_authors(tmp_path / "net.pth"), network.state_dict()
    assert read.keys() == state.keys()
    for name, value in state.items():
        torch.testing.assert_close(read[name], value, rtol=1e-5, atol=1e-6)


def test_has_the_size_that_the_published_file_has_without_its_norms():
    # 380,395 numbers with a norm for each kernel: 64 of the first layer, 640 of the blocks, 64 of the last
    assert prepared().n_params() == 380_395 - 768


def test_bilinear_is_the_mean_of_the_neighbours():
    mask = RULES.degrade(smooth(6, 8), setting(), (0,))[1].mask
    y = torch.from_numpy(np.where(mask, np.float32(0.25), 0)).permute(2, 0, 1)[None]
    inner = bilinear(y)[..., 1:-1, 1:-1]
    torch.testing.assert_close(inner, torch.full_like(inner, 0.25))


@pytest.mark.parametrize("shape", [(8, 8), (9, 13), (3, 4)])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_every_pattern_is_shown_as_the_one_it_was_trained_on(pattern, shape, monkeypatch):
    restorer = prepared()
    shown = []
    monkeypatch.setattr(restorer, "net", lambda y, mask: shown.append(mask) or y)
    clean, seen = RULES.degrade(smooth(*shape), setting(pattern), (0,))
    x_hat = restorer.restore(seen)
    assert shown[0][0, :, :2, :2].tolist() == [[[1, 0], [0, 0]], [[0, 1], [1, 0]], [[0, 0], [0, 1]]]
    np.testing.assert_array_equal(x_hat, np.where(seen.mask, clean, 0))


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (2, 2)])
def test_a_picture_of_a_pixel_or_two_is_answered(shape):
    for pattern in PATTERNS:
        _, seen = RULES.degrade(smooth(*shape), setting(pattern), (0,))
        assert prepared().restore(seen).shape == (*shape, 3)


def test_the_projection_bounds_what_a_step_takes_away():
    denoiser = prepared().plain.denoiser
    x, alpha = torch.rand(1, 3, 16, 16), torch.tensor(-2.0)
    taken = denoiser(x, alpha)
    assert 255 * taken.norm().item() == pytest.approx(np.exp(-2) * np.sqrt(3 * 16 * 16 - 1), rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_published_network_is_ahead_of_menon_in_every_pattern(pattern):
    restorer = prepared(weights("deep_demosaick", "bayer_model_best.pth", "mmnet-authors"))
    wall = np.asarray(Image.open(pictures("kodak24-full")[0]).convert("RGB"), np.float32)[100:196, 100:212] / 255
    clean, seen = RULES.degrade(wall, setting(pattern), (0,))
    psnr_db = {
        one.name: RULES.score(one.restore(seen), clean, setting(pattern)).psnr_db for one in (Menon(), restorer)
    }
    assert psnr_db["mmnet"] > psnr_db["menon"] + 2
