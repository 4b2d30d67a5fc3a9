"""The trainings of an ablation: what each costs, one after the other, and what their last weights are worth.

Each has a folder of its own, with the files of any training and, when it has ended, run.json: its card and its curve.
What was killed goes on from there. Several processes may share the folders: a training that is under way in another
is passed over. One whose results are kept beside the ablation's file is not trained again, though its folder be gone:
so an ablation gets a variant or a seed more at the price of that alone.
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.errors import BenchError, DivergedError, TrainingError
from bench.measure.complexity import count_macs
from bench.measure.environment import n_cores
from bench.plugins.registry import RestorerSpec
from bench.records.files import read_records
from bench.records.record import Record, frame_of
from bench.records.store import Store
from bench.runner.plan import make_plan
from bench.runner.request import make_request
from bench.runner.run import Watcher
from bench.runner.run import run as run_plan
from bench.tasks import Setting, get_task
from bench.training.ablation import Ablation, Variant
from bench.training.lock import BusyError
from bench.training.progress import duration, follow
from bench.training.recipe import Recipe
from bench.training.session import begun, network_of, quoted

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "WEIGHTS",
    "Outcome",
    "Run",
    "Trained",
    "ended",
    "estimated",
    "joined",
    "measured",
    "outdated",
    "pictures_of",
    "read_runs",
    "results_of",
    "runs_of",
    "short",
    "train_all",
    "write_runs",
]

N_VALIDATIONS = 20
WEIGHTS = "last.safetensors"
"""No others are looked at: the best on the crops held out would be chosen by them."""
N_STEPS_TRIED = 2
BUSY = "under way in another process"


@dataclass(frozen=True, eq=False)
class Run:
    """One training: a variant with a seed, in a folder.

    macs_per_step  multiply-accumulates of the forward pass of a batch
    """

    spec: RestorerSpec
    setting: Setting
    variant: Variant
    seed: int
    steps: int
    macs_per_step: int
    folder: Path

    def __str__(self) -> str:
        return f"{self.variant.name}, seed {self.seed}"

    @property
    def recipe(self) -> Recipe:
        every = math.ceil(self.steps / N_VALIDATIONS)
        return replace(self.variant.recipe, seed=self.seed, steps=self.steps, validate_every=every)

    @property
    def macs(self) -> int:
        return self.steps * self.macs_per_step


@dataclass(frozen=True, eq=False)
class Trained:
    """A training that has ended, as run.json has it.

    curve  step, mean loss since the last validation (None: no finite number), PSNR in dB of the crops held out
    """

    variant: str
    seed: int
    steps: int
    macs_per_step: int
    weights_sha256: str
    card: Mapping[str, Any]
    curve: Sequence[tuple[int, float | None, float]]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of_dict(cls, told: Mapping[str, Any]) -> Trained:
        """Raises TypeError or KeyError for what none has written."""
        return cls(**{f.name: told[f.name] for f in fields(cls)})


@dataclass(frozen=True)
class Outcome:
    """What became of the trainings.

    trained  those that have ended
    without  why the others have not: one diverged, or is under way in another process
    is_whole whether none is under way elsewhere
    """

    trained: dict[Run, Trained]
    without: dict[Run, str]
    is_whole: bool


# --- what each costs -------------------------------------------------------------------------------------


def runs_of(ablation: Ablation, folder: Path) -> list[Run]:
    """The trainings in their order: all variants with the first seed, then with the next.

    Raises TrainingError if the restorer is no network, or does not work with a variant's options.
    """
    cost = {variant: _macs_per_step(ablation, variant) for variant in ablation.variants}
    return [
        Run(
            ablation.spec,
            ablation.setting,
            variant,
            seed,
            _steps(ablation, cost[variant]),
            cost[variant],
            folder / f"{variant.slug}-{seed}",
        )
        for seed in ablation.seeds
        for variant in ablation.variants
    ]


def _steps(ablation: Ablation, macs_per_step: int) -> int:
    return ablation.steps or max(1, int((ablation.macs or 0) // macs_per_step))


def _macs_per_step(ablation: Ablation, variant: Variant) -> int:
    """Of the forward pass of a batch, as training computes it: counted on one crop, and times the crops."""
    import torch

    recipe, setting, restorer = variant.recipe, ablation.setting, network_of(ablation.spec)
    restorer.options = recipe.network_options
    side = np.zeros((recipe.crop, recipe.crop, setting.channels), np.float32)
    seen = get_task(setting.task).observe(side, setting.level, np.random.RandomState(0))
    y = torch.from_numpy(seen.image).permute(2, 0, 1)[None].contiguous()

    def forward() -> None:
        with torch.enable_grad():  # without, some restorers take another way
            restorer.estimate(network, y, seen, setting.level)

    try:
        network = restorer.network(setting).train()
        macs = count_macs(forward)
    except Exception as error:
        told = f"{type(error).__name__}: {error}"
        raise TrainingError(f"variant '{variant.name}': {ablation.restorer} does not work with it: {told}.") from None
    if not macs:
        raise TrainingError(f"variant '{variant.name}': {ablation.restorer} has no products that could be counted.")
    return macs * recipe.batch


def estimated(runs: Iterable[Run], device: str) -> Iterator[tuple[Run, float, float]]:
    """Of the first training of each variant its steps a second and its seconds, measured on a few steps of it.

    Nothing is kept of them.
    """
    from bench.training.scoring import held_out_psnr_db

    first = {run.variant: run for run in reversed([*runs])}
    for run in reversed(first.values()):
        with (
            tempfile.TemporaryDirectory(prefix="bench-ablate-") as folder,
            begun(run.spec, run.recipe, run.setting, Path(folder), device=device, steps=run.steps) as training,
        ):
            _, rate = training.timed(N_STEPS_TRIED)
            began = monotonic()
            held_out_psnr_db(training.restorer, training.mean, training.validation, training.device)
            validation = monotonic() - began
        yield run, rate, run.steps / rate + (N_VALIDATIONS + 1) * validation


# --- training --------------------------------------------------------------------------------------------


def train_all(runs: Sequence[Run], known: Mapping[Run, Trained], device: str) -> Outcome:
    """Train what is not known and has not ended yet, one after the other; what became of each, in the runs' order.

    Raises a BenchError for what keeps a training from beginning. One that diverges does not end the others.
    """
    diverged: dict[Run, str] = {}
    for number, run in enumerate(runs, 1):
        if run in known or ended(run):
            continue
        left = _left([run for run in runs if run not in known])
        _say(f"[{number} of {len(runs)}] {run}: {run.steps} steps of {short(run.macs_per_step)} MACs{left}")
        try:
            _train(run, device)
        except BusyError:
            _say(BUSY)
        except DivergedError as error:
            diverged[run] = str(error)
            _say(str(error))
    found = {run: known.get(run) or ended(run) for run in runs}
    busy = {run: BUSY for run, trained in found.items() if trained is None and run not in diverged}
    return Outcome({run: trained for run, trained in found.items() if trained}, {**diverged, **busy}, not busy)


def _train(run: Run, device: str) -> None:
    from bench.training.files import replace as write
    from bench.training.files import sha256_of

    with begun(run.spec, run.recipe, run.setting, run.folder, device=device, steps=run.steps) as training:
        follow(training, briefly=True)
        assert training.last_card is not None  # it has ended
        curve = [(row.step, _rounded(row.loss), round(row.psnr_db, 4)) for row in training.log]
        sha256 = sha256_of(run.folder / WEIGHTS)
        trained = Trained(run.variant.name, run.seed, run.steps, run.macs_per_step, sha256, training.last_card, curve)
        text = json.dumps(trained.as_dict(), indent=1)
        write(run.folder / "run.json", lambda path: path.write_text(text, encoding="utf-8"))


def _rounded(loss: float) -> float | None:
    return float(f"{loss:.6g}") if math.isfinite(loss) else None


def ended(run: Run) -> Trained | None:
    """What run.json says, if it is of this very training and its weights are there."""
    from bench.training.files import sha256_of

    with suppress(OSError, ValueError, TypeError, KeyError):
        trained = Trained.of_dict(json.loads((run.folder / "run.json").read_text(encoding="utf-8")))
        if _is_of(run, trained) and sha256_of(run.folder / WEIGHTS) == trained.weights_sha256:
            return trained
    return None


def _is_of(run: Run, trained: Trained) -> bool:
    """Whether it is of this very training, by the code of today. Raises KeyError or TypeError for what is no card."""
    return trained.card["code"] == run.spec.code_sha256 and _is_as_told(run, trained)


def _is_as_told(run: Run, trained: Trained) -> bool:
    card = trained.card
    told = (trained.variant, card["recipe"], card["setting"], card["parameters"])
    own = (run.variant.name, run.recipe.as_dict(), str(run.setting), dict(run.spec.parameters))
    return json.dumps(told) == json.dumps(own)


def _left(runs: Sequence[Run]) -> str:
    """How long all that have not ended will take, by the seconds of those that have; "" if none has."""
    trained = {run: one for run in runs if (one := ended(run))}
    macs = sum(run.macs for run in trained)
    if not macs:
        return ""
    seconds = sum(float(one.card["seconds"]) for one in trained.values())
    left = sum(run.macs for run in runs if run not in trained)
    return f", {duration(left * seconds / macs)} left for all"


def short(number: float) -> str:
    """`1.23G`, `94.9k`"""
    for letter, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g}{letter}"
    return f"{number:.3g}"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# --- measuring -------------------------------------------------------------------------------------------


def pictures_of(ablation: Ablation, device: str) -> set[tuple[str, str]]:
    """Data set and name of each picture that is measured at the end.

    Raises a BenchError if they could not be asked for: it is called before anything is trained.
    """
    request = make_request(ablation.restorer, **_words(ablation, device))
    return {(dataset.label, entry.name) for dataset in request.datasets for entry in dataset.entries}


def measured(
    ablation: Ablation, runs: Iterable[Run], store: Path, device: str, watcher: Watcher | None
) -> list[Record]:
    """The records of these trainings' weights: those in the store, and those measured now, several side by side."""
    names = [f"{ablation.restorer}@{quoted(str(run.folder / WEIGHTS))}" for run in runs]
    if not names:
        return []
    words = _words(ablation, device)
    plan = make_plan(make_request(names, **words))
    with Store(store) as records:
        return run_plan(plan, records, jobs=words["jobs"], watcher=watcher).records


