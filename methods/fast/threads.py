"""Threads that each take whole pieces of work, where torch would split every operation among them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import torch

__all__ = ["Map", "torch_in_parallel"]

Map = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]


@contextmanager
def torch_in_parallel(device: torch.device) -> Iterator[Map]:
    """A `map` whose calls share the processor's cores, each call on one of them.

    torch splits every operation among the cores and waits for the slowest: thousands of waits per image, each of
    them long when another program has one of the cores. Batches of tiles wait for each other twice a step.

    Until the pool ends, the caller's own operations have one thread too. OpenMP's threads stay awake for the next
    operation, and would take the pool's cores: CSCNet took 1.4 times as long.

    Compiled kernels have `sparse.compiled.in_parallel`: they start no threads that would have to be held back.
    """
    n = torch.get_num_threads()
    if device.type != "cpu" or n == 1:
        yield map
        return
    try:
        torch.set_num_threads(1)
        with ThreadPoolExecutor(n, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield pool.map
    finally:
        torch.set_num_threads(n)  # the workers' 1 would be that of threads yet to come
