"""How a store's file is laid out: its tables, the layouts before, what SQLite must not do with a stranger's."""

from __future__ import annotations

import re
import sqlite3
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, NamedTuple

from bench.records.layout_3 import named
from bench.records.record import COLUMNS, TEXTS, Record
from bench.records.sealed import UnsoundError, Values, checksum, record_of, values_of

__all__ = [
    "APPLICATION_ID",
    "LAYOUT",
    "ROW",
    "Drawer",
    "Totals",
    "bring_forward",
    "completed",
    "create",
    "drawers",
    "fill",
    "guard",
    "insert",
    "layout_of",
    "looks_like_ours",
    "record_of_older",
    "tables",
]

APPLICATION_ID = 0x62_6E_63_68  # "bnch": tells our files from other SQLite files
LAYOUT = 7

ROW = ("checksum", "place", *COLUMNS)
"""The columns of the table of records. `place` counts upwards: a record that replaces another gets the next one."""

N_COLUMNS = {5: COLUMNS.index("level_name"), 6: len(COLUMNS), LAYOUT: len(COLUMNS)}
"""of a record, by layout since there are checksums: each has the columns of the one before, and more behind them"""

_DECLARED = {"place": "place INTEGER PRIMARY KEY", "key": "key UNIQUE"}


class Drawer(NamedTuple):
    """What records lie together in, and are counted by: those of a restorer on a data set at a task."""

    task: str
    dataset: str
    restorer: str


def tables(layout: int = LAYOUT) -> dict[str, str]:
    """By name the statement that makes each table of a layout with checksums, and each index."""
    row = ("checksum", "place", *COLUMNS[: N_COLUMNS[layout]])
    made = {
        "records": f"CREATE TABLE records ({', '.join(_DECLARED.get(name, name) for name in row)})",
        "totals": "CREATE TABLE totals (n, checksums, last, checksum)",
    }
    if layout < 7:
        return made
    drawer = ", ".join(Drawer._fields)
    return {
        **made,
        "drawers": f"CREATE TABLE drawers ({drawer}, n, checksums, checksum, PRIMARY KEY ({drawer})) WITHOUT ROWID",
        "by_drawer": f"CREATE INDEX by_drawer ON records ({drawer}, image)",
        "by_time": "CREATE INDEX by_time ON records (asked_at)",
    }


INDEX = ("index", "sqlite_autoindex_records_1", "records", None)
OLDER_COLUMN = re.compile(r"[a-z0-9_]+( PRIMARY KEY| DEFAULT '')?")
LONGEST = 1 << 24  # bytes of a text or a row: no record comes near it, and a damaged length asks for no more memory

INSERT = f"INSERT INTO records ({', '.join(ROW)}) VALUES ({', '.join('?' * len(ROW))})"
IN_DRAWER = [COLUMNS.index(name) for name in Drawer._fields]


def _added(checksums: int, seal: int) -> int:
    return (checksums + seal) % (1 << 63)


@dataclass
class Totals:
    """What the table of records must hold: how many, the sum of their checksums, the last place that was given.

    A damaged file may lose rows without a word from SQLite; then the totals do not agree. Each drawer has its own
    number and sum, so that whoever reads some of them alone knows that he has all that is in them.

    changes  by drawer: by how much its number and sum are to change when the totals are written
    """

    n: int = 0
    checksums: int = 0
    last: int = 0
    changes: dict[Drawer, tuple[int, int]] = field(default_factory=dict, repr=False, compare=False)

    def gain(self, seal: int, drawer: Drawer | None = None) -> None:
        self._change(1, seal, drawer)

    def lose(self, seal: int, drawer: Drawer | None = None) -> None:
        self._change(-1, -seal, drawer)

    def _change(self, n: int, seal: int, drawer: Drawer | None) -> None:
        self.n += n
        self.checksums = _added(self.checksums, seal)
        if drawer is not None:
            before = self.changes.get(drawer, (0, 0))
            self.changes[drawer] = before[0] + n, _added(before[1], seal)

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
        for drawer, (n, seal) in self.changes.items():
            held = dict(_drawers(db, "WHERE task = ? AND dataset = ? AND restorer = ?", drawer)).get(drawer, (0, 0))
            made = (*drawer, held[0] + n, _added(held[1], seal))
            if made[3] > 0:
                db.execute("REPLACE INTO drawers VALUES (?, ?, ?, ?, ?, ?)", (*made, checksum(made)))
            else:
                db.execute("DELETE FROM drawers WHERE task = ? AND dataset = ? AND restorer = ?", drawer)
        self.changes.clear()


