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
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import RequestError, StoreError, unknown
from bench.store import COLUMNS as RECORD_COLUMNS
from bench.store import IDENTITY, card_in, current, devices, fastest, frame_of
from bench.task import TASKS, Level, format_level
from bench.verdict import NOT_MEASURED, OFF, REPRODUCED, Comparison

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    import pandas as pd

    from bench.papers import Entry

__all__ = [
    "PSNR_DB",
    "SSIM",
    "Holding",
    "complaints",
    "hold",
    "read_plan",
    "read_records",
    "read_reference",
    "read_verdicts",
    "renewed",
    "write",
]

PSNR_DB = {True: 0.005, False: 0.02}
"""How far a PSNR may be from the reference's, on the same platform (or a GPU shown the same pixels), on another."""
SSIM = 0.0005
SHORTEST = 0.02
"""Seconds below which a time says more of the machine than of the restorer."""
PLATFORM = ("cpu", "system", "python", "torch", "numpy")
"""What makes two environments one platform."""
COLUMNS = (
    *("restorer", "weights", "task", "level", "channels", "dataset", "image", "protocol", "repeat"),
    *("status", "reason", "psnr_db", "ssim", "estimated_level", "seconds", "device_seconds", "device"),
    *("threads", "params", "macs_per_pixel", "peak_mib", "input_sha256", "weights_sha256"),
    *("restorer_version", "environment"),
)
TEXT = ("level", "weights", "reason", "input_sha256", "weights_sha256", "restorer_version")
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
    """The arguments of `bench.request.make_request`, one dict a run.

    quick  only the runs that say quick = true
    only   only these restorers, by name and variant; none: all
    Raises RequestError naming the file, the run and the key, or a restorer that it does not have.
    """
    try:
        runs = tomllib.loads(path.read_text(encoding="utf-8")).get("run", [])
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise RequestError(f"{path}: {error}.") from None
    known = ("methods", "task", "datasets", "protocol", "quick", *dict.fromkeys(t.level.name for t in TASKS.values()))
    for number, run in enumerate(runs, start=1):
        for key in run:
            if key not in known:
                raise RequestError(f"{path}, run {number}: {unknown('key', key, known)}")
    chosen = [run for run in runs if run.get("quick") or not quick]
    if not chosen:
        raise RequestError(f"{path} has no {'quick ' if quick else ''}run: nothing would be measured.")
    words = ("methods", "task", "datasets", "protocol")
    return [
        {
            **{key: value for key, value in run.items() if key in words},
            "levels": {key: value for key, value in run.items() if key not in (*words, "quick")},
        }
        for run in (_only(only, chosen, path) if only else chosen)
    ]


def _only(names: Collection[str], runs: Sequence[Mapping[str, Any]], path: Path) -> Iterator[dict[str, Any]]:
    """The runs that have some of these restorers, with them alone."""
    known = {method.partition("@")[0] for run in runs for method in run["methods"].split(",")}
    for name in names:
        if name not in known:
            raise RequestError(f"{path}: {unknown('restorer', name, known)}")
    for run in runs:
        methods = [method for method in run["methods"].split(",") if method.partition("@")[0] in names]
        if methods:
            yield {**run, "methods": ",".join(methods)}


# --- its records -----------------------------------------------------------------------------------------


def read_records(path: Path) -> pd.DataFrame:
    """Records from a CSV file, as `write` or `bench export` made it. Raises StoreError if it has other columns.

    Columns of a record that the file lacks are empty: an earlier version wrote it.
    """
    import pandas as pd

    try:
        frame = pd.read_csv(path, dtype=dict.fromkeys(TEXT, str))
    except (OSError, ValueError) as error:
        raise StoreError(f"{path}: {error}.") from None
    missing = {*IDENTITY, "status", "psnr_db", "ssim"} - {*frame.columns}
    if missing:
        raise StoreError(f"{path} holds no records: it has no column '{min(missing)}'.")
    frame = frame.reindex(columns=[*dict.fromkeys([*frame.columns, *RECORD_COLUMNS])])
    frame["level"] = frame["level"].map(_level)
    frame["device"] = frame["device"].fillna("cpu")
    for column in ("weights", "weights_sha256", "reason"):
        frame[column] = frame[column].fillna("")
    if frame["key"].isna().all():  # a file has one record a cell and device, of one version
        frame["key"] = [f"{i}-" for i in range(len(frame))]
    if pd.api.types.is_integer_dtype(frame["environment"]):
        frame["environment"] = frame["environment"].map(dict(enumerate(_machines(path.parent))))
    return frame


def _machines(at: Path) -> list[str]:
    """The environments that the records in a folder refer to by their places; none if it does not have them."""
    file = at / "environments.json"
    return [json.dumps(one) for one in json.loads(file.read_text(encoding="utf-8"))] if file.is_file() else []


