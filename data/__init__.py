"""Images in, degraded images out. This module itself imports nothing: what it holds, listings may show."""

__all__ = ["BAYER_PATTERNS", "MOST_PHOTONS"]

BAYER_PATTERNS = ("RGGB", "BGGR", "GRBG", "GBRG")
"""The colours of the top left 2x2 pixels, row by row."""

MOST_PHOTONS = 1e15
"""of a white pixel: NumPy draws no counts much above, and noise of less than 1e-7 is none in float32"""
