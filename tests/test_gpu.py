"""On a CUDA device: the same answers as on the CPU, and both of its times."""

import pytest

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
