"""Restorers that misbehave, each in its own way: none may take a run with it."""

import os
import time
from pathlib import Path

import numpy as np

from bench.restorer import Restorer


class Raises(Restorer):
    name, tasks = "raises", {"denoise"}

    def restore(self, seen):
        raise ValueError("no convergence after 7 iterations")


class AnswersNaN(Restorer):
    name, tasks = "nan", {"denoise"}

    def restore(self, seen):
        x_hat = seen.image.copy()
        x_hat[0, 0] = np.nan
        return x_hat


class WrongShape(Restorer):
    name, tasks = "wrong-shape", {"denoise"}

    def restore(self, seen):
        return seen.image[1:]


class Sleeps(Restorer):
    name, tasks = "sleeps", {"denoise"}

    def restore(self, seen):
        while True:
            if marker := os.environ.get("BENCH_TEST_ASLEEP"):
                Path(marker).touch()  # again and again: still asleep
            time.sleep(0.1)


class Exits(Restorer):
    name, tasks = "exits", {"denoise"}

    def restore(self, seen):
        os._exit(3)


class Allocates(Restorer):
    name, tasks = "allocates", {"denoise"}

    def restore(self, seen):
        hoard = []
        while True:
            hoard.append(np.ones(2**21))  # 16 MiB, touched
            time.sleep(0.001)  # slow enough to be caught before a small machine is full


class ChangesInput(Restorer):
    name, tasks = "changes-input", {"denoise"}

    def restore(self, seen):
        np.clip(seen.image, 0, 1, out=seen.image)
        return seen.image


class Wavers(Restorer):
    name, tasks = "wavers", {"denoise"}

    def restore(self, seen):
        return seen.image + np.float32(time.perf_counter() % 1e-2)


class Prints(Restorer):
    name, tasks = "prints", {"denoise"}

    def restore(self, seen):
        print("a plugin's chatter")
        return seen.image
