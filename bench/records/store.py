"""Records on disk: one SQLite file that several processes may write at once (WAL), one row per cell.

Each record is committed as soon as it is measured; whatever dies afterwards, it stays.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from bench.errors import StoreError

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "COLUMNS",
    "IDENTITY",
    "Record",
    "Store",
    "card_in",
    "current",
    "devices",
    "fastest",
    "frame_of",
    "on_one_device",
    "quality_part",
]

APPLICATION_ID = 0x62_6E_63_68  # "bnch": tells our files from other SQLite files
SCHEMA_VERSION = 3


@dataclass(frozen=True)
class Record:
    """What one cell gave.

    restorer         name, with its variant: `dncnn:bf16`
    weights          `published:sigma_25.mat`, `ours:…`, `file:…` or ""
    level            sigma (0-255 scale), quality, scale, or the Bayer pattern
    channels         of the restored image
    repeat           which noise realisation, from 0
    status, reason   `ok`, `failed` or `skipped`, and why
    psnr_db, ssim    under `protocol`
    estimated_level  what a blind restorer took the level for; None if it was told, or keeps it to itself
    seconds          median of the timed calls; None if the cell was not timed
    seconds_spread   largest less smallest reading; None for a single one
    device_seconds   the CUDA device's own share of `seconds`; None elsewhere
    device           `cpu`, `cuda`, `cuda:1`, `mps`; which card that is, `environment` says
    threads          that the restorer's process was given
    params           learned parameters, counted
    macs_per_pixel   multiply-accumulates per restored pixel, counted; None: not counted
    peak_mib         peak memory during the call: of the process on a CPU, of the allocator on a CUDA device
    input_sha256     of the degraded pixels that the restorer was given
    weights_sha256   of the weights file; "" where there is none
    environment      machine and versions, JSON
    key              hash of all that could change the result, see `bench.runner.plan`
    """

    restorer: str
    weights: str
    task: str
    level: float | str
    channels: int
    dataset: str
    image: str
    protocol: str
    repeat: int
    status: str
    reason: str = ""
    psnr_db: float | None = None
    ssim: float | None = None
    estimated_level: float | None = None
    seconds: float | None = None
    seconds_spread: float | None = None
    device_seconds: float | None = None
    device: str = "cpu"
    threads: int | None = None
    params: int | None = None
    macs_per_pixel: float | None = None
    peak_mib: float | None = None
    input_sha256: str = ""
    weights_sha256: str = ""
    restorer_version: str = ""
    environment: str = ""
    key: str = ""


COLUMNS = tuple(field.name for field in fields(Record))


def quality_part(key: str) -> str:
    """The part of a record's key that its image quality depends on; the rest concerns the timing."""
    return key.partition("-")[0]


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
                    self._db.execute(f"ALTER TABLE records ADD COLUMN {name}")
            self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

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
        row = asdict(record)
        marks = ", ".join(f":{name}" for name in COLUMNS)
        try:
            with self._lock:
                self._db.execute(f"INSERT OR REPLACE INTO records ({', '.join(COLUMNS)}) VALUES ({marks})", row)
        except sqlite3.Error as error:
            raise StoreError(f"Cannot write to the store {self.path}: {error}.") from None

    def records(self) -> list[Record]:
        """All records, in the order in which they were first measured."""
        with self._lock:
            rows = self._db.execute(f"SELECT {', '.join(COLUMNS)} FROM records ORDER BY rowid").fetchall()
        return [Record(*row) for row in rows]

    def find(self, keys: Iterable[str]) -> dict[str, Record]:
        """The records among `keys` that are there."""
        wanted = json.dumps(list(keys))
        sql = f"SELECT {', '.join(COLUMNS)} FROM records WHERE key IN (SELECT value FROM json_each(?))"
        with self._lock:
            return {record.key: record for record in (Record(*row) for row in self._db.execute(sql, (wanted,)))}

    def find_quality(self, parts: Iterable[str]) -> dict[str, Record]:
        """By quality part of the key: a record that has that quality, a timed one where there is one."""
        wanted = json.dumps(list(parts))
        sql = (
            f"SELECT {', '.join(COLUMNS)} FROM records WHERE substr(key, 1, instr(key, '-') - 1)"
            " IN (SELECT value FROM json_each(?)) ORDER BY status = 'ok', seconds IS NOT NULL"
        )
        with self._lock:
            return {quality_part(r.key): r for r in (Record(*row) for row in self._db.execute(sql, (wanted,)))}


