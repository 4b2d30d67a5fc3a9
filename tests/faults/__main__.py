"""Run campaigns and print their table. Exit status 1 if anything was lost."""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tabulate import tabulate

import tests.faults
from tests.faults.campaign import Campaign, Outcome, Try

__all__ = ["main"]


@dataclass
class Tally:
    """What came of a campaign so far."""

    name: str
    kinds: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    peak_mib: float = 0.0
    seconds: float = 0.0

    def add(self, outcome: Outcome) -> None:
        self.kinds[outcome.kind] += 1
        self.lost += bool(outcome.lost)
        self.peak_mib = max(self.peak_mib, outcome.peak_mib)

    def row(self) -> list[object]:
        n = self.kinds.total()
        peak = f"{self.peak_mib:.0f}" if self.peak_mib else "–"
        return [self.name, n, len(self.kinds), n - self.lost, self.lost, peak, f"{self.seconds:.0f}"]


HEADERS = ("campaign", "attempts", "kinds", "survived", "lost", "peak MiB", "seconds")


def campaigns() -> dict[str, Campaign]:
    """Those beside this file, by name."""
    found = {}
    for module in pkgutil.iter_modules(tests.faults.__path__):
        if module.name != "__main__":
            made = importlib.import_module(f"tests.faults.{module.name}")
            if hasattr(made, "attempt"):
                found[module.name] = made
    return found


def main(words: list[str] | None = None, known: dict[str, Campaign] | None = None) -> int:
    known = campaigns() if known is None else known
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--only", default=",".join(known), help=f"some of {', '.join(known)} (default: all)")
    parser.add_argument("--minutes", type=float, help="for all of them, an equal share each (default: no limit)")
    parser.add_argument("--seed", type=int, default=0, help="of the random numbers (default: 0)")
    parser.add_argument("--first", type=int, default=0, help="the number of the first attempt (default: 0)")
    parser.add_argument("--attempts", type=int, help="how many of each (default: as many as make it whole)")
    options = parser.parse_args(words)
    names = options.only.split(",")
    if unknown := set(names) - set(known):
        parser.error(f"--only {','.join(sorted(unknown))}: expected some of {', '.join(known)}.")
    share = 60 * options.minutes / len(names) if options.minutes else None
    short = [name for name in names if share is not None and getattr(known[name], "SECONDS", 0) > share]
    if short:
        print(f"left out, for want of time: {', '.join(short)}", file=sys.stderr)
        names = [name for name in names if name not in short]
        share = 60 * options.minutes / max(1, len(names))
    tallies = [_make(name, known[name], options, share) for name in names]
    print(tabulate([tally.row() for tally in tallies], HEADERS, disable_numparse=True))
    return int(any(tally.lost for tally in tallies))


def _make(name: str, campaign: Campaign, options: argparse.Namespace, share: float | None) -> Tally:
    """Make the attempts of a campaign, one after the other, until its share of the seconds is over."""
    tally, began, told = Tally(name), time.monotonic(), 0.0
    n_attempts = campaign.ATTEMPTS if options.attempts is None else options.attempts
    for i in range(options.first, options.first + n_attempts):
        tally.add(_attempt(name, campaign, options.seed, i))
        tally.seconds = time.monotonic() - began
        if share is not None and tally.seconds > share:
            break
        if tally.seconds > told + 10:
            told, done = tally.seconds, i + 1 - options.first
            left = min(share or float("inf"), tally.seconds / done * n_attempts) - tally.seconds
            print(
                f"{name}: {done} of {n_attempts}, {tally.lost} lost, {left:.0f} s left", file=sys.stderr, flush=True
            )
    return tally


def _attempt(name: str, campaign: Campaign, seed: int, index: int) -> Outcome:
    with tempfile.TemporaryDirectory(prefix="bench-faults-", ignore_cleanup_errors=True) as folder:
        outcome = campaign.attempt(Try(index, Random(f"{seed} {name} {index}"), Path(folder)))
    if outcome.lost:
        again = f"--only {name} --seed {seed} --first {index} --attempts 1"
        print(f"LOST: {outcome.kind}: {outcome.lost}  (again: {again})", file=sys.stderr, flush=True)
    return outcome


if __name__ == "__main__":
    sys.exit(main())
