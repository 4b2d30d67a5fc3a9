"""The record: what one cell gave. Everything that a person looks at is computed from records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["COLUMNS", "KINDS", "TEXTS", "Record", "frame_of", "frame_of_columns", "quality_part", "standing"]


@dataclass(frozen=True)
class Record:
    """What one cell gave.

    label            what the run that last asked for it called the restorer: see `bench.records.labels`
    restorer         name, with its variant: `dncnn:bf16`
    plugin           where its class is: `bench.methods.dncnn:DnCNN`, or file and class
    weights          `published:sigma_25.mat`, `ours:…`, `file:…` or ""
    weights_file     of `@file` weights where the file was; "" for others
    level            sigma (0-255 scale), quality, scale, or the Bayer pattern
    channels         of the restored image
    dataset          its name; of a folder the last part of its path
    folder           of a folder its whole path; "" for a data set that is known by name
    repeat           which noise realisation, from 0
    status, reason   `ok`, `failed` or `skipped`, and why
    psnr_db, ssim    under `protocol`
    estimated_level  what a blind restorer took the level for; None if it was told, or keeps it to itself
    seconds          median of the timed calls; None if the cell was not timed
    seconds_spread   largest less smallest reading; None for a single one
    device_seconds   the CUDA device's own share of `seconds`; None elsewhere
    device           `cpu`, `cuda`, `cuda:1`, `mps`; which card that is, `environment` says
    threads          that the restorer's process was given
    params           learned parameters, counted
    macs_per_pixel   multiply-accumulates per restored pixel, counted; None: not counted
    peak_mib         peak memory during the call: of the process on a CPU, of the allocator on a CUDA device
    input_sha256     of the degraded pixels that the restorer was given
    weights_sha256   of the weights file; "" where there is none
    code_sha256      of the restorer's code: see `bench.plugins.identity`; "" in records of before it was kept
    restorer_version what the restorer says of itself
    bench_version    of bench, as pip knows it
    revision         `git describe` of bench and, where it has one, of the plugin's repository; `-dirty` if changed
    measured_at      when, in UTC, e.g. 2026-11-28T09:30:00+00:00; "" in records of before it was kept
    asked_at         when a run last asked for it, whether it measured it or found it in the store
    environment      machine and versions, JSON
    key              hash of all that could change the result, see `bench.runner.plan`
    level_name       what the level is called, of a task of one's own; "" for built-in ones
    task_plugin      where the class of a task of one's own is; "" for built-in ones
    task_sha256      of the code of a task of one's own, a dot, and of files that the level names; "" for neither
    metrics          the figures that were asked for beside PSNR and SSIM, JSON: see `bench.records.figures`
    """

    restorer: str
    weights: str
    task: str
    level: float | str
    channels: int
    dataset: str
    image: str
    protocol: str
    repeat: int
    status: str
    reason: str = ""
    psnr_db: float | None = None
    ssim: float | None = None
    estimated_level: float | None = None
    seconds: float | None = None
    seconds_spread: float | None = None
    device_seconds: float | None = None
    device: str = "cpu"
    threads: int | None = None
    params: int | None = None
    macs_per_pixel: float | None = None
    peak_mib: float | None = None
    input_sha256: str = ""
    weights_sha256: str = ""
    restorer_version: str = ""
    environment: str = ""
    key: str = ""
    label: str = ""
    plugin: str = ""
    weights_file: str = ""
    folder: str = ""
    code_sha256: str = ""
    bench_version: str = ""
    revision: str = ""
    measured_at: str = ""
    asked_at: str = ""
    level_name: str = ""
    task_plugin: str = ""
    task_sha256: str = ""
    metrics: str = ""


COLUMNS = tuple(field.name for field in fields(Record))

KINDS = {field.name: str(field.type) for field in fields(Record)}
"""By column what it holds, e.g. `float | None`."""


TEXTS = tuple(field.name for field in fields(Record) if field.type == "str")
"""The columns that hold text: "" where a record has none."""


def quality_part(key: str) -> str:
    """The part of a record's key that its image quality depends on; the rest concerns the timing."""
    return key.partition("-")[0]


def standing(record: Record) -> tuple[bool, bool, str]:
    """Of records of one quality the greatest counts: a good one before a failed one, then a timed one before an
    untimed one, then the one that was asked for last."""
    return record.status == "ok", record.seconds is not None, record.asked_at


def frame_of(records: Iterable[Record | Mapping[str, Any]]) -> pd.DataFrame:
    """Records as a DataFrame, one row each: the columns of `Record`, and one for each metric that was asked for."""
    from bench.records.figures import with_figures

    rows = [vars(record) if isinstance(record, Record) else record for record in records]
    return with_figures(frame_of_columns({name: [row.get(name) for row in rows] for name in COLUMNS}))


def frame_of_columns(values: Mapping[str, Sequence[Any]]) -> pd.DataFrame:
    """Columns of records as a DataFrame: numbers as numbers, an empty one nan; texts as they are."""
    import numpy as np
    import pandas as pd

    def column(name: str) -> Any:
        its = values[name]
        kind = KINDS[name]
        if kind == "str" or (kind == "float | str" and any(isinstance(value, str) for value in its)):
            texts = np.empty(len(its), object)
            texts[:] = its
            return texts
        is_whole = kind.startswith("int") and not any(value is None for value in its)
        return np.array(its, np.int64 if is_whole else np.float64)

    return pd.DataFrame({name: pd.Series(column(name)) for name in values})
