"""Metrics of one's own, good and bad, each named by what it does."""

import math
import os
import time

import numpy as np

from bench.metric import metric


@metric(better="smaller", low=0, unit="gray levels", digits=2, source="Gauss")
def mean_error(restored, clean):
    """Mean absolute error."""
    return np.abs(restored - clean).mean()


@metric(better="larger", name="extremes")
def as_scored(restored, clean):
    return float(restored.dtype == np.float64 and restored.max() <= 255 and (restored == restored.round()).all())


@metric(better="larger")
def endless(restored, clean):
    return math.inf


@metric(better="smaller", low=0, high=1)
def outside(restored, clean):
    return 1.7


@metric(better="smaller")
def array(restored, clean):
    return restored[..., 0]


@metric(better="smaller")
def nan(restored, clean):
    return math.nan


@metric(better="smaller")
def raises(restored, clean):
    raise ValueError("no such thing")


@metric(better="smaller")
def hangs(restored, clean):
    time.sleep(60)


@metric(better="smaller")
def dies(restored, clean):
    os._exit(3)


@metric(better="smaller")
def writes(restored, clean):
    restored[...] = 0
    clean[...] = 0
    return 0.5
