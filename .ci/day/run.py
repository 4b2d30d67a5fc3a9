"""`.ci/gpu run`: the stages one after the other, each in a process and within a time of its own.

All that is printed also goes to DIR/day.txt, line by line: what has been said is there whatever dies.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TextIO

SHARES = {"check": 2, "table": 3, "speed": 2, "train": 8}
"""How the time is shared among the stages that are still to come; what one leaves, the others have."""

END = 5  # seconds kept for the last words


def run(options: argparse.Namespace) -> int:
    """The exit status: 1 if a stage failed; one that was stopped at the end of its time has not."""
    ends = time.monotonic() + 60 * options.minutes - END
    options.out.mkdir(parents=True, exist_ok=True)
    failed = []
    with (options.out / "day.txt").open("a", encoding="utf-8") as log:
        coming = options.only.split(",")
        while coming:
            left = ends - time.monotonic()
            seconds = left * SHARES[coming[0]] / sum(SHARES[name] for name in coming)
            name = coming.pop(0)
            say(log, f"\n=== {name}: {seconds:.0f} s at the most ===")
            began = time.monotonic()
            status = stage(name, seconds, options, log) if left > 0 else "there was no time for it"
            say(log, f"=== {name}: {status}, {time.monotonic() - began:.0f} s ===")
            failed += [name] if status.startswith("failed") else []
        say(log, f"FAILED: {', '.join(failed)}" if failed else "all stages done or at the end of their time")
    return int(bool(failed))


def stage(name: str, seconds: float, options: argparse.Namespace, log: TextIO) -> str:
    """How one stage ended."""
    command = [sys.executable, Path(sys.argv[0]).resolve(), "stage", name, "--seconds", str(seconds)]
    command += ["--device", options.device, "--out", options.out]
    command += ["--back", options.back] if options.back else []
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        start_new_session=True,
    )
    stopped = threading.Event()

    def stop() -> None:
        stopped.set()
        os.killpg(process.pid, signal.SIGKILL)

    timer = threading.Timer(seconds, stop)
    timer.start()
    try:
        assert process.stdout is not None
        for line in process.stdout:
            say(log, line.rstrip("\n"))
        status = process.wait()
    finally:
        timer.cancel()
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    if stopped.is_set():
        return "stopped at the end of its time"
    return "done" if status == 0 else f"failed with status {status}"


def say(log: TextIO, line: str) -> None:
    print(line, flush=True)
    print(line, file=log, flush=True)
