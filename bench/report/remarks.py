"""What a reader of a run's table should know beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from bench.escape import terminal
from bench.judge.fingerprints import differing
from bench.records.alike import alike
from bench.records.record import Record
from bench.runner.plan import Plan

__all__ = ["of_plan", "of_records", "set_aside"]


def of_plan(plan: Plan) -> Iterator[str]:
    """What of the request will not be measured and why, and what is to be known of the rest."""
    for reason in alike(dict.fromkeys(skip.reason for skip in plan.skips)):
        yield terminal(f"skipped: {reason}")
    for dataset, image, reason in plan.broken:
        yield terminal(f"not measured: {dataset}/{image}: {reason}")
    for note in plan.notes:
        yield terminal(f"note: {note}")


def of_records(records: Sequence[Record]) -> Iterator[str]:
    """A warning if this machine degrades pictures to other pixels than are published."""
    if other := differing(records):
        first = other[0]
        yield terminal(
            f"warning: {len(other)} degraded images differ from data/fingerprints.toml, {first.dataset}/{first.image}"
            " among them: these figures are not comparable to other machines' in the last digits."
        )


def set_aside(counts: Mapping[tuple[str, str], int]) -> Iterator[str]:
    """`12 records of groupsc in the store do not answer: its code has changed.`"""
    for (label, why), n in counts.items():
        told = f"{n} record{'s' * (n != 1)} of {label} in the store {'do' if n != 1 else 'does'} not answer: {why}."
        yield terminal(told)
