"""Figures for a paper: how they look, how names are told apart in gray and in colour, how they are written.

Drawn with matplotlib, which is an extra: `pip install "bench[plot]"`. No figure has a title: the caption is the
paper's. Text is never read as mathematics, whatever a restorer or a file is called.
"""

from __future__ import annotations

import contextlib
import io
import math
import warnings
from collections.abc import Iterator, Sequence
from itertools import pairwise, product
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.data.errors import in_a_line
from bench.errors import RequestError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Annotation

__all__ = [
    "COLOURS",
    "COLUMN",
    "SMALL",
    "Style",
    "check_output",
    "new_figure",
    "numbers",
    "our_look",
    "place_labels",
    "save_figure",
    "styles",
]

COLUMN = 3.3
"""inches: the width of a column of most two-column papers"""

SMALL = 7
"""points: of numbers and labels; all else has 8"""

FORMATS = (".pdf", ".png", ".svg")

# Okabe and Ito's colours, which those who see no red or no green tell apart, less the yellow, which is too light for
# lines; in an order in which neighbours differ in gray as well
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#000000", "#CC79A7", "#56B4E9", "#D55E00")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h", "*")
DASHES = ("-", "--", "-.", ":")

LOOK: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.linewidth": 0.4,
    "grid.color": "#dddddd",
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "lines.linewidth": 1.0,
    "lines.markersize": 4,
    "text.parse_math": False,  # a name such as `a$b$` is shown as it is
    "pdf.fonttype": 42,  # fonts embedded whole, as publishers ask
    "svg.fonttype": "path",
    "svg.hashsalt": "bench",  # the same records give the same file
    "savefig.dpi": 300,
    "figure.dpi": 100,
}


class Style(NamedTuple):
    """What tells one series from the others: by colour, and by marker and dashes where there is none."""

    colour: str
    marker: str
    dashes: str


def styles(labels: Sequence[str]) -> dict[str, Style]:
    """A style for each label; they repeat after 84."""
    return {
        label: Style(COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)], DASHES[i // len(COLOURS) % len(DASHES)])
        for i, label in enumerate(labels)
    }


def check_output(output: Path) -> None:
    """Raise RequestError if no figure can be drawn to that file: before anything is measured for it."""
    if output.suffix.lower() not in FORMATS:
        raise RequestError(f"--output {in_a_line(output)}: expected a file that ends in {', '.join(FORMATS)}.")
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise RequestError('bench plot needs matplotlib (remedy: pip install "bench[plot]").') from None


@contextlib.contextmanager
def our_look() -> Iterator[None]:
    """Whatever a user's matplotlibrc says. Figures are to be drawn and written within."""
    import matplotlib

    with matplotlib.rc_context(LOOK), warnings.catch_warnings():  # type: ignore[arg-type]
        warnings.filterwarnings("ignore", message="Glyph")  # a name in a script that the font lacks
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of so many inches."""
    from matplotlib.figure import Figure

    if not 1 <= width <= 20:
        raise RequestError(f"--width {width:g}: expected inches, from 1 to 20.")
    return Figure((width, height), layout="constrained")


def save_figure(figure: Figure, output: Path) -> None:
    """Write the figure as its suffix says, within `our_look`: the whole file or none.

    Raises DataError if it cannot be written.
    """
    from bench.data.saving import written_whole

    kind = output.suffix.lower()[1:]
    undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}[kind]
    drawn = io.BytesIO()
    figure.savefig(drawn, format=kind, metadata=undated)
    with written_whole(output) as file:
        file.write(drawn.getvalue())


def numbers(axis: Any) -> None:
    """Numbers of a logarithmic axis as 0.1, 1, 10k, 1M, and not as powers."""
    from matplotlib.ticker import FuncFormatter

    axis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
    axis.set_minor_formatter(FuncFormatter(lambda value, _: ""))


def _short(value: float) -> str:
    for unit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:g}{letter}"
    return f"{value:g}"


# --- labels beside points -------------------------------------------------------------------------------

DISTANCES = (6, 10, 15, 21, 28, 38, 50)
"""in points, from a point to where its label begins: the nearest that is free is taken"""

DIRECTIONS = (0, 8, 2, 14, 6, 10, 4, 12, 1, 15, 7, 9, 3, 5, 11, 13)
"""in sixteenths of a circle: to the right first, then to the left"""

NEAR = 6
"""points up to which a label needs no line to its point"""


def place_labels(
    axes: Axes, points: Sequence[tuple[float, float, str]], corners: Sequence[tuple[float, float]] = ()
) -> None:
    """Write a label beside each point (x, y, label), where it hides neither a point nor another label, nor a line.

    corners  of the line, all whose pieces are upright or level

    Each takes the first place that is free, or the one that hides least. Those further off get a line.
    """
    from matplotlib.transforms import Bbox

    figure: Any = axes.figure
    figure.draw_without_rendering()  # until then nothing has its place
    frame = axes.get_window_extent()
    at = [axes.transData.transform((x, y)) for x, y, _ in points]
    taken = [Bbox.from_extents(x - 4, y - 4, x + 4, y + 4) for x, y in at]
    places = [axes.transData.transform(corner) for corner in corners]
    for one, other in pairwise(places):
        (x0, x1), (y0, y1) = (sorted(ends) for ends in zip(one, other, strict=True))
        taken.append(Bbox.from_extents(x0 - 1, y0 - 1, x1 + 1, y1 + 1))
    for x, y, label in points:
        least, best = math.inf, None
        for distance, direction in product(DISTANCES, DIRECTIONS):
            text = _label(axes, (x, y), label, distance, direction * math.tau / 16)
            box = _extent(text)
            outside = box.width * box.height - _common(box, frame)
            hidden = sum(_common(box, other) for other in taken) + 10 * outside
            if hidden < least - 1e-6:
                if best is not None:
                    best.remove()
                least, best = hidden, text
            else:
                text.remove()
            if least < 1e-6:
                break
        assert best is not None
        taken.append(_extent(best))


def _label(axes: Axes, at: tuple[float, float], label: str, distance: float, angle: float) -> Annotation:
    dx, dy = math.cos(angle), math.sin(angle)
    line = {"arrowstyle": "-", "lw": 0.4, "color": "#666666", "shrinkA": 0, "shrinkB": 2}
    text = axes.annotate(
        label,
        at,
        (distance * dx, distance * dy),
        textcoords="offset points",
        fontsize=SMALL,
        ha="left" if dx > 0.3 else "right" if dx < -0.3 else "center",
        va="bottom" if dy > 0.5 else "top" if dy < -0.5 else "center",
        arrowprops=line if distance > NEAR else None,
    )
    text.set_in_layout(False)
    return text


def _extent(label: Annotation) -> Any:
    """Where the words are, without the line to their point."""
    from matplotlib.text import Text

    label.get_window_extent()  # with the line; it puts the words in their place
    return Text.get_window_extent(label)


def _common(one: Any, other: Any) -> float:
    """The area that two boxes share."""
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    return max(0.0, float(width)) * max(0.0, float(height))
