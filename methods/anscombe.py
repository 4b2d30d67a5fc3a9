"""The generalised Anscombe transform: Poisson-Gaussian noise made nearly Gaussian of variance 1, and the way back.

An observation is y = a p + sqrt(b) n, with p ~ Poisson(x / a) and n ~ N(0, 1): its mean is x, its variance a x + b.

Sources: Anscombe, Biometrika 35, 1948 (b = 0); Starck, Murtagh, Bijaoui, Image Processing and Data Analysis, 1998
(b > 0); Makitalo and Foi, IEEE TIP 20(1), 2011, and 22(1), 2013, for the inverses.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["Anscombe"]

Array = NDArray[np.float64]

EXACT_TO = 200.0
"""mean counts up to which the expectation is summed; above, the closed form is within 0.01 of a count"""

SPREAD = 9.0
"""standard deviations to each side that the sums go"""

N_MEANS = 400
N_GAUSSIAN = 361
"""nodes: of the table of means, and of the sum over the Gaussian part"""


class Anscombe:
    """The transform f of one noise, and its exact unbiased inverse.

    a  > 0: variance that a unit of signal brings; 1 / peak where images in [0, 1] have counts up to `peak`
    b  >= 0: variance of the Gaussian part
    """

    def __init__(self, a: float, b: float = 0.0) -> None:
        self.a, self.s2 = a, b / a**2  # in counts the Gaussian part has variance s2
        self._counts, self._means = self._table()

    def forward(self, y: Array) -> Array:
        """f(y) = 2 sqrt(max(0, y / a + 3/8 + b / a^2)), of any shape."""
        return _f(np.asarray(y, np.float64) / self.a, self.s2)

    def inverse(self, d: Array) -> Array:
        """The x whose observations have the mean d after the transform: E{f(y) | x} = d. 0 for less than E{f(y) | 0}.

        Not f^-1(d), which is biased: f bends, so that E{f(y)} is not f(E{y}) (2011, Sec. III; 2013, Sec. III).
        """
        d = np.asarray(d, np.float64)
        exact = np.interp(d, self._means, self._counts)
        return self.a * np.where(d < self._means[-1], exact, closed_form(np.maximum(d, 1.0), self.s2))

    def _table(self) -> tuple[Array, Array]:
        """Mean counts, and the mean of f of what is observed of each."""
        counts = EXACT_TO * np.linspace(0, 1, N_MEANS) ** 2  # f bends most where counts are few
        return counts, np.array([_mean_of_f(count, self.s2) for count in counts])


def closed_form(d: Array, s2: float) -> Array:
    """The approximation of the exact unbiased inverse, in counts: 2013, Eq. 10."""
    root = np.sqrt(1.5)
    return np.maximum(0, d**2 / 4 + root / 4 / d - 11 / 8 / d**2 + 5 / 8 * root / d**3 - 1 / 8 - s2)


def _f(counts: Array, s2: float) -> Array:
    return 2 * np.sqrt(np.maximum(0, counts + 3 / 8 + s2))


def _mean_of_f(count: float, s2: float) -> float:
    """E{f} over p ~ Poisson(count) and, if there is any, the Gaussian part (2013, Eq. 7)."""
    from scipy.stats import poisson

    reach = SPREAD * np.sqrt(count) + 3 * SPREAD  # the tail of few counts is longer than a Gaussian's
    p = np.arange(max(0.0, np.floor(count - reach)), np.ceil(count + reach) + 1)
    n = np.linspace(-SPREAD, SPREAD, N_GAUSSIAN) if s2 else np.zeros(1)
    weight = np.exp(-(n**2) / 2)
    of_p = _f(p[:, None] + np.sqrt(s2) * n, s2) @ (weight / weight.sum())
    return float(poisson.pmf(p, count) @ of_p)
