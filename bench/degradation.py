"""The interface of a task of one's own, and all that it needs to import.

    from bench.degradation import Degradation

    class Poisson(Degradation):
        name, level, levels = "photons", "peak", (4, 30)
        span = (0.01, 1e6)

        def observe(self, clean, level, stream):
            ...

`name`, `level`, `levels`, `span`, `channels`, `like` and `reads` are written as literals, as a restorer's are.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from bench.level import Level
from bench.task import Image, Known

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Degradation"]


class Degradation(ABC):
    """A task: how a clean picture becomes what is seen, and what a restorer is told of it.

    The first line of the docstring is its title. Pictures are float32 (H, W, C), nominally in [0, 1].

    name      what users type after --task
    level     what its level is called, e.g. "peak"; of several values their names, e.g. ("a", "b")
    levels    the levels that are measured when none is asked for, e.g. (1, 4, 30), or ((0.01, 0.0004),)
    span      the least and the largest level, or such a pair for each of several values. None: the level is a word
    channels  of every picture: 1 (of colour ones the luma), 3 (gray ones are left out), None: the picture's own
    like      known tasks as which a restorer that does not name this one may be shown it: as a blind denoiser, unless
              said. () where what is seen has another size than the clean picture
    reads     files and folders beside its own file that it opens: part of the hash of its code
    """

    name: ClassVar[str]
    level: ClassVar[str | Sequence[str]]
    levels: ClassVar[Sequence[Any]]
    span: ClassVar[Sequence[Any] | None] = None
    channels: ClassVar[int | None] = None
    like: ClassVar[Sequence[str]] = ("denoise-blind",)
    reads: ClassVar[Sequence[str]] = ()

    def reference(self, clean: Image, level: Level | tuple[Level, ...]) -> Image:
        """What the restored picture is compared with. Default: the clean picture; of `channels = 1` its luma."""
        if self.channels == 1:
            from bench.data.colour import luma

            return luma(clean)
        return clean

    @abstractmethod
    def observe(
        self, clean: Image, level: Level | tuple[Level, ...], stream: np.random.RandomState
    ) -> Image | tuple[Image, Known]:
        """What is seen of `clean`, which `reference` gave, and what a restorer is told; no mapping: nothing.

        level   a number, a word, or a tuple of several values
        stream  where all that is random is drawn from; it depends on task, level, data set, picture and repeat alone
        Answer  float32, of the size of `clean`, or 1 / `scale` of it if it tells `scale`; and a mapping of names to
                numbers, words and arrays, e.g. {"peak": level}. A restorer has it as `seen.known`
        """
