"""One figure of one paper."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from bench.errors import PaperError
from bench.level import Level, format_level

__all__ = ["FACTS", "METRICS", "QUALITY", "SIZES", "TIMES", "Entry", "figure"]

QUALITY = ("psnr_db", "ssim", "ssim8")
SIZES = ("params", "macs_per_pixel")
TIMES = ("seconds", "seconds_cpu", "seconds_gpu", "milliseconds")
FACTS = ("max_effective_depth", "training_images", "smallest_gap_db", "largest_gap_db")
METRICS = QUALITY + SIZES + TIMES + FACTS


@dataclass(frozen=True)
class Entry:
    """One figure of one paper.

    table, part   e.g. "V", "deblocking"
    under         the protocol of ours that comes nearest to how it was taken
    column        its head as printed, or made from the axes
    method        as printed; `id` is the same for the same method and training in all papers
    restorer      ours that can measure it, or ""
    dataset       our name, "" where the figure belongs to none (params); image "" is the mean over the set
    level         sigma, quality, scale or pattern; None where the figure has none
    variant       anything else that tells two figures apart (a size, a depth)
    printed       the text; `value` is the number, `unit` that of its last digit: 68k is 68000 in units of 1000
    tolerance     how far a measured figure may be off; None where nothing of ours can be compared
    because       why that far
    note          what is odd about it, or ""
    incomparable  why it cannot be held against ours, or ""
    cause         why ours is known to be off, or ""
    """

    paper: str
    table: str
    part: str
    under: str
    column: str
    method: str
    id: str
    restorer: str
    task: str
    channels: int
    dataset: str
    image: str
    level: Level | None
    variant: str
    metric: str
    printed: str
    value: float
    unit: float
    tolerance: float | None = None
    because: str = ""
    note: str = ""
    incomparable: str = ""
    cause: str = ""

    @property
    def place(self) -> str:
        """`dncnn-2017, Table V (deblocking), DnCNN-3, classic5 10`"""
        part = f" ({self.part})" if self.part else ""
        table = self.table if " " in self.table else f"Table {self.table}"
        return f"{self.paper}, {table}{part}, {self.method}, {self.column}"

    @property
    def setting(self) -> str:
        """`deblock 10 gray classic5`, with the image's name where it is of one."""
        level = "" if self.level is None else format_level(self.level)
        kind = {1: "gray", 3: "colour"}.get(self.channels, "")
        return " ".join(word for word in (self.task, level, kind, self.dataset, self.image, self.variant) if word)


def figure(printed: str, where: str) -> tuple[float, float]:
    """Number and the unit of its last digit: `31.50` is 31.5 in units of 0.01, `4,131k` 4131000 in units of 1000."""
    factor = {"k": 1000, "K": 1000, "M": 1_000_000}.get(printed[-1:], 1)
    try:
        number = Decimal(printed.rstrip("kKM").replace(",", ""))
        unit = Decimal(1).scaleb(int(number.as_tuple().exponent))
    except (InvalidOperation, ValueError):
        raise PaperError(f"{where}: '{printed}' is not a figure.") from None
    return float(number * factor), float(unit * factor)
