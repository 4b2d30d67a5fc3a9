"""Records as files, with all their columns."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import RequestError, unknown

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["write"]

FORMATS = ("csv", "jsonl", "parquet")


def write(frame: pd.DataFrame, format: str, output: Path | None) -> None:
    """Write records as csv, jsonl (a JSON object a line) or parquet, to `output` or the standard output.

    Raises RequestError for an unknown format, for parquet without pyarrow, or if the file cannot be written.
    """
    content = _content(frame, format)
    try:
        if output is None:
            sys.stdout.buffer.write(content)
        else:
            output.write_bytes(content)
    except OSError as error:
        raise RequestError(f"--output {output}: {error.strerror}.") from None


def _content(frame: pd.DataFrame, format: str) -> bytes:
    if format == "csv":
        return frame.to_csv(index=False).encode()
    if format == "jsonl":
        return frame.to_json(orient="records", lines=True).encode()
    if format == "parquet":
        return _parquet(frame)
    raise RequestError(unknown("export format", format, FORMATS))


def _parquet(frame: pd.DataFrame) -> bytes:
    stream = io.BytesIO()
    try:  # a column holds one type there, and a level may be a number or a Bayer pattern
        frame.astype({"level": str}).to_parquet(stream, index=False)
    except ImportError:
        raise RequestError("--format parquet needs pyarrow (remedy: pip install pyarrow).") from None
    return stream.getvalue()
