"""Opponent colours, in which luma has most of what a picture is and each colour little.

Dabov, Foi, Katkovnik, Egiazarian, "Image Denoising by Sparse 3-D Transform-Domain Collaborative Filtering", IEEE TIP
16(8), 2007, Sec. V.
"""

from __future__ import annotations

import numpy as np

__all__ = ["FROM_OPPONENT", "TO_OPPONENT"]

TO_OPPONENT = np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]]) / np.sqrt([[9], [6], [18]])
"""R, G, B to luma and two colours; every row has norm 1 / sqrt 3 (Eq. 13)"""
FROM_OPPONENT = np.linalg.inv(TO_OPPONENT)
