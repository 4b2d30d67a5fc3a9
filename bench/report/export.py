"""Records as files, with all their columns."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import RequestError, unknown

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["write"]

FORMATS = ("csv", "jsonl", "parquet")


def write(frame: pd.DataFrame, format: str, output: Path | None) -> None:
    """Write records as csv, jsonl (a JSON object a line) or parquet, to `output` or (not parquet) standard output.

    Raises RequestError for an unknown format, for parquet without a file or pyarrow, or if the file cannot be
    written.
    """
    if format not in FORMATS:
        raise RequestError(unknown("export format", format, FORMATS))
    if format == "parquet":
        _write_parquet(frame, output)
    elif output is None:
        print(_text(frame, format), end="")
    else:
        try:
            output.write_text(_text(frame, format), encoding="utf-8")
        except OSError as error:
            raise RequestError(f"--output {output}: {error.strerror}.") from None


def _text(frame: pd.DataFrame, format: str) -> str:
    if format == "csv":
        return str(frame.to_csv(index=False))
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return "".join(f"{_as_json(row)}\n" for row in rows)


def _as_json(row: Mapping[Hashable, Any]) -> str:
    """One line, exact to the last digit; an infinite PSNR is `1e999`.

    JSON has no word for infinity. A number as large as that is read as infinite by Python, pandas and JavaScript.
    """
    pairs = [f"{json.dumps(name)}: {_value_as_json(value)}" for name, value in row.items()]
    return "{" + ", ".join(pairs) + "}"


def _value_as_json(value: object) -> str:
    text = json.dumps(value)
    return text.replace("Infinity", "1e999") if isinstance(value, float) else text


def _write_parquet(frame: pd.DataFrame, output: Path | None) -> None:
    if output is None:
        raise RequestError("--format parquet is not text: name a file with --output.")
    try:  # a column holds one type there, and a level may be a number or a Bayer pattern
        frame.astype({"level": str}).to_parquet(output, index=False)
    except ImportError:
        raise RequestError("--format parquet needs pyarrow (remedy: pip install pyarrow).") from None
    except OSError as error:
        raise RequestError(f"--output {output}: {error.strerror}.") from None
