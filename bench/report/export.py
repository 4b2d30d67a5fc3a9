"""Records as files, with all their columns."""

from __future__ import annotations

import contextlib
import csv
import json
import sys
from collections.abc import Hashable, Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import escape
from bench.errors import RequestError, unknown
from bench.records.current import LOOKED_AT, current
from bench.records.figures import metrics_of_parts, with_figures
from bench.records.record import KINDS, TEXTS

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from bench.records.reading import Reading

__all__ = ["counted", "write"]

FORMATS = ("csv", "jsonl", "parquet")

Frames = Iterable["pd.DataFrame"]
"""Records, some at a time, all with the same columns."""


def counted(records: Reading) -> Iterator[pd.DataFrame]:
    """The records, some thousands at a time, with a column for each metric and one, `current`, that says which count.

    They are read twice: all of a task tells which of it count. What is damaged is told before anything is yielded.
    """
    import numpy as np

    places: list[NDArray[np.int64]] = []
    counting: list[NDArray[np.int64]] = []

    def looked_at() -> Iterator[pd.DataFrame]:
        for of_task in records.by_task([*LOOKED_AT, "metrics"]):
            places.append(of_task.index.to_numpy(np.int64))
            counting.append(current(of_task, by_device=True).index.to_numpy(np.int64))
            yield of_task[["metrics", "asked_at"]]

    metrics = metrics_of_parts(looked_at())
    count = np.concatenate(counting)
    for some in records.at(np.sort(np.concatenate(places))):
        yield with_figures(some, metrics).assign(current=np.isin(some.index, count))


def write(records: pd.DataFrame | Frames, format: str, output: Path | None) -> None:
    """Write records as csv, jsonl (a JSON object a line) or parquet, to `output` or (not parquet) standard output.

    records  all, or some at a time. A file is there when all are written, or is as it was.

    Raises RequestError for an unknown format, for parquet without a file or pyarrow, or if the file cannot be
    written.
    """
    import pandas as pd

    if format not in FORMATS:
        raise RequestError(unknown("export format", format, FORMATS))
    frames = iter([records] if isinstance(records, pd.DataFrame) else records)
    if output is None:
        if format == "parquet":
            raise RequestError("--format parquet is not text: name a file with --output.")
        for text in _texts(frames, format):
            print(_for_a_terminal(text) if _is_seen() else text, end="")
        return
    try:
        with _replacing(output) as file:
            if format == "parquet":
                _write_parquet(frames, file)
            else:
                with file.open("w", encoding="utf-8", errors="backslashreplace", newline="") as opened:
                    opened.writelines(_texts(frames, format))
    except (OSError, ValueError) as error:
        raise _why_not_written(output, error) from None


@contextlib.contextmanager
def _replacing(output: Path) -> Iterator[Path]:
    """A file to write, which takes the place of `output` when all is written; `output` itself if it is a device."""
    if output.exists() and not output.is_file():
        yield output
        return
    part = output.with_name(f"{output.name}.part")
    try:
        yield part
        part.replace(output)
    except BaseException:
        with contextlib.suppress(OSError, ValueError):
            part.unlink()
        raise


def _why_not_written(output: Path, error: Exception) -> RequestError:
    """That of an OSError, or of a path that is none, as with a zero byte in it."""
    return RequestError(f"--output {output}: {getattr(error, 'strerror', None) or error}.")


def _is_seen() -> bool:
    return sys.stdout is not None and sys.stdout.isatty()


def _for_a_terminal(text: str) -> str:
    return "\n".join(escape.terminal(line, sys.maxsize) for line in text.split("\n"))


def _texts(frames: Iterator[pd.DataFrame], format: str) -> Iterator[str]:
    if format == "csv":
        yield from (_as_csv(frame, header=i == 0) for i, frame in enumerate(frames))
    else:
        yield from map(_as_lines, frames)


def _as_csv(frame: pd.DataFrame, *, header: bool) -> str:
    texts = [column for column in ("level", *TEXTS) if column in frame.columns]
    inert = _whole(frame).assign(**{column: frame[column].map(_in_csv) for column in texts})
    text = str(inert.to_csv(index=False, header=header))
    if "\r" not in text:
        return text
    # older versions of Python do not quote a carriage return, which ends a row for others
    return str(inert.to_csv(index=False, header=header, quoting=csv.QUOTE_NONNUMERIC))


def _as_lines(frame: pd.DataFrame) -> str:
    rows = _whole(frame).astype(object).where(frame.notna(), None).to_dict("records")
    return "".join(f"{_as_json(row)}\n" for row in rows)


def _whole(frame: pd.DataFrame) -> pd.DataFrame:
    """Whole numbers as such, also where some records have none."""
    wholes = [name for name, kind in KINDS.items() if kind == "int | None" and name in frame.columns]
    return frame.astype(dict.fromkeys(wholes, "Int64"))


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


def _write_parquet(frames: Iterator[pd.DataFrame], file: Path) -> None:
    """A group of rows for each frame."""
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise RequestError("--format parquet needs pyarrow (remedy: pip install pyarrow).") from None
    first = next(frames)
    types = {
        "str": pa.string(),
        "float | str": pa.string(),
    }
    types |= {"int": pa.int64(), "int | None": pa.int64(), "float | None": pa.float64()}

    def type_of(name: str) -> Any:
        own = pa.bool_() if first[name].dtype == bool else pa.float64() if first[name].dtype == float else pa.string()
        return types[KINDS[name]] if name in KINDS else own

    schema = pa.schema([(name, type_of(name)) for name in first.columns])
    with parquet.ParquetWriter(file, schema) as writer:
        for frame in chain([first], frames):  # a column holds one type there, and a level may be a number or a text
            rows = _whole(frame).astype({"level": str})
            writer.write_table(pa.Table.from_pandas(rows, schema, preserve_index=False))
