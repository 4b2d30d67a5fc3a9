"""FFDNet: its size, the order of its sub-images, odd sides, and that running it fast changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from bench.methods.dncnn import convolutions, read_matconvnet
from bench.methods.ffdnet import FFDNet, SubImages, column_order

from bench.restorer import Observation, Setting, WeightsFile
from tests.methods.published import mean_psnr_db, pictures, weights
from tests.methods.test_dncnn import save_matconvnet


def prepared(channels: int, published: WeightsFile | None = None) -> FFDNet:
    restorer = FFDNet(weights=published)
    restorer.prepare(Setting("denoise", 25.0, channels), "cpu")
    return restorer


def observed(height: int, width: int, channels: int, sigma: float = 25) -> Observation:
    image = np.random.default_rng(0).random((height, width, channels), dtype=np.float32)
    return Observation(image, "denoise", sigma=sigma)


@pytest.mark.parametrize(("channels", "n_params"), [(1, 485_316), (3, 852_108)])
def test_has_as_many_parameters_as_the_published_files(channels, n_params):
    assert prepared(channels).n_params() == n_params


def test_a_quarter_of_the_weights_meets_each_pixel():
    # 9 (5 x 64 + 13 x 64 x 64 + 64 x 4), once for each square of 2 x 2 pixels
    assert prepared(1).macs_per_pixel(observed(64, 48, 1)) == 9 * (5 * 64 + 13 * 64 * 64 + 64 * 4) / 4


@pytest.mark.parametrize("shape", [(1, 1), (7, 9), (38, 61)])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_fast_network_answers_as_the_plain_one(shape, channels):
    restorer, seen = prepared(channels), observed(*shape, channels)
    with torch.inference_mode():
        expected = restorer.to_image(restorer.plain(restorer.to_tensor(seen.image), seen.sigma / 255))
    x_hat = restorer.restore(seen)
    np.testing.assert_allclose(x_hat, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_the_answer_depends_on_the_noise_level_it_is_told():
    restorer = prepared(1)
    weak, strong = (restorer.restore(observed(8, 8, 1, sigma)) for sigma in (5, 50))
    assert np.abs(weak - strong).max() > 1e-3


def test_an_odd_side_is_continued_by_its_last_pixels():
    torch.manual_seed(0)
    network, y = SubImages(convolutions(4, depth=2, width=8, n_in=5)), torch.rand(1, 1, 5, 7)
    with torch.no_grad():
        even = torch.cat([y, y[:, :, -1:]], 2)
        even = torch.cat([even, even[:, :, :, -1:]], 3)
        assert torch.equal(network(y, 0.1), network(even, 0.1)[:, :, :5, :7])


@pytest.mark.parametrize("channels", [1, 3])
def test_a_matlab_network_gets_its_sub_images_by_columns(channels, tmp_path):
    """One layer that gives back the sub-image it should be given, times a factor that tells which one it was."""
    n = 4 * channels
    kernel = np.zeros((3, 3, n + 1, n), np.float32)
    factor = np.arange(1, n + 1, dtype=np.float32)
    kernel[1, 1, np.arange(n), np.arange(n)] = factor
    kernel[1, 1, n] = 100  # the noise level, into every sub-image
    save_matconvnet(tmp_path / "net.mat", [(kernel, 0.5 * factor)])
    network = SubImages(convolutions(n, depth=1, n_in=n + 1))
    network.load_state_dict(column_order(read_matconvnet(tmp_path / "net.mat")))
    with torch.no_grad():
        x_hat = network(torch.ones(1, channels, 2, 2), 0.01)[0].numpy()
    # MATLAB counts the pixels of a square down its columns: 1 3 / 2 4
    by_columns = factor.reshape(channels, 2, 2).swapaxes(1, 2)
    np.testing.assert_allclose(x_hat, 1.5 * by_columns + 1, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("sigma", "psnr_db"), [pytest.param(15, 31.63, marks=pytest.mark.weekly), (50, 26.29)])
def test_reaches_the_figures_of_groupscs_table_3_on_bsd68(sigma, psnr_db):
    # at 25 the gates hold its answers
    ffdnet = prepared(1, weights("ffdnet", "FFDNet_gray.mat", loader="matconvnet"))
    files = pictures("bsd68")
    assert len(files) == 68
    assert mean_psnr_db(ffdnet, files, sigma) == pytest.approx(psnr_db, abs=0.03)
