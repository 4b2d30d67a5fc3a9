"""Noise that is not plain Gaussian, each by its closed form: the same draws on every machine from the same stream.

image           float32 (H, W, C) in [0, 1], C = 1 or 3; it is not changed in place
stream          a NumPy RandomState, whose streams never change (NEP 19); drawn row by row, colour by colour
Answer          float32 (H, W, C), computed in float64 and rounded once; clipped only where that is said
Raise DataError for a level outside its range, in one line.
"""

from __future__ import annotations

import math

import numpy as np
from bench.data import MOST_PHOTONS
from bench.data.colour import to_8bit, to_unit
from bench.data.degrade import Image, awgn
from bench.data.errors import DataError

__all__ = ["awgn_in_8_bits", "poisson", "poisson_gaussian", "salt_pepper", "speckle"]


def awgn_in_8_bits(clean: Image, sigma: float, stream: np.random.RandomState) -> Image:
    """`awgn`, then clipped to [0, 1] and rounded to 8 bits, as a noisy picture that is saved to a file.

    sigma  standard deviation on the 0-255 scale, before clipping; the draws are those of `awgn`
    """
    _check("sigma", sigma, 0, math.inf)
    return to_unit(to_8bit(awgn(clean, sigma, stream)))


def poisson(clean: Image, peak: float, stream: np.random.RandomState) -> Image:
    """Photons counted: y = P(peak x) / peak, with mean x and variance x / peak.

    peak  above 0, at most MOST_PHOTONS: the mean count of a pixel of value 1, which is white. Papers that scale each
          picture so that its own brightest pixel has that count (Salmon et al., JMIV 48(2), 2014) see less noise in a
          dark picture
    Source: Mäkitalo & Foi, IEEE TIP 20(1), 2011.
    """
    _check_above_0("peak", peak, MOST_PHOTONS)
    counts = stream.poisson(peak * clean.astype(np.float64))
    return (counts / peak).astype(np.float32)


def poisson_gaussian(clean: Image, a: float, b: float, stream: np.random.RandomState) -> Image:
    """A sensor: y = a P(x / a) + n, n ~ N(0, b), with mean x and variance a x + b, on the scale of [0, 1].

    a  the gain, 1 / peak of `poisson`: at least 1 / MOST_PHOTONS, or 0, which leaves the photons out
    b  >= 0: the variance of what the electronics add: sigma^2 with sigma / 255 of the 0-255 scale
    The counts of all pixels are drawn first.
    Source: Foi, Trimeche, Katkovnik, Egiazarian, IEEE TIP 17(10), 2008.
    """
    _check("a", a, 0, math.inf)
    if 0 < a < 1 / MOST_PHOTONS:
        raise DataError(f"a is {a}: it must be 0, or {1 / MOST_PHOTONS:g} or more.")
    _check("b", b, 0, math.inf)
    x = clean.astype(np.float64)
    y = a * stream.poisson(x / a) if a else x
    return (y + stream.normal(0.0, math.sqrt(b), x.shape)).astype(np.float32)


def salt_pepper(clean: Image, share: float, stream: np.random.RandomState) -> Image:
    """Values lost: y is 0 with probability share / 2, 1 with share / 2, and x otherwise.

    share  from 0 to 1; each colour of a pixel is lost on its own, as in MATLAB's `imnoise`
    Source: Gonzalez & Woods, Digital Image Processing, 4th ed., 2018, Sec. 5.2 (bipolar impulse noise).
    """
    _check("share", share, 0, 1)
    u = stream.random_sample(clean.shape)
    y = np.where(u < share / 2, 0, np.where(u < share, 1, clean))
    return y.astype(np.float32)


def speckle(clean: Image, looks: float, stream: np.random.RandomState) -> Image:
    """Speckle of a coherent image's intensity: y = x n, n ~ Gamma(L, 1 / L), with mean x and variance x^2 / L.

    looks  L > 0: how many independent looks are averaged; one has the strongest speckle
    `imnoise` of MATLAB and scikit-image means another thing by the word, x + x n with uniform or Gaussian n.
    Source: Parrilli, Poderico, Angelino, Verdoliva, IEEE TGRS 50(2), 2012.
    """
    _check_above_0("looks", looks)
    n = stream.gamma(looks, 1 / looks, clean.shape)
    return (clean * n).astype(np.float32)


def _check(name: str, value: float, low: float, high: float) -> None:
    if not (low <= value <= high and math.isfinite(value)):
        span = f"from {low} to {high}" if high < math.inf else f"{low} or more"
        raise DataError(f"{name} is {value}: it must be {span}.")


def _check_above_0(name: str, value: float, most: float = math.inf) -> None:
    if not (0 < value <= most and math.isfinite(value)):
        span = "above 0" if most == math.inf else f"above 0, and at most {most:g}"
        raise DataError(f"{name} is {value}: it must be {span}.")
