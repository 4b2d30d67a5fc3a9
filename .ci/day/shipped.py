"""A training that came back: scored on the CPU beside the weights in its place, and put there if it is better."""

from __future__ import annotations

import csv
import json
import math
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save

from bench.errors import WeightsError
from bench.plugins.registry import choose, load_class
from bench.plugins.weights import Declaration, declarations, fetch
from bench.restorer import TorchRestorer, WeightsFile
from bench.task import parse_levels
from bench.tasks import Setting, get_task
from bench.training.crops import Batch, Crops
from bench.training.files import sha256_of
from bench.training.queue import Wanted
from bench.training.recipe import find_recipe
from bench.training.scoring import held_out_psnr_db

__all__ = ["RunResult", "take_in"]

GAIN_DB = 0.0005
"""New weights that gain no more than this stay away: so much a different summation order may make."""

NOTHING = -math.inf
"""The PSNR of weights that are not there, or give no number."""


@dataclass(frozen=True)
class RunResult:
    """What came of one training.

    best_db, last_db  of its weights.safetensors and last.safetensors
    steps, seconds    all that it had, not those until its best
    shipped           the file in methods/weights/ that its weights became; "" if they were no better
    declared          whether weights.toml has an entry for that file
    """

    entry: Wanted
    present_db: float
    best_db: float
    last_db: float
    steps: int
    seconds: float
    shipped: str
    declared: bool

    HEADERS = ("training", "present dB", "best dB", "last dB", "gain", "steps", "minutes", "")

    def row(self) -> list[str]:
        figures = [self.present_db, self.best_db, self.last_db]
        gain = max(self.best_db, self.last_db) - self.present_db
        return [
            self.entry.what,
            *("–" if figure == NOTHING else f"{figure:.4f}" for figure in figures),
            f"{gain:+.4f}" if math.isfinite(gain) else "–",
            str(self.steps),
            f"{self.seconds / 60:.1f}",
            f"shipped: {self.shipped}" if self.shipped else "not shipped",
        ]


def take_in(entry: Wanted, folder: Path, methods: Path) -> RunResult:
    """Ship what the training in `folder` has, if it is better, to the `methods` of a checkout.

    Raises a BenchError if its training set is not here, or the present file not the one that weights.toml declares.
    """
    declaration = declared(entry, methods)
    present = in_its_place(entry, declaration, methods)
    new = {name: as_stored(folder / f"{name}.safetensors", present) for name in found_in(folder)}
    setting = setting_of(entry)
    batches = crops_of(entry, setting).validation()

    def score(path: Path | None) -> float:
        return NOTHING if path is None else psnr_db(entry, setting, path, batches)

    present_db, scores = score(present), {name: score(path) for name, path in new.items()}
    winner = max(scores, key=lambda name: scores[name])
    shipped = ""
    if scores[winner] > present_db + GAIN_DB:
        shipped = declaration.file if declaration else f"{entry.folder}.safetensors"
        ship(new[winner], shipped, declaration, methods)
    steps, seconds = length(folder)
    return RunResult(
        entry, present_db, scores["weights"], scores.get("last", NOTHING), steps, seconds, shipped, bool(declaration)
    )


# --- what there is -----------------------------------------------------------------------------------


def declared(entry: Wanted, methods: Path) -> Declaration | None:
    """What weights.toml says of the weights that the entry would replace; None if it would be the first."""
    named = {f"{d.restorer}.{d.tag}": d for d in declarations(methods / "weights.toml")}
    return named[entry.tag] if entry.tag else None


def in_its_place(entry: Wanted, declaration: Declaration | None, methods: Path) -> Path | None:
    """The file to be better than: the declared one; for the first of a setting what it began from, if anything."""
    if declaration:
        return fetch(declaration).path
    return methods / "weights" / entry.start if entry.start else None


def found_in(folder: Path) -> Iterator[str]:
    """A training that was stopped has no last weights."""
    yield "weights"
    if (folder / "last.safetensors").is_file():
        yield "last"


