"""Tasks of one's own, good and bad, each named by what it does."""

import os
import time

import numpy as np

from bench.degradation import Degradation


class Photons(Degradation):
    """Photons counted: the peak is the mean count of white."""

    name, level, levels = "photons", "peak", (4, 30)
    span = (0.01, 1e6)

    def observe(self, clean, level, stream):
        return (stream.poisson(level * clean) / level).astype(np.float32), {"peak": level}


class Pair(Photons):
    """A gain and a variance."""

    name, level, levels, span = "pair", ("a", "b"), ((0.01, 0.0004),), ((0, 1), (0, 1))

    def observe(self, clean, level, stream):
        a, b = level
        y = clean + stream.normal(0, np.sqrt(a * clean + b))
        return y.astype(np.float32), {"a": a, "b": b, "sigma": 255 * b**0.5, "table": np.eye(3), "kind": "pair"}


class Half(Photons):
    name, like = "half", ()

    def reference(self, clean, level):
        return clean[: len(clean) // 2 * 2, : clean.shape[1] // 2 * 2]

    def observe(self, clean, level, stream):
        return clean[::2, ::2].copy(), {"scale": 2}


class Luma(Photons):
    name, channels = "luma", 1


class Word(Photons):
    name, level, levels, span = "word", "kernel", ("box-3",), None

    def observe(self, clean, level, stream):
        return clean, {"kernel": np.ones((3, 3)) / 9, "called": level}


class GlobalSeed(Photons):
    name = "global-seed"

    def observe(self, clean, level, stream):
        return (clean + np.random.normal(0, 0.1, clean.shape)).astype(np.float32)


class Counts(Photons):
    name, calls = "counts", 0

    def observe(self, clean, level, stream):
        Counts.calls += 1
        return clean + np.float32(Counts.calls)


class Changes(Photons):
    name = "changes"

    def observe(self, clean, level, stream):
        clean *= np.float32(0.5)
        return clean


class Doubles(Photons):
    name = "doubles"

    def observe(self, clean, level, stream):
        return clean.astype(np.float64), {}


class Cut(Photons):
    name = "cut"

    def observe(self, clean, level, stream):
        return clean[1:]


class Nan(Photons):
    name = "nan"

    def observe(self, clean, level, stream):
        return clean * np.float32(np.nan)


class Bright(Photons):
    name = "bright"

    def reference(self, clean, level):
        return 255 * clean


class TellsTheClean(Photons):
    name = "tells-much"

    def observe(self, clean, level, stream):
        return clean.copy(), {"peak": object()}


class Raises(Photons):
    name = "raises"

    def observe(self, clean, level, stream):
        raise ValueError("no such thing")


class Hangs(Photons):
    name = "hangs"

    def observe(self, clean, level, stream):
        time.sleep(60)


class Dies(Photons):
    name = "dies"

    def observe(self, clean, level, stream):
        os._exit(3)
