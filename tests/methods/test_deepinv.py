"""`deepinv:NAME@FILE`: its networks with weights made on the spot, against what they answer themselves."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bench.plugins.registry import choose
from bench.restorer import Observation, Setting
from bench.runner.contract import check
from tests.methods.exported_files import weights_of

try:
    from deepinv import models
except Exception as error:  # without torchvision, or with one made for another torch
    pytest.skip(
        f"deepinv cannot be imported ({type(error).__name__}): its networks are not tried", allow_module_level=True
    )

from bench.methods.deepinv import DeepInverse


def observed(channels, task="denoise", sigma=51.0):
    image = np.random.default_rng(0).random((14, 20, channels), dtype=np.float32)
    return Observation(image, task, sigma=sigma)


@pytest.mark.parametrize(
    ("name", "channels", "options"),
    [
        ("DnCNN", 3, {"in_channels": 3, "out_channels": 3}),
        ("FFDNet", 3, {"img_channels": 3, "n_conv_layers": 12, "nf": 96}),
        ("FFDNet", 1, {"img_channels": 1}),
    ],
)
@torch.no_grad()
def test_it_answers_as_the_library_does(tmp_path, name, channels, options):
    torch.manual_seed(1)
    network = getattr(models, name)(**options, pretrained=None).eval()
    torch.save(network.state_dict(), tmp_path / "net.pth")
    restorer, seen = DeepInverse(name, weights_of(tmp_path / "net.pth")), observed(channels)
    restorer.prepare(Setting("denoise", 51.0, channels), "cpu")
    y = torch.from_numpy(seen.image).permute(2, 0, 1)[None]
    expected = network(y, 0.2)[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(restorer.restore(seen), expected, atol=1e-5)
    assert restorer.n_params() == sum(p.numel() for p in network.parameters())


@pytest.mark.filterwarnings("ignore::UserWarning")  # of the library, about torch
@pytest.mark.parametrize("name", DeepInverse.variants)
def test_each_network_is_made_for_gray_and_colour(name):
    for channels in (1, 3):
        made = DeepInverse(name).network(Setting("denoise", 25.0, channels))
        assert len([*made.parameters()]) > 10


def test_what_is_told_the_noise_level_is_not_for_blind_tasks():
    blind = Setting("denoise-blind", 25.0, 1)
    assert "told the noise level" in DeepInverse("DRUNet").why_not(blind)
    assert DeepInverse("DnCNN").why_not(blind) is None
    assert "deepinv:DRUNet, deepinv:DnCNN" in DeepInverse().why_not(blind)


@pytest.mark.parametrize("name", ["DnCNN", "FFDNet"])
def test_it_keeps_to_the_contract(name):
    findings = list(check(choose(f"deepinv:{name}")))
    assert not [finding for finding in findings if not finding.ok]
    assert len(findings) > 12
