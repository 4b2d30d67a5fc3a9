"""What is whole in a store, and a store of what is whole in a damaged one."""

from __future__ import annotations

import itertools
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.errors import StoreError
from bench.escape import terminal
from bench.records.layouts import LAYOUT, Totals, completed, guard, looks_like_ours, record_of_older
from bench.records.pages import rows
from bench.records.record import COLUMNS, Record
from bench.records.sealed import UnsoundError, checksum, is_time, record_of
from bench.records.store import Store

__all__ = ["Checked", "check", "repair"]

SHOWN = 20
"""of the names of lost records"""


@dataclass(frozen=True)
class Checked:
    """What a store has.

    n        how many records are whole
    damage   what is wrong; "" if nothing is
    lost     names of those that are not whole, as far as they can be read
    n_lost   how many are not whole, named or not; None if that cannot be told
    kept_as  where a repair has put the damaged file; None if there was no repair
    salvaged  of a damaged store the records that are whole
    """

    path: Path
    n: int
    damage: str = ""
    lost: Sequence[str] = ()
    n_lost: int | None = 0
    kept_as: Path | None = None
    salvaged: Sequence[Record] = field(default=(), repr=False)

    @property
    def records(self) -> Sequence[Record]:
        """Those that are whole, in their order; of a store that is whole they are read now."""
        if not self.ok:
            return self.salvaged
        with Store(self.path, reading=True) as store:
            return store.records()

    @property
    def ok(self) -> bool:
        return not self.damage

    def __str__(self) -> str:
        n = _counted(self.n, "record")
        if self.ok:
            return terminal(f"{self.path}: {n}, whole.")
        if self.kept_as:
            lines = [f"{self.path}: {n} kept. The damaged file is {self.kept_as}."]
        else:
            lines = [self.damage, f"{n} can be kept."]
        if self.n_lost is None:
            lines.append("How many cannot be read is not known.")
        elif self.n_lost:
            them = "it" if self.n_lost == 1 else "them"
            lines.append(f"{_counted(self.n_lost, 'record')} cannot be read; `bench run` measures {them} again.")
        lines += [f"  {name}" for name in self.lost[:SHOWN]]
        lines += [f"  and {len(self.lost) - SHOWN} more"] * (len(self.lost) > SHOWN)
        return "\n".join(terminal(line) for line in lines)


def check(path: Path) -> Checked:
    """Read all of a store, and of a damaged one what is whole; it is left as it is.

    Raises StoreError for a file that is no store, or cannot be read now.
    """
    try:
        with Store(path, reading=True) as store:
            return Checked(path, store.look_through())
    except StoreError as error:
        if not _is_ours(path):
            raise
        return _salvaged(path, str(error))


def repair(path: Path) -> Checked:
    """Put a store of what is whole in the place of a damaged one, which is kept beside it.

    Raises StoreError as `check` does, if a run is at work on it, or if its folder cannot be written.
    """
    found = check(path)
    if found.ok:
        return found
    _hold_to_unused(path)
    made = path.with_name(f"{path.name}.repaired")
    try:
        for left in _files(made):  # of a repair that was killed
            left.unlink()
        with Store(made) as store:
            store.add(*found.salvaged)
        kept_as = next(name for name in _names_for(path) if not name.exists())
        for suffix in ("-wal", "-journal", ""):  # what is left beside a store would be taken for its own
            if (file := Path(f"{path}{suffix}")).exists():
                file.rename(f"{kept_as}{suffix}")
        Path(f"{path}-shm").unlink(missing_ok=True)
        made.rename(path)
    except OSError as error:
        raise StoreError(f"Cannot repair the store {path}: {error}.") from None
    return replace(found, kept_as=kept_as)


def _counted(n: int, what: str) -> str:
    return f"{n} {what}{'s' * (n != 1)}"


def _files(path: Path) -> Iterator[Path]:
    return (file for suffix in ("", "-wal", "-shm", "-journal") if (file := Path(f"{path}{suffix}")).exists())