def _level(text: str) -> Level:
    try:
        return float(text)
    except ValueError:
        return text


def read_reference(at: Path) -> pd.DataFrame:
    """The records of the reference in the folder `at`, each with its environment. Empty if there is none yet."""
    file = at / "records.csv"
    return read_records(file) if file.is_file() else frame_of([])


def renewed(reference: pd.DataFrame, records: pd.DataFrame) -> pd.DataFrame:
    """The reference with what was measured since.

    A cell measured anew replaces its old record of the same device. Of a device that was measured on, records of an
    older version of the restorer, or of another file under its weights' name, are dropped; other devices keep theirs.
    """
    import pandas as pd

    name = ["_device", "restorer", "weights"]
    made_by = [*name, "weights_sha256", "restorer_version"]
    measured = fastest(records)
    before, measured = (frame.assign(_device=devices(frame)) for frame in (reference, measured))
    names, makers = ({*zip(*(measured[c] for c in columns), strict=True)} for columns in (name, made_by))
    stays = [maker[:3] not in names or maker in makers for maker in zip(*(before[c] for c in made_by), strict=True)]
    both = pd.concat([before[stays], measured], ignore_index=True)
    both = both.drop_duplicates([*IDENTITY, "_device"], keep="last", ignore_index=True)
    return both.drop(columns="_device")


def write(frame: pd.DataFrame, comparisons: Iterable[Comparison], to: Path) -> None:
    """Make records, as from a store, and the verdicts on the papers the reference in the folder `to`."""
    import pandas as pd

    kept = current(frame, by_device=True)
    # machines with an accelerator come last: a new one leaves the places, and so the lines, of the others as they are
    environments = sorted(set(kept["environment"]), key=lambda text: (card_in(text), text))
    machines = {text: number for number, text in enumerate(environments)}
    kept = kept.assign(environment=kept["environment"].map(machines), level=kept["level"].map(format_level))
    kept = kept.sort_values([*IDENTITY, "device", "environment"]).round(DIGITS)[list(COLUMNS)]
    kept[["params", "threads", "peak_mib"]] = kept[["params", "threads", "peak_mib"]].astype("Int64")
    to.mkdir(parents=True, exist_ok=True)
    kept.to_csv(to / "records.csv", index=False)
    told = json.dumps([json.loads(text) for text in machines], indent=1)
    (to / "environments.json").write_text(told + "\n", encoding="utf-8")
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


# --- holding records against it ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Holding:
    """What came of it.

    n_compared  cells that both have
    complaints  what is not as in the reference, one line for a restorer on a data set
    rows        restorer, setting, cells, mean difference of PSNR and SSIM, how many times as long as the reference
                it took, relative to the machine (1 is the typical restorer of this run)
    n_new       cells that the reference does not have
    n_across    of those compared, how many another device than the reference's gave: their times are not held
    """

    n_compared: int
    complaints: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    n_new: int
    n_across: int

    HEADERS = ("restorer", "weights", "setting", "cells", "PSNR", "SSIM", "time")

    @property
    def summary(self) -> str:
        new = f"; {self.n_new} more are not in it" if self.n_new else ""
        across = f"; {self.n_across} of another device are held against the CPU's" if self.n_across else ""
        nothing = "; nothing was compared, which counts as failure" if not self.n_compared else ""
        found = f"{len(self.complaints)} complaints" if self.complaints else "all as in it"
        return f"reference: {self.n_compared} cells compared, {found}{across}{new}{nothing}"


def hold(records: pd.DataFrame, reference: pd.DataFrame, *, time_band: float | None = None) -> Holding:
    """Compare records, as from a store, with the reference's, cell by cell; of several times of a cell the least.

    A cell is held against the reference's of the same device; without one against the CPU's, in its quality alone.

    time_band  also complain about restorers that take more than this many times as long as in the reference,
               relative to the median restorer of this run; None: times are only told
    """
    mine = fastest(records[records["status"] != "skipped"])
    both = _pairs(mine, reference)
    known = _known_platforms()
    complaints: list[str] = []
    rows: list[list[str]] = []
    groups = ["restorer", "weights", "task", "level", "dataset", "made_on", "made_on_ref"]
    factors: list[float] = []
    made_on: list[str] = []
    for key, cells in both.groupby(groups, sort=False):
        restorer, weights, task, level, dataset, here, there = map(str, key)
        devices_told = _told_of(here, there)
        name = f"{restorer}{f' ({weights})' if weights else ''}, {task} {level} on {dataset}{devices_told}"
        same_platform = {_platform(text) for text in cells["environment"].dropna().unique()} <= known
        complaints += [f"{name}: {text}" for text in _differences(cells, same_platform, across=here != there)]
        good = cells[cells["status"] == "ok"]
        psnr_db, ssim = (round((good[c] - good[f"{c}_ref"]).mean(), 4) + 0.0 for c in ("psnr_db", "ssim"))  # no -0
        long = good[(good["seconds_ref"] >= SHORTEST) & (here == there)]
        made_on.append(here)
        factors.append(float((long["seconds"] / long["seconds_ref"]).median()))
        rows.append(
            [
                restorer,
                weights,
                f"{task} {level} {dataset}{devices_told}",
                str(len(cells)),
                f"{psnr_db:+.4f}",
                f"{ssim:+.4f}",
            ]
        )
    for row, factor in zip(rows, _relative(factors, made_on), strict=True):
        row.append("–" if factor != factor else f"{factor:.2f}")
        if time_band is not None and factor > time_band:
            complaints.append(
                f"{row[0]}, {row[2]}: {factor:.2f} times as slow as in the reference, beside the others"
            )
    n_across = int((both["made_on"] != both["made_on_ref"]).sum())
    return Holding(len(both), tuple(complaints), tuple(map(tuple, rows)), len(mine) - len(both), n_across)


