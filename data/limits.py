"""The limits on what comes from outside that a person may move.

| variable           | default   | meaning                                                                         |
|--------------------|-----------|---------------------------------------------------------------------------------|
| `BENCH_TIMEOUT`    | 30        | seconds that a server has for its answer, and again for each 256 KiB of a file  |
| `BENCH_MAX_PIXELS` | 100000000 | the most pixels, height times width, that a picture may have                    |
"""

from __future__ import annotations

import os

from bench.data.errors import DataError, in_a_line

__all__ = ["most_pixels", "timeout_seconds"]

_DAY = 86_400.0
_MOST_PIXELS = 10**10


def timeout_seconds() -> float:
    """BENCH_TIMEOUT, above 0 and at most a day. Raises DataError."""
    asked = os.environ.get("BENCH_TIMEOUT") or "30"
    try:
        seconds = float(asked)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= _DAY:
        raise DataError(
            f"BENCH_TIMEOUT is '{in_a_line(asked, 50)}'. Expected seconds, above 0 and at most {_DAY:.0f}."
        )
    return seconds


def most_pixels() -> int:
    """BENCH_MAX_PIXELS, at least 1. Raises DataError."""
    asked = os.environ.get("BENCH_MAX_PIXELS") or "100000000"
    pixels = int(asked) if asked.isascii() and asked.isdecimal() and len(asked) < 20 else 0
    if not 1 <= pixels <= _MOST_PIXELS:
        asked = in_a_line(asked, 50)
        raise DataError(f"BENCH_MAX_PIXELS is '{asked}'. Expected a whole number from 1 to {_MOST_PIXELS}.")
    return pixels
