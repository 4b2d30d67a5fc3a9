"""Records as CSV files."""

from __future__ import annotations

import io
import json
import math
import warnings
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import StoreError
from bench.escape import from_csv
from bench.level import Level
from bench.records.current import IDENTITY
from bench.records.figures import with_figures
from bench.records.layout_3 import name_code
from bench.records.record import COLUMNS, TEXTS, Record

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["machines", "read_records"]

TEXT = ("level", *(name for name in TEXTS if name != "environment"))
NEVER_EMPTY = [field.name for field in fields(Record) if field.type == "int"]
WHOLE = [field.name for field in fields(Record) if str(field.type).startswith("int")]


def read_records(path: Path) -> pd.DataFrame:
    """Records from a CSV file that `bench export` or `bench reference --write` made. Raises StoreError for any other.

    Columns of a record that the file lacks are empty: an earlier version wrote it.
    """
    frame = _read(path)
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
    if {*map(type, frame["environment"])} == {int}:
        frame["environment"] = frame["environment"].map(dict(enumerate(machines(path.parent)))).fillna("")
    return with_figures(frame)


def _read(path: Path) -> pd.DataFrame:
    """The columns of a CSV file, those of a record with its types."""
    import pandas as pd

    numbers = [name for name in COLUMNS if name not in TEXT and name != "environment"]
    text = _text_of(path)
    names = text.partition("\n")[0].strip().split(",")
    if twice := [name for name in COLUMNS if names.count(name) > 1]:
        raise StoreError(f"{path}: it has two columns '{twice[0]}'.")
    try:  # an image may be called NA: only in a column of numbers does an empty field mean that there is none
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # of rows longer than the first
            frame = pd.read_csv(
                io.StringIO(text),
                dtype=dict.fromkeys(TEXT, str),
                keep_default_na=False,
                na_values={name: [""] for name in numbers},
                index_col=False,
                low_memory=False,
            )
    except (ValueError, OverflowError, pd.errors.ParserWarning) as error:
        raise StoreError(f"{path} is no CSV file of records: {' '.join(str(error).split())[:200]}.") from None
    for name in numbers:
        if name in frame.columns:
            _hold_to_numbers(path, frame[name])
    return frame.assign(**{name: frame[name].map(from_csv) for name in TEXT if name in frame.columns})


def _text_of(path: Path) -> str:
    try:
        if not path.is_file():  # a pipe would be waited for
            raise StoreError(f"{path} is no CSV file of records: it is not a file.")
        text = path.read_bytes().decode("utf-8-sig")  # line ends within a field stay as they are
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise StoreError(f"{path} is no CSV file of records: it is not UTF-8 at byte {error.start}.") from None
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise StoreError(f"{path} is no CSV file of records: it has a NUL in line {line}.")
    return text


def _hold_to_numbers(path: Path, column: pd.Series[Any]) -> None:
    """Raises StoreError if a field is no number, not finite, or not whole where it must be."""
    import numpy as np

    name = str(column.name)
    empty = column.isna().to_numpy()
    values = np.array([*map(_number, column)], float) if column.dtype.kind not in "iuf" else column.to_numpy(float)
    infinite = values == -math.inf if name == "psnr_db" else np.isinf(values)
    for wrong, expected in (
        (empty & (name in NEVER_EMPTY), "a number"),
        (np.isnan(values) & ~empty, "a number"),
        (infinite, "a finite number"),
        ((np.trunc(values) != values) & ~empty & (name in WHOLE), "a whole number"),
    ):
        if wrong.any():
            i = int(wrong.argmax())
            found = str(column.iloc[i])[:40]
            raise StoreError(f"{path}: {name} is '{found}' in record {i + 1}, expected {expected}.")


def _number(value: object) -> float:
    """nan for what is none; pandas makes truths of True and False."""
    try:
        return math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return math.nan
    except OverflowError:
        return math.inf


def machines(at: Path) -> list[str]:
    """The environments that the records in a folder refer to by their places; none if it does not have them."""
    file = at / "environments.json"
    if not file.is_file():
        return []
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise StoreError(f"{file}: {error}.") from None
    if not isinstance(told, list):
        raise StoreError(f"{file}: it is {type(told).__name__}, expected a list of machines.")
    return [json.dumps(one) for one in told]


def _level(text: str) -> Level:
    try:
        level = float(text)
    except ValueError:
        return text
    return level if math.isfinite(level) else text
