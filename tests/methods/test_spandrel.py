"""`spandrel:FILE`: networks of its architectures made on the spot, against what they answer themselves."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bench.plugins.registry import choose
from bench.restorer import Observation, RestorerError, Setting
from bench.runner.contract import check
from tests.methods.exported_files import weights_of

try:
    import spandrel
except Exception as error:  # without torchvision, or with one made for another torch
    pytest.skip(
        f"spandrel cannot be imported ({type(error).__name__}): its networks are not tried", allow_module_level=True
    )

from bench.methods.spandrel import Spandrel
from spandrel.architectures.Compact import Compact
from spandrel.architectures.DnCNN import DnCNN
from spandrel.architectures.DRUNet import DRUNet
from spandrel.architectures.NAFNet import NAFNet


def saved(folder, network):
    torch.save({"params": network.state_dict()}, folder / "net.pth")
    return weights_of(folder / "net.pth")


def drunet(channels=1):
    torch.manual_seed(0)
    return DRUNet(in_nc=channels + 1, out_nc=channels, nc=[8, 8, 8, 8], nb=2)


def nafnet():
    torch.manual_seed(0)
    return NAFNet(img_channel=3, width=8, middle_blk_num=1, enc_blk_nums=[1, 1], dec_blk_nums=[1, 1])


def observed(channels=1, size=(16, 24), sigma=25.0, task="denoise", **told):
    image = np.random.default_rng(0).random((*size, channels), dtype=np.float32)
    return Observation(image, task, sigma=sigma, **told)


def restored(file, seen, level=25.0, **options):
    restorer = Spandrel(weights=file, **options)
    setting = Setting(seen.task, level, seen.restored_shape[2])
    reason = restorer.why_not(setting)
    if reason is not None:
        return reason
    restorer.prepare(setting, "cpu")
    return restorer.restore(seen)


@pytest.mark.parametrize("network", [drunet(), DnCNN(in_nc=2, out_nc=1, nc=8, nb=20, act_mode="R", mode="FDnCNN")])
@torch.no_grad()
def test_the_noise_level_is_the_images_own_and_not_15(tmp_path, network):
    file, seen = saved(tmp_path, network), observed(sigma=51.0)
    y = torch.from_numpy(seen.image).permute(2, 0, 1)[None]
    expected = network.eval()(torch.cat([y, torch.full_like(y, 0.2)], 1))[0, 0].numpy()
    x_hat = restored(file, seen)
    np.testing.assert_allclose(x_hat[:, :, 0], expected, atol=1e-5)
    theirs = spandrel.ModelLoader().load_from_file(file.path)(y)[0, 0].numpy()  # as if sigma were 15
    assert np.abs(x_hat[:, :, 0] - theirs).max() > 1e-4
    assert "told the noise level" in restored(file, observed(task="denoise-blind", sigma=None))


def test_a_colour_network_answers_as_spandrel_calls_it(tmp_path):
    file, seen = saved(tmp_path, nafnet()), observed(3, size=(13, 22))
    y = torch.from_numpy(seen.image).permute(2, 0, 1)[None]
    expected = spandrel.ModelLoader().load_from_file(file.path)(y)[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(restored(file, seen), expected, atol=1e-5)
    gray = observed(size=(13, 22))
    assert "repeat_gray=true" in restored(file, gray)
    assert restored(file, gray, repeat_gray=True).shape == (13, 22, 1)


def test_a_network_that_enlarges_is_for_its_scale(tmp_path):
    file = saved(tmp_path, Compact(num_in_ch=3, num_out_ch=3, num_feat=8, num_conv=2, upscale=2))
    seen = observed(task="superres", sigma=None, scale=2, size=(9, 11))
    assert restored(file, seen, 2.0, repeat_gray=True).shape == (18, 22, 1)
    assert restored(file, seen, 3.0, repeat_gray=True).endswith("enlarges to 2 times the sides")
    assert restored(file, seen, 2.0, repeat_gray=True, task="denoise").endswith("is for denoise")


def test_weights_of_no_architecture_are_named(tmp_path):
    torch.save({"layer.weight": torch.zeros(3, 3)}, tmp_path / "net.pth")
    with pytest.raises(RestorerError, match=r"knows no architecture with the weights in .*net\.pth"):
        restored(weights_of(tmp_path / "net.pth"), observed())


def test_it_keeps_to_the_contract(tmp_path):
    findings = list(check(choose(f"spandrel:{saved(tmp_path, drunet(3)).path}")))
    assert not [finding for finding in findings if not finding.ok]
    assert sum("denoise sigma 25 colour: " in finding.what for finding in findings) == 5
