"""bench: the benchmark suite for image restorers, classical and learned.

import bench
outcome = bench.run(methods="bm3d,dncnn", task="denoise", datasets="set12", sigma=[15, 25, 50])
print(outcome.table())
outcome.frame()
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from bench.request import Levels, Words
    from bench.runner import Outcome

__all__ = ["run"]


def run(
    methods: Words,
    task: Words = "denoise",
    datasets: Words = "sample",
    *,
    sigma: Levels = None,
    quality: Levels = None,
    scale: Levels = None,
    pattern: Levels = None,
    protocol: str = "standard-v1",
    repeats: int = 1,
    store: str | Path = "results/bench.sqlite",
    force: bool = False,
    retry_failed: bool = False,
    jobs: int = 1,
    device: str = "cpu",
    threads: int | None = None,
    readings: int | None = None,
    time_limit: float = 600,
    memory_limit: float | None = None,
) -> Outcome:
    """Measure restorers, as `bench run` does, and return the records.

    methods, task, datasets  comma-separated text or lists; datasets may be folders of images
    sigma, quality, scale, pattern  the levels of the tasks they belong to; left out: each task's usual ones
    repeats    noise realisations per image
    store      where records are kept; cells already there are not measured again unless `force`
    jobs       cells measured side by side; more than one measures quality only, no times
    threads    each restorer may use (default: all cores, shared by the jobs)
    readings   timed calls per cell after the warm-up (default: three, fewer when they take over a second)
    time_limit, memory_limit  per cell, in seconds and MiB of resident memory

    Raises bench.errors.BenchError for anything in the request that will not do.
    """
    from pathlib import Path

    from bench.plan import make_plan
    from bench.request import make_request
    from bench.runner import run as run_plan
    from bench.store import Store
    from bench.workers import Limits

    request = make_request(
        methods,
        task,
        datasets,
        levels={"sigma": sigma, "quality": quality, "scale": scale, "pattern": pattern},
        protocol=protocol,
        repeats=repeats,
        device=device,
        threads=threads,
        jobs=jobs,
        readings=readings,
    )
    with Store(Path(store)) as records:
        return run_plan(
            make_plan(request),
            records,
            force=force,
            retry_failed=retry_failed,
            jobs=jobs,
            limits=Limits(time_limit, memory_limit),
        )
