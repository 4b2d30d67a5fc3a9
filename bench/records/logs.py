"""What restorers printed for cells that failed, tracebacks included: a file each, in a folder beside the store.

    results/bench.sqlite          the records
    results/bench.sqlite.logs/    KEY.txt, by the key of the record

A log is whole or not there, whatever dies meanwhile, and its record comes after it. A store without its folder is
whole.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from bench.records.record import Record

__all__ = ["Logs"]

MOST_LOGS = 1000
"""in a folder: the oldest go"""
MOST_BYTES = 1 << 16
"""of a log: the end of what was printed"""
KEY = re.compile(r"[0-9a-z]+(-[0-9a-z]+)?")


class Logs:
    """The logs of the store at `store`."""

    def __init__(self, store: Path) -> None:
        self.folder = store.with_name(f"{store.name}.logs")

    def keep(self, record: Record, text: str) -> None:
        """Keep what was printed if the cell failed; if it did not, forget what was when it did.

        What cannot be written is left: the record is worth more, and says why too.
        """
        file = self._file(record.key)
        if file is None:
            return
        with contextlib.suppress(OSError):
            if record.status != "failed" or not text:
                file.unlink(missing_ok=True)
                return
            self.folder.mkdir(exist_ok=True)
            part = file.with_suffix(f".{os.getpid()}")
            part.write_bytes(text.encode("utf-8", "backslashreplace")[-MOST_BYTES:])
            part.replace(file)
            self._drop_oldest()

    def of(self, key: str) -> str:
        """What was printed for the record of this key; "" if nothing was, or it is not kept."""
        file = self._file(key)
        try:
            if file is None or not file.is_file():
                return ""
            with file.open("rb") as opened:
                return opened.read(MOST_BYTES).decode(errors="replace")
        except OSError:
            return ""

    def _file(self, key: str) -> Path | None:
        """Where the log of a record is; None for what is no key, which a store of somebody else's may say."""
        return self.folder / f"{key}.txt" if KEY.fullmatch(key) else None

    def _drop_oldest(self) -> None:
        files = [(entry.stat().st_mtime_ns, entry.path) for entry in os.scandir(self.folder)]
        for _, path in sorted(files)[: max(0, len(files) - MOST_LOGS)]:
            Path(path).unlink(missing_ok=True)
