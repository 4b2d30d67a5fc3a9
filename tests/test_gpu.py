"""On a CUDA device: the same answers as on the CPU, and both of its times."""

import pytest
import torch

import bench

pytestmark = pytest.mark.gpu

NET = """
from bench.restorer import TorchRestorer

class Net(TorchRestorer):
    name, tasks, needs_weights = "net", {"denoise"}, False

    def network(self, setting):
        import torch
        return torch.nn.Conv2d(setting.channels, setting.channels, 3, padding=1)
"""


def test_a_network_answers_alike_on_both_devices_and_is_timed_on_each(photos, tmp_path):
    (tmp_path / "net.py").write_text(NET)
    on_cpu, on_gpu = (
        bench.run(f"{tmp_path}/net.py:Net", datasets=photos, device=device, store=tmp_path / "s.sqlite").frame()
        for device in ("cpu", "cuda")
    )
    assert on_gpu["psnr_db"].tolist() == pytest.approx(on_cpu["psnr_db"].tolist(), abs=1e-3)
    assert on_cpu["device_seconds"].isna().all()
    assert (on_gpu["device_seconds"] <= on_gpu["seconds"]).all()
    assert on_gpu["environment"].str.contains('"gpu"').all()


@pytest.mark.parametrize("name", ["sc", "groupsc"])
def test_the_sparse_models_have_the_same_gradients_on_both_devices(name):
    from bench.registry import choose, load_class
    from bench.restorer import Setting

    restorer = load_class(choose(name).card.target)()
    torch.manual_seed(0)
    network = restorer.network(Setting("denoise", 25.0, 1))
    y = torch.rand(2, 1, 24, 24)
    gradients = []
    for device in ("cpu", "cuda"):
        network.to(device).zero_grad()
        network(y.to(device)).square().sum().backward()
        gradients.append([p.grad.cpu() for p in network.parameters()])
    for on_cpu, on_gpu in zip(*gradients, strict=True):
        torch.testing.assert_close(on_gpu, on_cpu, rtol=1e-3, atol=1e-3 * float(on_cpu.abs().max()))
