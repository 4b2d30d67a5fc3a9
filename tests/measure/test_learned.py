"""LPIPS and DISTS, with stand-ins for their packages: what their networks are shown; what is missing, in a line."""

import math
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from bench.errors import DataError, RequestError
from bench.measure.metrics import learned
from bench.metric import METRICS
from bench.plugins import metrics
from bench.plugins.metrics import choose_metric


@pytest.fixture
def shown(monkeypatch, tmp_path):
    """Packages whose networks answer with the mean difference, and keep what they are shown."""
    torch = pytest.importorskip("torch")
    seen = []

    class Network(torch.nn.Module):
        def forward(self, x, y):
            seen.append((x.numpy(), y.numpy()))
            return (x - y).mean()

    monkeypatch.setitem(sys.modules, "lpips", SimpleNamespace(LPIPS=lambda **_: Network()))
    monkeypatch.setitem(sys.modules, "DISTS_pytorch", SimpleNamespace(DISTS=Network))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    for name in learned.BACKBONES.values():
        (tmp_path / "checkpoints" / name).touch()
    learned._lpips.cache_clear()
    learned._dists.cache_clear()
    yield seen
    learned._lpips.cache_clear()
    learned._dists.cache_clear()


@pytest.mark.parametrize(("name", "black", "white"), [("lpips", -1, 1), ("dists", 0, 1)])
def test_the_networks_are_shown_three_channels_on_their_own_scale(shown, name, black, white):
    clean, restored = np.zeros((32, 40, 1)), np.full((32, 40, 1), 255.0)
    assert METRICS[name].measure(restored, clean) == white - black
    [(x, y)] = shown
    assert x.shape == y.shape == (1, 3, 32, 40)
    assert (x.min(), y.max(), x.dtype) == (white, black, np.float32)


@pytest.mark.parametrize("name", ["lpips", "dists"])
def test_colours_stay_in_their_order(shown, name):
    red = np.zeros((32, 32, 3))
    red[..., 0] = 255
    METRICS[name].measure(red, np.zeros_like(red))
    assert shown[0][0][0, :, 0, 0].argmax() == 0


@pytest.mark.parametrize("name", ["lpips", "dists"])
def test_a_picture_below_32_pixels_has_none(name):
    assert math.isnan(METRICS[name].measure(np.zeros((31, 40, 3)), np.zeros((31, 40, 3))))


@pytest.mark.parametrize("name", ["lpips", "dists"])
def test_a_backbone_is_not_downloaded_where_that_is_forbidden(shown, name, tmp_path):
    for path in (tmp_path / "checkpoints").iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r"its backbone is not at .*\.pth, and BENCH_OFFLINE forbids the download"):
        METRICS[name].measure(np.zeros((32, 32, 3)), np.zeros((32, 32, 3)))


@pytest.mark.parametrize(("name", "package"), [("lpips", "lpips"), ("dists", "dists-pytorch")])
def test_a_missing_package_is_one_line(monkeypatch, name, package):
    def version(asked):
        raise metrics.PackageNotFoundError(asked)

    monkeypatch.setattr(metrics, "version", version)
    with pytest.raises(RequestError) as raised:
        choose_metric(name)
    assert str(raised.value) == (
        f"The metric {name} needs {package}, which is not installed: pip install {package} torchvision"
    )


def test_the_versions_of_its_packages_are_part_of_what_a_metric_is(monkeypatch):
    monkeypatch.setattr(metrics, "version", lambda package: "0.1.4" if package == "lpips" else "0.28")
    assert choose_metric("lpips").identity == "1, lpips 0.1.4, torchvision 0.28"
    assert choose_metric("gmsd").identity == METRICS["gmsd"].identity == "1"
