"""The figures of an answer that are asked for beside PSNR and SSIM: a metric that fails costs itself alone."""

from __future__ import annotations

import math
from collections.abc import Iterable

from bench.errors import DataError
from bench.metric import Metric
from bench.plugins.boundary import in_a_line, shown
from bench.plugins.metrics import OwnMetric
from bench.protocol import Protocol
from bench.records.figures import Figure
from bench.runner.outsiders import Outsiders
from bench.task import Image
from bench.tasks import Setting

__all__ = ["figures_of"]


def figures_of(
    metrics: Iterable[Metric], x_hat: Image, clean: Image, setting: Setting, protocol: Protocol, outsiders: Outsiders
) -> tuple[dict[str, Figure], list[str]]:
    """A figure for each metric, of the answer `x_hat` against the reference; and in words, why some have no value."""
    figures, failures = dict[str, Figure](), list[str]()
    for metric in metrics:
        value = None
        try:
            x, y = (protocol.as_scored(image, setting) for image in (x_hat, clean))
            figure = outsiders.judge(metric, x, y) if isinstance(metric, OwnMetric) else _measured(metric, x, y)
            value = _held(metric, figure)
        except DataError as error:
            failures.append(in_a_line(f"no {metric.name}: {error}".removesuffix(".")))
        figures[metric.name] = Figure(value, metric.identity, metric.better, metric.unit, metric.digits)
    return figures, failures


def _measured(metric: Metric, x: object, y: object) -> float:
    """A built-in metric's figure. Raises DataError whatever it raises: a missing package, a picture too small."""
    assert metric.measure is not None
    try:
        return float(metric.measure(x, y))  # type: ignore[arg-type]
    except Exception as error:
        said = str(error) if isinstance(error, DataError) else f"{type(error).__name__}: {error}"
        raise DataError(said) from error


def _held(metric: Metric, figure: float) -> float:
    """The figure. Raises DataError for one outside of the metric's range."""
    if not metric.low <= figure <= metric.high:
        ends = f"from {metric.low:g} to {metric.high:g}"
        raise DataError("it is nan" if math.isnan(figure) else f"it is {shown(figure)}, outside of its range {ends}")
    return figure
