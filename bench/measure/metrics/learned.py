"""LPIPS and DISTS: distances in the features of a network that was trained on ImageNet.

Their packages are not among ours: `pip install lpips` or `pip install dists-pytorch`, and torchvision. Both packages
are free to use (BSD 2-clause, MIT). Their backbones, AlexNet of 233 MiB and VGG-16 of 528 MiB, are downloaded by
torchvision from download.pytorch.org when they are first asked for. Torchvision's code is BSD 3-clause; its weights
come without a licence of their own, and ImageNet's terms are for research that is not commercial.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from bench.data.download import is_offline
from bench.errors import DataError
from bench.measure.metrics.planes import Image

__all__ = ["dists", "lpips"]

SMALLEST = 32
"""pixels a side: what the networks halve five times"""

BACKBONES = {"lpips": "alexnet-owt-7be5be79.pth", "DISTS_pytorch": "vgg16-397923af.pth"}
"""The files that torchvision keeps them in."""


def lpips(x: Image, y: Image, *, peak: float) -> float:
    """LPIPS of version 0.1 with AlexNet: 0 for equal pictures, more the worse.

    A gray picture is shown as three equal channels. nan for less than 32 pixels a side. Computed in float32.
    Source: Zhang, Isola, Efros, Shechtman, Wang, CVPR 2018, Eq. 1; the network of the package `lpips`.
    """
    return _distance(_lpips, x, y, lambda z: 2 * z / peak - 1)


def dists(x: Image, y: Image, *, peak: float) -> float:
    """DISTS: 0 for equal pictures, about 1 for such that share neither structure nor texture.

    A gray picture is shown as three equal channels, a large one is not resized. nan for less than 32 pixels a side.
    Computed in float32.
    Source: Ding, Ma, Wang, Simoncelli, IEEE TPAMI 44(5), 2022; the network of the package `dists-pytorch`.
    """
    return _distance(_dists, x, y, lambda z: z / peak)


def _distance(network: Callable[[], Any], x: Image, y: Image, scaled: Callable[[Image], Image]) -> float:
    if min(x.shape[:2]) < SMALLEST:
        return math.nan
    torch = import_module("torch")

    def tensor(z: Image) -> Any:
        three = np.repeat(z, 3, axis=2) if z.shape[2] == 1 else z
        return torch.from_numpy(scaled(three).astype(np.float32)).permute(2, 0, 1)[None]

    with torch.inference_mode():
        return max(0.0, float(network()(tensor(x), tensor(y))))  # rounding alone takes it below


@cache
def _lpips() -> Any:
    return _loaded("lpips", lambda package: package.LPIPS(net="alex", version="0.1", verbose=False))


@cache
def _dists() -> Any:
    return _loaded("DISTS_pytorch", lambda package: package.DISTS())


def _loaded(module: str, make: Callable[[Any], Any]) -> Any:
    """The network, its backbone fetched if need be. Raises DataError where BENCH_OFFLINE forbids that."""
    torch, package = import_module("torch"), import_module(module)
    backbone = Path(torch.hub.get_dir(), "checkpoints", BACKBONES[module])
    if is_offline() and not backbone.is_file():
        raise DataError(f"its backbone is not at {backbone}, and BENCH_OFFLINE forbids the download")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the packages call torchvision by names that it gave up
        return make(package).eval()
