"""Draws docs/_static/restored.png: a cat with noise, and what restorers make of it.

    python docs/make_picture.py

The picture is scikit-image's (Chelsea, by S. van der Walt, CC0); noise and figures are those of `standard-v1`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from restoring import PROTOCOL, Degraded, degraded, restored

TO = Path(__file__).resolve().parent / "_static" / "restored.png"
RESTORERS = ("nlm", "bm3d", "nsr@ours", "groupsc@ours")
CROP = slice(32, 160), slice(30, 158)  # rows, columns
ZOOM, GAP, LABEL = 2, 6, 20
SHADES = 64  # of gray in the file: noise does not compress


def main() -> None:
    [picture] = [p for p in degraded() if p.name == "chelsea.png"]
    panels = [("clean", picture.clean), ("noisy, sigma 25", picture.seen.image)]
    panels += [(name, restored(name, [picture])[0]) for name in RESTORERS]
    drawn = [panel(label, image, picture) for label, image in panels]
    columns = 3
    width, height = drawn[0].size
    rows = -(-len(drawn) // columns)
    sheet = Image.new("L", (columns * (width + GAP) - GAP, rows * (height + GAP) - GAP), 255)
    for i, one in enumerate(drawn):
        sheet.paste(one, (i % columns * (width + GAP), i // columns * (height + GAP)))
    sheet.quantize(SHADES).save(TO, optimize=True)
    print(f"{TO}: {sheet.width}x{sheet.height}, {TO.stat().st_size} bytes")


def panel(label: str, image: Any, picture: Degraded) -> Image.Image:
    """The crop, enlarged, with its name and the PSNR of the whole picture below."""
    psnr_db = PROTOCOL.score(image, picture.clean, picture.setting).psnr_db
    pixels = np.rint(255 * np.clip(image[(*CROP, 0)], 0, 1)).astype(np.uint8)
    shown = Image.fromarray(pixels)
    shown = shown.resize((ZOOM * shown.width, ZOOM * shown.height), Image.Resampling.NEAREST)
    made = Image.new("L", (shown.width, shown.height + LABEL), 255)
    made.paste(shown)
    words = label if label == "clean" else f"{label}: {psnr_db:.2f} dB"
    ImageDraw.Draw(made).text((0, shown.height + 3), words, fill=0, font=ImageFont.load_default(13))
    return made


if __name__ == "__main__":
    main()
