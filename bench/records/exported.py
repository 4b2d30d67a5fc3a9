"""Records from files that `bench export` wrote, one after the other: CSV, JSON lines, Parquet."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from bench.errors import RequestError, StoreError
from bench.escape import from_csv, terminal
from bench.records.figures import figures_in
from bench.records.layout_3 import named
from bench.records.record import COLUMNS, Record
from bench.records.sealed import UnsoundError, is_time, record_of, values_of

__all__ = ["SUFFIXES", "exported", "hold_to_store_name"]

NEEDED = ("key", *(field.name for field in fields(Record) if field.default is MISSING))
KINDS = {field.name: str(field.type) for field in fields(Record)}
LONGEST = 1 << 24
"""characters of a line"""
BATCH = 1000

Row = Mapping[str, Any]


def exported(path: Path) -> Iterator[Record]:
    """The records of a file, by its suffix. Columns that came to records later are empty.

    Raises StoreError, which names the file and the record, for what is no record with a key.
    """
    try:
        for number, row in enumerate(SUFFIXES[path.suffix](path), start=1):
            if row.get("status") != "skipped":  # of what was asked for and never tried, as in `result.frame()`
                yield _record(row, f"{path}, record {number}")
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror or error}.") from None


def hold_to_store_name(path: Path, option: str) -> None:
    """Raises RequestError for a file to write records to that would be read as an export."""
    if path.suffix in SUFFIXES:
        store = path.with_suffix(".sqlite")
        remedy = f"`bench merge {path} --into {store}` makes one of it" if path.exists() else f"e.g. {store}"
        raise RequestError(
            f"{option} {path}: expected the name of a store, and {path.suffix} is an export's; {remedy}."
        )


def _record(row: Row, where: str) -> Record:
    if missing := [name for name in NEEDED if row.get(name) in (None, "") and name != "weights"]:
        known_by = ", which records are known by; files of `bench export` have it" if missing[0] == "key" else ""
        raise StoreError(f"{where} has no {missing[0]}{known_by}.")
    told = {name: _value(name, row[name]) for name in COLUMNS if name in row}
    try:
        record = record_of(values_of(Record(**told)))
        figures_in(record.metrics)
    except (UnsoundError, StoreError) as error:
        raise StoreError(f"{where}: {_said(error)}.") from None
    if record.asked_at and not is_time(record.asked_at):
        raise StoreError(f"{where}: asked_at is '{terminal(record.asked_at, 40)}', expected a time.")
    return named(record)


def _value(name: str, value: Any) -> Any:
    """What the record has in this column: files spell numbers as text or as floats, and leave out what is empty."""
    kind = KINDS[name]
    if kind == "str":
        return "" if value is None else value
    if name == "level":
        return _number(value) if isinstance(value, (str, int)) and math.isfinite(_number(value)) else value
    if value is None or value == "" or value != value:
        return None
    number = _number(value)
    if math.isnan(number):
        return str(value)  # the record says what it expected
    return int(number) if kind.startswith("int") and number.is_integer() else number


def _number(value: Any) -> float:
    """nan for what is none."""
    try:
        return math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def _said(error: Exception) -> str:
    return terminal(error, 200).rstrip(".")


# --- the formats -------------------------------------------------------------------------------------------


def _rows_of_csv(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True)
        try:
            names = next(reader, [])
            if twice := [name for name in COLUMNS if names.count(name) > 1]:
                raise StoreError(f"{path}: it has two columns '{twice[0]}'.")
            for row in reader:
                if len(row) != len(names):
                    raise StoreError(f"{path}, line {reader.line_num}: {len(row)} fields, expected {len(names)}.")
                yield dict(zip(names, map(from_csv, row), strict=True))
        except (csv.Error, UnicodeDecodeError) as error:
            raise StoreError(
                f"{path} is no CSV file of records: line {reader.line_num + 1}: {_said(error)}."
            ) from None


def _rows_of_lines(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8") as file:
        number = 1
        try:
            while line := file.readline(LONGEST):
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise ValueError("it is no object")
                yield row
                number += 1
        except (ValueError, RecursionError) as error:
            raise StoreError(f"{path} holds no records: line {number}: {_said(error)}.") from None


def _rows_of_parquet(path: Path) -> Iterator[Row]:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise StoreError(f"{path}: to read Parquet takes pyarrow (remedy: pip install pyarrow).") from None
    try:
        with parquet.ParquetFile(path) as file:
            names = [name for name in file.schema_arrow.names if name in COLUMNS]
            for batch in file.iter_batches(BATCH, columns=names):
                yield from batch.to_pylist()
    except pa.ArrowException as error:
        raise StoreError(f"{path} is no Parquet file of records: {_said(error)}.") from None


SUFFIXES: Mapping[str, Callable[[Path], Iterator[Row]]] = {
    ".csv": _rows_of_csv,
    ".jsonl": _rows_of_lines,
    ".parquet": _rows_of_parquet,
}
"""How the rows of a file are read, by its suffix."""