def _words(ablation: Ablation, device: str) -> dict[str, Any]:
    """Of `make_request`. Times are not taken, so a cell has a core of its own."""
    task = get_task(ablation.setting.task)
    return {
        "task": task.name,
        "datasets": [ablation.test],
        "levels": {task.level.name: ablation.setting.level},
        "limit": ablation.limit,
        "device": device,
        "jobs": max(2, n_cores()),
    }


# --- kept ------------------------------------------------------------------------------------------------


def write_runs(trained: Iterable[Trained], path: Path) -> None:
    """A line a training. Raises TrainingError if it cannot be written."""
    from bench.training.files import replace as write

    lines = ",\n".join(json.dumps(one.as_dict()) for one in trained)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainingError(f"{path.parent}: {error.strerror}.") from None
    write(path, lambda part: part.write_text(f"[\n{lines}\n]\n", encoding="utf-8"))


def results_of(
    runs: Iterable[Run], pictures: set[tuple[str, str]], folder: Path
) -> tuple[dict[Run, Trained], pd.DataFrame]:
    """Of these trainings those whose results a folder has, with records of all test pictures; and those records.

    None of results that cannot be read: what they were of is trained again.
    """
    with suppress(BenchError, KeyError, TypeError):
        of_name = {(one.variant, one.seed): one for one in read_runs(folder / "runs.json")}
        records = read_records(folder / "records.csv")
        good = records[records["status"] == "ok"]
        measured = {
            sha256: {*zip(rows["dataset"], rows["image"], strict=True)}
            for sha256, rows in good.groupby("weights_sha256")
        }
        known = {
            run: one
            for run in runs
            if (one := of_name.get((run.variant.name, run.seed)))
            and _is_of(run, one)
            and measured.get(one.weights_sha256) == pictures
        }
        return known, good[good["weights_sha256"].isin([one.weights_sha256 for one in known.values()])]
    return {}, frame_of([])


