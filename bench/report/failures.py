"""Why cells failed: the reason that the record gives, and what the restorer printed, its traceback included."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from bench import escape
from bench.errors import RequestError
from bench.records.current import LOOKED_AT, current, devices, of_each
from bench.records.labels import Maker, column_labels, row_labels
from bench.records.logs import Logs
from bench.report.progress import printed_lines
from bench.tasks import Setting

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["COLUMNS", "Failure", "asked_for", "failures", "listed", "told"]

COLUMNS = (*LOOKED_AT, "level_name", "reason")
"""The columns of records that failures are told by."""


class Cell(NamedTuple):
    """One that failed. image: `set12/01.png`; setting: `denoise sigma 25 gray`; key: of its record."""

    image: str
    setting: str
    key: str


@dataclass(frozen=True)
class Failure:
    """Cells of a restorer that failed for one reason.

    number    from 1, those that a run last asked for first
    restorer  as tables call it
    """

    number: int
    restorer: str
    reason: str
    cells: Sequence[Cell]

    def __str__(self) -> str:
        images = list(dict.fromkeys(cell.image for cell in self.cells))
        named = ", ".join(images[:3]) + (f" and {len(images) - 3} more" if len(images) > 3 else "")
        return f"{self.restorer} on {named}: {self.reason}"


def failures(frames: pd.DataFrame | Iterable[pd.DataFrame]) -> list[Failure]:
    """The failures among the records that count, those that a run last asked for first.

    frames  records, all or those of each task by themselves
    """
    counting = of_each(frames, _failed_and_named)
    named = counting.assign(
        label=row_labels(counting),
        image=column_labels(counting) + "/" + counting["image"],
        made_on=devices(counting),
    )
    failed = named[named["status"] == "failed"].sort_values("asked_at", kind="stable")
    found = []
    for (label, device, reason), records in failed.groupby(["label", "made_on", "reason"], sort=False):
        named_as = f"{label}" if device == "cpu" else f"{label} ({device})"
        found.append((named_as, str(reason), [_cell(record) for _, record in records.iterrows()]))
    return [Failure(number, *failure) for number, failure in enumerate(reversed(found), start=1)]


NAMED_BY = [*Maker._fields, "dataset", "folder"]
"""What restorers and data sets are told apart by."""


def _failed_and_named(records: pd.DataFrame) -> pd.DataFrame:
    """Of the records that count those that failed, and of the others one of each restorer and data set."""
    counting = current(records[records["status"] != "skipped"], by_device=True)
    has_failed = counting["status"] == "failed"
    return counting[has_failed | ~counting.duplicated(NAMED_BY)]


def _cell(record: pd.Series[Any]) -> Cell:
    setting = Setting(record["task"], record["level"], record["channels"], record["level_name"])
    return Cell(record["image"], str(setting), record["key"])


def asked_for(words: str, known: Sequence[Failure]) -> list[Failure]:
    """The failure of that number; or those of a restorer, of an image, or of `restorer/image`.

    Raises RequestError if there is none.
    """
    if words.isdecimal():
        chosen = [failure for failure in known if failure.number == int(words)]
    else:
        chosen = [one for failure in known if (one := _of(words, failure))]
    if chosen:
        return chosen
    if not known:
        raise RequestError("Nothing has failed.")
    names = ", ".join(dict.fromkeys(failure.restorer for failure in known))
    raise RequestError(f"No failure is '{words}'. There are 1 to {len(known)}, of {names}: `bench why` lists them.")


def _of(words: str, failure: Failure) -> Failure | None:
    """The failure with those of its cells that are meant; None if none are."""
    if words == failure.restorer:
        return failure
    image = words.removeprefix(f"{failure.restorer}/")
    cells = [cell for cell in failure.cells if cell.image == image or cell.image.endswith(f"/{image}")]
    return replace(failure, cells=cells) if cells else None


def listed(known: Sequence[Failure]) -> str:
    """All failures, a line each."""
    if not known:
        return "Nothing has failed."
    return "\n".join(escape.terminal(f"{failure.number:>3}  {failure}") for failure in known)


def told(failure: Failure, logs: Sequence[Logs]) -> str:
    """A failure, and what was printed for the first of its cells of which that is kept beside one of the stores."""
    head = escape.terminal(f"{failure.number}  {failure}")
    for image, setting, key in failure.cells:
        if text := next(filter(None, (of_store.of(key) for of_store in logs)), ""):
            return "\n".join([head, "", *_printed(f"Printed on {image}, {setting}:", text)])
    return f"{head}\n\nIt printed nothing that is kept."


def _printed(what: str, text: str) -> Iterator[str]:
    yield escape.terminal(what)
    yield from (f"  {line}" for line in printed_lines(text))