def _names_for(path: Path) -> Iterator[Path]:
    """FILE.damaged, FILE.damaged-2, …"""
    yield path.with_name(f"{path.name}.damaged")
    for i in itertools.count(2):
        yield path.with_name(f"{path.name}.damaged-{i}")


def _is_ours(path: Path) -> bool:
    """Whether a file that is not whole was a store."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        if looks_like_ours(file.read(4096)):
            return True
    return any(row is not None and _is_sealed(*row) for row in rows(path))


def _is_sealed(place: int, values: tuple[Any, ...]) -> bool:
    told = completed(values[2:])
    if len(told) != len(COLUMNS):
        return False
    try:
        record = record_of(told)
    except UnsoundError:
        return False
    return checksum((place, *values[2:])) == values[0] and (not record.asked_at or is_time(record.asked_at))


def _salvaged(path: Path, damage: str) -> Checked:
    """What is whole of a damaged store, by its pages; an earlier layout has no checksums, SQLite finds some."""
    whole: dict[str, tuple[str, int, Record]] = {}
    broken: dict[str, str] = {}
    totals: Totals | None = None
    for row in rows(path):
        place, values = row or (0, ())
        told = completed(values[2:])
        if _is_sealed(place, values):
            record = record_of(told)
            version = (record.asked_at, place, record)
            if record.key not in whole or whole[record.key][:2] < version[:2]:
                whole[record.key] = version
        elif len(told) == len(COLUMNS):
            named = dict(zip(COLUMNS, told, strict=True))
            broken[str(named["key"])] = _name(named)
        elif (found := Totals.of_row(values)) and (totals is None or found.last >= totals.last):
            totals = found
    if not whole and (records := _salvaged_of_older(path)) is not None:
        return Checked(path, len(records), damage, (), None, salvaged=records)
    records = [record for _, _, record in sorted(whole.values(), key=lambda version: version[1])]
    lost = [name for key, name in broken.items() if key not in whole]
    n_lost = None if totals is None else max(totals.n - len(records), 0)
    lost = lost if n_lost is None else lost[:n_lost]
    return Checked(path, len(records), damage, lost, n_lost, salvaged=records)


def _name(told: dict[str, Any]) -> str:
    """What a damaged record still says that it is of."""
    names = ("restorer", "task", "level", "dataset", "image")
    restorer, task, level, dataset, image = (terminal(told[name], 80) for name in names)
    return f"{restorer}, {task} {level}, {dataset}/{image}"


def _salvaged_of_older(path: Path) -> list[Record] | None:
    """The rows of an earlier layout that SQLite finds and whose values are a record's; None if it is of none."""
    with tempfile.TemporaryDirectory(prefix="bench-store-") as folder:
        copy = Path(folder) / "copy"
        for suffix in ("", "-wal", "-journal"):
            if (file := Path(f"{path}{suffix}")).exists():
                shutil.copyfile(file, f"{copy}{suffix}")
        with closing(sqlite3.connect(copy, isolation_level=None)) as db:
            try:
                guard(db)
                if db.execute("PRAGMA user_version").fetchone()[0] >= LAYOUT:
                    return None
                names = [row[1] for row in db.execute("PRAGMA table_info(records)") if row[1] in COLUMNS]
            except sqlite3.Error:
                return None
            found: dict[int, Record] = {}
            for order in ("ASC", "DESC") if names else ():  # from either end up to what is damaged
                sql = f"SELECT rowid, {', '.join(names)} FROM records ORDER BY rowid {order}"
                try:
                    for place, *values in db.execute(sql):
                        try:
                            found[place] = record_of_older(dict(zip(names, values, strict=True)))
                        except UnsoundError:
                            continue
                except (sqlite3.Error, MemoryError):
                    continue
    by_key = {record.key: record for _, record in sorted(found.items())}
    return list(by_key.values())


def _hold_to_unused(path: Path) -> None:
    """Raises StoreError if another process has the store open: SQLite locks these bytes as long as it has."""
    try:
        import fcntl
    except ImportError:
        return
    try:
        with path.open("rb+") as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 510, 0x40000002)
    except OSError as error:
        raise StoreError(f"Cannot repair the store {path}: a run is at work on it ({error}).") from None
