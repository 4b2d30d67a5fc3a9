"""Memory for the large arrays that every step of a training asks for anew.

What an array leaves is kept for the next of its size: the system clears what it hands out, which takes as long as a
pass through it. And it is asked for in huge pages: with small ones a walk through 17 MB took nearly twice as long.
"""

from __future__ import annotations

import mmap
import weakref
from collections import deque

import numpy as np

__all__ = ["Memory", "empty"]


class Memory:
    """Blocks that arrays have left, the oldest first.

    There are no more bytes in them than arrays had at once, at most.
    """

    def __init__(self) -> None:
        self._left: deque[mmap.mmap] = deque()
        self._used = self._most = self._kept = 0

    def empty(self, *shape: int) -> np.ndarray:
        """A float32 array whose numbers are what they are. All that is made of it keeps its block from the next."""
        n = int(np.prod(shape, dtype=np.int64))
        block = self._block(max(4 * n, 1))
        array = np.frombuffer(block, np.float32, n)  # views of it refer to it, and not to the block
        weakref.finalize(array, self._leave, block).atexit = False
        return array.reshape(shape)

    def _block(self, size: int) -> mmap.mmap:
        self._used += size
        self._most = max(self._most, self._used)
        for block in self._left:
            if len(block) == size:
                self._left.remove(block)
                self._kept -= size
                return block
        if not hasattr(mmap, "MADV_HUGEPAGE"):
            return mmap.mmap(-1, size)
        block = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)  # what is shared has small pages
        block.madvise(mmap.MADV_HUGEPAGE)
        return block

    def _leave(self, block: mmap.mmap) -> None:
        self._used -= len(block)
        self._left.append(block)
        self._kept += len(block)
        while self._kept > self._most:
            self._kept -= len(self._left.popleft())


empty = Memory().empty
