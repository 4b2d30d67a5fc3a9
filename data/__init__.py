"""Images in, degraded images out. This module itself imports nothing: what it holds, listings may show."""

__all__ = ["BAYER_PATTERNS"]

BAYER_PATTERNS = ("RGGB", "BGGR", "GRBG", "GBRG")
"""The colours of the top left 2x2 pixels, row by row."""
