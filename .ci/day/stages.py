"""The stages of the day. Each gets the options of `gpu stage`, and returns an exit status."""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import time
from pathlib import Path

import pytest
from day import trained

SETTING = {"task": "denoise", "sigma": 25}
SIZES = {"cuda": (256, 512, 1024), "cpu": (64,)}
RESTORERS = {
    "cuda": "dncnn,dncnn:bf16,nsr,sc,sc:bf16,groupsc@ours,groupsc:bf16@ours,nlrn,nlrn:bf16",
    "cpu": "dncnn,sc",
}
MORE = ",ffdnet,cscnet,deep-ksvd,lidia"
HELD = RESTORERS["cuda"]
"""What is held against the CPU's reference on the whole of bsd68."""

CELL_SECONDS = 30
CLOSE = 12  # seconds before the end of its time when the training is to be over


def check(options: argparse.Namespace) -> int:
    """Versions, the device, and the tests that need one."""
    import numpy
    import torch

    print(f"{platform.platform()}, Python {platform.python_version()}, NumPy {numpy.__version__}")
    print(f"torch {torch.__version__}, CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}")
    if options.device.startswith("cuda"):
        card = torch.cuda.get_device_properties(options.device)
        print(f"{card.name}, {card.total_memory / 2**30:.0f} GiB, {card.multi_processor_count} multiprocessors")
    tests = next(p for p in (here() / "tests", here().parent / "tests") if p.is_dir()) / "test_gpu.py"
    os.environ["BENCH_TEST_DEVICE"] = options.device
    # a warning of this machine's torch is to be read, and is no failure
    words = ["-o", "addopts=", "-m", "gpu", "-v", "--tb=short", "-p", "no:cacheprovider", "-W", "default", str(tests)]
    return int(pytest.main(words, plugins=[TellsAtOnce()]))


class TellsAtOnce:
    """A plugin of pytest that prints what failed when it has: a report at the end may never come."""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            print(f"\n{report.longreprtext}", flush=True)


def table(options: argparse.Namespace) -> int:
    """Times and memory by size; then all of bsd68, held against the CPU's reference."""
    kind = options.device.partition(":")[0]
    store = options.out / "records.sqlite"
    sizes = pictures(work_of(options) / "sizes", SIZES[kind])
    common = {**SETTING, "device": options.device, "store": store, "time_limit": CELL_SECONDS}
    import bench

    measured = bench.run(
        RESTORERS[kind] + (MORE if kind == "cuda" else ""), datasets=[str(folder) for folder in sizes], **common
    )
    print(measured.table(), flush=True)
    if kind == "cuda":
        # several at a time: these are figures, not times
        bench.run(HELD, datasets="bsd68", jobs=4, **common)
        command = ["compare", "--reference", "--store", str(store), "--select", "dataset == 'bsd68'"]
        return subprocess.run([*trained.BENCH, *command]).returncode
    return 0


def pictures(to: Path, sizes: tuple[int, ...]) -> list[Path]:
    """A folder for each size with a gray picture of it: scikit-image's astronaut, mirrored where it is too small."""
    import numpy as np
    from PIL import Image
    from skimage import color, data

    whole = (255 * color.rgb2gray(data.astronaut()) + 0.5).astype(np.uint8)
    whole = np.pad(whole, ((0, 512), (0, 512)), mode="symmetric")
    folders = []
    for n in sizes:
        folders.append(to / f"{n}x{n}")
        folders[-1].mkdir(parents=True, exist_ok=True)
        Image.fromarray(whole[:n, :n]).save(folders[-1] / "astronaut.png")
    return folders


def speed(options: argparse.Namespace) -> int:
    """Steps a second of the recipes that the queue begins with."""
    from bench.training.queue import wanted

    recipes = {(entry.restorer, entry.recipe): entry for entry in reversed(wanted()) if trained.possible(entry)}
    for entry in reversed(recipes.values()):
        trained.speed(entry, options.device)
    return 0


def train(options: argparse.Namespace) -> int:
    """The queue from its top, each training for its minutes, the last for what is left."""
    from bench.training.queue import wanted

    ends = time.monotonic() + options.seconds - CLOSE
    work = work_of(options) / "training"
    queue = [entry for entry in wanted() if trained.possible(entry)]
    if options.device == "cpu":
        queue = [entry for entry in queue if entry.restorer == "sc"][:1]
    with trained.Courier(work, options.out) as courier:
        courier.bring(options.back)
        for entry in queue:
            left = ends - time.monotonic()
            if left < trained.LEAST_SECONDS and options.device != "cpu":
                break
            trained.train(entry, work, options.device, min(60 * entry.minutes, left))
            courier.carry()
    return 0


def work_of(options: argparse.Namespace) -> Path:
    """A folder beside DIR for what is not to come back, or not as it is."""
    out: Path = options.out.resolve()
    return out.with_name(f"{out.name}-work")


def here() -> Path:
    return Path(__file__).resolve().parents[1]
