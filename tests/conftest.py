"""What several tests share: small pictures, a folder of them, a quiet environment."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

if (
    "PYTEST_XDIST_WORKER" in os.environ
):  # several processes share the cores: one thread each, before any library loads
    for library in ("OMP", "OPENBLAS", "MKL", "NUMBA"):
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")

# Hypothesis keeps its tables of characters somewhere; not beside the sources
os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", str(Path(tempfile.gettempdir()) / "bench-hypothesis"))

import numpy as np
import pytest
from hypothesis import settings

settings.register_profile("bench", deadline=None, max_examples=40, derandomize=True, database=None)
settings.load_profile("bench")

PLUGINS = Path(__file__).parent / "plugins"
BAD = PLUGINS / "bad.py"

HEAD = """
[paper]
title = "A paper"
authors = "Ours"
venue = "here"
year = 2020
document = "a.txt"

[[tolerance]]
psnr_db = 0.05
ssim = 0.001
because = "noise"
"""

TABLE = """
[[table]]
number = "1"
caption = "gray denoising"
protocol = "AWGN"
task = "denoise"
dataset = "set12"
channels = 1
metric = "psnr_db/ssim"
columns.level = [15, 25]
rows = [
  { method = "Noisy", id = "noisy", restorer = "noisy", values = "24.61/0.5000 20.17/0.4000" },
  { method = "Ours", id = "dncnn-s", restorer = "dncnn", params = "556k", values = "32.86/0.9000 30.44/0.8600" },
]
"""


@pytest.fixture(autouse=True)
def _nothing_from_outside(request, monkeypatch, tmp_path_factory):
    hide_what_is_outside({mark.name for mark in request.node.iter_markers()}, monkeypatch, tmp_path_factory)


def hide_what_is_outside(markers, monkeypatch, tmp_path_factory):
    """Default tests see an empty cache, no mirror and no network, whatever the machine has set.

    Tests on a GPU see the cache and the mirror, for what they hold restorers to is true of trained weights.
    """
    if markers & {"slow", "network"}:
        return
    monkeypatch.setenv("BENCH_OFFLINE", "1")
    if "gpu" not in markers:
        monkeypatch.setenv("BENCH_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        monkeypatch.delenv("BENCH_MIRROR", raising=False)


@pytest.fixture
def photos(tmp_path):
    """A folder `photos` of three small gray pictures, of 24x32, 24x32 and 17x19 pixels."""
    from PIL import Image

    folder = tmp_path / "photos"
    folder.mkdir()
    for number, (height, width) in enumerate([(24, 32), (24, 32), (17, 19)], start=1):
        Image.fromarray(picture(height, width, seed=number)).save(folder / f"{number}.png")
    return folder


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A smooth 8-bit gray picture with an edge, uint8 (H, W)."""
    rows, columns = np.mgrid[:height, :width]
    wave = 100 + 60 * np.sin(rows / (4 + seed)) + 40 * (columns > width // 2)
    return wave.astype(np.uint8)


@pytest.fixture
def paper(tmp_path):
    """Reads a paper from text: `paper()` is a clean one, `paper(old, new)` one with a change."""

    from bench.judge.papers import read

    def made(old="", new=""):
        text = HEAD + TABLE
        assert old in text
        file = tmp_path / "ours-2020.toml"
        file.write_text(text.replace(old, new, 1) if old else text, encoding="utf-8")
        return read(file)

    return made
