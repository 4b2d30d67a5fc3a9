"""CSCNet: its answer against the formula on convolutions, its shifts, the authors' files, their figures."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from bench.methods.cscnet import CSCNet, StridedCoding, cscnet_denoise, read_authors
from torch import Tensor

from bench.restorer import Observation, Setting
from tests.methods.published import mean_psnr_db, pictures, weights

GRAY = Setting("denoise", 25, 1)


def by_convolutions(x: Tensor, state: dict[str, Tensor], stride: int, n_steps: int) -> Tensor:
    """Every shifted copy of the image in one batch, filters as convolutions, threshold by comparisons."""
    A, B, C = (state[f"apply_{letter}.weight"] for letter in "ABC")
    t = state["soft_threshold.threshold"]
    n, (H, W), q = A.shape[-1], x.shape[2:], stride

    def S(z):
        return (z > t) * (z - t) + (z < -t) * (z + t)

    below, right = (q + (n - q - side) % q for side in (H, W))
    pads = [(q - c, right + c, q - r, below + r) for r in range(q) for c in range(q)]
    copies = torch.cat([F.pad(x, pad, mode="reflect") for pad in pads])
    z = S(F.conv2d(copies, B, stride=q))
    for _ in range(n_steps - 1):
        z = S(z - F.conv2d(F.conv_transpose2d(z, A, stride=q) - copies, B, stride=q))
    estimates = F.conv_transpose2d(z, C, stride=q)
    cropped = [
        estimate[:, top : top + H, left : left + W]
        for estimate, (left, _, top, _) in zip(estimates, pads, strict=True)
    ]
    return torch.stack(cropped).mean(0, keepdim=True)


def authors_state(m: int, n: int) -> dict[str, Tensor]:
    torch.manual_seed(0)
    state = {f"apply_{letter}.weight": 0.05 * torch.randn(m, 1, n, n) for letter in "ABC"}
    state["soft_threshold.threshold"] = 0.02 * torch.randn(1, m, 1, 1)  # about half of them negative
    return state


@pytest.mark.parametrize("size", [(23, 30), (16, 16), (17, 40)])
@pytest.mark.parametrize("n_copies", [5, 16])
def test_it_answers_as_the_authors_formula(tmp_path, size, n_copies):
    state, x = authors_state(m=10, n=7), torch.rand(1, 1, *size)
    torch.save(state, tmp_path / "net.model")
    network = StridedCoding(kernel_size=7, stride=4, n_filters=10, n_steps=5)
    network.load_state_dict(read_authors(tmp_path / "net.model"))
    with torch.no_grad():
        answer = cscnet_denoise(network, x, n_copies)
    torch.testing.assert_close(answer, by_convolutions(x, state, stride=4, n_steps=5), rtol=0, atol=1e-5)


def test_compiled_it_answers_as_the_plain_network():
    torch.manual_seed(0)
    network, x = StridedCoding(), torch.rand(1, 1, 30, 45)
    plain = cscnet_denoise(network, x, 16).detach()  # with gradients the network is run as it is written
    with torch.no_grad():
        torch.testing.assert_close(cscnet_denoise(network, x, 16), plain, rtol=0, atol=1e-5)


def test_images_of_a_batch_do_not_meet():
    network, x = StridedCoding(kernel_size=5, stride=3, n_filters=6, n_steps=3), torch.rand(2, 1, 11, 14)
    with torch.no_grad():
        both = cscnet_denoise(network, x, 4)
        torch.testing.assert_close(both[1:], cscnet_denoise(network, x[1:], 4))


def test_the_untrained_convolution_does_not_enlarge():
    torch.manual_seed(0)
    network = StridedCoding().requires_grad_(False)
    x = torch.randn(1, 1, 43, 43)
    for _ in range(30):
        x = network.image(network.A @ (network.B @ network.patches(x)), like=x)
        norm, x = x.norm(), x / x.norm()
    assert norm <= 1  # the largest eigenvalue of A B, with B the transpose of A


def test_parameters_and_products_are_counted():
    restorer = CSCNet()
    restorer.prepare(GRAY, "cpu")
    assert restorer.n_params() == 63_700
    seen = Observation(np.zeros((256, 256, 1), np.float32), "denoise", sigma=25)
    # 34 x 34 places in each of 64 copies, 24 products with 175 filters of 121 pixels
    assert restorer.macs_per_pixel(seen) == pytest.approx(64 * 34**2 * 24 * 175 * 121 / 256**2)


def test_it_declines_colour():
    assert CSCNet().why_not(Setting("denoise", 25, 3)) == "cscnet is for gray images"


@pytest.mark.slow
@pytest.mark.parametrize(("sigma", "n_negative"), [(15, 2), (25, 4), (50, 10), (75, 18)])
def test_the_published_weights_answer_as_the_authors_formula(sigma, n_negative):
    file = weights("cscnet", f"sigma_{sigma}.model", loader="cscnet-authors")
    restorer = CSCNet(weights=file)
    restorer.prepare(Setting("denoise", sigma, 1), "cpu")
    assert int((restorer.plain.threshold < 0).sum()) == n_negative
    state = torch.load(file.path, map_location="cpu", weights_only=True)
    rows, columns = torch.meshgrid(torch.arange(41.0), torch.arange(50.0), indexing="ij")
    x = (0.5 + 0.4 * torch.sin(rows / 5) * torch.sign(columns - 25))[None, None]
    y = x + sigma / 255 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(
            cscnet_denoise(restorer.plain, y, 4), by_convolutions(y, state, stride=8, n_steps=12), rtol=0, atol=1e-5
        )


@pytest.mark.slow
def test_reaches_30_19_db_on_the_seven_small_pictures_of_set12():
    restorer = CSCNet(weights=weights("cscnet", "sigma_25.model", loader="cscnet-authors"))
    restorer.prepare(GRAY, "cpu")
    files = pictures("set12")[:7]
    assert mean_psnr_db(restorer, files, sigma=25) == pytest.approx(30.19, abs=0.03)
