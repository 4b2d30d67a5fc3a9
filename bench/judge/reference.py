"""The reference run: what this project's restorers gave, committed, so that every new run can be held against it.

`results/reference/` holds

    plan.toml          what is measured: [[run]] tables with the words of `bench run`; CI repeats the quick ones
    records.csv        what it gave, one row per image; `environment` is a place in environments.json
    environments.json  the machines
    verdicts.csv       the figures of the papers that it could be held against, with the verdicts

`bench reference` measures what the plan says, `bench compare --reference` holds any records against it, and
`bench reference --write` takes what was measured into the reference; what was not stays as it is.
"""

from __future__ import annotations

import json
import reprlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.data.toml import tomllib
from bench.errors import RequestError, unknown
from bench.judge.verdict import NOT_MEASURED, OFF, REPRODUCED, Comparison
from bench.level import format_level
from bench.plugins.names import split
from bench.records.current import IDENTITY, devices, fastest
from bench.records.files import machines, read_records
from bench.records.record import frame_of
from bench.tasks import TASKS

if TYPE_CHECKING:
    import pandas as pd

    from bench.judge.entries import Entry

__all__ = [
    "complaints",
    "read_plan",
    "read_reference",
    "read_verdicts",
    "renewed",
    "write",
    "write_verdicts",
]

COLUMNS = (
    *("restorer", "weights", "task", "level", "channels", "dataset", "image", "protocol", "repeat"),
    *("status", "reason", "psnr_db", "ssim", "metrics", "estimated_level", "seconds", "device_seconds", "device"),
    *("threads", "params", "macs_per_pixel", "peak_mib", "input_sha256", "weights_sha256"),
    *("restorer_version", "environment"),
)
DIGITS = {
    "psnr_db": 4,
    "ssim": 6,
    "estimated_level": 3,
    "seconds": 4,
    "device_seconds": 6,
    "macs_per_pixel": 1,
    "peak_mib": 0,
}


def folder() -> Path:
    """Where the committed reference is."""
    return Path(str(resources.files("bench.results"))) / "reference"


# --- the plan --------------------------------------------------------------------------------------------


def read_plan(path: Path, *, quick: bool = False, only: Collection[str] = ()) -> list[dict[str, Any]]:
    """The arguments of `bench.runner.request.make_request`, one dict a run, and whether it is `timed`.

    quick = "quality" in a run of the plan: its times are not held in CI, and so not taken there. quick_limit = N: CI
    measures the first N pictures of each of its data sets.

    quick  only the runs that say quick = true
    only   only these restorers, by name and variant; none: all
    Raises RequestError naming the file, the run and the key, or a restorer that it does not have.
    """
    runs = _runs(path)
    for number, run in enumerate(runs, start=1):
        _check_run(f"{path}, run {number}", run)
    chosen = [run for run in runs if run.get("quick") or not quick]
    if not chosen:
        raise RequestError(f"{path} has no {'quick ' if quick else ''}run: nothing would be measured.")
    return [
        {
            **{key: value for key, value in run.items() if key in WORDS},
            "levels": {key: value for key, value in run.items() if key not in (*WORDS, *OF_CI)},
            **({"limit": run["quick_limit"]} if quick and "quick_limit" in run else {}),
            "timed": not (quick and run.get("quick") == "quality"),
        }
        for run in (_only(only, chosen, path) if only else chosen)
    ]


WORDS = ("methods", "task", "datasets", "protocol", "metrics")
OF_CI = ("quick", "quick_limit")
MOST_BYTES = 1 << 20
"""of a plan"""


