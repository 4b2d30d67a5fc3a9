"""Records as CSV files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import StoreError
from bench.records.store import COLUMNS, IDENTITY
from bench.task import Level

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["machines", "read_records"]

TEXT = ("level", "weights", "reason", "input_sha256", "weights_sha256", "restorer_version")


def read_records(path: Path) -> pd.DataFrame:
    """Records from a CSV file that `bench export` or `bench reference --write` made. Raises StoreError for any other.

    Columns of a record that the file lacks are empty: an earlier version wrote it.
    """
    import pandas as pd

    try:
        frame = pd.read_csv(path, dtype=dict.fromkeys(TEXT, str))
    except (OSError, ValueError) as error:
        raise StoreError(f"{path}: {error}.") from None
    missing = {*IDENTITY, "status", "psnr_db", "ssim"} - {*frame.columns}
    if missing:
        raise StoreError(f"{path} holds no records: it has no column '{min(missing)}'.")
    frame = frame.reindex(columns=[*dict.fromkeys([*frame.columns, *COLUMNS])])
    frame["level"] = frame["level"].map(_level)
    frame["device"] = frame["device"].fillna("cpu")
    for column in ("weights", "weights_sha256", "reason"):
        frame[column] = frame[column].fillna("")
    if frame["key"].isna().all():  # a file has one record a cell and device, of one version
        frame["key"] = [f"{i}-" for i in range(len(frame))]
    if pd.api.types.is_integer_dtype(frame["environment"]):
        frame["environment"] = frame["environment"].map(dict(enumerate(machines(path.parent))))
    return frame


def machines(at: Path) -> list[str]:
    """The environments that the records in a folder refer to by their places; none if it does not have them."""
    file = at / "environments.json"
    return [json.dumps(one) for one in json.loads(file.read_text(encoding="utf-8"))] if file.is_file() else []


def _level(text: str) -> Level:
    try:
        return float(text)
    except ValueError:
        return text