def joined(frames: Sequence[pd.DataFrame], trained: Iterable[Trained]) -> pd.DataFrame:
    """The records of all frames, in the order of the trainings whose weights they are of."""
    import pandas as pd

    together = pd.concat([frame for frame in frames if len(frame)] or frames[:1], ignore_index=True)
    place = {one.weights_sha256: number for number, one in enumerate(trained)}
    return together.sort_values(
        "weights_sha256", key=lambda sha256: sha256.map(place), kind="stable", ignore_index=True
    )


def outdated(ablation: Ablation, results: Iterable[Trained]) -> dict[Trained, str]:
    """Those that the file no longer tells of as they were trained, and why: by another recipe or budget.

    The restorer's code may have changed since. Raises TrainingError for cards that are none.
    """
    variants = {variant.name: variant for variant in ablation.variants}
    found = {}
    for one in results:
        if (variant := variants.get(one.variant)) is None:
            continue
        steps = _steps(ablation, one.macs_per_step)
        run = Run(ablation.spec, ablation.setting, variant, one.seed, steps, one.macs_per_step, Path())
        try:
            is_as_told = _is_as_told(run, one)
        except (KeyError, TypeError):
            raise TrainingError(f"The results of {run} have no card of a training.") from None
        if not is_as_told:
            found[one] = "the results are of another recipe or budget; bench ablate without --table trains it anew"
    return found


def read_runs(path: Path) -> list[Trained]:
    """What `write_runs` wrote. Raises TrainingError that names the file for anything else."""
    try:
        return [Trained.of_dict(one) for one in json.loads(path.read_text(encoding="utf-8"))]
    except FileNotFoundError:
        raise TrainingError(f"There are no results {path}: `bench ablate` without --table makes them.") from None
    except OSError as error:
        raise TrainingError(f"{path}: {error.strerror}.") from None
    except (ValueError, TypeError, KeyError, RecursionError):
        raise TrainingError(f"{path} holds no trainings of an ablation.") from None