def drawers(db: sqlite3.Connection) -> dict[Drawer, tuple[int, int]]:
    """How many records each drawer holds, and the sum of their checksums.

    Raises UnsoundError if they are not as they were written, or together not what the totals say.
    """
    totals, found = Totals.read(db), Totals()
    held = dict(_drawers(db))
    for n, checksums in held.values():
        found.n += n
        found.checksums = _added(found.checksums, checksums)
    if (found.n, found.checksums) != (totals.n, totals.checksums):
        raise UnsoundError(f"{totals.n} records were written and its drawers have {found.n}, or not the same")
    return held


def _drawers(
    db: sqlite3.Connection, which: str = "", asked: Sequence[str] = ()
) -> Iterator[tuple[Drawer, tuple[int, int]]]:
    for *told, seal in db.execute(f"SELECT * FROM drawers {which}", asked):
        if list(map(type, told)) != [str, str, str, int, int] or checksum(tuple(told)) != seal:
            raise UnsoundError("what it says of what its drawers hold is not as it was written")
        yield Drawer(*told[:3]), (told[3], told[4])


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

    def sealed() -> Iterator[Values]:
        for values in records:
            totals.last += 1
            seal = checksum((totals.last, *values))
            totals.gain(seal, Drawer(*(values[i] for i in IN_DRAWER)))
            yield (seal, totals.last, *values)

    db.executemany(INSERT, sealed())


def fill(db: sqlite3.Connection, records: Iterable[Values]) -> None:
    """Make the tables of a store, of these records."""
    create(db)
    totals = Totals()
    insert(db, records, totals)
    totals.write(db)


def bring_forward(db: sqlite3.Connection) -> None:
    """Make a store of an earlier layout one of this, in a transaction of the caller's.

    Raises UnsoundError if the file or a record is damaged.
    """
    db.execute("ALTER TABLE records RENAME TO older")
    records = records_of_older(db, "older")
    db.execute("DROP TABLE IF EXISTS totals")
    fill(db, records)
    db.execute("DROP TABLE older")


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
        if {*there} != {*_schema(layout), INDEX}:
            raise UnsoundError("its tables are not a store's")
        Totals.read(db)
    else:
        _hold_to_older(there)
    return int(layout)


def _schema(layout: int) -> Iterator[tuple[str, str, str, str]]:
    """As SQLite tells it."""
    for name, sql in tables(layout).items():
        is_index = sql.startswith("CREATE INDEX")
        yield ("index", name, "records", sql) if is_index else ("table", name, name, sql)


def _hold_to_older(there: list[tuple[str, str, str, str | None]]) -> None:
    """One table, with the index of its key, of plain columns: nothing computed, nothing that acts."""
    sql = {(kind, name): sql or "" for kind, name, _, sql in there}
    if {*sql} == {("table", "records"), ("index", "sqlite_autoindex_records_1")}:
        before, _, columns = sql["table", "records"].partition("(")
        plain = all(OLDER_COLUMN.fullmatch(column) for column in columns.removesuffix(")").split(", "))
        if before == "CREATE TABLE records " and columns.endswith(")") and plain:
            return
    raise UnsoundError("its tables are not those of an earlier layout")


def records_of_older(db: sqlite3.Connection, table: str = "records") -> Iterator[Values]:
    """The records of an earlier layout, in their order. Before layout 5 there are no checksums: SQLite looks at all.

    Up to layout 3 they told a restorer's version alone: what code a version stood for is written down. Raises
    UnsoundError if the file or a record is damaged, at the latest behind the last record.
    """
    said = db.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if said != "ok":
        raise UnsoundError(" ".join(str(said).split()))
    names = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
    if "checksum" in names:
        return _sealed_of_older(db, table, Totals.read(db))
    if strange := {*names} - {*COLUMNS}:
        raise UnsoundError(f"it has a column {min(strange)}")
    return _unsealed_of_older(db, table, names)


def _unsealed_of_older(db: sqlite3.Connection, table: str, names: Sequence[str]) -> Iterator[Values]:
    for row in db.execute(f"SELECT {', '.join(names)} FROM {table} ORDER BY rowid"):
        yield values_of(record_of_older(dict(zip(names, row, strict=True))))


def _sealed_of_older(db: sqlite3.Connection, table: str, totals: Totals) -> Iterator[Values]:
    """The records of a layout with checksums; each is looked at, and how many there must be."""
    found = Totals(last=totals.last)
    for seal, place, *told in db.execute(f"SELECT * FROM {table} ORDER BY place"):
        if seal != checksum((place, *told)):
            raise UnsoundError(f"record {place} is not as it was written")
        found.gain(seal)
        yield values_of(record_of(completed(told)))
    if found != totals:
        raise UnsoundError(f"{totals.n} records were written and {found.n} are there, or not the same")


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
