"""How long it takes from what a researcher has to his first table: the lines that he types, and the seconds.

    python tests/asv/starts.py > starts.md

Each start is made in an empty folder, and measures one restorer on the four pictures of `sample` at sigma 25. What is
timed is the last command, with Python's own beginning; the caches of compiled code are warm after the first try.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

FUNCTION = """
from scipy.ndimage import gaussian_filter

def smooth(image, sigma, amount=0.04):
    return gaussian_filter(image, (amount * sigma, amount * sigma, 0))
"""
CLASS = """
from bench.restorer import Restorer
from scipy.ndimage import gaussian_filter

class Smooth(Restorer):
    name, tasks = "smooth", {"denoise"}

    def __init__(self, amount=0.04):
        self.amount = amount

    def restore(self, seen):
        width = self.amount * seen.sigma
        return gaussian_filter(seen.image, (width, width, 0))
"""
NETWORK = """
from torch import nn

class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 1, 3, padding=1))
"""
RESTORER = """
from bench.restorer import TorchRestorer
from net import Net

class Mine(TorchRestorer):
    name, tasks = "mine", {"denoise"}

    def network(self, setting):
        return Net()
"""
PACKAGE = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "smooth"
version = "1"

[project.entry-points."bench.methods"]
smooth = "smooth:Smooth"

[tool.setuptools]
py-modules = ["smooth"]
"""
RUN = 'bench run --methods "{}" --sigma 25'


class Start(NamedTuple):
    """files: what there is, by name; before: what makes the rest, untimed; typed: what the user types, timed.

    needs  a package that must be installed
    """

    what: str
    files: dict[str, str]
    typed: str
    before: str = ""
    needs: str = ""


def in_python(code: str, methods: str) -> str:
    return f"{code}\nimport bench\n\nprint(bench.run({methods}, sigma=25))\n"


ALIVE = "bench.wrap(Net(), range=1)"
MADE = "import torch; from net import Net; net = Net(); "
STARTS = (
    Start("a function in a notebook or script", {"it.py": in_python(FUNCTION, "smooth")}, "python it.py"),
    Start("a function in a file", {"my.py": FUNCTION}, RUN.format("./my.py:smooth")),
    Start("a class in a file", {"my.py": CLASS}, RUN.format("./my.py:Smooth")),
    Start("an instance with parameters", {"it.py": in_python(CLASS, "Smooth(amount=0.06)")}, "python it.py"),
    Start("a `torch.nn.Module`", {"it.py": in_python(NETWORK, ALIVE)}, "python it.py"),
    Start(
        "a `.pth` and the network's class",
        {"net.py": NETWORK, "my.py": RESTORER},
        RUN.format("./my.py:Mine@net.pth"),
        MADE + "torch.save(net.state_dict(), 'net.pth')",
    ),
    Start(
        "an ONNX file",
        {"net.py": NETWORK},
        RUN.format("onnx:net.onnx(range=1)"),
        MADE
        + "torch.onnx.export(net, torch.rand(1, 1, 64, 64), 'net.onnx', dynamo=False,"
        + " input_names=['y'], dynamic_axes={'y': {2: 'h', 3: 'w'}})",
        needs="onnxruntime",
    ),
    Start(
        "a TorchScript file",
        {"net.py": NETWORK},
        RUN.format("torchscript:net.pt(range=1)"),
        MADE + "torch.jit.trace(net, torch.rand(1, 1, 64, 64)).save('net.pt')",
    ),
    Start(
        "a checkpoint of an architecture that spandrel knows",
        {},
        RUN.format("spandrel:dncnn.pth"),
        "from spandrel.architectures.DnCNN import DnCNN; import torch;"
        " torch.save(DnCNN(in_nc=1, out_nc=1, nc=64, nb=17, act_mode='R').state_dict(), 'dncnn.pth')",
        needs="spandrel",
    ),
    Start(
        "a package with an entry point",
        {"package/smooth.py": CLASS, "package/pyproject.toml": PACKAGE},
        RUN.format("smooth"),
        "import subprocess, sys; subprocess.run([sys.executable, '-m', 'pip', 'install', '--quiet', '--no-deps',"
        " '--no-build-isolation', '--target', 'site', './package'], check=True)",
    ),
)


def seconds(start: Start, folder: Path) -> float:
    """From the command to the end of its table. Raises RuntimeError with what went wrong."""
    for name, text in start.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text.lstrip(), encoding="utf-8")
    paths = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": paths, "PYTHONPATH": "site", "PYTHONWARNINGS": "ignore"}
    if start.before:
        subprocess.run(
            [sys.executable, "-c", start.before], cwd=folder, env=environment, check=True, stdout=sys.stderr
        )
    began = time.perf_counter()
    done = subprocess.run(
        ["sh", "-c", start.typed], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    took = time.perf_counter() - began
    if done.returncode or "Gaussian denoising" not in done.stdout or "failed" in done.stdout:
        raise RuntimeError(f"{start.typed}\n{done.stdout}{done.stderr}")
    return took


def lines_of(start: Start) -> int:
    """Lines that a user types, empty ones left out: what he has already, a network or a file, is not counted."""
    code = "".join(text for name, text in start.files.items() if name != "net.py")
    code = code.replace(NETWORK.strip(), "")
    typed = [line for line in code.splitlines() if line.strip()]
    return len(typed) + start.typed.startswith("bench")


def main() -> None:
    """Print the table, in Markdown."""
    print("| what you have | what you type | lines | seconds |")
    print("|---|---|---:|---:|")
    for start in STARTS:
        if start.needs and importlib.util.find_spec(start.needs) is None:
            print(f"| {start.what} | `{start.typed}` | | not tried: {start.needs} is not installed |")
            continue
        folder = Path(tempfile.mkdtemp())
        try:
            took = seconds(start, folder)
        finally:
            shutil.rmtree(folder)
        shown = start.typed.replace("|", "\\|")
        print(f"| {start.what} | `{shown}` | {lines_of(start)} | {took:.0f} |", flush=True)


if __name__ == "__main__":
    main()