def frame_of(records: Iterable[Record | Mapping[str, Any]]) -> pd.DataFrame:
    """Records as a DataFrame with the columns of `Record`, one row each."""
    import pandas as pd

    rows = [asdict(record) if isinstance(record, Record) else dict(record) for record in records]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def card_in(environment: object) -> str:
    """The accelerator that a record's `environment` names; empty if it names none."""
    try:
        return str(json.loads(str(environment))["gpu"])
    except (ValueError, TypeError, KeyError):
        return ""


def devices(frame: pd.DataFrame) -> pd.Series[str]:
    """What each record was measured on: `cpu`, `NVIDIA H200`, and for the second such card `NVIDIA H200 (cuda:1)`.

    Records of two devices never share a time. Those without a device are of the CPU.
    """
    import pandas as pd

    told = frame.reindex(columns=["device", "environment"]).astype(object)
    words = told["device"].where(told["device"].notna(), "cpu")
    cards = {text: card_in(text) for text in told["environment"].unique()}
    labels = [_device(word, cards.get(text, "")) for word, text in zip(words, told["environment"], strict=True)]
    return pd.Series(labels, index=frame.index, dtype=object)


def _device(word: str, card: str) -> str:
    if word == "cpu" or not card:
        return word
    return f"{card} ({word})" if ":" in word else card


IDENTITY = ["restorer", "weights", "task", "level", "channels", "dataset", "image", "protocol", "repeat"]
"""What a cell is. It may have been measured on several devices."""


def current(frame: pd.DataFrame, *, by_device: bool = False) -> pd.DataFrame:
    """One record per cell, for verdicts on quality: what the last version of restorer, weights and image gave.

    A store keeps what earlier versions gave, and may hold the last one's twice: a good record goes before a failed
    one, a timed one before an untimed one, then the later one.

    by_device  one record per cell and device, for tables and times; else those of `on_one_device`
    """
    known = frame.assign(
        _device=devices(frame),
        _quality=frame["key"].map(quality_part),
        _ok=frame["status"] == "ok",
        _timed=frame["seconds"].notna(),
    )
    place = [*IDENTITY, "_device"]
    last = known.drop_duplicates(place, keep="last")[[*place, "_quality"]]
    same_version = known.reset_index().merge(last, on=[*place, "_quality"]).set_index("index")
    best = same_version.sort_values(["_ok", "_timed"], kind="stable").drop_duplicates(place, keep="last")
    kept = frame.loc[sorted(best.index)]
    return kept if by_device else on_one_device(kept)


def on_one_device(frame: pd.DataFrame) -> pd.DataFrame:
    """Of each cell the records of one device, so that it counts once: the CPU, unless only another did not fail."""
    device = devices(frame)
    if device.nunique() < 2:
        return frame
    known = frame.assign(_device=device, _ok=frame["status"] == "ok", _cpu=device == "cpu")
    preferred_last = known.sort_values(["_ok", "_cpu"], kind="stable")
    chosen = preferred_last.groupby(IDENTITY, sort=False)["_device"].transform("last")
    return frame[chosen[frame.index] == device]


def fastest(frame: pd.DataFrame) -> pd.DataFrame:
    """`current` by device, with the least of the times that the same version gave for a cell on as many threads.

    For holding times against others: a busy neighbour makes a time longer, and nothing makes it shorter.
    """
    kept = current(frame, by_device=True)
    known = frame.assign(_device=devices(frame), _version=frame["key"].map(quality_part))
    same = known.groupby([*IDENTITY, "_device", "threads", "_version"], dropna=False)
    least = {column: same[column].transform("min")[kept.index] for column in ("seconds", "device_seconds")}
    return kept.assign(**least)
