"""`bench train --new`: a recipe to begin with, in which every key is explained."""

from __future__ import annotations

import shlex
from pathlib import Path

from bench.data.errors import in_a_line
from bench.errors import RequestError, TrainingError
from bench.level import format_level
from bench.plugins.registry import choose
from bench.task import Task
from bench.tasks import TASKS, colour_word

__all__ = ["write_new"]

TEMPLATE = """\
# How a network is trained. What is left out has the value that stands here.
# {command}

[mine]
source = ""               # where these settings come from: a paper, an experiment of yours

# --- what for ---
task = "{task}"
channels = {channels}              # 1: gray, 3: colour
levels = []               # none: the one behind --{level}. Several: each step draws one, and one network learns all,
                          # which it is told as its option `levels`
also = {{}}                 # other tasks that the same network learns, with their levels: {{ deblock = [10, 40] }}
options = {{}}              # of the network, as `self.options` in its class: {{ width = 32 }}

# --- on what ---
data = "{data}"           # a data set (bench list datasets) or a folder of pictures, "./photos"
held_out = 20             # its last pictures, by name, which only validate
crop = {crop}                 # side of the square crops, in pixels
batch = 8                 # crops per step
rotations = true          # crops are flipped, and if true turned by 90 degrees too
seed = 0                  # of crops, noise and first weights

# --- how long, how fast ---
steps = 5000              # --steps says otherwise; --minutes stretches the schedule to a time
validate_every = 250      # steps between two validations, after which all is saved
optimizer = "adam"        # or "sgd", or "soap" (bench/training/soap.py)
lr = 1e-3                 # learning rate at the start of the schedule
warm_up = 0               # steps in which it rises to that
schedule = "cosine"       # to zero; or "steps": times `decay` after every `decay_every` of the training
decay = 1.0
decay_every = 1.0         # 0.2: five times
decay_at = []             # or at these fractions of the training: [0.5, 0.9]

# --- what keeps it on its way ---
clip = 1.0                # largest norm of the gradient; 0: not clipped. One that is not finite is left out anyway
ema = 0.0                 # 0.999: a running mean of the weights is validated and exported; 0: the weights themselves
backtrack_db = 0.0        # 0.5: a validation 0.5 dB below the last accepted one takes the training back to it; 0: no
backtrack_factor = 0.5    # the learning rate is then times this
fix_norms_at = 1.0        # from this fraction on, batch normalisation goes by what it has seen, not by the batch

# --- seldom changed ---
bf16 = false              # products in bfloat16 (autocast); the weights and their updates stay in float32
eps = 1e-8                # of adam and soap
momentum = 0.9            # of sgd
weight_decay = 0.0        # of sgd: added to the gradient is this times the weights
turn_every = 10           # of soap: steps between two turns of its bases
teacher = ""              # a better network, "dncnn@published": its answers stand for the clean crops
"""


def write_new(path: Path, name: str | None = None, *, force: bool = False) -> str:
    """Write a recipe for the restorer called `name`, or for any; what to do with it, in words.

    force  over a file that is there

    Raises RequestError if there is a file already, RestorerError if there is no such restorer, and TrainingError if
    nothing can be written.
    """
    if path.suffix != ".toml":
        raise RequestError(f"--new {path}: a recipe is a .toml file, e.g. {path.with_suffix('.toml')}.")
    task = TASKS["denoise"] if name is None else _task_of(name)
    channels = task.channels or 1
    command = _command(path, name, task)
    text = TEMPLATE.format(
        command=command,
        task=task.name,
        channels=channels,
        level=task.level.option,
        data=_training_set(task, channels),
        crop=48 if task.name == "superres" else 40,  # a multiple of 2, 3 and 4
    )
    try:
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise RequestError(f"--new {path}: the file is there already. Name another, or add --force.") from None
    except FileNotFoundError:
        raise RequestError(f"--new {path}: there is no folder {path.parent}.") from None
    except OSError as error:
        raise TrainingError(f"--new {path}: cannot be written ({error.strerror}).") from None
    what = f"a recipe for {task.name}, {colour_word(channels)}"
    return f"{path}: {what}. Every key is explained in it. To train:\n  {command}"


def _task_of(name: str) -> Task:
    """The first task in the usual order that the restorer does."""
    info = choose(name).info
    return next((task for task in TASKS.values() if task.name in info.tasks), TASKS["denoise"])


def _training_set(task: Task, channels: int) -> str:
    """Gray pictures where they are taken as they are; a task that makes its own luma takes it of colour ones."""
    return "bsd400" if channels == 1 and task.channels is None else "cbsd400"


def _command(path: Path, name: str | None, task: Task) -> str:
    level = task.levels[len(task.levels) // 2]
    words = ["bench", "train", name or "./mine.py:Mine", "--recipe", str(path)]
    return in_a_line(shlex.join([*words, f"--{task.level.option}", format_level(level)]))
