"""VDSR: the converted file, the network's size, that running it fast changes nothing, and its authors' figures."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from bench.data.datasets import get, read
from bench.methods.dncnn import Residual, convolutions
from bench.methods.vdsr import VDSR, read_converted
from scipy.io import savemat

from bench.protocol import get_protocol
from bench.restorer import Observation, Setting
from tests.methods.published import weights

TWICE = Setting("superres", 2.0, channels=1)


def save_converted(path, network):
    """A network of `read_converted`'s, as MATLAB keeps it: axes of size 1 at the end of a kernel are not kept."""
    model = np.zeros((1, 1), [("weight", object), ("bias", object)])
    layers = [layer for layer in network.body if isinstance(layer, torch.nn.Conv2d)]
    kernels = [layer.weight.detach().permute(2, 3, 1, 0).numpy() for layer in layers]
    kernels[-1] = -kernels[-1][..., 0]
    biases = [layer.bias.detach().numpy()[:, None] for layer in layers]
    biases[-1] = -biases[-1]
    for name, arrays in (("weight", kernels), ("bias", biases)):
        cells = np.empty((1, len(arrays)), object)
        cells[0, :] = arrays
        model[name][0, 0] = cells
    savemat(path, {"model": model})


def test_every_layer_of_a_converted_file_finds_its_place(tmp_path):
    network = Residual(convolutions(channels=1, depth=3, width=5))
    for parameter in network.parameters():
        parameter.data.normal_()
    save_converted(tmp_path / "net.mat", network)
    read, state = read_converted(tmp_path / "net.mat"), network.state_dict()
    assert read.keys() == state.keys()
    assert all(torch.equal(read[name], state[name]) for name in state)


def prepared(setting=TWICE, published=None):
    restorer = VDSR(weights=published)
    restorer.prepare(setting, "cpu")
    return restorer


def test_has_the_papers_size():
    restorer = prepared()
    assert restorer.n_params() == 664_704 + 1_217  # 9 (64 + 18 x 64^2 + 64) weights, 19 x 64 + 1 biases
    small = Observation(np.zeros((8, 6, 1), np.float32), "superres", scale=2)
    assert restorer.macs_per_pixel(small) == 664_704


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_fast_network_answers_as_the_plain_one(scale):
    restorer = prepared(Setting("superres", float(scale), 1))
    small = np.random.default_rng(0).random((11, 7, 1), dtype=np.float32)
    seen = Observation(small, "superres", scale=scale)
    with torch.inference_mode():
        expected = restorer.to_image(restorer.plain(restorer.to_tensor(seen.upscaled())))
    x_hat = restorer.restore(seen)
    assert x_hat.shape == (11 * scale, 7 * scale, 1)
    np.testing.assert_allclose(x_hat, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_colour_is_refused():
    assert VDSR().why_not(Setting("superres", 2.0, channels=3)) == "vdsr enlarges luma"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("protocol", "psnr_db", "ssim"),
    # VDSR's own table, which NLRN and NSR print; DnCNN's Table V, whose authors ran it by their own script
    [("standard-v1", 37.53, 0.9587), ("dncnn-v1", 37.56, 0.9591)],
)
def test_gives_both_printed_figures_of_set5_at_2(protocol, psnr_db, ssim):
    restorer = prepared(published=weights("vdsr", "VDSR_Official.mat", "vdsr-converted"))
    rules, set5 = get_protocol(protocol), get("set5")
    quality = []
    for entry in set5.entries:
        clean, seen = rules.degrade(read(set5, entry).pixels, TWICE, (0,))
        quality.append(rules.score(restorer.restore(seen), clean, TWICE))
    assert round(float(np.mean([q.psnr_db for q in quality])), 2) == psnr_db
    assert round(float(np.mean([q.ssim for q in quality])), 4) == ssim
