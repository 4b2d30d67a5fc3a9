"""How a store's file is laid out: its tables, the layouts before, what SQLite must not do with a stranger's."""

from __future__ import annotations

import re
import sqlite3
import sys
from collections.abc import Iterable, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Any

from bench.records.layout_3 import named
from bench.records.record import COLUMNS, TEXTS, Record
from bench.records.sealed import UnsoundError, Values, checksum, record_of, values_of

__all__ = [
    "APPLICATION_ID",
    "LAYOUT",
    "ROW",
    "Totals",
    "completed",
    "create",
    "guard",
    "insert",
    "layout_of",
    "looks_like_ours",
    "record_of_older",
    "records_of_older",
    "tables",
]

APPLICATION_ID = 0x62_6E_63_68  # "bnch": tells our files from other SQLite files
LAYOUT = 6

ROW = ("checksum", "place", *COLUMNS)
"""The columns of the table of records. `place` counts upwards: a record that replaces another gets the next one."""

N_COLUMNS = {5: COLUMNS.index("level_name"), LAYOUT: len(COLUMNS)}
"""of a record, by layout since there are checksums: each has the columns of the one before, and more behind them"""

_DECLARED = {"place": "place INTEGER PRIMARY KEY", "key": "key UNIQUE"}


def tables(layout: int = LAYOUT) -> dict[str, str]:
    """By name the statement that makes each table of a layout with checksums."""
    row = ("checksum", "place", *COLUMNS[: N_COLUMNS[layout]])
    return {
        "records": f"CREATE TABLE records ({', '.join(_DECLARED.get(name, name) for name in row)})",
        "totals": "CREATE TABLE totals (n, checksums, last, checksum)",
    }


INDEX = ("index", "sqlite_autoindex_records_1", "records", None)
OLDER_COLUMN = re.compile(r"[a-z0-9_]+( PRIMARY KEY| DEFAULT '')?")
LONGEST = 1 << 24  # bytes of a text or a row: no record comes near it, and a damaged length asks for no more memory

INSERT = f"INSERT INTO records ({', '.join(ROW)}) VALUES ({', '.join('?' * len(ROW))})"


@dataclass
class Totals:
    """What the table of records must hold: how many, the sum of their checksums, the last place that was given.

    A damaged file may lose rows without a word from SQLite; then the totals do not agree.
    """

    n: int = 0
    checksums: int = 0
    last: int = 0

    def gain(self, checksum: int) -> None:
        self.n += 1
        self.checksums = (self.checksums + checksum) % (1 << 63)

    def lose(self, checksum: int) -> None:
        self.n -= 1
        self.checksums = (self.checksums - checksum) % (1 << 63)

    @classmethod
    def read(cls, db: sqlite3.Connection) -> Totals:
        """Raises UnsoundError if there are none, or not as they were written."""
        rows = db.execute("SELECT n, checksums, last, checksum FROM totals LIMIT 2").fetchall()
        totals = cls.of_row(rows[0]) if len(rows) == 1 else None
        if totals is None:
            raise UnsoundError("what it says of how many records it has is not as it was written")
        return totals

    @classmethod
    def of_row(cls, row: Values) -> Totals | None:
        """Those that a row holds; None if it is not as it was written."""
        if len(row) != 4 or not all(type(value) is int for value in row) or checksum(row[:3]) != row[3]:
            return None
        return cls(*row[:3])

    def write(self, db: sqlite3.Connection) -> None:
        row = (self.n, self.checksums, self.last)
        db.execute("UPDATE totals SET n = ?, checksums = ?, last = ?, checksum = ?", (*row, checksum(row)))


def guard(db: sqlite3.Connection) -> None:
    """What SQLite recommends for files of strangers: what stands in them may not act, and lengths are bounded.

    What is deleted is overwritten, so that a repair never finds a record of before.
    """
    for setting in ("trusted_schema = OFF", "cell_size_check = ON", "mmap_size = 0", "secure_delete = ON"):
        db.execute(f"PRAGMA {setting}")
    if sys.version_info >= (3, 11):
        db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST)


def looks_like_ours(start: bytes) -> bool:
    """Whether the first bytes of a file, one of which may be damaged, are those of a store."""
    return start[68:72] == APPLICATION_ID.to_bytes(4, "big") or b"CREATE TABLE records (" in start


