"""A function as a restorer: `f(image, sigma)`, or `f(seen)` with all of the observation.

Its first argument is the picture, float32 (H, W, C), nominally in [0, 1]; if it is called `seen` or `observation`, it
is all of the `bench.task.Observation`. Arguments that are named as what an observation tells are given that, and say
which tasks it is for: sigma (on the 0-255 scale), quality, scale, pattern, mask, kernel, peak, looks, share. Others
are parameters.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import numpy as np

from bench.errors import RestorerError
from bench.restorer import Image, Observation, Restorer, WeightsFile
from bench.tasks import TASKS

__all__ = ["Role", "restorer_of", "role_of", "tasks_of"]

OBSERVATION = ("seen", "observation")
"""names of a first argument that is given all that is observed"""


class Told(NamedTuple):
    """What a task tells. any_of: of these a function for it takes one at least; others: that it may take too."""

    any_of: frozenset[str]
    others: frozenset[str] = frozenset()


TOLD = {
    "denoise": Told(frozenset({"sigma"})),
    "denoise8": Told(frozenset({"sigma"})),
    "deblock": Told(frozenset({"quality"})),
    "demosaick": Told(frozenset({"pattern", "mask"})),
    "superres": Told(frozenset({"scale"})),
    "deblur": Told(frozenset({"kernel"}), frozenset({"sigma"})),
    "inpaint": Told(frozenset({"mask"})),
    "poisson": Told(frozenset({"peak"})),
    "salt-pepper": Told(frozenset({"share"})),
    "speckle": Told(frozenset({"looks"})),
}
NAMES = frozenset[str]().union(*(told.any_of for told in TOLD.values()))
OF_ANY = frozenset({"denoise", "denoise8", "denoise-blind", "deblock"})
"""what a function may be for that is told nothing"""


class Role(NamedTuple):
    """What a function's signature says.

    takes_all  whether it is given the observation, and not its picture
    told       what it is given by name
    """

    takes_all: bool
    told: tuple[str, ...]
    tasks: frozenset[str]


def tasks_of(told: Collection[str]) -> frozenset[str]:
    """The tasks that a function is for which needs to be told these."""
    if not told:
        return OF_ANY
    names = frozenset(told)
    return frozenset(task for task, (one, others) in TOLD.items() if names & one and names <= one | others)


def role_of(name: str, arguments: Mapping[str, bool]) -> Role:
    """What a function is for.

    arguments  its arguments in their order, and whether each has a default
    Raises RestorerError for one without an argument, or of which no task tells all.
    """
    if not arguments:
        raise RestorerError(f"The function {name} takes nothing; expected {name}(image, sigma).")
    first, *others = arguments
    if first in OBSERVATION:
        return Role(True, (), frozenset(TASKS))
    told = tuple(argument for argument in others if argument in NAMES)
    required = [argument for argument in told if not arguments[argument]]
    tasks = tasks_of(required) | (tasks_of(told) if told else frozenset())
    if not tasks:
        raise RestorerError(f"The function {name} takes {' and '.join(told)}, which no task tells together.")
    return Role(False, told, tasks)


class OfFunction(Restorer):
    """A restorer that calls a function; `restorer_of` sets what is its own."""

    function: Callable[..., Any]
    role: Role

    def __init__(self, variant: str = "", weights: WeightsFile | None = None, **parameters: Any) -> None:
        super().__init__(variant, weights)
        self.parameters = parameters

    def restore(self, seen: Observation) -> Image:
        function, role = type(self).function, type(self).role
        told = {name: seen.known.get(name, getattr(seen, name, None)) for name in role.told}
        given = {name: value for name, value in told.items() if value is not None}
        x_hat = function(seen if role.takes_all else seen.image, **given, **self.parameters)
        image: Image = _as_image(x_hat, seen)
        return image


def _as_image(x_hat: Any, seen: Observation) -> Any:
    """An answer of floats as float32 (H, W, C): a function may drop a lone channel, or compute in double."""
    if not isinstance(x_hat, np.ndarray) or x_hat.dtype.kind != "f":
        return x_hat
    if x_hat.shape == seen.restored_shape[:2] and seen.restored_shape[2] == 1:
        x_hat = x_hat[..., None]
    return np.array(x_hat, np.float32)


def restorer_of(function: Callable[..., Any], name: str) -> type[Restorer]:
    """The function as a class of restorers. Raises RestorerError for a signature that will not do."""
    try:
        arguments = inspect.signature(function).parameters
    except (TypeError, ValueError):
        raise RestorerError(f"What {name} takes cannot be read; expected a function {name}(image, sigma).") from None
    named = {one.name: one.default is not one.empty for one in arguments.values() if one.kind in BY_NAME}
    role = role_of(name, named)
    own = [one for one in arguments.values() if one.name not in (next(iter(named)), *role.told)]
    keywords = [
        inspect.Parameter(one.name, inspect.Parameter.KEYWORD_ONLY, default=one.default)
        for one in own
        if one.kind in BY_NAME
    ]
    rest = [one for one in own if one.kind is inspect.Parameter.VAR_KEYWORD]
    attributes = {
        "name": name,
        "tasks": role.tasks,
        "function": staticmethod(function),
        "role": role,
        "__doc__": function.__doc__,
        "__signature__": inspect.Signature([*OURS, *keywords, *rest]),
    }
    return type(name, (OfFunction,), attributes)


BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.KEYWORD_ONLY)
OURS = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in ("variant", "weights")]
