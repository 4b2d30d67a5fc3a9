"""What restorers are made with: the base of those that are networks, and the choice of a level."""

import pytest
import torch

from bench.restorer import Setting, TorchRestorer, nearest_level


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


@pytest.mark.parametrize(
    ("level", "place"), [(5, 0), (10.0, 0), (14.9, 0), (15.0, 0), (15.1, 1), (40, 2), (999, 2), ("RGGB", 0)]
)
def test_the_nearest_level_is_the_first_of_those_as_near(level, place):
    assert nearest_level([10, 20.0, 40], level) == place
