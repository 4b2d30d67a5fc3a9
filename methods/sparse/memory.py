"""Memory for the large arrays that every step of a training asks for anew.

What an array leaves is kept for the next of its size: the system clears what it hands out, which takes as long as a
pass through it. And it is asked for in huge pages: with small ones a walk through 17 MB took nearly twice as long.
"""

from __future__ import annotations

import mmap
import weakref
from collections import deque
from threading import Lock

import numpy as np

__all__ = ["Memory", "empty"]


class Memory:
    """Blocks that arrays have left, the oldest first.

    There are no more bytes in them than arrays had at once, at most. Any thread may ask.
    """

    def __init__(self) -> None:
        self._lock, self._left = Lock(), list[mmap.mmap]()
        self._used = self._most = 0
        self._just_left = deque[mmap.mmap]()  # an array may go at any time, also while this thread has the lock

    def empty(self, *shape: int) -> np.ndarray:
        """A float32 array whose numbers are what they are. All that is made of it keeps its block from the next."""
        n = int(np.prod(shape, dtype=np.int64))
        block = self._block(max(4 * n, 1))
        array = np.frombuffer(block, np.float32, n)  # views of it refer to it, and not to the block
        weakref.finalize(array, self._just_left.append, block).atexit = False
        return array.reshape(shape)

    def _block(self, size: int) -> mmap.mmap:
        with self._lock:
            while self._just_left:
                self._left.append(self._just_left.popleft())
                self._used -= len(self._left[-1])
            self._used += size
            self._most = max(self._most, self._used)
            block = next((block for block in self._left if len(block) == size), None)
            if block is not None:
                self._left.remove(block)
            kept = sum(map(len, self._left))
            while kept > self._most:
                kept -= len(self._left.pop(0))
        return block or _new(size)


def _new(size: int) -> mmap.mmap:
    if not hasattr(mmap, "MADV_HUGEPAGE"):
        return mmap.mmap(-1, size)
    block = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)  # what is shared has small pages
    block.madvise(mmap.MADV_HUGEPAGE)
    return block


empty = Memory().empty
