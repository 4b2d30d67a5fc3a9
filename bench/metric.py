"""Metrics: figures of a restored picture beside PSNR and SSIM, and how one of your own is written.

    from bench.metric import metric

    @metric(better="larger", low=0)
    def sharpness(restored, clean):
        \"\"\"Mean gradient of the restored picture, as a share of the clean one's.\"\"\"
        ...

A metric is given two float64 pictures (H, W, C), C = 1 or 3, as the protocol scores them: 0-255, clipped, rounded to
8 bits if the protocol rounds, without the border that it leaves out. It answers with one number.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar

from bench.errors import RequestError, unknown

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["DEFAULT", "METRICS", "Metric", "metric"]

Picture: TypeAlias = "NDArray[np.float64]"
Measure = Callable[[Picture, Picture], float]
F = TypeVar("F", bound=Callable[..., float])


@dataclass(frozen=True)
class Metric:
    """One metric.

    name       what users type after --metrics, and the column of its figures
    title      what it measures, in a line
    better     whether `larger` or `smaller` figures are better
    low, high  the range of its figures
    unit       "" for a pure number
    source     paper and equation
    digits     behind the decimal point, in tables
    measure    (restored, clean) -> the figure; None: see bench.plugins.metrics
    identity   of what computes it: figures of two identities are never mixed
    requires   packages that it needs beyond the project's own, as pip knows them; their versions join its identity
    """

    name: str
    title: str
    better: Literal["larger", "smaller"]
    low: float = -math.inf
    high: float = math.inf
    unit: str = ""
    source: str = ""
    digits: int = 4
    measure: Measure | None = None
    identity: str = "1"
    requires: tuple[str, ...] = ()


def metric(
    *,
    better: Literal["larger", "smaller"],
    low: float = -math.inf,
    high: float = math.inf,
    unit: str = "",
    source: str = "",
    digits: int = 4,
    name: str = "",
) -> Callable[[F], F]:
    """Marks a function (restored, clean) -> number as a metric; its arguments are literals, read from the source.

    better     "larger" or "smaller"
    low, high  the range of its figures; one outside is a fault
    name       what users type; "": the function's name
    """

    def marked(function: F) -> F:
        return function

    return marked


# --- the metrics that come with bench ------------------------------------------------------------


def _psnr(x: Picture, y: Picture) -> float:
    from bench.measure.quality import psnr_db

    return psnr_db(x, y, peak=255)


def _ssim(x: Picture, y: Picture) -> float:
    from bench.measure.quality import ssim

    return ssim(x, y, peak=255)


def _psnr_y(x: Picture, y: Picture) -> float:
    from bench.measure.metrics.luma import psnr_y_db

    return psnr_y_db(x, y, peak=255)


def _psnrb(x: Picture, y: Picture) -> float:
    from bench.measure.metrics.blocking import psnr_b_db

    return psnr_b_db(x, y, peak=255)


def _ssim8(x: Picture, y: Picture) -> float:
    from bench.measure.metrics.structure import ssim_8x8

    return ssim_8x8(x, y, peak=255)


def _ms_ssim(x: Picture, y: Picture) -> float:
    from bench.measure.metrics.structure import ms_ssim

    return ms_ssim(x, y, peak=255)


def _gmsd(x: Picture, y: Picture) -> float:
    from bench.measure.metrics.gmsd import gmsd

    return gmsd(x, y, peak=255)


def _vif(x: Picture, y: Picture) -> float:
    from bench.measure.metrics.vif import vif

    return vif(x, y, peak=255)


def _lpips(x: Picture, y: Picture) -> float:
    from bench.measure.metrics.learned import lpips

    return lpips(x, y, peak=255)


def _dists(x: Picture, y: Picture) -> float:
    from bench.measure.metrics.learned import dists

    return dists(x, y, peak=255)


def _haarpsi(x: Picture, y: Picture) -> float:
    from bench.measure.metrics.haarpsi import haarpsi

    return haarpsi(x, y, peak=255)


METRICS: dict[str, Metric] = {
    one.name: one
    for one in (
        Metric(
            "psnr",
            "peak signal-to-noise ratio, one mean over pixels and channels",
            "larger",
            unit="dB",
            digits=2,
            measure=_psnr,
        ),
        Metric(
            "ssim",
            "structural similarity, 11x11 Gaussian window, per channel then averaged",
            "larger",
            low=-1,
            high=1,
            source="Wang et al., IEEE TIP 13(4), 2004, Eq. 13",
            measure=_ssim,
        ),
        Metric(
            "psnr_y",
            "PSNR of luma, BT.601 in studio swing, not rounded",
            "larger",
            unit="dB",
            source="ITU-R BT.601-7, Sec. 2.5",
            digits=2,
            measure=_psnr_y,
        ),
        Metric(
            "psnrb",
            "PSNR that counts steps at the borders of 8x8 blocks a second time",
            "larger",
            unit="dB",
            source="Yim and Bovik, IEEE TIP 20(1), 2011",
            digits=2,
            measure=_psnrb,
        ),
        Metric(
            "ssim8",
            "SSIM over uniform windows of 8x8, as AR-CNN's papers print it",
            "larger",
            low=-1,
            high=1,
            source="Wang et al., IEEE TIP 13(4), 2004",
            measure=_ssim8,
        ),
        Metric(
            "ms_ssim",
            "SSIM at five scales, from 161 pixels a side",
            "larger",
            low=0,
            high=1,
            source="Wang, Simoncelli and Bovik, Asilomar 2003, Eq. 7",
            measure=_ms_ssim,
        ),
        Metric(
            "gmsd",
            "deviation of the similarity of gradients, of gray",
            "smaller",
            low=0,
            source="Xue et al., IEEE TIP 23(2), 2014",
            measure=_gmsd,
        ),
        Metric(
            "vif",
            "visual information fidelity in the domain of pixels, of gray",
            "larger",
            low=0,
            source="Sheikh and Bovik, IEEE TIP 15(2), 2006",
            measure=_vif,
        ),
        Metric(
            "haarpsi",
            "similarity of Haar wavelet coefficients",
            "larger",
            low=0,
            high=1,
            source="Reisenhofer et al., Signal Processing: Image Communication 61, 2018",
            measure=_haarpsi,
        ),
        Metric(
            "lpips",
            "distance in features of AlexNet, which torchvision downloads",
            "smaller",
            low=0,
            source="Zhang et al., CVPR 2018, Eq. 1",
            measure=_lpips,
            requires=("lpips", "torchvision"),
        ),
        Metric(
            "dists",
            "distance in structure and texture of VGG-16's features, which torchvision downloads",
            "smaller",
            low=0,
            source="Ding et al., IEEE TPAMI 44(5), 2022",
            measure=_dists,
            requires=("dists-pytorch", "torchvision"),
        ),
    )
}

DEFAULT = ("psnr", "ssim")
"""Always measured, in columns of their own: `psnr_db` and `ssim`."""


def get_metric(name: str) -> Metric:
    """The built-in metric of that name. Raises RequestError with the nearest name."""
    try:
        return METRICS[name]
    except KeyError:
        raise RequestError(unknown("metric", name, METRICS)) from None
