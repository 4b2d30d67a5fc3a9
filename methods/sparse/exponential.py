"""The exponential function inside compiled kernels, many at a time."""

from __future__ import annotations

import numpy as np
from bench.methods.sparse.compiled import inlined
from bench.methods.sparse.products import float_of_bits

__all__ = ["exp"]


@inlined
def exp(x):
    """e^x for float32 x <= 0, to 4e-6 of itself, and e^-75 below -75.

    That is nothing beside the largest, which is 1; numbers too small for float32's exponent would be slow.
    """
    t = max(x, np.float32(-75.0)) * np.float32(1.44269504)
    n = np.floor(t + np.float32(0.5))
    r = t - n
    power = np.float32(1.5353362e-4)  # 2^r for |r| <= 1/2
    power = power * r + np.float32(1.3398874e-3)
    power = power * r + np.float32(9.6184373e-3)
    power = power * r + np.float32(5.5503326e-2)
    power = power * r + np.float32(2.4022650e-1)
    power = power * r + np.float32(6.9314720e-1)
    power = power * r + np.float32(1.0)
    return power * float_of_bits((np.int32(n) + np.int32(127)) << np.int32(23))
