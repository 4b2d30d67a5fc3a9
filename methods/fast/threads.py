"""Threads that each take whole pieces of work, where torch would split every operation among them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

__all__ = ["Workers", "torch_in_parallel"]


@dataclass(frozen=True)
class Workers:
    """n threads, each on a core of its own.

    map  the answers to pieces of work, in order, as the built-in `map`; more than one thread begins at once
    """

    n: int
    map: Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]

    def do(self, one: Callable[[Any], object], pieces: Iterable[Any]) -> None:
        """`one` of all pieces, in any order: a thread that is done with a piece takes the next.

        To hand a piece to a thread and to hear that it is done costs as much as many a row of an image: here that is
        once for each other thread, and the caller works with them.
        """
        left = iter(list(pieces))  # a generator could not be asked by two threads at once

        @torch.inference_mode()
        def work(_: int) -> None:
            for piece in left:
                one(piece)

        others = self.map(work, range(self.n - 1))  # these begin at once
        work(0)
        for _ in others:  # errors come out here
            pass


@contextmanager
def torch_in_parallel(device: torch.device) -> Iterator[Workers]:
    """Workers that share the processor's cores; on a GPU the caller alone.

    torch splits every operation among the cores and waits for the slowest: thousands of waits per image, each of
    them long when another program has one of the cores. Batches of tiles wait for each other twice a step.

    Until the pool ends, the caller's own operations have one thread too. OpenMP's threads stay awake for the next
    operation, and would take the pool's cores: CSCNet took 1.4 times as long.

    Compiled kernels have `sparse.compiled.in_parallel`: they start no threads that would have to be held back.
    """
    n = torch.get_num_threads()
    if device.type != "cpu" or n == 1:
        yield Workers(1, map)
        return
    try:
        torch.set_num_threads(1)
        with ThreadPoolExecutor(n, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield Workers(n, pool.map)
    finally:
        torch.set_num_threads(n)  # the workers' 1 would be that of threads yet to come
