"""What is odd about an answer that may stand. What it must be, `bench.plugins.boundary` says."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from bench.task import Image, Observation

__all__ = ["remark_on", "unseen_in_words"]

BRIGHTER = 2.0
"""An answer's mean that is above so many times one plus the observation's is on another scale.

A picture answered on 0-255 has 255 times its mean: twice that of white, if it was as dark as 4 of 255.
"""


def remark_on(x_hat: Image, seen: Observation) -> str:
    """What is odd about an answer that may stand: values that look like 0-255. Empty if nothing is."""
    if x_hat.max() <= BRIGHTER:  # then its mean is no more
        return ""
    bounded = np.clip(x_hat, -255, 255)  # a few values that went astray are no other scale
    limit = BRIGHTER * (1 + abs(float(seen.image.mean())))
    return "its answer looks like 0-255, expected 0-1" if bounded.mean() > limit else ""


def unseen_in_words(files: Collection[str]) -> str:
    """What to do about files that a restorer uses unseen; empty if there are none."""
    named = ", ".join(sorted(files))
    return (
        f"an edit of {named} would go unnoticed: name {'it' if len(files) == 1 else 'them'} in `reads`"
        if files
        else ""
    )