def create(db: sqlite3.Connection) -> None:
    for sql in tables().values():
        db.execute(sql)
    db.execute("INSERT INTO totals VALUES (0, 0, 0, 0)")
    Totals().write(db)
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    db.execute(f"PRAGMA user_version = {LAYOUT}")


def insert(db: sqlite3.Connection, records: Iterable[Values], totals: Totals) -> None:
    """Write new records; the caller writes the totals."""
    for values in records:
        totals.last += 1
        seal = checksum((totals.last, *values))
        db.execute(INSERT, (seal, totals.last, *values))
        totals.gain(seal)


def layout_of(db: sqlite3.Connection) -> int:
    """Which layout the file has; 0 if there is nothing in it, -1 if it is another program's.

    Raises UnsoundError if it has ours by its number, but not the tables and columns of that layout alone.
    """
    there = db.execute("SELECT type, name, tbl_name, sql FROM sqlite_master LIMIT 9").fetchall()
    application, layout = (db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version"))
    if not there and not application:
        return 0
    if application != APPLICATION_ID:
        if {"records", "totals"} <= {row[1] for row in there}:
            raise UnsoundError("it does not say that it is a store")
        return -1
    if layout > LAYOUT:
        return int(layout)
    if layout in N_COLUMNS:
        if {*there} != {*(("table", name, name, sql) for name, sql in tables(layout).items()), INDEX}:
            raise UnsoundError("its tables are not a store's")
        Totals.read(db)
    else:
        _hold_to_older(there)
    return int(layout)


def _hold_to_older(there: list[tuple[str, str, str, str | None]]) -> None:
    """One table, with the index of its key, of plain columns: nothing computed, nothing that acts."""
    sql = {(kind, name): sql or "" for kind, name, _, sql in there}
    if {*sql} == {("table", "records"), ("index", "sqlite_autoindex_records_1")}:
        before, _, columns = sql["table", "records"].partition("(")
        plain = all(OLDER_COLUMN.fullmatch(column) for column in columns.removesuffix(")").split(", "))
        if before == "CREATE TABLE records " and columns.endswith(")") and plain:
            return
    raise UnsoundError("its tables are not those of an earlier layout")


def records_of_older(db: sqlite3.Connection) -> list[Values]:
    """The records of an earlier layout, in their order. Before layout 5 there are no checksums: SQLite looks at all.

    Up to layout 3 they told a restorer's version alone: what code a version stood for is written down. Raises
    UnsoundError if the file or a record is damaged.
    """
    said = db.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if said != "ok":
        raise UnsoundError(" ".join(str(said).split()))
    names = [row[1] for row in db.execute("PRAGMA table_info(records)")]
    if "checksum" in names:
        return _sealed_of_older(db)
    if strange := {*names} - {*COLUMNS}:
        raise UnsoundError(f"it has a column {min(strange)}")
    rows = db.execute(f"SELECT {', '.join(names)} FROM records ORDER BY rowid")
    return [values_of(record_of_older(dict(zip(names, row, strict=True)))) for row in rows]


def _sealed_of_older(db: sqlite3.Connection) -> list[Values]:
    """The records of a layout with checksums; each is looked at, and how many there must be."""
    totals, found = Totals.read(db), Totals()
    values = []
    for seal, place, *told in db.execute("SELECT * FROM records ORDER BY place"):
        if seal != checksum((place, *told)):
            raise UnsoundError(f"record {place} is not as it was written")
        found.gain(seal)
        values.append(values_of(record_of(completed(told))))
    if (found.n, found.checksums) != (totals.n, totals.checksums):
        raise UnsoundError(f"{totals.n} records were written and {found.n} are there, or not the same")
    return values


def completed(values: Sequence[Any]) -> Values:
    """A record's values with the columns that came since the layout that they are of: texts, all empty."""
    return (*values, *[""] * (len(COLUMNS) - len(values))) if len(values) in N_COLUMNS.values() else (*values,)


NEEDED = ("key", *(field.name for field in fields(Record) if field.default is MISSING))


def record_of_older(row: dict[str, Any]) -> Record:
    """The record of a row of an earlier layout, by column. Raises UnsoundError if a value is not a record's."""
    for name in TEXTS:
        if row.get(name, "") is None:
            row[name] = ""
    if missing := {*NEEDED} - {*row}:
        raise UnsoundError(f"it has no column {min(missing)}")
    return named(record_of(values_of(Record(**row))))
