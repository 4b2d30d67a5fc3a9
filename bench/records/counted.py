"""How far it is with the records that are being read, for whoever watches: the command line, on a terminal.

    with watched(show):
        ...             # show("reading results/bench.sqlite", 12_000, 1_000_000), and so on

Nobody else is told, and an iteration that nobody watches is left as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

__all__ = ["Show", "along", "watched"]

T = TypeVar("T")

Show = Callable[[str, int, int], None]
"""(what is being done, how many are done, of how many); the two are equal when it has ended, however it did."""

EVERY = 1000
"""records that are told of at a time"""

_show: ContextVar[Show | None] = ContextVar("show", default=None)


@contextmanager
def watched(by: Show) -> Iterator[None]:
    """Tell `by` of all that is read inside, in this thread."""
    token = _show.set(by)
    try:
        yield
    finally:
        _show.reset(token)


def along(items: Iterable[T], doing: str, total: int, *, each: int = 1) -> Iterable[T]:
    """The items; who watches is told how far it is.

    each, total  how many records an item is, and all of them are
    """
    show = _show.get()
    return items if show is None else _told(items, doing, total, each, show)


def _told(items: Iterable[T], doing: str, total: int, each: int, show: Show) -> Iterator[T]:
    try:
        for n, item in enumerate(items):
            if n * each % EVERY == 0 and n * each < total:
                show(doing, n * each, total)
            yield item
    finally:
        show(doing, total, total)
