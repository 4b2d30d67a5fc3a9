"""What tables can show of records, by the names that --metrics takes: figures of quality, and costs.

A metric that records have figures of is in the list by itself: `bench.records.figures` tells what it is called, its
digits, and whether larger is better.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from bench.metric import DEFAULT, METRICS
from bench.records.figures import metrics_of

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["COSTS", "Cost", "Measure", "measures_in"]


@dataclass(frozen=True)
class Measure:
    """A figure of quality: what users type, the record's column, what tables call it, and how it is read."""

    name: str
    column: str
    heading: str
    better: Literal["larger", "smaller"]
    digits: int
    unit: str = ""

    @property
    def title(self) -> str:
        """`PSNR in dB`, `GMSD (smaller is better)`: larger ones need no word."""
        unit = f" in {self.unit}" if self.unit else ""
        return f"{self.heading}{unit}{' (smaller is better)' * (self.better == 'smaller')}"


def measures_in(frame: pd.DataFrame) -> dict[str, Measure]:
    """The figures of quality that records can have: PSNR, SSIM, and each metric that any of them has."""
    columns = {"psnr": "psnr_db", "ssim": "ssim"}
    found = {}
    for name in DEFAULT:
        metric = METRICS[name]
        found[name] = Measure(name, columns[name], name.upper(), metric.better, metric.digits, metric.unit)
    for name, figure in metrics_of(frame).items():
        better: Literal["larger", "smaller"] = "smaller" if figure.better == "smaller" else "larger"
        found[name] = Measure(name, name, name, better, figure.digits, figure.unit)
    return found


@dataclass(frozen=True)
class Cost:
    """What a restorer costs: the record's column, what tables call it, and how the figures of a row are told."""

    column: str
    heading: str
    show: Callable[[pd.Series[Any]], str]

    def shown(self, values: pd.Series[Any]) -> str:
        known = values.dropna()
        return "–" if known.empty else self.show(known)


def _range(values: pd.Series[Any]) -> str:
    """A count in thousands; smallest to largest where settings differ."""
    ends = dict.fromkeys(_thousands(value) for value in (values.min(), values.max()))
    return " to ".join(ends) if values.max() else "–"


def _thousands(value: float) -> str:
    return f"{value / 1e6:.2f}M" if value >= 1e6 else f"{value / 1e3:.0f}k" if value >= 1e4 else f"{value:.0f}"


def _mean(values: pd.Series[Any]) -> str:
    return f"{values.mean():.3g}"


COSTS: Mapping[str, Cost] = {
    "params": Cost("params", "params", _range),
    "macs": Cost("macs_per_pixel", "MACs/pixel", _range),
    "seconds": Cost("seconds", "s/image", _mean),
    "device-seconds": Cost("device_seconds", "GPU s", _mean),
    "memory": Cost("peak_mib", "peak MiB", lambda values: f"{values.max():.0f}"),
}
