"""Figures of one picture: crops of what restorers made of it and their errors, and maps of what one decides where."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from bench.errors import RequestError
from bench.report.plots import COLUMN, SMALL, new_figure

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from bench.restoring.looking import Look, Maps

__all__ = ["Crop", "check_crop", "check_pixel", "crops", "maps", "where_they_differ"]

Crop = tuple[int, int, int, int]
"""x, y, width, height, in pixels from the top left corner"""

PAGE = 7.0
"""inches: the width of a page of two columns; for more panels than fit one"""

FEW = 4
"""panels that fit a column"""

SHARE, SMALLEST = 4, 32
"""A crop that is not asked for is a square: its side is this share of the picture's shorter one, and no less."""

COLOURS = "magma_r"
"""of errors: the darker the larger, so that they are read in gray too"""


SCALE = "cividis"
"""of maps: blue to yellow, as Fig. 6 of the NSR paper; its lightness rises evenly"""


def check_crop(text: str | None) -> Crop | None:
    """`x,y,w,h` as four numbers. Raises RequestError."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d+),(\d+),(\d+),(\d+)", text.replace(" ", ""))
    if not found or 0 in (int(found[3]), int(found[4])):
        raise RequestError(f"--crop {text}: expected x,y,width,height in pixels, e.g. 100,60,64,64.")
    x, y, width, height = map(int, found.groups())
    return x, y, width, height


def check_pixel(text: str | None) -> tuple[int, int] | None:
    """`x,y` as row and column. Raises RequestError."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d+),(\d+)", text.replace(" ", ""))
    if not found:
        raise RequestError(f"--pixel {text}: expected x,y in pixels from the top left corner, e.g. 100,60.")
    return int(found[2]), int(found[1])


def crops(look: Look, crop: Crop | None = None, *, width: float | None = None) -> tuple[Figure, list[str]]:
    """A column for the clean picture and each answer: the crop above, its error below, the PSNR between.

    crop   None: the square where the answers differ most
    width  in inches; None: a column of a paper, or with more than four panels its page

    Below the clean crop is the whole picture, with the crop's place. Errors are absolute, in grey levels of 255, of
    the mean over channels; their scale is one for all. PSNR is of the whole picture, as in tables.
    """
    import numpy as np

    height_, width_ = look.clean.shape[:2]
    x, y, w, h = crop or where_they_differ(look)
    if x + w > width_ or y + h > height_:
        raise RequestError(f"--crop {x},{y},{w},{h}: the picture has {width_}x{height_} pixels.")
    part = slice(y, y + h), slice(x, x + w)
    shown = {label: _shown(x_hat) for label, (x_hat, _) in look.answers.items()}
    errors = {label: 255 * np.abs(image - look.clean).mean(axis=2) for label, image in shown.items()}
    scale = max(1, math.ceil(max(float(np.percentile(errors[label][part], 99)) for label in _best(look))))
    n = 1 + len(look.answers)
    width = width or (COLUMN if n <= FEW else PAGE)
    side = width / (n + 0.35)
    figure = new_figure(width, side * 2 * h / w + 0.36)
    figure.set_layout_engine("constrained", w_pad=0.015, h_pad=0.015, wspace=0, hspace=0)
    axes = figure.subplots(2, n, squeeze=False)
    _show(axes[0, 0], look.clean[part], "clean")
    for column, (label, (_, psnr_db)) in enumerate(look.answers.items(), start=1):
        _show(axes[0, column], shown[label][part], f"{label}\n{psnr_db:.2f} dB")
        drawn = axes[1, column].imshow(errors[label][part], cmap=COLOURS, vmin=0, vmax=scale, interpolation="nearest")
        _bare(axes[1, column])
    _show(axes[1, 0], look.clean, "")
    _fit(axes[1, 0], w / h)
    _mark(axes[1, 0], (x, y, w, h))
    bar = figure.colorbar(drawn, ax=[*axes[1]], aspect=12, pad=0.01, extend="max")
    bar.ax.tick_params(labelsize=SMALL, width=0.6, length=2)
    bar.outline.set_linewidth(0.6)
    bar.set_label("|error|", fontsize=SMALL)
    return figure, [f"crop {x},{y},{w},{h}; errors in grey levels, from 0 to {scale} and more", *look.remarks]