def _runs(path: Path) -> list[Any]:
    try:
        if not path.is_file():
            raise RequestError(f"{path} is no file." if path.exists() else f"There is no plan {path}.")
        if path.stat().st_size > MOST_BYTES:
            raise RequestError(f"{path} has more than {MOST_BYTES} bytes.")
        runs = tomllib.loads(path.read_text(encoding="utf-8")).get("run", [])
    except OSError as error:
        raise RequestError(f"{path}: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise RequestError(f"{path} is not UTF-8.") from None
    except (ValueError, RecursionError) as error:
        raise RequestError(f"{path}: {error}.") from None
    if not isinstance(runs, list):
        raise RequestError(f"{path}: run is {reprlib.repr(runs)}, expected tables headed [[run]].")
    return runs


def _check_run(where: str, run: Any) -> None:
    """Raise RequestError, which begins with `where`, for a key or value that a run may not have."""
    levels = dict.fromkeys(task.level.option for task in TASKS.values())
    if not isinstance(run, dict):
        raise RequestError(f"{where}: it is {reprlib.repr(run)}, expected a table headed [[run]].")
    for key, value in run.items():
        if key in WORDS:
            is_good, expected = isinstance(value, str), "text as of bench run"
        elif key in levels:
            parts = value if isinstance(value, list) else [value]
            is_good, expected = all(type(part) in (int, float, str) for part in parts), "a level or a list of some"
        elif key == "quick":
            is_good, expected = value in (True, False, "quality"), 'true, false or "quality"'
        elif key == "quick_limit":
            is_good, expected = type(value) is int and value > 0, "a whole number of at least 1"
        else:
            raise RequestError(f"{where}: {unknown('key', key, (*WORDS, *OF_CI, *levels))}")
        if not is_good:
            raise RequestError(f"{where}: {key} is {reprlib.repr(value)}, expected {expected}.")
    if "methods" not in run:
        raise RequestError(f"{where}: it has no methods.")


def _only(names: Collection[str], runs: Sequence[Mapping[str, Any]], path: Path) -> Iterator[dict[str, Any]]:
    """The runs that have some of these restorers, with them alone."""
    known = {method.partition("@")[0] for run in runs for method in split(run["methods"])}
    for name in names:
        if name not in known:
            raise RequestError(f"{path}: {unknown('restorer', name, known)}")
    for run in runs:
        methods = [method for method in split(run["methods"]) if method.partition("@")[0] in names]
        if methods:
            yield {**run, "methods": ",".join(methods)}


# --- its records -----------------------------------------------------------------------------------------


def read_reference(at: Path) -> pd.DataFrame:
    """The records of the reference in the folder `at`, each with its environment. Empty if there is none yet."""
    file = at / "records.csv"
    return read_records(file) if file.is_file() else frame_of([])


def renewed(reference: pd.DataFrame, records: pd.DataFrame) -> pd.DataFrame:
    """The reference with what was measured since.

    A cell measured anew replaces its old record of the same device. Of a device that was measured on, records of an
    older version of the restorer, or of another file under its weights' name, are dropped, and at a level those of
    other weights of the same origin; other devices keep theirs.
    """
    import pandas as pd

    name = ["_device", "restorer", "weights"]
    made_by = [*name, "weights_sha256", "restorer_version"]
    measured = fastest(records)
    before, measured = (frame.assign(_device=devices(frame)) for frame in (reference, measured))
    names, makers = ({*zip(*(measured[c] for c in columns), strict=True)} for columns in (name, made_by))
    stays = [maker[:3] not in names or maker in makers for maker in zip(*(before[c] for c in made_by), strict=True)]
    used = {*zip(_settings(measured), measured["weights"], strict=True)}
    replaced = {setting for setting, _ in used}
    chosen = [s not in replaced or (s, w) in used for s, w in zip(_settings(before), before["weights"], strict=True)]
    both = pd.concat([before[pd.Series(stays, before.index) & pd.Series(chosen, before.index)], measured])
    both = both.drop_duplicates([*IDENTITY, "_device"], keep="last", ignore_index=True)
    return both.drop(columns="_device")


def _settings(frame: pd.DataFrame) -> Iterator[tuple[Any, ...]]:
    """What one file of weights of an origin serves."""
    origin = frame["weights"].str.partition(":")[0]
    columns = ("_device", "restorer", "task", "level", "channels", "protocol")
    return zip(origin, *(frame[column] for column in columns), strict=True)


def write(frame: pd.DataFrame, to: Path) -> None:
    """Make records, one a cell and device, those of the reference in the folder `to`."""

    # new machines come last: the places of the others, and so their lines, stay as they are
    there = {*frame["environment"]}
    environments = [*dict.fromkeys([*(text for text in machines(to) if text in there), *sorted(there)])]
    places = {text: number for number, text in enumerate(environments)}
    kept = frame.assign(environment=frame["environment"].map(places), level=frame["level"].map(format_level))
    kept = kept.sort_values([*IDENTITY, "device", "environment"]).round(DIGITS)[list(COLUMNS)]
    kept[["params", "threads", "peak_mib"]] = kept[["params", "threads", "peak_mib"]].astype("Int64")
    to.mkdir(parents=True, exist_ok=True)
    kept.to_csv(to / "records.csv", index=False)
    told = json.dumps([json.loads(text) for text in places], indent=1)
    (to / "environments.json").write_text(told + "\n", encoding="utf-8")


def write_verdicts(comparisons: Iterable[Comparison], to: Path) -> None:
    """Make the verdicts on the papers those of the reference in the folder `to`."""
    import pandas as pd

    verdicts = [row for comparison in comparisons for row in _told(comparison)]
    pd.DataFrame(verdicts).to_csv(to / "verdicts.csv", index=False)


def read_verdicts(path: Path) -> dict[str, str]:
    """Place of a figure in a paper -> the verdict recorded for it. Empty if there is no such file."""
    import pandas as pd

    if not path.is_file():
        return {}
    frame = pd.read_csv(path)
    return dict(zip(frame["figure"], frame["verdict"], strict=True))


def _told(comparison: Comparison) -> Iterator[dict[str, str]]:
    headers, rows = comparison.rows()
    measured = [v for v in comparison.verdicts if v.verdict != NOT_MEASURED]
    for verdict, row in zip(measured, rows, strict=True):
        figures = dict(zip(headers, row, strict=True))
        yield {"figure": _figure(verdict.entry), **{k: figures[k] for k in ("measured", "published", "verdict")}}


def _figure(entry: Entry) -> str:
    return f"{entry.place}: {entry.metric} of {entry.setting}"


def complaints(comparison: Comparison, recorded: Mapping[str, str]) -> list[str]:
    """Figures that are off without a known cause and were not so in the reference run, and those gone from the file.

    One that was off there already is no news, and one that was not measured this time is not lost.
    """
    told = []
    now = {_figure(v.entry): v for v in comparison.verdicts}
    for figure, verdict in recorded.items():
        if figure.startswith(f"{comparison.paper}, ") and figure not in now:
            told.append(f"{figure} was {verdict} in the reference run, and the paper's file no longer has it")
    for figure, v in now.items():
        before = recorded.get(figure, "not measured")
        if v.verdict == OFF and before != OFF and (before == REPRODUCED or not v.entry.cause):
            told.append(f"{figure} was {before} in the reference run and is off by {v.difference:+g}")
    return told
