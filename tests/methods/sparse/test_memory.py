"""Blocks of memory that arrays leave to the next."""

import gc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from bench.methods.sparse.memory import Memory


def test_an_array_has_what_another_of_its_size_left():
    memory = Memory()
    first = memory.empty(3, 4)
    first[:] = 7
    at = first.ctypes.data
    del first
    second = memory.empty(2, 6)
    assert (second.shape, second.dtype, second.ctypes.data) == ((2, 6), np.float32, at)
    assert second.flags.writeable
    assert memory.empty(2, 6).ctypes.data != at


def test_no_array_has_the_memory_of_what_is_still_looked_at():
    memory = Memory()
    array = memory.empty(100, 8)
    views = [array[3:, 2], torch.from_numpy(array[:, :4]).T, array.reshape(-1)[5:6]]
    at = array.ctypes.data
    del array
    while views:
        gc.collect()
        assert memory.empty(100, 8).ctypes.data != at
        views.pop()
    gc.collect()
    assert at in {memory.empty(100, 8).ctypes.data for _ in [memory.empty(100, 8)]}


def test_no_more_is_kept_than_was_in_use_at_once():
    memory = Memory()
    for n in range(1, 40):
        memory.empty(1000 * n)
    assert memory.empty(0, 5).shape == (0, 5)
    assert sum(map(len, memory._left)) <= memory._most == 4 * 39_000
    assert memory._used == 1


def test_threads_that_ask_at_once_have_memory_of_their_own():
    memory = Memory()

    def fill(number):
        for _ in range(200):
            array = memory.empty(50, 3)
            array[:] = number
            if not (array == number).all():
                return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(fill, range(8)))
    assert len(memory._left) + len(memory._just_left) <= 8
