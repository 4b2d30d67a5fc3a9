"""Trainings of the day: run one, time one, and carry out what they have, every half minute."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from importlib import resources
from pathlib import Path

BENCH = [sys.executable, "-c", "from bench.cli import main; main()"]
EVERY_SECONDS = 30
LEAST_SECONDS = 40  # a shorter training would hardly be more than its start
START_SECONDS = 12  # from the command to the first step
PROBE_STEPS = 60
MOST_BYTES = 15 * 2**20  # of a file that is carried out
CARRIED = ("weights.safetensors", "weights.json", "log.csv", "last.safetensors", "last.json", "checkpoint.pt")


def weights_of(name: str) -> Path:
    return Path(str(resources.files("bench.methods"))) / "weights" / name


def possible(entry) -> bool:
    """Whether what it begins from and what it trains on are here."""
    from bench.data.datasets import fetch_all, get

    from bench.errors import BenchError

    if entry.start and not weights_of(entry.start).is_file():
        return False
    try:
        fetch_all(get(entry.data))
    except BenchError:
        return False
    return True


def command(entry, folder: Path, device: str) -> list[str]:
    words = [*BENCH, "train", entry.restorer, "--recipe", entry.recipe]
    words += [word for name, level in entry.levels.items() for word in (f"--{name}", level)]
    words += ["--start", str(weights_of(entry.start))] if entry.start else []
    return [*words, "--device", device, "--folder", str(folder)]


def train(entry, work: Path, device: str, seconds: float) -> None:
    """One training of the queue in its folder, from its checkpoint if it has one."""
    print(f"--- {entry.what}, {seconds:.0f} s: {entry.why}", flush=True)
    minutes = max(1.0, seconds - START_SECONDS) / 60
    subprocess.run([*command(entry, work / entry.folder, device), "--minutes", f"{minutes:.3f}"])


def speed(entry, device: str) -> None:
    """Steps a second of its recipe, told between the middle and the end of a few."""
    import torch

    from bench.plugins.registry import choose, load_class
    from bench.task import parse_levels
    from bench.tasks import Setting, get_task
    from bench.training.crops import Crops
    from bench.training.loop import Training
    from bench.training.recipe import find_recipe

    spec = choose(entry.restorer)
    recipe = find_recipe(spec.info, entry.recipe)
    task = get_task(recipe.task)
    level = recipe.levels[-1] if recipe.levels else parse_levels(task, entry.levels[task.level.name])[0]
    setting = Setting(recipe.task, level, recipe.channels)
    steps = PROBE_STEPS if device != "cpu" else 2
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        restorer = load_class(spec.info.target)(spec.variant)
        crops = Crops(recipe, setting)
        training = Training(restorer, recipe, setting, crops, Path(folder), device=device, steps=steps)
        if device != "cpu":
            torch.cuda.reset_peak_memory_stats(device)
        first, second = training.timed(steps // 2)
        peak = f", {torch.cuda.max_memory_allocated(device) / 2**30:.1f} GiB" if device != "cpu" else ""
        refused = training.graphs.refused if training.graphs else ""
        print(
            f"{entry.restorer} {entry.recipe}: {second:.1f} steps a second ({first:.1f} in the first half){peak},"
            f" {time.monotonic() - began:.0f} s in all{refused and f'; no graph: {refused}'}",
            flush=True,
        )


class Courier:
    """Carries what the trainings in `work` have to `out`: files trained-1.tar, trained-2.tar, …, none too large.

    In a `with` statement it does so every half minute, and once at the end.
    """

    def __init__(self, work: Path, out: Path) -> None:
        self.work, self.out = work, out
        self._over = threading.Event()
        self._one_at_a_time = threading.Lock()
        self._thread = threading.Thread(target=self._now_and_then, daemon=True)

    def __enter__(self) -> Courier:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.carry()

    def bring(self, back: Path | None) -> None:
        """Lay out what came back from an earlier day."""
        for tar in sorted(back.glob("trained-*.tar")) if back else []:
            with tarfile.open(tar) as opened:
                opened.extractall(self.work, filter="data")

    def carry(self) -> None:
        with self._one_at_a_time:
            for number, paths in enumerate(self._loads(), start=1):
                self._write(self.out / f"trained-{number}.tar", paths)

    def _now_and_then(self) -> None:
        while not self._over.wait(EVERY_SECONDS):
            self.carry()

    def _loads(self) -> list[list[Path]]:
        """The files in the order of the trainings, as many in each load as it may have."""
        loads: list[list[Path]] = [[]]
        folders = sorted((f for f in self.work.glob("*") if f.is_dir()), key=lambda f: f.stat().st_ctime)
        for path in (folder / name for folder in folders for name in CARRIED if not done_with(folder, name)):
            if not path.is_file():
                continue
            if loads[-1] and sum(p.stat().st_size for p in [*loads[-1], path]) > MOST_BYTES:
                loads.append([])
            loads[-1].append(path)
        return [load for load in loads if load]

    def _write(self, to: Path, paths: list[Path]) -> None:
        part = to.with_name(f".{to.name}.part")
        with tarfile.open(part, "w") as tar:
            for path in paths:
                tar.add(path, arcname=str(path.relative_to(self.work)))
        shutil.move(part, to)


def done_with(folder: Path, name: str) -> bool:
    """A training that is over has no more use for its checkpoint."""
    return name == "checkpoint.pt" and (folder / "last.safetensors").exists()
