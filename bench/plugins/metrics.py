"""Finds metrics: the built-in ones, the entry-point group `bench.metrics`, or a function (`./my.py:sharpness`).

What a plan needs to know of a metric of one's own stands as literals in its decorator, `bench.metric.metric`. Its
code runs in a process of its own: see `bench.runner.outsiders`.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bench.errors import RequestError, RestorerError, unknown
from bench.metric import DEFAULT, METRICS, Metric
from bench.plugins.own import NOWHERE, Place, check_name, find, installed
from bench.plugins.source import COMPUTED, literal, parsed

__all__ = ["OwnMetric", "choose_metric", "choose_metrics", "installed_metrics"]

GROUP = "bench.metrics"


@dataclass(frozen=True)
class OwnMetric(Metric):
    """A metric of one's own, as its source declares it. Its identity is the hash of its code."""

    place: Place = NOWHERE


@cache
def installed_metrics() -> Mapping[str, OwnMetric | RestorerError]:
    """The metrics that packages brought, by name, or why one cannot be used."""
    return installed(GROUP, lambda metric: metric.name, _read)


def choose_metric(asked: str) -> Metric:
    """The metric that a user asked for: its name, or `./file.py:function`.

    Raises RequestError for an unknown name, with the nearest right one, and for a package that is not installed;
    RestorerError for what will not do.
    """
    if asked in METRICS:
        return _with_versions(METRICS[asked])
    return find("metric", asked, METRICS, installed_metrics(), _read)


def choose_metrics(asked: Iterable[str]) -> tuple[Metric, ...]:
    """Those beside PSNR and SSIM, each once. Raises RestorerError if two of one name are asked for."""
    found: dict[str, Metric] = {}
    for metric in map(choose_metric, asked):
        first = found.setdefault(metric.name, metric)
        if first.identity != metric.identity:
            raise RestorerError(f"Two metrics are named '{metric.name}': rename one of them.")
    return tuple(metric for metric in found.values() if metric.name not in DEFAULT)


def _with_versions(metric: Metric) -> Metric:
    """A metric whose identity names the packages that compute it."""
    try:
        versions = [f"{package} {version(package)}" for package in metric.requires]
    except PackageNotFoundError as error:
        needed = " ".join(metric.requires)
        raise RequestError(
            f"The metric {metric.name} needs {error.name}, which is not installed: pip install {needed}"
        ) from None
    return replace(metric, identity=", ".join([metric.identity, *versions]))


# --- what a source says --------------------------------------------------------------------------


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and not math.isnan(value)


FITS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "better": ('better="larger"', lambda value: value in ("larger", "smaller")),
    "low": ("low=0", _is_number),
    "high": ("high=1", _is_number),
    "unit": ('unit="dB"', lambda value: isinstance(value, str)),
    "source": ('source="Wang et al., 2004, Eq. 13"', lambda value: isinstance(value, str)),
    "digits": ("digits=2", lambda value: type(value) is int and 0 <= value < 10),
    "name": ('name="sharpness"', lambda value: isinstance(value, str)),
}
"""of each argument of the decorator an example, and what it must be"""


def _read(path: Path, function: str, place: Place) -> OwnMetric:
    where = f"{path}: {function}"
    told = _decorated(path, function, where)
    if "better" not in told:
        raise RestorerError(f'{where} must say which figures are better: @metric(better="larger") or "smaller".')
    name = told.pop("name", "") or function
    check_name(where, name, METRICS, "metric")
    summary = (ast.get_docstring(_functions(path)[function]) or "").partition("\n")[0].rstrip(".")
    return OwnMetric(name=name, title=summary, identity=place.code.sha256, place=place, **told)


def _functions(path: Path) -> dict[str, ast.FunctionDef]:
    return {node.name: node for node in parsed(path).body if isinstance(node, ast.FunctionDef)}


def _decorated(path: Path, function: str, where: str) -> dict[str, Any]:
    """The arguments of the function's decorator. Raises RestorerError for what will not do."""
    functions = _functions(path)
    if function not in functions:
        raise RestorerError(f"{path}: {unknown('function', function, functions)}")
    calls = [one for one in functions[function].decorator_list if isinstance(one, ast.Call)]
    marks = [call for call in calls if ast.unparse(call.func).rpartition(".")[2] == "metric"]
    if not marks:
        raise RestorerError(
            f'{where} is not marked as a metric: put @metric(better="larger") above it, from bench.metric.'
        )
    if marks[0].args:
        raise RestorerError(f"{where}: the arguments of @metric are named, as in @metric({FITS['better'][0]}).")
    told: dict[str, Any] = {}
    for argument in marks[0].keywords:
        if argument.arg not in FITS:
            raise RestorerError(f"{where}: {unknown('argument of @metric', str(argument.arg), FITS)}")
        value = _value(argument.value)
        example, fits = FITS[argument.arg]
        if value is COMPUTED or not fits(value):
            raise RestorerError(
                f"{where}: @metric sets `{argument.arg}` to {ast.unparse(argument.value)}; expected a literal such as"
                f" {example}."
            )
        told[argument.arg] = value
    return told


def _value(node: ast.expr) -> Any:
    """A literal; `math.inf` and `-math.inf` too, which are none."""
    infinite = {"math.inf": math.inf, "-math.inf": -math.inf, "inf": math.inf, "-inf": -math.inf}
    text = ast.unparse(node)
    return infinite[text] if text in infinite else literal(node)
