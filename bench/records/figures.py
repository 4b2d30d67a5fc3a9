"""What a record's column `metrics` holds: the figures that were asked for beside PSNR and SSIM.

    {"gmsd": {"value": 0.031, "identity": "1", "better": "smaller", "unit": "", "digits": 4}, …}

With a figure stands what a table must know of it, since the file that a metric of one's own is in may be gone. A
metric that failed has no `value`. Figures of two identities (of two versions of the metric's code) are never mixed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bench.errors import StoreError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["RESERVED", "Figure", "as_text", "figures_in", "metrics_of", "metrics_of_parts", "with_figures"]


RESERVED = frozenset(
    [
        "restorer",
        "weights",
        "task",
        "level",
        "channels",
        "dataset",
        "image",
        "protocol",
        "repeat",
        "status",
        "reason",
        "psnr_db",
        "ssim",
        "estimated_level",
        "seconds",
        "seconds_spread",
        "device_seconds",
        "device",
        "threads",
        "params",
        "macs_per_pixel",
        "peak_mib",
        "input_sha256",
        "weights_sha256",
        "restorer_version",
        "environment",
        "key",
        "label",
        "plugin",
        "weights_file",
        "folder",
        "code_sha256",
        "bench_version",
        "revision",
        "measured_at",
        "asked_at",
        "level_name",
        "task_plugin",
        "task_sha256",
        "metrics",
        "current",
        "made_on",
        "contested",
        "column",
        "psnr",
        "macs",
        "memory",
    ]
)
"""What no metric may be named: the columns of a record, and what exports and tables put beside them."""


@dataclass(frozen=True)
class Figure:
    """value: None where the metric failed; better: `larger` or `smaller`; the others as of a metric."""

    value: float | None
    identity: str
    better: str
    unit: str = ""
    digits: int = 4


def as_text(figures: Mapping[str, Figure]) -> str:
    """Figures by metric, as a record holds them; "" for none. An infinite one is `1e999`, which JSON readers take."""
    if not figures:
        return ""
    told = {name: vars(figure) for name, figure in figures.items()}
    return json.dumps(told, sort_keys=True).replace("Infinity", "1e999")


def figures_in(text: str) -> dict[str, Figure]:
    """The figures by metric that a record holds. Raises StoreError for a text that holds none."""
    if not text:
        return {}
    try:
        told = json.loads(text)
        figures = {str(name): Figure(**figure) for name, figure in told.items() if name not in RESERVED}
    except (ValueError, TypeError, AttributeError, RecursionError):
        figures = None
    if figures is None or not all(map(_is_sound, figures.values())):
        raise StoreError(f"A record's metrics are '{text[:60]}': these are no figures.")
    return figures


def _is_sound(figure: Figure) -> bool:
    texts = (figure.identity, figure.better, figure.unit)
    number = figure.value is None or (type(figure.value) in (int, float) and not math.isnan(figure.value))
    return (
        number and all(type(text) is str for text in texts) and type(figure.digits) is int and 0 <= figure.digits < 20
    )


def with_figures(frame: pd.DataFrame, last: Mapping[str, Figure] | None = None) -> pd.DataFrame:
    """The records with a column for each metric that any of them has: the values of its identity last asked for.

    last  which metrics have a column, and of which identity, where that is known already: as `metrics_of` gives them
    """
    import pandas as pd

    by_text = _read(frame)
    columns: dict[str, Any] = {}
    for name, figure in (metrics_of(frame) if last is None else last).items():
        values = {
            text: figures[name].value
            for text, figures in by_text.items()
            if name in figures and figures[name].identity == figure.identity
        }
        columns[name] = pd.Series([values.get(text) for text in frame["metrics"]], index=frame.index, dtype=float)
    return frame.assign(**columns) if columns else frame


def metrics_of(frame: pd.DataFrame) -> dict[str, Figure]:
    """The metrics that records have columns of, in alphabetical order, with what a table must know of each."""
    return metrics_of_parts([frame])


def metrics_of_parts(frames: Iterable[pd.DataFrame]) -> dict[str, Figure]:
    """`metrics_of` records that come in parts."""
    found: dict[str, tuple[str, Figure]] = {}
    for frame in frames:
        by_text = _read(frame)
        last = frame.sort_values("asked_at", kind="stable") if by_text else frame
        asked = last["asked_at"].fillna("")
        for text, asked_at in zip(last["metrics"], asked, strict=True) if by_text else ():
            for name, figure in by_text.get(text, {}).items():
                if name not in found or found[name][0] <= asked_at:
                    found[name] = asked_at, figure
    return {name: replace(found[name][1], value=None) for name in sorted(found)}


def _read(frame: pd.DataFrame) -> dict[str, dict[str, Figure]]:
    if "metrics" not in frame:
        return {}
    return {text: figures_in(text) for text in frame["metrics"].unique() if isinstance(text, str) and text}
