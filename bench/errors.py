"""The errors a person can act on.

    BenchError                 what the command line prints in one line, with exit status 2
    ├── data.errors.DataError  data sets, downloads, images (the `data` room has its own root)
    ├── RestorerError          a restorer's name, class or variant
    ├── WeightsError           a weights declaration or file
    ├── RequestError           an option or argument out of its range
    ├── StoreError             a store that is not ours, or cannot be written
    ├── PaperError             a paper's table that does not parse, or a comparison of nothing
    └── TrainingError          a recipe, a training set or a checkpoint that will not do
        ├── RecipeError        all that is wrong with recipes, which is printed in a line each
        └── DivergedError      a training that has come to nothing

Anything else that reaches the top is a bug of ours and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Iterable

from bench.data.errors import BenchError, DataError, near_miss

__all__ = [
    "BenchError",
    "DataError",
    "DivergedError",
    "OutOfReachError",
    "PaperError",
    "RecipeError",
    "RequestError",
    "RestorerError",
    "StoreError",
    "TrainingError",
    "WeightsError",
    "unknown",
]


class RestorerError(BenchError):
    """A restorer that cannot be found, loaded or used as asked."""


class WeightsError(BenchError):
    """Weights that are not declared, cannot be had, or are not what was declared."""


class OutOfReachError(WeightsError):
    """A setting for which a restorer has no weights."""


class RequestError(BenchError):
    """An option whose value is out of range or of the wrong kind."""


class StoreError(BenchError):
    """A records file that cannot be opened, read or written."""


class PaperError(BenchError):
    """A paper's table that cannot be read or compared."""


class TrainingError(BenchError):
    """A recipe, a training set or a checkpoint that cannot be used as asked."""


class DivergedError(TrainingError):
    """A training that has come to nothing: see bench.training.divergence."""


class RecipeError(TrainingError):
    """All that is wrong with recipes, a line each."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.lines = [*lines]
        super().__init__("\n".join(self.lines))


def unknown(kind: str, asked: str, known: Iterable[str]) -> str:
    """`No task named 'denois'. Did you mean 'denoise'? Known: deblock, denoise, …`"""
    return f"No {kind} named '{asked}'.{near_miss(asked, known)}"
