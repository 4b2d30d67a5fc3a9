"""The command line that measures again what a figure is of."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from bench.level import format_level
from bench.tasks import TASKS

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["command_for"]

STORE_OF_ITS_OWN = "again.sqlite"
"""where the answer goes: a store that holds the record would not measure it again"""


def command_for(records: pd.DataFrame) -> str:
    """`bench run --methods dncnn@published …` for records of one restorer at one level on one data set."""
    one = records.iloc[0]
    words = ["bench", "run", "--methods", _method(one), "--task", one["task_plugin"] or one["task"]]
    words += ["--datasets", one["folder"] or one["dataset"]]
    level = TASKS[one["task"]].level.option if one["task"] in TASKS else "level"
    words += [f"--{level}", format_level(one["level"]), "--protocol", one["protocol"]]
    repeats = int(records["repeat"].max()) + 1
    words += ["--repeats", str(repeats)] if repeats > 1 else []
    words += ["--device", one["device"]] if one["device"] != "cpu" else []
    threads = records["threads"].dropna()
    words += ["--threads", str(int(threads.iloc[0]))] if len(threads) else []
    return shlex.join([*words, "--store", STORE_OF_ITS_OWN])


def _method(one: Any) -> str:
    """What stands for the restorer behind --methods: its name, or file and class, with variant, + and weights."""
    name, plus = one["restorer"].removesuffix("+"), "+" if one["restorer"].endswith("+") else ""
    if one["plugin"].rpartition(":")[0].endswith(".py"):
        variant = name.partition(":")[2]
        name = f"{one['plugin']}:{variant}" if variant else one["plugin"]
    origin, _, file = one["weights"].partition(":")
    weights = (one["weights_file"] or file) if origin == "file" else origin
    return f"{name}{plus}@{weights}" if weights else f"{name}{plus}"
