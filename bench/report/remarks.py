"""What a reader of a run's table should know beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bench.judge.fingerprints import differing
from bench.report.result import RunResult

__all__ = ["remarks", "set_aside"]


def remarks(result: RunResult) -> Iterator[str]:
    """One line each: images that could not be measured, notes, doubts, and what the store knew already."""
    for dataset, image, reason in result.plan.broken:
        yield f"not measured: {dataset}/{image}: {reason}"
    for note in result.plan.notes:
        yield f"note: {note}"
    if other := differing(result.records):
        first = other[0]
        yield (
            f"warning: {len(other)} degraded images differ from data/fingerprints.toml, {first.dataset}/{first.image}"
            " among them: these figures are not comparable to other machines' in the last digits."
        )
    yield from set_aside(result.set_aside)
    known = len(result.records) - result.n_measured
    if known:
        yield f"{known} of {len(result.records)} cells were in the store already (--force measures again)."
    if known and result.failures:
        yield "Failures are not tried again unless asked for with --retry-failed."


def set_aside(counts: Mapping[tuple[str, str], int]) -> Iterator[str]:
    """`12 records of groupsc do not answer any more: its code has changed.`"""
    for (label, why), n in counts.items():
        yield f"{n} record{'s' * (n != 1)} of {label} in the store {'do' if n != 1 else 'does'} not answer: {why}."
