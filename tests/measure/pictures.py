"""Pictures that metrics are held against other libraries on: of scikit-image, as scored, 0-255 in whole numbers."""

from __future__ import annotations

import numpy as np
from bench.data.blur import blurred, gaussian
from bench.data.colour import to_8bit, to_unit
from bench.data.degrade import awgn, jpeg
from skimage import data


def stream():
    return np.random.RandomState(0)


GRAY = to_unit(data.camera()[128:384, 128:384, None])
COLOUR = to_unit(np.ascontiguousarray(data.astronaut()[:256, 100:356]))

DEGRADED = {
    "gray, JPEG 10": (jpeg(GRAY, 10), GRAY),
    "gray, noise 25": (awgn(GRAY, 25, stream()), GRAY),
    "gray, blur 1.6": (blurred(GRAY, gaussian(1.6)), GRAY),
    "colour, noise 25": (awgn(COLOUR, 25, stream()), COLOUR),
    "colour, blur 1.6": (blurred(COLOUR, gaussian(1.6)), COLOUR),
}

PAIRS = {name: tuple(to_8bit(image).astype(float) for image in pair) for name, pair in DEGRADED.items()}
