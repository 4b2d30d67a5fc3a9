"""What the engine costs: a cell, the start of a command, a score."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import bench
from bench.protocol import get_protocol
from bench.tasks import Setting


class Run:
    """The four pictures of `sample` through `noisy`: all engine."""

    timeout = 120

    def time_four_cells(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            bench.run("noisy", "denoise", "sample", sigma=25, store=Path(folder) / "s.sqlite")


class Start:
    params = (("--help", "list"),)
    param_names = ("command",)

    def time_start(self, command: str) -> None:
        code = "from bench.cli import main; main()"
        subprocess.run([sys.executable, "-c", code, command], stdout=subprocess.DEVNULL, check=True)


class Code:
    """The hashes of the code of all built-in restorers, when their files have not changed."""

    def setup(self) -> None:
        self.time_all_built_ins()

    def time_all_built_ins(self) -> None:
        subprocess.run([sys.executable, "-c", HASH_ALL], stdout=subprocess.DEVNULL, check=True)


HASH_ALL = "from bench.plugins.registry import infos; [info.code for info in infos().values()]"


class Score:
    """PSNR and SSIM of a gray picture of 512x512."""

    def setup(self) -> None:
        random = np.random.RandomState(0)
        self.clean = random.rand(512, 512, 1).astype(np.float32)
        self.x_hat = np.clip(self.clean + random.normal(0, 0.1, self.clean.shape), 0, 1).astype(np.float32)
        self.protocol, self.setting = get_protocol("standard-v1"), Setting("denoise", 25.0, 1)

    def time_psnr_and_ssim(self) -> None:
        self.protocol.score(self.x_hat, self.clean, self.setting)
