"""Records as files, with all their columns."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import escape
from bench.errors import RequestError, unknown
from bench.records.record import TEXTS

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
        print(_for_a_terminal(_text(frame, format)) if _is_seen() else _text(frame, format), end="")
    else:
        try:
            output.write_text(_text(frame, format), encoding="utf-8", errors="backslashreplace", newline="")
        except (OSError, ValueError) as error:
            raise _why_not_written(output, error) from None


def _why_not_written(output: Path, error: Exception) -> RequestError:
    """That of an OSError, or of a path that is none, as with a zero byte in it."""
    return RequestError(f"--output {output}: {getattr(error, 'strerror', None) or error}.")


def _is_seen() -> bool:
    return sys.stdout is not None and sys.stdout.isatty()


def _for_a_terminal(text: str) -> str:
    return "\n".join(escape.terminal(line, sys.maxsize) for line in text.split("\n"))


def _text(frame: pd.DataFrame, format: str) -> str:
    if format == "csv":
        texts = [column for column in ("level", *TEXTS) if column in frame.columns]
        inert = frame.assign(**{column: frame[column].map(_in_csv) for column in texts})
        text = str(inert.to_csv(index=False))
        # older versions of Python do not quote a carriage return, which ends a row for others
        return str(inert.to_csv(index=False, quoting=csv.QUOTE_NONNUMERIC)) if "\r" in text else text
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return "".join(f"{_as_json(row)}\n" for row in rows)


def _in_csv(value: object) -> object:
    """Text that no spreadsheet takes for a formula, without zero bytes, which CSV files cannot hold."""
    return escape.csv(value.replace("\0", "\\x00")) if isinstance(value, str) else value


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
    except (OSError, ValueError) as error:
        raise _why_not_written(output, error) from None
