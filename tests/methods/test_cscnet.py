"""CSCNet: its answer against the formula on convolutions, its shifts, the authors' files, their figures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from bench.methods.cscnet import CSCNet, StridedCoding, cscnet_denoise, read_authors
from torch import Tensor

from bench import methods
from bench.restorer import Observation, Setting
from bench.training.recipe import read_recipes
from tests.methods.published import mean_psnr_db, pictures, weights

GRAY = Setting("denoise", 25, 1)
RECIPES = Path(methods.__file__).parent / "recipes" / "cscnet.toml"


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


@pytest.mark.parametrize("options", [{}, {"stride": 1}, {"stride": 9}, {"stride": 11}, {"channels": 3}], ids=str)
def test_compiled_it_answers_as_the_plain_network(options):
    torch.manual_seed(0)
    network = StridedCoding(**{"n_filters": 30, "n_steps": 4, **options})
    x = torch.rand(1, options.get("channels", 1), 20, 25)
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


@pytest.mark.parametrize(("stride", "places"), [(1, 248**2), (11, 121 * 26**2)])
def test_all_shifts_together_cost_about_the_same_whatever_the_stride(stride, places):
    restorer = CSCNet()
    restorer.options = {"stride": stride}
    restorer.prepare(GRAY, "cpu")
    seen = Observation(np.zeros((256, 256, 1), np.float32), "denoise", sigma=25)
    assert restorer.macs_per_pixel(seen) == pytest.approx(places * 24 * 175 * 121 / 256**2)
    assert restorer.n_params() == 63_700


def test_in_colour_a_filter_has_three_channels():
    restorer = CSCNet()
    restorer.prepare(Setting("denoise", 25, 3), "cpu")
    assert restorer.n_params() == 3 * 3 * 121 * 175 + 175
    seen = Observation(np.random.default_rng(0).random((9, 14, 3), dtype=np.float32), "denoise", sigma=25)
    assert restorer.restore(seen).shape == (9, 14, 3)


@pytest.mark.parametrize("options", [{"stride": 1}, {"stride": 4}, {"channels": 3}], ids=str)
def test_every_parameter_has_the_gradient_of_the_answer(options):
    torch.manual_seed(0)
    net = StridedCoding(**{"kernel_size": 4, "stride": 3, "n_filters": 5, "n_steps": 3, **options}).double()
    y = torch.rand(1, options.get("channels", 1), 7, 6, dtype=torch.float64)
    names, values = zip(*net.named_parameters(), strict=True)

    class Denoising(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, y):
            return cscnet_denoise(self.net, y, 16)

    def answer(*values):
        state = {f"net.{name}": value for name, value in zip(names, values, strict=True)}
        return torch.func.functional_call(Denoising(), state, (y,))

    assert torch.autograd.gradcheck(answer, [x.detach().clone().requires_grad_() for x in values], fast_mode=True)


def test_a_stride_longer_than_a_filter_is_named():
    with pytest.raises(ValueError, match="stride is 12, expected 1 to the 11 pixels of a filter"):
        StridedCoding(stride=12)


@pytest.mark.parametrize("recipe", read_recipes(RECIPES).values(), ids=lambda recipe: recipe.name)
def test_every_recipe_fits_the_network(recipe):
    restorer = CSCNet()
    restorer.options = recipe.network_options
    network = restorer.network(Setting(recipe.task, 25, recipe.channels))
    y = torch.rand(1, recipe.channels, 16, 16)
    with torch.no_grad():
        assert restorer.estimate(network, y, Observation(y[0].numpy(), "denoise", sigma=25), 25).shape == y.shape


def test_the_loss_is_the_sum_over_a_crop():
    x = torch.zeros(2, 1, 4, 5)
    assert CSCNet().loss(x + 0.1, x) == pytest.approx(20 * 0.01)


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
