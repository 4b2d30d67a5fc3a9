"""Wrong arguments of the API's functions are named, with the nearest right one, as the shell names wrong options."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection
from typing import ParamSpec, TypeVar

from bench.errors import RequestError, unknown

__all__ = ["WrongArgumentError", "check_words", "named"]

P = ParamSpec("P")
R = TypeVar("R")


class WrongArgumentError(RequestError, TypeError):
    """An argument that a function of the API does not have, or lacks."""


def named(function: Callable[P, R]) -> Callable[P, R]:
    """The function, which raises WrongArgumentError for arguments that it does not take.

    One with `**words` says itself which it takes, by `check_words`.
    """
    signature = inspect.signature(function)
    takes_any = any(one.kind is one.VAR_KEYWORD for one in signature.parameters.values())

    @functools.wraps(function)
    def checked(*args: P.args, **keywords: P.kwargs) -> R:
        if not takes_any:
            _check(function.__name__, keywords, signature.parameters)
        try:
            signature.bind(*args, **keywords)
        except TypeError as error:
            raise WrongArgumentError(f"bench.{function.__name__}: {error}.") from None
        return function(*args, **keywords)

    return checked


def check_words(function: str, given: Collection[str], taker: Callable[..., object]) -> None:
    """Raise WrongArgumentError for the first of the words that `taker`, which the function hands them to, lacks."""
    from bench.level import LEVEL_OPTIONS

    known = {*inspect.signature(taker).parameters}
    if "levels" in known:
        known = {*known, *LEVEL_OPTIONS, "level"} - {"levels"}
    _check(function, given, known)


def _check(function: str, given: Collection[str], known: Collection[str]) -> None:
    for name in given:
        if name not in known:
            raise WrongArgumentError(f"bench.{function}: {unknown('argument', name, known)}")