def _pairs(mine: pd.DataFrame, reference: pd.DataFrame) -> pd.DataFrame:
    """My cells, each with the good record of the reference that it is held against, in columns that end in `_ref`."""
    mine, theirs = (
        frame.assign(level=frame["level"].map(format_level), made_on=devices(frame)) for frame in (mine, reference)
    )
    pairs = mine.merge(theirs[theirs["status"] == "ok"], on=IDENTITY, suffixes=("", "_ref"))
    alike = pairs["made_on"] == pairs["made_on_ref"]
    pairs = pairs[alike | (pairs["made_on_ref"] == "cpu")].assign(_alike=alike)
    best_last = pairs.sort_values("_alike", kind="stable")
    return best_last.drop_duplicates([*IDENTITY, "made_on"], keep="last").sort_index()


def _told_of(here: str, there: str) -> str:
    """`, NVIDIA H200 against cpu`; of the CPU against itself nothing need be told."""
    if here != there:
        return f", {here} against {there}"
    return "" if here == "cpu" else f", {here}"


Platform = tuple[str | None, ...]


def _platform(environment: str) -> Platform:
    told = json.loads(environment)
    return tuple(told.get(key) for key in PLATFORM)


def _known_platforms() -> set[Platform]:
    """Those of the reference's machines."""
    return {_platform(environment) for environment in _machines(folder())}


def _relative(factors: list[float], made_on: list[str]) -> list[float]:
    """The factors over their device's median: what a slower machine does to all is not a restorer's doing."""
    import pandas as pd

    known = pd.Series(factors, dtype=float)
    return list(known / known.groupby(made_on).transform("median"))


def _differences(cells: pd.DataFrame, same_platform: bool, *, across: bool) -> Iterator[str]:
    """across: whether these cells are another device's than those that they are held against"""
    failed = cells[cells["status"] != "ok"]
    if len(failed):
        first = failed.iloc[0]
        yield f"{len(failed)} of {len(cells)} images failed, {first['image']} among them: {first['reason']}"
    good = cells[cells["status"] == "ok"]
    told = (good["weights_sha256"] != "") & (good["weights_sha256_ref"] != "")  # not by stores of earlier layouts
    weights = good[told & (good["weights_sha256"] != good["weights_sha256_ref"])]
    if len(weights):
        row = weights.iloc[0]
        yield f"the weights' sha256 is {row['weights_sha256'][:8]}…, the reference's {row['weights_sha256_ref'][:8]}…"
    other = good[good["input_sha256"] != good["input_sha256_ref"]]
    # a restorer's name means float32 on every device: shown the same pixels, a GPU must answer as the CPU
    exact = same_platform or (across and other.empty)
    if same_platform and len(other):
        yield (
            f"the degraded pixels are others on {len(other)} of {len(good)} images, {other.iloc[0]['image']} among"
            " them: the noise, its seed, the degradation or the data changed"
        )
    for metric, limit, unit in (("psnr_db", PSNR_DB[exact], " dB"), ("ssim", SSIM, "")):
        yield from _beyond(good, metric, limit, unit)
    for _, row in good[good["params"].fillna(-1) != good["params_ref"].fillna(-1)].head(1).iterrows():
        yield f"{row['params']:.0f} parameters, the reference has {row['params_ref']:.0f}"


def _beyond(good: pd.DataFrame, metric: str, limit: float, unit: str) -> Iterator[str]:
    change = good[metric] - good[f"{metric}_ref"]
    beyond = change.abs() > limit
    if beyond.any():
        worst = int(change.abs().argmax())
        row = good.iloc[worst]
        yield (
            f"{metric} differs on {beyond.sum()} of {len(good)} images by more than {limit:g}{unit}, most on"
            f" {row['image']}: {row[metric]:.4f}, reference {row[f'{metric}_ref']:.4f} ({change.iloc[worst]:+.4f})"
        )
