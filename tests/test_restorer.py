"""The base of the restorers that are networks."""

import pytest
import torch

from bench.restorer import Setting, TorchRestorer


class Anywhere(torch.nn.Conv2d):
    """Stays on the CPU, wherever it is sent."""

    def to(self, *where, **how):
        return self


class Net(TorchRestorer):
    name, tasks, needs_weights = "net", {"denoise"}, False

    def network(self, setting):
        return Anywhere(1, 1, 3)


@pytest.fixture
def _tf32():
    """The faster and coarser products are allowed."""
    places = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [place.allow_tf32 for place in places]
    for place in places:
        place.allow_tf32 = True
    yield
    for place, allowed in zip(places, before, strict=True):
        place.allow_tf32 = allowed


@pytest.mark.usefixtures("_tf32")
@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_on_a_cuda_device_a_name_means_float32(device):
    Net().prepare(Setting("denoise", 25.0, 1), device)
    assert not torch.backends.cuda.matmul.allow_tf32
    assert not torch.backends.cudnn.allow_tf32
