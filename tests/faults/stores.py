"""Stores that are not as they were written: bits, pages, bytes, edits behind our back, power cuts, read-only media.

What is read must be what was written, or a StoreError; of a `-wal` that was torn, what was written up to some moment,
and never less than what was flushed before. A repair gives nothing but true records back.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from bench.errors import StoreError
from bench.records.record import COLUMNS, Record
from bench.records.repair import check, repair
from bench.records.sealed import record_of
from bench.records.store import Store
from tests.faults.campaign import Outcome, Try

ATTEMPTS = 1500

PAGE = 4096
ON_A_PAGE = 24
"""records that a page may hold, and so a fault of one page may cost"""


@dataclass(frozen=True)
class Base:
    """A store as it was before the fault.

    states  what it held after each commit
    ends    how long the `-wal` was then
    """

    file: bytes
    wal: bytes
    states: Sequence[Sequence[Record]]
    ends: Sequence[int]

    @property
    def records(self) -> Sequence[Record]:
        return self.states[-1]

    def lay(self, path: Path) -> None:
        path.write_bytes(self.file)
        if self.wal:
            Path(f"{path}-wal").write_bytes(self.wal)


def made(random: Random, number: int) -> Record:
    """A record as runs make them, some with a long reason."""
    failed = random.random() < 0.2
    level: float | str = random.choice([15.0, 25.0, 50.0, "RGGB"])
    figures = {"psnr_db": random.uniform(20, 40), "ssim": random.random(), "seconds": random.choice([None, 0.25])}
    if failed:
        long = random.random() < 0.3
        figures = {"status": "failed", "reason": "it raised " * (700 if long else 3)}  # type: ignore[dict-item]
    return Record(
        **{
            "restorer": random.choice(["sc", "dncnn:bf16", "bm3d"]),
            "weights": "",
            "task": "denoise",
            "level": level,
            "channels": 1,
            "dataset": "set12",
            "image": f"{number}.png",
            "protocol": "standard-v1",
            "repeat": 0,
            "status": "ok",
            "key": f"{random.getrandbits(64):016x}-untimed",
            "environment": json.dumps({"cpu": "x" * random.randrange(200)}),
            "asked_at": f"2026-11-28T09:{number // 60:02d}:{number % 60:02d}+00:00",
            **figures,
        }  # type: ignore[arg-type]
    )


@functools.cache
def base(seed: int, left_open: bool = False) -> Base:
    """A store of some dozen records; one that was left open has some of them in its `-wal` alone."""
    random = Random(f"base {seed}")
    with tempfile.TemporaryDirectory(prefix="bench-faults-") as folder:
        path, wal = Path(folder) / "s.sqlite", Path(folder) / "s.sqlite-wal"
        records = [made(random, i) for i in range(random.choice([12, 40, 90]))]
        n_before = len(records) // 2 if left_open else len(records)
        with Store(path) as store:
            store.add(*records[:n_before])
        states, ends = [records[:n_before]], [0]
        with Store(path) as store:
            for record in records[n_before:]:
                store.add(record)
                states.append([*states[-1], record])
                ends.append(wal.stat().st_size)
            if left_open and random.random() < 0.5:  # a run renews what it asked for
                renewed = {r.key: replaced(r, i) for i, r in enumerate(states[-1])}
                store.renew(renewed)
                states.append([*renewed.values()])
                ends.append(wal.stat().st_size)
            if left_open:
                return Base(path.read_bytes(), wal.read_bytes(), states, ends)
        return Base(path.read_bytes(), b"", states, ends)


def replaced(record: Record, number: int) -> Record:
    return Record(**{**vars(record), "asked_at": f"2026-11-29T09:{number // 60:02d}:{number % 60:02d}+00:00"})


# --- the faults --------------------------------------------------------------------------------------------


@dataclass
class Fault:
    """What a fault leaves to be judged.

    states     that may be read
    costs      how many records a repair may miss; None: any number
    must_read  an error is not enough
    others     records of other stores, or of before, that may turn up in a repair
    """

    states: Sequence[Sequence[Record]]
    costs: int | None = None
    must_read: bool = False
    others: Sequence[Record] = ()


Maker = Callable[[Random, Path], Fault]


def whole(b: Base) -> list[Sequence[Record]]:
    return [b.records]


def flipped(data: bytes, random: Random, start: int = 0) -> bytes:
    changed, bit = bytearray(data), random.randrange(8 * start, 8 * len(data))
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def a_bit(random: Random, path: Path) -> Fault:
    b = base(random.randrange(6))
    path.write_bytes(flipped(b.file, random))
    return Fault(whole(b), ON_A_PAGE)


def a_bit_of_the_header(random: Random, path: Path) -> Fault:
    b = base(random.randrange(6))
    path.write_bytes(flipped(b.file[:100], random) + b.file[100:])
    return Fault(whole(b), 0)


def a_bit_beside_a_wal(random: Random, path: Path) -> Fault:
    b = base(random.randrange(6), left_open=True)
    b.lay(path)
    path.write_bytes(flipped(b.file, random))
    return Fault(whole(b), ON_A_PAGE)


def a_bit_of_the_wal(random: Random, path: Path) -> Fault:
    """Of the last transaction it is as if it had not been flushed."""
    b = base(random.randrange(6), left_open=True)
    b.lay(path)
    Path(f"{path}-wal").write_bytes(flipped(b.wal, random))
    return Fault(b.states[-2:])


def bytes_of_noise(random: Random, path: Path) -> Fault:
    b = base(random.randrange(6))
    n, changed = random.randrange(2, 600), bytearray(b.file)
    at = random.randrange(len(changed) - n)
    changed[at : at + n] = random.randbytes(n)
    path.write_bytes(changed)
    return Fault(whole(b), 2 * ON_A_PAGE)


def pages_of(data: bytes) -> list[bytes]:
    return [data[i : i + PAGE] for i in range(0, len(data), PAGE)]


def a_page_of_zeros(random: Random, path: Path) -> Fault:
    b = base(random.randrange(6))
    pages = pages_of(b.file)
    pages[random.randrange(len(pages))] = bytes(PAGE)
    path.write_bytes(b"".join(pages))
    return Fault(whole(b), ON_A_PAGE)


def two_pages_swapped(random: Random, path: Path) -> Fault:
    b = base(random.randrange(6))
    pages = pages_of(b.file)
    i, j = random.sample(range(len(pages)), 2)
    pages[i], pages[j] = pages[j], pages[i]
    path.write_bytes(b"".join(pages))
    return Fault(whole(b), 2 * ON_A_PAGE)


def a_page_twice(random: Random, path: Path) -> Fault:
    b = base(random.randrange(6))
    pages = pages_of(b.file)
    i, j = random.sample(range(len(pages)), 2)
    pages[i] = pages[j]
    path.write_bytes(b"".join(pages))
    return Fault(whole(b), ON_A_PAGE)


def a_page_of_another_store(random: Random, path: Path) -> Fault:
    seed = random.randrange(6)
    b, other = base(seed), base(seed + 1)
    pages, theirs = pages_of(b.file), pages_of(other.file)
    i = random.randrange(min(len(pages), len(theirs)))
    pages[i] = theirs[i]
    path.write_bytes(b"".join(pages))
    return Fault(whole(b), ON_A_PAGE, others=other.records)


def an_old_page(random: Random, path: Path) -> Fault:
    """A write that never reached the disk: a page is as it was before a run renewed its records."""
    b = base(random.randrange(6))
    b.lay(path)
    with Store(path) as store:
        renewed = {r.key: replaced(r, i) for i, r in enumerate(b.records)}
        store.renew(renewed)
    pages, before = pages_of(path.read_bytes()), pages_of(b.file)
    i = random.randrange(1, len(before))
    same = pages[i] == before[i]
    pages[i] = before[i]
    path.write_bytes(b"".join(pages))
    return Fault([[*renewed.values()]], None, must_read=same, others=b.records)


def cut(random: Random, path: Path) -> Fault:
    b = base(random.randrange(6))
    path.write_bytes(b.file[: random.choice([random.randrange(len(b.file)), 1, 0, 100, PAGE])])
    return Fault(whole(b))


def appended(random: Random, path: Path) -> Fault:
    b = base(random.randrange(6))
    path.write_bytes(b.file + random.choice([random.randbytes(random.randrange(1, 9000)), bytes(PAGE)]))
    return Fault(whole(b), 0)


def by_sql(*statements: str) -> Maker:
    def edit(random: Random, path: Path) -> Fault:
        b = base(random.randrange(6))
        b.lay(path)
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
            for sql in statements:
                column = random.choice([name for name in COLUMNS if name != "key"])
                db.execute(sql.format(place=random.randint(1, len(b.records)), column=column, n=random.randrange(99)))
        return Fault(whole(b), len(statements) if statements[0].startswith(("UPDATE", "DELETE")) else None)

    return edit


def sealed_by_a_stranger(random: Random, path: Path) -> Fault:
    """Right checksums over values that no record has: a store that somebody made up."""
    from bench.records.sealed import checksum

    b = base(random.randrange(6))
    b.lay(path)
    place, column = random.randint(1, len(b.records)), random.choice(COLUMNS)
    strange = random.choice([b"\xff\xfe", 10**15 + 0.5, "words", -(2**63), float("inf"), float("-inf"), None])
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        row = db.execute(f"SELECT place, {', '.join(COLUMNS)} FROM records WHERE place = ?", (place,)).fetchone()
        values = {**dict(zip(("place", *COLUMNS), row, strict=True)), column: strange}
        with contextlib.suppress(TypeError):
            db.execute(f"UPDATE records SET {column} = ?, checksum = ? WHERE place = ?",
                       (strange, checksum(tuple(values.values())), place))  # fmt: skip
    return Fault(whole(b), 1, others=[Record(**{name: values[name] for name in COLUMNS})])


def a_stale_shm(random: Random, path: Path) -> Fault:
    b = base(random.randrange(6), left_open=True)
    b.lay(path)
    Path(f"{path}-shm").write_bytes(random.randbytes(random.choice([10, 32768, 65536])))
    return Fault(whole(b), 0, must_read=True)


def a_wal_of_another_store(random: Random, path: Path) -> Fault:
    seed = random.randrange(6)
    b, other = base(seed, left_open=True), base(seed + 1, left_open=True)
    path.write_bytes(b.file)
    Path(f"{path}-wal").write_bytes(other.wal)
    return Fault([*b.states, *other.states], None, others=other.records)


def flushed_before(b: Base, at: int) -> list[Sequence[Record]]:
    """The states that may be read if the `-wal` is whole up to here: what was flushed is there."""
    n = sum(end <= at for end in b.ends) - 1
    return [*b.states[n:]]


def power_cut(random: Random, path: Path) -> Fault:
    """The `-wal` ends somewhere; what was flushed before must be there."""
    b = base(random.randrange(6), left_open=True)
    at = random.randrange(len(b.wal) + 1)
    path.write_bytes(b.file)
    Path(f"{path}-wal").write_bytes(b.wal[:at])
    return Fault(flushed_before(b, at), must_read=True)


def power_cut_out_of_order(random: Random, path: Path) -> Fault:
    """Of what was written after the last flush some sectors are on the disk, some are not, some are of before."""
    b = base(random.randrange(6), left_open=True)
    commit = random.randrange(len(b.ends) - 1)
    start, end = b.ends[commit], b.ends[commit + 1]
    tail = bytearray(b.wal[start:end])
    for at in range(0, len(tail), 512):
        if random.random() < 0.5:
            n = len(tail[at : at + 512])
            tail[at : at + 512] = random.choice([bytes(n), random.randbytes(n)])
    path.write_bytes(b.file)
    Path(f"{path}-wal").write_bytes(b.wal[:start] + bytes(tail))
    return Fault(flushed_before(b, start)[:2], must_read=True)


def read_only(random: Random, path: Path) -> Fault:
    """Neither file nor folder can be written, with what a killed run left beside it, or not."""
    b = base(random.randrange(6), left_open=random.random() < 0.7)
    b.lay(path)
    for file in path.parent.iterdir():
        file.chmod(0o444)
    path.parent.chmod(0o555)
    return Fault(whole(b), 0, must_read=True)


def an_earlier_layout(random: Random, path: Path) -> Fault:
    b = base(random.randrange(6))
    as_layout_4(path, b.records)
    return Fault(whole(b), 0, must_read=True)


def as_layout_4(path: Path, records: Sequence[Record]) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        declared = ", ".join(f"{name} PRIMARY KEY" if name == "key" else name for name in COLUMNS)
        db.execute(f"CREATE TABLE records ({declared})")
        rows = [tuple(vars(record).values()) for record in records]
        db.execute("BEGIN")
        db.executemany(f"INSERT INTO records VALUES ({', '.join('?' * len(COLUMNS))})", rows)
        db.execute("COMMIT")
        db.execute("PRAGMA application_id = 1651401576")
        db.execute("PRAGMA user_version = 4")


KINDS: dict[str, tuple[int, Maker]] = {
    "a bit": (30, a_bit),
    "a bit of the header": (4, a_bit_of_the_header),
    "a bit beside a -wal": (6, a_bit_beside_a_wal),
    "a bit of the -wal": (6, a_bit_of_the_wal),
    "bytes of noise": (4, bytes_of_noise),
    "a page of zeros": (4, a_page_of_zeros),
    "two pages swapped": (4, two_pages_swapped),
    "a page twice": (4, a_page_twice),
    "a page of another store": (4, a_page_of_another_store),
    "an old page": (4, an_old_page),
    "cut": (4, cut),
    "appended": (2, appended),
    "a value edited": (2, by_sql("UPDATE records SET {column} = {n} WHERE place = {place}")),
    "a text edited": (2, by_sql("UPDATE records SET {column} = 'x{n}' WHERE place = {place}")),
    "a checksum edited": (1, by_sql("UPDATE records SET checksum = {n} WHERE place = {place}")),
    "a record deleted": (1, by_sql("DELETE FROM records WHERE place = {place}")),
    "a record copied": (1, by_sql("CREATE TEMP TABLE t AS SELECT * FROM records WHERE place = {place}",
                                  "UPDATE t SET place = place + 1000, key = key || 'x'",
                                  "INSERT INTO records SELECT * FROM t")),
    "places exchanged": (1, by_sql("UPDATE records SET place = -place WHERE place < 3",
                                   "UPDATE records SET place = 3 + place WHERE place < 0")),
    "totals edited": (1, by_sql("UPDATE totals SET n = n + 1 + {n}")),
    "no totals": (1, by_sql("DELETE FROM totals")),
    "a column dropped": (1, by_sql("ALTER TABLE records DROP COLUMN {column}")),
    "a column added": (1, by_sql("ALTER TABLE records ADD COLUMN {column}_2")),
    "a table dropped": (1, by_sql("DROP TABLE records")),
    "a foreign table": (1, by_sql("CREATE TABLE bookmarks (url)")),
    "a view planted": (1, by_sql("ALTER TABLE records RENAME TO r", "CREATE VIEW records AS SELECT * FROM r")),
    "a trigger planted": (1, by_sql("CREATE TRIGGER t AFTER INSERT ON records BEGIN DELETE FROM records; END")),
    "a computed column": (1, by_sql("ALTER TABLE records ADD COLUMN x AS (zeroblob(9))")),
    "a layout that lies": (2, by_sql("PRAGMA user_version = {n}")),
    "another program's": (1, by_sql("PRAGMA application_id = {n}")),
    "a journal of another kind": (1, by_sql("PRAGMA journal_mode = DELETE")),
    "made up": (4, sealed_by_a_stranger),
    "a stale -shm": (2, a_stale_shm),
    "a -wal of another store": (2, a_wal_of_another_store),
    "power cut": (8, power_cut),
    "power cut, out of order": (8, power_cut_out_of_order),
    "read-only": (3, read_only),
    "an earlier layout": (1, an_earlier_layout),
}  # fmt: skip
"""How often, and how it is made."""


# --- the judge ---------------------------------------------------------------------------------------------


def attempt(try_: Try) -> Outcome:
    kind = try_.random.choices([*KINDS], [weight for weight, _ in KINDS.values()])[0]
    folder = try_.folder / "folder"
    folder.mkdir()
    path = folder / "s.sqlite"
    fault = KINDS[kind][1](try_.random, path)
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    with as_nobody(try_.folder) if kind == "read-only" else contextlib.nullcontext():
        lost = judged_by_reading(path, fault)
    folder.chmod(0o755)
    for name, content in before.items():  # as it was, however it was opened
        (folder / name).write_bytes(content)
    return Outcome(kind, lost or judged_by_running(path, fault, folder) or judged_by_repairing(path, fault, before))


@contextlib.contextmanager
def as_nobody(folder: Path) -> Iterator[None]:
    """Root may write anything: as somebody who may not."""
    if os.getuid() != 0:
        yield
        return
    folder.chmod(0o755)
    os.setresuid(65534, 65534, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


def one_line(error: StoreError, path: Path) -> str:
    text = str(error)
    return "" if path.name in text and len(text.splitlines()) == 1 and len(text) < 900 else f"an odd error: {text!r}"


def judged_by_reading(path: Path, fault: Fault) -> str:
    try:
        with Store(path, reading=True) as store:
            found = store.records()
    except StoreError as error:
        return f"refused: {error}" if fault.must_read else one_line(error, path)
    except Exception as error:  # what a person would see as a traceback
        return f"a traceback: {type(error).__name__}: {error}"
    return "" if found in [[*state] for state in fault.states] else f"{len(found)} records were read, and are wrong"


def judged_by_running(path: Path, fault: Fault, folder: Path) -> str:
    """What a run does with a store: it finds, adds and renews. Whatever it is told is true."""
    true = {record.key: {*()} for state in fault.states for record in state}
    for record in [*(r for state in fault.states for r in state), *fault.others]:
        true.setdefault(record.key, set()).add(record)
    copy = folder / "copy.sqlite"
    for file in folder.glob("s.sqlite*"):
        shutil.copyfile(file, folder / file.name.replace("s.sqlite", "copy.sqlite"))
    new = made(Random("new"), 3599)
    try:
        with Store(copy) as store:
            told = [*store.find(true).values(), *store.find_quality(k.partition("-")[0] for k in true).values()]
            told += store.of_pictures((drawer, f"{i}.png") for drawer in store.drawers() for i in range(40))
            told += [record_of(values) for _, values in store.in_drawers(store.drawers())]
            store.last_asked()
            if any(record not in true.get(record.key, ()) for record in told):
                return "a run is told what was never measured"
            store.add(new)
            store.renew({new.key: replaced(new, 3600 - 1)})
        with Store(copy, reading=True) as store:
            known = {record for records in true.values() for record in records} | {replaced(new, 3599)}
            if not {*store.records()} <= known:
                return "after a run there are records that were never measured"
    except StoreError as error:
        return f"a run is refused: {error}" if fault.must_read else one_line(error, copy)
    except Exception as error:
        return f"a traceback in a run: {type(error).__name__}: {error}"
    finally:
        for file in folder.glob("copy.sqlite*"):
            file.unlink()
    return ""


def judged_by_repairing(path: Path, fault: Fault, before: dict[str, bytes]) -> str:
    true = {record for state in fault.states for record in state} | {*fault.others}
    try:
        checked = check(path)
        repaired = repair(path)
        after = check(path)
    except StoreError as error:
        return one_line(error, path) if fault.costs is None else f"not repaired: {error}"
    except Exception as error:
        return f"a traceback in a repair: {type(error).__name__}: {error}"
    if not after.ok:
        return f"damaged after its repair: {after.damage}"
    if not {*after.records} <= true:
        return "a repair made records up"
    missing = len(fault.states[-1]) - len(after.records)
    if fault.costs is not None and missing > fault.costs:
        return f"{missing} of {len(fault.states[-1])} records were lost by a repair"
    if not checked.ok and (repaired.kept_as is None or repaired.kept_as.read_bytes() != before[path.name]):
        return "the damaged file was not kept"
    return ""
