"""Training steps as CUDA graphs: recorded once, replayed on new crops by one call, whatever they are made of.

A step of these networks is thousands of small operations, and launching them from Python takes longer than they do.
What is recorded must not ask the device for a number, and must find its inputs where they were.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable

import torch
from torch import Tensor

__all__ = ["Graphs"]

WARM_UP = 3  # steps before one is recorded: they compile, tune, and make the optimizer's state

Step = Callable[[Tensor, Tensor], Tensor]


class Graphs:
    """The kinds of step of one training, each recorded after a few of it were made.

    stream   on which all of the training must run: what was made elsewhere cannot be recorded here
    refused  why steps are not recorded but made one operation after the other, or ""
    """

    def __init__(self, device: torch.device) -> None:
        self.stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self.refused = ""
        self._made: Counter[Hashable] = Counter()
        self.forget()

    def forget(self) -> None:
        """Record anew: the tensors that steps read and change were replaced."""
        self._recorded: dict[Hashable, _Recorded] = {}

    def make(self, kind: Hashable, step: Step, y: Tensor, x: Tensor) -> Tensor:
        """The loss of `step(y, x)`, made or replayed. Steps of one kind differ in y and x alone."""
        self._made[kind] += 1
        if self.refused or self._made[kind] <= WARM_UP:
            return step(y, x)
        if kind not in self._recorded:
            try:
                self._recorded[kind] = _Recorded(step, y, x, self.stream)
            except RuntimeError as error:  # whatever this card, driver or network does not allow in a graph
                self.refused = " ".join(str(error).split())
                return step(y, x)
        return self._recorded[kind].replay(y, x)


class _Recorded:
    def __init__(self, step: Step, y: Tensor, x: Tensor, stream: torch.cuda.Stream) -> None:
        self.y, self.x = y.clone(), x.clone()
        self.graph = torch.cuda.CUDAGraph()
        # thread_local: threads that make batches may ask for pinned memory meanwhile
        with torch.cuda.graph(self.graph, stream=stream, capture_error_mode="thread_local"):
            self.loss = step(self.y, self.x)

    def replay(self, y: Tensor, x: Tensor) -> Tensor:
        self.y.copy_(y)
        self.x.copy_(x)
        self.graph.replay()
        return self.loss.clone()