def length(folder: Path) -> tuple[int, float]:
    """Steps and seconds of all the training."""
    with (folder / "log.csv").open(newline="") as log:
        *_, row = csv.DictReader(log)
    return int(float(row["step"])), float(row["seconds"])


# --- scoring -----------------------------------------------------------------------------------------


def setting_of(entry: Wanted) -> Setting:
    recipe = find_recipe(choose(entry.restorer).info, entry.recipe)
    task = get_task(recipe.task)
    level = recipe.levels[-1] if recipe.levels else parse_levels(task, entry.levels[task.level.name])[0]
    return Setting(recipe.task, level, recipe.channels)


def crops_of(entry: Wanted, setting: Setting) -> Crops:
    return Crops(find_recipe(choose(entry.restorer).info, entry.recipe), setting)


def psnr_db(entry: Wanted, setting: Setting, path: Path, batches: list[Batch]) -> float:
    """As the training validates, with the network read as `bench run` reads it."""
    spec = choose(entry.restorer)
    weights = WeightsFile(path, path.name, sha256_of(path))
    restorer = load_class(spec.info.target)(spec.variant, weights)
    assert isinstance(restorer, TorchRestorer)  # nothing else can be trained
    network = restorer.network(setting)
    restorer.load(network, weights)
    found = held_out_psnr_db(restorer, network, batches, torch.device("cpu"))
    return found if math.isfinite(found) else NOTHING


def as_stored(new: Path, present: Path | None) -> Path:
    """`new` with its tensors in the precision of those in its place: some are kept in half, for half the bytes.

    So what is scored is what would be shipped. Where nothing changes the file stays as it is, to the byte.
    """
    with safe_open(new, "pt") as opened:
        metadata = opened.metadata()
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  no mapping
    dtypes = dtypes_in(present) if present else {}
    stored = {name: tensor.to(dtypes.get(name, tensor.dtype)) for name, tensor in tensors.items()}
    if all(stored[name] is tensor for name, tensor in tensors.items()):
        return new
    path = new.with_name(f"stored-{new.name}")
    path.write_bytes(save(stored, metadata))
    return path


def dtypes_in(path: Path) -> dict[str, torch.dtype]:
    with safe_open(path, "pt") as opened:
        return {name: opened.get_tensor(name).dtype for name in opened.keys()}  # noqa: SIM118  no mapping


# --- shipping ----------------------------------------------------------------------------------------


def ship(new: Path, name: str, declaration: Declaration | None, methods: Path) -> None:
    """The file, its card beside it, and its checksum in weights.toml."""
    manifest, target = methods / "weights.toml", methods / "weights" / name
    text = manifest.read_text(encoding="utf-8")
    if declaration:
        text = with_checksum_of(new, declaration, text)
    shutil.copyfile(new, target)
    # the card out of the file: a day that was cut short may have brought the one of an earlier validation beside it
    with safe_open(new, "pt") as opened:
        card = json.loads(opened.metadata()["card"])
    target.with_suffix(".json").write_text(json.dumps(card, indent=2) + "\n")
    manifest.write_text(text, encoding="utf-8")
    declarations.cache_clear()


def with_checksum_of(new: Path, declaration: Declaration, text: str) -> str:
    """The text of weights.toml with the new file's sha256, and its size where the entry tells one."""
    assert declaration.sha256 is not None  # of a file that ships
    text = replaced_once(declaration.sha256, sha256_of(new), text)
    if declaration.size is None:
        return text
    before, head, after = text.partition(f'["{declaration.restorer}.{declaration.tag}"]')
    entry, following, rest = after.partition("\n[")
    entry = replaced_once(f"bytes = {declaration.size}", f"bytes = {new.stat().st_size}", entry)
    return "".join((before, head, entry, following, rest))


def replaced_once(old: str, new: str, text: str) -> str:
    times = text.count(old)
    if times != 1:
        raise WeightsError(f"weights.toml has '{old}' {times} times, expected once. Nothing of it was shipped.")
    return text.replace(old, new)
