"""Records on disk: one SQLite file that several processes may write at once (WAL), one row per cell.

Each record is committed and flushed to the disk as soon as it is measured; whatever dies afterwards, it stays. Each
carries a checksum, and the file their sum: what is read is what was written, or a StoreError says that it is not.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import sqlite3
import stat
import tempfile
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType

from bench.errors import StoreError
from bench.escape import terminal
from bench.records.counted import along
from bench.records.layouts import (
    LAYOUT,
    ROW,
    Drawer,
    Totals,
    bring_forward,
    create,
    drawers,
    fill,
    guard,
    insert,
    layout_of,
    looks_like_ours,
    records_of_older,
)
from bench.records.mounts import lacks_locks, network_mount
from bench.records.record import Record, quality_part, standing
from bench.records.sealed import UnsoundError, Values, checksum, hold_to_sound, is_time, record_of, values_of
from bench.records.wal import hold_to_flushed

__all__ = ["Store"]

ELSEWHERE = "Another one is named with --store FILE."
WAIT_SECONDS = 60.0
"""until others are done with the file"""
HINDRANCES = ("locked", "readonly", "full", "unable to open")
"""Of what SQLite says: the file may be whole, but cannot be used now."""

OF_KEY = "found.key = asked.value"
OF_QUALITY = "found.key >= asked.value || '-' AND found.key < asked.value || '.'"
"""The part and a dash: a point comes next after a dash."""
OF_PICTURE = " AND ".join(
    f"found.{name} = json_extract(asked.value, '$[{i}]')" for i, name in enumerate((*Drawer._fields, "image"))
)


class Store:
    """Records in one file; open it in a `with` statement.

    path     created with its folder when it is not there
    reading  of a file that is there, and is left as it is: it may be on a medium that cannot be written, and of an
             earlier layout

    Raises StoreError if the file is not a bench store, is damaged, or cannot be opened or written; every method does.
    """

    def __init__(self, path: Path, *, reading: bool = False) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._is_together = False
        self._network = network_mount(path)
        self._ends = contextlib.ExitStack()
        try:
            with self._told("open"):
                if reading:
                    self._look_at_file(may_be_empty=False)
                    self._db = self._open_to_read()
                else:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    if path.exists():
                        self._look_at_file(may_be_empty=True)
                        self._look_before_writing()
                    self._hold_to_locks()
                    self._db = self._connect(path)
                    self._leave_wal()
                    self._open_to_write()
        except BaseException:
            self._ends.close()
            raise

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ends.close()

    # --- opening -----------------------------------------------------------------------------------------

    def _look_at_file(self, *, may_be_empty: bool) -> None:
        """Before SQLite does, which takes a file of a few bytes for an empty one and writes over it."""
        status = self.path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise StoreError(f"Cannot open the store {self.path}: it is not a file. {ELSEWHERE}")
        if self._beside("-journal"):
            return  # a creation was killed: SQLite takes it back
        if status.st_size == 0 and may_be_empty and not self._beside("-wal"):
            return  # a creation was killed before its first byte
        with self.path.open("rb") as file:
            start = file.read(4096)
        if start.startswith(b"SQLite format 3\0") and len(start) >= 512:
            return
        if looks_like_ours(start) or self._beside("-wal") or (len(start) == 4096 and not any(start)):
            raise UnsoundError("its first bytes are not those of a store")
        said = "file is not a database" if start else "it is empty"
        raise StoreError(f"{self.path} is not a bench store ({said}). {ELSEWHERE}")

    def _look_before_writing(self) -> None:
        """What a killed run left beside a store is gone once SQLite has written to it: it is looked at before."""
        if not self._may_write():
            raise StoreError(f"Cannot open the store {self.path}: it or its folder cannot be written. {ELSEWHERE}")
        if self._beside("-wal"):
            with contextlib.closing(self._connect_to_read()) as db:
                self._layout(db)
                hold_to_flushed(db, self.path)

    def _may_write(self) -> bool:
        return os.access(self.path, os.W_OK) and os.access(self.path.parent, os.W_OK)

    def _beside(self, suffix: str) -> bool:
        """Whether there is something in the file that SQLite keeps beside the store."""
        try:
            return Path(f"{self.path}{suffix}").stat().st_size > 0
        except OSError:
            return False

    def _connect(self, file: Path | str, *, uri: bool = False) -> sqlite3.Connection:
        db = sqlite3.connect(file, timeout=WAIT_SECONDS, isolation_level=None, check_same_thread=False, uri=uri)
        self._ends.callback(db.close)
        guard(db)
        return db

    def _open_to_write(self) -> None:
        self._db.execute(
            "BEGIN IMMEDIATE"
        )  # several processes may be creating it: one looks and makes, the rest wait
        try:
            layout = self._layout(self._db)
            if layout == 0:
                create(self._db)
            elif layout < LAYOUT:
                bring_forward(self._db)
        except BaseException:
            self._roll_back()
            raise
        self._db.execute("COMMIT")
        if self._network is None and self._journal() != "wal":
            with contextlib.suppress(sqlite3.OperationalError):  # locked: somebody else is just doing it
                self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")  # a record that was added survives a power cut

    def _hold_to_locks(self) -> None:
        if self._network and (why := lacks_locks(self.path.parent)):
            raise StoreError(
                f"Cannot open the store {self.path}: {self._network.place} is {self._network.kind}, and no file can"
                f" be locked there ({why}). Keep it on a local disk; `bench merge` puts such stores together."
            )

    def _leave_wal(self) -> None:
        """Over a network: a store with WAL, from a local disk, goes without it from now on."""
        if self._network is None or not self._has_wal():
            return
        try:
            self._db.execute("PRAGMA locking_mode = EXCLUSIVE")  # who has it alone needs no shared memory for it
            self._db.execute("PRAGMA journal_mode = DELETE")
            self._db.execute("PRAGMA locking_mode = NORMAL")
            self._db.execute("SELECT 1 FROM sqlite_master").fetchone()  # from when on others may open it
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                raise
            raise StoreError(
                f"Cannot open the store {self.path}: it is on {self._network.kind}, and somebody has it open with"
                " SQLite's WAL, which works on one machine alone. Wait for that to end."
            ) from None

    def _has_wal(self) -> bool:
        """As the file's header says it: SQLite would need the shared memory to tell."""
        with self.path.open("rb") as file:
            return file.read(20)[18:] == b"\2\2"

    def _journal(self) -> str:
        return str(self._db.execute("PRAGMA journal_mode").fetchone()[0])

    @property
    def remark(self) -> str:
        """What a user should know of where the store is; "" on a local disk."""
        if self._network is None:
            return ""
        where = f"{self.path} is on {self._network.kind}, where SQLite's WAL does not hold across machines"
        told = f"{where}: it goes without, and records take longer"
        if option := self._network.keeps_locks_here:
            told += f". Its locks hold on this machine alone ({option}): let no other write to it"
        return f"{told}. A store on each machine's own disk is better; `bench merge` puts them together"

    def _open_to_read(self) -> sqlite3.Connection:
        try:
            if self._may_write() or not self._beside("-journal"):  # which is written back, of a killed run
                return self._looked_through(self._connect_to_read(), self.path)
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise
        # what SQLite needs beside the file cannot be made there: a copy elsewhere has the same records
        folder = Path(self._ends.enter_context(tempfile.TemporaryDirectory(prefix="bench-store-")))
        for suffix in ("", "-wal", "-journal"):
            if not suffix or self._beside(suffix):
                shutil.copyfile(f"{self.path}{suffix}", folder / f"copy{suffix}")
        return self._looked_through(self._connect(folder / "copy"), folder / "copy")

    def _connect_to_read(self) -> sqlite3.Connection:
        """Nothing is left beside a store that was not there, and what a killed run left is only read."""
        if Path(f"{self.path}-wal").exists():
            mode = "mode=ro"
        elif self._may_write():
            mode = "mode=rw"  # SQLite makes files beside it, and takes them away
        else:
            mode = "mode=ro&immutable=1"
        return self._connect(f"{self.path.absolute().as_uri()}?{mode}", uri=True)

    def _looked_through(self, db: sqlite3.Connection, file: Path) -> sqlite3.Connection:
        """The connection, or one to the same records in a file of SQLite's own if they are of an earlier layout."""
        layout = self._layout(db)
        hold_to_flushed(db, file)
        if layout == 0:
            raise StoreError(f"{self.path} is not a bench store (it is empty). {ELSEWHERE}")
        if layout == LAYOUT:
            db.execute("PRAGMA query_only = ON")
            return db
        brought = self._connect("")
        brought.execute("BEGIN")
        fill(brought, records_of_older(db))
        brought.execute("COMMIT")
        return brought

    def _layout(self, db: sqlite3.Connection) -> int:
        """Raises StoreError for another program's file, or a later layout; UnsoundError for a damaged one."""
        layout = layout_of(db)
        if layout > LAYOUT:
            raise StoreError(
                f"{self.path} has layout {layout}, this bench reads up to {LAYOUT}."
                " Update bench, or name another store."
            )
        if layout < 0:
            raise StoreError(f"{self.path} is an SQLite file, but not a bench store. {ELSEWHERE}")
        return layout

    @contextlib.contextmanager
    def _told(self, doing: str) -> Iterator[None]:
        """What goes wrong inside is a StoreError, which says what to do."""
        try:
            yield
        except UnsoundError as error:
            raise self._damaged(error) from None
        except FileNotFoundError:
            raise StoreError(f"There is no store {self.path}. `bench run` makes one. {ELSEWHERE}") from None
        except (OSError, ValueError, OverflowError) as error:  # of names, texts and numbers that SQLite has not
            raise StoreError(f"Cannot {doing} the store {self.path}: {error}. {ELSEWHERE}") from None
        except (sqlite3.Error, MemoryError) as error:
            if any(word in str(error) for word in HINDRANCES):
                raise StoreError(f"Cannot {doing} the store {self.path}: {error}. {ELSEWHERE}") from None
            raise self._damaged(error) from None

    def _damaged(self, error: Exception) -> StoreError:
        said = terminal(error, 120)  # SQLite quotes what it cannot read
        return StoreError(
            f"The store {self.path} is damaged: {said or 'it cannot be read'}."
            f" `bench store check {self.path}` says what is lost, `bench store repair {self.path}` keeps the rest."
        )

    # --- writing -----------------------------------------------------------------------------------------

    def add(self, *records: Record) -> None:
        """Write records at once, all or none; one of the same key is replaced, and of several the last is written."""
        values = {record.key: self._values(record) for record in records}
        with self._writing() as totals:
            for seal, place, drawer in self._sealed(values).values():
                self._db.execute("DELETE FROM records WHERE place = ?", (place,))
                totals.lose(seal, drawer)
            insert(self._db, values.values(), totals)

    def renew(self, records: Mapping[str, Record]) -> None:
        """Replace records by what is known of them now, by the keys that they have here; all or none."""
        told = ", ".join(f"{name} = ?" for name in ROW)
        values = {key: self._values(record) for key, record in records.items()}
        with self._writing() as totals:
            for key, record in records.items():
                there = self._sealed([key])
                if key not in there:
                    continue
                if record.key != key:
                    for seal, place, drawer in self._sealed([record.key]).values():
                        self._db.execute("DELETE FROM records WHERE place = ?", (place,))
                        totals.lose(seal, drawer)
                seal, place, drawer = there[key]
                row = (place, *values[key])
                new_seal = checksum(row)
                self._db.execute(f"UPDATE records SET {told} WHERE place = ?", (new_seal, *row, place))
                totals.lose(seal, drawer)
                totals.gain(new_seal, Drawer(record.task, record.dataset, record.restorer))

    def _values(self, record: Record) -> Values:
        try:
            return values_of(record)
        except UnsoundError as error:
            raise StoreError(f"Cannot write to the store {self.path}: {error}.") from None

    def _sealed(self, keys: Iterable[str]) -> dict[str, tuple[int, int, Drawer]]:
        """By key: checksum, place and drawer of those records that are there."""
        found = {}
        asked = json.dumps(list(keys))
        for key, seal, place, *drawer in self._db.execute(
            f"SELECT key, checksum, place, {', '.join(Drawer._fields)} FROM records"
            " WHERE key IN (SELECT value FROM json_each(?))",
            (asked,),
        ):
            if type(seal) is not int:
                raise UnsoundError(f"record {place} has no checksum")
            found[key] = (seal, place, Drawer(*drawer))
        return found

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """What is written inside is there at its end, all or none; what is read inside sees it. No other process
        writes meanwhile."""
        with self._lock:
            if self._is_together:
                yield
                return
            with self._told("write to"):
                self._db.execute("BEGIN IMMEDIATE")
            self._is_together = True
            try:
                yield
                with self._told("write to"):
                    self._db.execute("COMMIT")
            except BaseException:
                self._roll_back()
                raise
            finally:
                self._is_together = False

    @contextlib.contextmanager
    def _writing(self) -> Iterator[Totals]:
        """A transaction, with the totals of before it; it writes those of after it."""
        with self.together(), self._told("write to"):
            totals = Totals.read(self._db)
            yield totals
            totals.write(self._db)

    def _roll_back(self) -> None:
        if self._db.in_transaction:  # some errors end it
            self._db.execute("ROLLBACK")

    # --- reading -----------------------------------------------------------------------------------------

    def records(self) -> list[Record]:
        """All records, those first that runs asked for first."""
        return [*self.stream()]

    def stream(self) -> Iterator[Record]:
        """All records of one moment, one after the other, those first that runs asked for first.

        Whether they are all that were written is only known behind the last: what was made of them is to be dropped
        if a StoreError comes. Nothing may be written by this Store in between.
        """
        for _, record in self._all():
            yield record

    def _all(self) -> Iterator[tuple[int, Record]]:
        """Checksums and records, as `stream` gives them."""
        with self.moment(), self._told("read"):
            totals = Totals.read(self._db)
            found, keys = Totals(last=totals.last), set()
            placed = self._placed("ORDER BY asked_at, place")
            for seal, _, record in along(placed, f"reading {self.path}", totals.n):
                found.gain(seal)
                keys.add(hash(record.key))
                yield seal, record
            if found != totals:
                raise UnsoundError(f"{totals.n} records were written and {found.n} are there, or not the same")
            if len(keys) < found.n:
                raise UnsoundError("it has two records of one key")

    @contextlib.contextmanager
    def moment(self) -> Iterator[None]:
        """What is read inside is of one moment, whatever others write. This Store may write nothing inside."""
        with self._lock:
            if self._db.in_transaction:
                yield
                return
            with self._told("read"):
                self._db.execute("BEGIN")
            try:
                yield
            finally:
                self._roll_back()

    def drawers(self) -> dict[Drawer, int]:
        """How many records each drawer has."""
        with self.moment(), self._told("read"):
            return {drawer: n for drawer, (n, _) in drawers(self._db).items()}

    def in_drawers(self, chosen: Iterable[Drawer]) -> Iterator[tuple[int, Values]]:
        """Place and values of all records of these drawers, one after the other, as `stream` gives all."""
        with self.moment(), self._told("read"):
            held, chosen = drawers(self._db), [*chosen]
            n_held = sum(held[drawer][0] for drawer in chosen if drawer in held)
            yield from along(self._in_drawers(chosen, held), f"reading {self.path}", n_held)

    def _in_drawers(
        self, chosen: Iterable[Drawer], held: Mapping[Drawer, tuple[int, int]]
    ) -> Iterator[tuple[int, Values]]:
        for drawer in chosen:
            found = Totals()
            for row in self._rows("WHERE task = ? AND dataset = ? AND restorer = ?", *drawer):
                found.gain(row[0])
                yield row[1], row[2:]
            n, checksums = held.get(drawer, (0, 0))
            if (found.n, found.checksums) != (n, checksums):
                told = f"of {drawer.restorer} on {drawer.dataset}, {drawer.task}"
                raise UnsoundError(f"{n} records {told} were written and {found.n} are there, or not the same")

    def places(self) -> Iterator[int]:
        """The places of all records, those first that runs asked for first."""
        with self.moment(), self._told("read"), self._bounded(()):
            for (place,) in self._db.execute("SELECT place FROM records ORDER BY asked_at, place"):
                yield place

    def at(self, places: Iterable[int]) -> dict[int, Values]:
        """By place the values of the records at these."""
        wanted = [*places]
        with self._told("read"), self._lock:
            which = "WHERE place IN (SELECT value FROM json_each(?))"
            found = {row[1]: row[2:] for row in self._rows(which, json.dumps(wanted))}
            if len(found) < len(wanted):
                raise UnsoundError(f"{len(wanted) - len(found)} records are not where they were")
        return found

    def look_through(self) -> int:
        """Read all that there is; how many records. Raises StoreError if anything is not as it was written, indices
        too."""
        found: dict[Drawer, Totals] = defaultdict(Totals)
        with self.moment():
            for seal, record in self._all():
                found[Drawer(record.task, record.dataset, record.restorer)].gain(seal)
            self.last_asked()
            with self._told("read"):
                if {drawer: (its.n, its.checksums) for drawer, its in found.items()} != drawers(self._db):
                    raise UnsoundError("what it says of what its drawers hold is not what they hold")
                said = self._db.execute("PRAGMA integrity_check(1)").fetchone()[0]
                if said != "ok":
                    raise UnsoundError(" ".join(str(said).split()))
        return sum(its.n for its in found.values())

    def of_pictures(self, named: Iterable[tuple[Drawer, str]]) -> list[Record]:
        """The records in these drawers of pictures of these names, those first that runs asked for first."""
        return self._matching(OF_PICTURE, [[*drawer, image] for drawer, image in named])

    def last_asked(self) -> str:
        """The time at which a run last asked for a record, in UTC; "" if there is none."""
        with self._told("read"), self._lock:
            placed = [*self._placed("ORDER BY asked_at DESC LIMIT 1")]
            last = placed[0][2].asked_at if placed else ""
            if last and not is_time(last):
                raise UnsoundError(f"a record was asked for at '{last[:40]}', which is no time")
        return last

    def find(self, keys: Iterable[str]) -> dict[str, Record]:
        """The records among `keys` that are there."""
        return {record.key: record for record in self._matching(OF_KEY, keys)}

    def find_quality(self, parts: Iterable[str]) -> dict[str, Record]:
        """By quality part of the key: of the records that have that quality the one of the best standing."""
        return {quality_part(record.key): record for record in sorted(self.of_quality(parts), key=standing)}

    def of_quality(self, parts: Iterable[str]) -> list[Record]:
        """The records of these quality parts of keys, of whatever machine."""
        return self._matching(OF_QUALITY, parts)

    def count(self) -> int:
        """How many records there are."""
        with self._told("read"), self._lock:
            return Totals.read(self._db).n

    def _matching(self, how: str, asked: Iterable[object]) -> list[Record]:
        """Records that match any of what is asked for, by an index."""
        which = f"WHERE place IN (SELECT found.place FROM json_each(?) AS asked CROSS JOIN records AS found ON {how})"
        with self._told("read"), self._lock:
            placed = [*self._placed(which, json.dumps(list(asked)))]
        placed.sort(key=lambda one: (one[2].asked_at, one[1]))
        return [record for _, _, record in placed]

    def _placed(self, which: str, *asked: str) -> Iterator[tuple[int, int, Record]]:
        """Checksum, place and record of rows, as `_rows` finds them."""
        for row in self._rows(which, *asked):
            yield row[0], row[1], record_of(row[2:])

    def _rows(self, which: str, *asked: str) -> Iterator[Values]:
        """Rows of the table; each is looked at. Raises UnsoundError for one that is not whole."""
        with self._bounded(asked):
            for row in self._db.execute(f"SELECT {', '.join(ROW)} FROM records {which}", asked):
                hold_to_sound(row[2:])
                if checksum(row[1:]) != row[0]:
                    raise UnsoundError(f"record {row[1]} is not as it was written")
                yield row

    @contextlib.contextmanager
    def _bounded(self, asked: Iterable[str]) -> Iterator[None]:
        """Pages may lead to each other without an end: SQLite's steps inside are bounded by the size of the store."""
        n_pages, page_size = (
            self._db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size")
        )
        allowed = 1_000_000 + 4 * n_pages * page_size + 100 * sum(map(len, asked))
        steps = itertools.count(0, 100_000)
        self._db.set_progress_handler(lambda: next(steps) > allowed, 100_000)
        try:
            yield
        except sqlite3.OperationalError as error:
            raise UnsoundError("its pages lead in circles") if str(error) == "interrupted" else error from None
        finally:
            self._db.set_progress_handler(None, 0)