def maps(look: Maps, *, width: float | None = None) -> tuple[Figure, list[str]]:
    """A panel for the picture that was seen and for each map, on one scale from 0 to 1.

    width  in inches; None: a column of a paper, or with more than four panels its page

    Where the maps are 0 in most of the picture, as those of one pixel mostly are, all panels are of the square or
    oblong where they are not, and a cross is on the pixel.
    """
    rows, columns = _where_not_0(look)
    n = 1 + len(look.maps)
    width = width or (COLUMN if n <= FEW else PAGE)
    down = -(-n // (FEW if width < 2 * COLUMN else 2 * FEW))
    across = -(-n // down)
    side = width / (across + 0.35)
    ratio = (rows.stop - rows.start) / (columns.stop - columns.start)
    figure = new_figure(width, down * (side * ratio + 0.22))
    figure.set_layout_engine("constrained", w_pad=0.015, h_pad=0.015, wspace=0, hspace=0)
    axes = figure.subplots(down, across, squeeze=False)
    first, *others = axes.flat
    _show(first, look.seen[rows, columns], "seen")
    for one, (title, values) in zip(others, look.maps.items(), strict=False):
        drawn = one.imshow(values[rows, columns], cmap=SCALE, vmin=0, vmax=1, interpolation="nearest")
        _bare(one)
        one.set_xlabel(title, fontsize=SMALL, labelpad=2)
    for one in others[n - 1 :]:
        one.set_axis_off()
    told = list(look.remarks)
    if (rows.start, columns.start) != (0, 0) or look.seen.shape[:2] != (rows.stop, columns.stop):
        i, j = look.pixel
        first.plot(j - columns.start, i - rows.start, "+", color="#D55E00", markersize=5, markeredgewidth=1)
        told.insert(0, f"of pixel {j},{i}; the part shown begins at {columns.start},{rows.start}")
    bar = figure.colorbar(drawn, ax=axes, aspect=20 * down, pad=0.01)
    bar.ax.tick_params(labelsize=SMALL, width=0.6, length=2)
    bar.outline.set_linewidth(0.6)
    return figure, told


def _where_not_0(look: Maps) -> tuple[slice, slice]:
    """The rows and columns that the maps are not 0 in, if these are a part of the picture; else all."""
    import numpy as np

    there = np.any([*look.maps.values()], axis=0)
    spans = [np.flatnonzero(there.any(axis=axis)) for axis in (1, 0)]
    if not there.any():
        return slice(0, there.shape[0]), slice(0, there.shape[1])
    rows, columns = (slice(int(span[0]), int(span[-1]) + 1) for span in spans)
    return rows, columns


def where_they_differ(look: Look) -> Crop:
    """The square in which the answers' variance is largest, the worst of more than two left aside."""
    import numpy as np

    kept = [look.answers[label][0] for label in _best(look)]
    if len(kept) < 2:
        kept.append(look.clean)
    variance = np.var([_shown(answer) for answer in kept], axis=0).sum(axis=2)
    height, width = variance.shape
    side = min(height, width, max(SMALLEST, min(height, width) // SHARE))
    sums = np.pad(variance.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    of_square = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    y, x = np.unravel_index(of_square.argmax(), of_square.shape)
    return int(x), int(y), side, side


def _best(look: Look) -> list[str]:
    """The restorers by their PSNR, less the last of more than two: mostly the observation, wrong everywhere."""
    best_first = sorted(look.answers, key=lambda label: -look.answers[label][1])
    return best_first[: max(2, len(best_first) - 1)]


def _shown(image: NDArray[np.floating]) -> NDArray[np.float64]:
    """As a saved picture has it: clipped, and rounded to 8 bits."""
    import numpy as np

    shown: NDArray[np.float64] = np.rint(255 * np.clip(image.astype(np.float64), 0, 1)) / 255
    return shown


def _show(axes: Any, image: NDArray[np.floating], words: str) -> None:
    if image.shape[2] == 1:
        axes.imshow(image[..., 0], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    else:
        axes.imshow(image.clip(0, 1), interpolation="nearest")
    _bare(axes)
    axes.set_xlabel(words, fontsize=SMALL, labelpad=2)


def _bare(axes: Any) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _fit(axes: Any, ratio: float) -> None:
    """Give the whole picture the shape of the crops, with white beside or above it."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()  # rows are counted downwards
    width, height = right - left, bottom - top
    across, down = (max(0, ratio * height - width) / 2, max(0, width / ratio - height) / 2)
    axes.set_xlim(left - across, right + across)
    axes.set_ylim(bottom + down, top - down)


def _mark(axes: Any, crop: Crop) -> None:
    """A frame that is seen on dark and on light."""
    from matplotlib.patches import Rectangle

    x, y, w, h = crop
    for colour, thickness in (("white", 1.6), ("#D55E00", 0.8)):
        axes.add_patch(Rectangle((x, y), w, h, fill=False, ec=colour, lw=thickness))
