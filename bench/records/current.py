"""Which records count, of the many that a store keeps of one thing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from bench.records.record import TEXTS, quality_part

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "IDENTITY",
    "LOOKED_AT",
    "ROW",
    "card_in",
    "current",
    "devices",
    "fastest",
    "left_out",
    "of_each",
    "on_one_device",
]


def card_in(environment: object) -> str:
    """The accelerator that a record's `environment` names; empty if it names none."""
    try:
        return str(json.loads(str(environment))["gpu"])
    except (ValueError, TypeError, KeyError, RecursionError):
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
"""What a cell is called. It may have been measured on several devices, and by several restorers of one name."""

ROW = ["restorer", "plugin", "task", "protocol"]
"""Whose records share a row of a table, as far as weights and device do not tell them apart."""

PLACE = [*(name for name in IDENTITY if name != "weights"), "plugin", "folder", "_origin", "_device"]
"""What a cell is, whatever its parts are called. Declared weights go by origin: one file may replace another."""


def current(frame: pd.DataFrame, *, by_device: bool = False) -> pd.DataFrame:
    """The records that count: one per cell, and never of two versions of one restorer. This is the rule:

    1. Of a task of one's own, and of a level that names a file, those count whose code and file are those last asked
       for.
    2. Of a restorer (a name, from one place) at one task, under one protocol, on one device those count whose code is
       that of the record last asked for. A run asks for all of its cells, measured or found in the store; so after
       going back to an older version the older one counts.
    3. Of its weights of one origin (published, ours, or a file of one's own) those that were last asked for at a
       level; of these the content last asked for.
    4. Of a cell those whose picture and noise were last asked for.
    5. Of what is left a good record goes before a failed one, a timed one before an untimed one, then the one last
       asked for (`bench.records.record.standing`).

    by_device  one record per cell and device, for tables and times; else those of `on_one_device`

    Where nothing tells when a record was asked for, a later row counts as asked for later.
    """
    if frame.empty:
        return frame
    known = _told(frame)
    row = [*ROW, "_device"]
    for group, version in (
        (["task"], "_task_code"),
        (["task", "level"], "task_sha256"),
        (row, "_code"),
        ([*row, "_origin", "level", "channels"], "weights"),
        ([*row, "_origin", "weights"], "weights_sha256"),
        (PLACE, "_quality"),
    ):
        last = known.groupby(group, sort=False)[version].transform("last")
        known = known[known[version] == last]
    best_last = known.sort_values(["_ok", "_timed"], kind="stable")
    best = best_last.drop_duplicates(PLACE, keep="last")
    kept = frame.loc[sorted(best.index)]
    return kept if by_device else on_one_device(kept)


def of_each(
    frames: pd.DataFrame | Iterable[pd.DataFrame], which: Callable[[pd.DataFrame], pd.DataFrame]
) -> pd.DataFrame:
    """What `which` takes of records, in their order. frames: all, or those of each task by themselves.

    So of a store that is read a task at a time no more is held than is taken.
    """
    import pandas as pd

    parts = [which(frame) for frame in ([frames] if isinstance(frames, pd.DataFrame) else frames)]
    return pd.concat(parts).sort_index()


def left_out(frame: pd.DataFrame, counting: pd.DataFrame | None = None) -> pd.DataFrame:
    """The records of cells that `current(frame, by_device=True)` has none of: code or weights have changed since.

    counting  what that gives, where it is known already
    """
    if counting is None:
        counting = current(frame, by_device=True)
    if len(counting) == len(frame):
        return frame.iloc[:0]
    known = _told(frame)
    there = known.loc[counting.index, PLACE]
    found = known[PLACE].merge(there, how="left", indicator="_found")["_found"]
    return frame.loc[sorted(known.index[(found == "left_only").to_numpy()])]


def _told(frame: pd.DataFrame) -> pd.DataFrame:
    """What the rule looks at, in the order in which records were asked for; the index is the frame's."""
    known = frame.reindex(columns=[*dict.fromkeys(name for name in TOLD if name[0] != "_")])
    for name in TEXTS:
        if name in known and known[name].isna().any():
            known[name] = known[name].astype(object).where(known[name].notna(), "")
    unknown = "version " + known["restorer_version"].map(str)
    kind, called = (_part(known["weights"], ":", i) for i in (0, 2))
    file = known["weights_file"].where(known["weights_file"] != "", called)
    known = known.assign(
        _origin=kind.where(kind != "file", "file:" + file),
        _device=devices(frame),
        _task_code=_part(known["task_sha256"], ".", 0),
        _code=known["code_sha256"].where(known["code_sha256"] != "", unknown),
        _quality=known["key"].map(quality_part),
        _ok=known["status"] == "ok",
        _timed=known["seconds"].notna(),
    )
    return known.sort_values("asked_at", kind="stable")


def _part(texts: pd.Series[str], sign: str, which: int) -> pd.Series[str]:
    """A part of each text as `str.partition` gives them; few of the texts differ."""
    return texts.map({text: text.partition(sign)[which] for text in texts.unique()})


TOLD = (
    *(
        *PLACE,
        "task_sha256",
        "weights",
        "weights_file",
        "code_sha256",
        "restorer_version",
        "weights_sha256",
        "key",
        "asked_at",
    ),
    *("status", "seconds", "device_seconds", "threads"),
)


LOOKED_AT = ("environment", "device", *dict.fromkeys(name for name in TOLD if name[0] != "_"))
"""The columns that tell which records count. All that is told here holds within a task: what counts of it hangs on no
other, and a store may be read a task at a time."""


def on_one_device(frame: pd.DataFrame) -> pd.DataFrame:
    """Of each cell the records of one device, so that it counts once: the CPU, unless only another did not fail.

    Another device's count only if they are of the code that the restorer's on the CPU are of.
    """
    if devices(frame).nunique() < 2:
        return frame
    known = _told(frame).assign(_cpu=lambda told: told["_device"] == "cpu")
    counts = known.sort_values("_cpu", kind="stable").groupby(ROW, sort=False)["_code"].transform("last")
    known = known[known["_code"] == counts[known.index]]
    preferred_last = known.sort_values(["_ok", "_cpu"], kind="stable")
    cell = [name for name in PLACE if name != "_device"]
    chosen = preferred_last.groupby(cell, sort=False)["_device"].transform("last")
    return frame.loc[sorted(known.index[chosen[known.index] == known["_device"]])]


def fastest(frame: pd.DataFrame) -> pd.DataFrame:
    """`current` by device, with the least of the times that the same version gave for a cell on as many threads.

    For holding times against others: a busy neighbour makes a time longer, and nothing makes it shorter.
    """
    kept = current(frame, by_device=True)
    known = _told(frame)
    same = known.groupby([*PLACE, "threads", "_quality"], dropna=False, sort=False)
    least = {column: same[column].transform("min")[kept.index] for column in ("seconds", "device_seconds")}
    return kept.assign(**least)
