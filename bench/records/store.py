"""Records on disk: one SQLite file that several processes may write at once (WAL), one row per cell.

Each record is committed as soon as it is measured; whatever dies afterwards, it stays.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType

from bench.errors import StoreError
from bench.records.layout_3 import built_in
from bench.records.record import COLUMNS, TEXTS, Record, quality_part, standing

__all__ = ["Store"]

APPLICATION_ID = 0x62_6E_63_68  # "bnch": tells our files from other SQLite files
SCHEMA_VERSION = 4


class Store:
    """Records in one file; open it in a `with` statement.

    path  created with its folder when it is not there
    Raises StoreError if the file is not a bench store, or cannot be opened or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)
            self._open()
        except (OSError, sqlite3.OperationalError) as error:
            raise StoreError(
                f"Cannot open the store {path}: {error}. Another one is named with --store FILE."
            ) from None
        except sqlite3.DatabaseError as error:
            raise StoreError(
                f"{path} is not a bench store ({error}). Another one is named with --store FILE."
            ) from None

    def _open(self) -> None:
        self._db.execute(
            "BEGIN IMMEDIATE"
        )  # several processes may be creating it: one looks and makes, the rest wait
        try:
            self._claim()
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")
        if self._db.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            with contextlib.suppress(sqlite3.OperationalError):  # locked: somebody else is just doing it
                self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")  # a killed process loses nothing; a power cut the last rows

    def _claim(self) -> None:
        """See to it that the file is a store of ours: it is, or it is empty and becomes one."""
        application = self._pragma("application_id")
        if application == APPLICATION_ID:
            self._bring_up_to_date(self._pragma("user_version"))
            return
        if application or self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            raise StoreError(f"{self.path} is an SQLite file, but not a bench store. Name another with --store FILE.")
        columns = ", ".join(f"{name} PRIMARY KEY" if name == "key" else name for name in COLUMNS)
        self._db.execute(f"CREATE TABLE records ({columns})")
        self._db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def _bring_up_to_date(self, layout: int) -> None:
        """Give a store of an earlier layout the columns that came later. Raises StoreError for a later layout."""
        if layout > SCHEMA_VERSION:
            raise StoreError(
                f"{self.path} has layout {layout}, this bench reads up to {SCHEMA_VERSION}."
                " Update bench, or name another store."
            )
        if layout < SCHEMA_VERSION:
            there = {row[1] for row in self._db.execute("PRAGMA table_info(records)")}
            for name in COLUMNS:
                if name not in there:
                    kind = "" if name not in TEXTS else " DEFAULT ''"
                    self._db.execute(f"ALTER TABLE records ADD COLUMN {name}{kind}")
            self._name_the_code_of_built_in_restorers()
            self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def _name_the_code_of_built_in_restorers(self) -> None:
        """Up to layout 3 records told the version alone: what code a version stood for is written down."""
        for name, known in built_in().items():
            self._db.execute(
                "UPDATE records SET code_sha256 = ?, plugin = ? WHERE code_sha256 = '' AND restorer_version = ?"
                " AND (restorer IN (?, ?) OR restorer LIKE ?)",
                (known["code_sha256"], known["plugin"], known["version"], name, f"{name}+", f"{name}:%"),
            )

    def _pragma(self, name: str) -> int:
        return int(self._db.execute(f"PRAGMA {name}").fetchone()[0])

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._db.close()

    def add(self, record: Record) -> None:
        """Write one record at once; a record of the same key is replaced."""
        self._write(f"INSERT OR REPLACE INTO records ({', '.join(COLUMNS)}) VALUES ({MARKS})", [asdict(record)])

    def renew(self, records: Mapping[str, Record]) -> None:
        """Replace records by what is known of them now, by the keys that they have here; all or none."""
        told = ", ".join(f"{name} = :{name}" for name in COLUMNS)
        rows = [{**asdict(record), "old_key": key} for key, record in records.items()]
        self._write(f"UPDATE OR REPLACE records SET {told} WHERE key = :old_key", rows)

    def _write(self, sql: str, rows: list[dict[str, object]]) -> None:
        try:
            with self._lock:
                self._db.execute("BEGIN IMMEDIATE")
                try:
                    self._db.executemany(sql, rows)
                except BaseException:
                    self._db.execute("ROLLBACK")
                    raise
                self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise StoreError(f"Cannot write to the store {self.path}: {error}.") from None

    def records(self) -> list[Record]:
        """All records, those first that runs asked for first."""
        with self._lock:
            rows = self._db.execute(f"SELECT {', '.join(COLUMNS)} FROM records ORDER BY asked_at, rowid").fetchall()
        return [Record(*row) for row in rows]

    def of_restorers(self, names: Iterable[str]) -> list[Record]:
        """The records of the restorers of these names, those first that runs asked for first."""
        return self._among("restorer", names)

    def last_asked(self) -> str:
        """The time at which a run last asked for a record; "" if there is none."""
        with self._lock:
            return str(self._db.execute("SELECT max(asked_at) FROM records").fetchone()[0] or "")

    def find(self, keys: Iterable[str]) -> dict[str, Record]:
        """The records among `keys` that are there."""
        return {record.key: record for record in self._among("key", keys)}

    def find_quality(self, parts: Iterable[str]) -> dict[str, Record]:
        """By quality part of the key: of the records that have that quality the one of the best standing."""
        found = sorted(self._among("substr(key, 1, instr(key, '-') - 1)", parts), key=standing)
        return {quality_part(record.key): record for record in found}

    def _among(self, column: str, values: Iterable[str]) -> list[Record]:
        wanted = json.dumps(list(values))
        sql = f"SELECT {', '.join(COLUMNS)} FROM records WHERE {column} IN (SELECT value FROM json_each(?))"
        with self._lock:
            return [Record(*row) for row in self._db.execute(f"{sql} ORDER BY asked_at, rowid", (wanted,))]


MARKS = ", ".join(f":{name}" for name in COLUMNS)
