"""Records as CSV files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import StoreError
from bench.records.current import IDENTITY
from bench.records.layout_3 import name_code
from bench.records.record import COLUMNS, TEXTS
from bench.task import Level

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["machines", "read_records"]

TEXT = ("level", *(name for name in TEXTS if name != "environment"))


def read_records(path: Path) -> pd.DataFrame:
    """Records from a CSV file that `bench export` or `bench reference --write` made. Raises StoreError for any other.

    Columns of a record that the file lacks are empty: an earlier version wrote it.
    """
    import pandas as pd

    numbers = [name for name in COLUMNS if name not in TEXT]
    try:  # an image may be called NA: only in a column of numbers does an empty field mean that there is none
        frame = pd.read_csv(
            path, dtype=dict.fromkeys(TEXT, str), keep_default_na=False, na_values={name: [""] for name in numbers}
        )
    except (OSError, ValueError) as error:
        raise StoreError(f"{path}: {error}.") from None
    missing = {*IDENTITY, "status", "psnr_db", "ssim"} - {*frame.columns}
    if missing:
        raise StoreError(f"{path} holds no records: it has no column '{min(missing)}'.")
    came_later = {name: "" if name in TEXT else None for name in COLUMNS if name not in frame.columns}
    frame = frame.assign(**came_later)
    frame["level"] = frame["level"].map(_level)
    frame["device"] = frame["device"].where(frame["device"] != "", "cpu")
    if (frame["key"] == "").all():  # a file has one record a cell and device, of one version
        frame["key"] = [f"{i}-" for i in range(len(frame))]
    frame = name_code(frame)
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
