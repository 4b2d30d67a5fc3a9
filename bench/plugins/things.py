"""Restorers that are things of Python: a class, an instance, a function, a network.

What can be imported from a file is asked for as that file, and shares its records with `./file.py:Name`. The rest
travels by value: see `bench.plugins.value`.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import inspect
import pickle
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.errors import RestorerError
from bench.plugins import source
from bench.plugins.identity import Code
from bench.plugins.installed import Sources
from bench.plugins.names import checked
from bench.plugins.registry import (
    RestorerInfo,
    RestorerSpec,
    check_parameters,
    choose,
    info_of_file,
    infos,
    load_class,
    maker,
    takes_of,
)
from bench.plugins.source import Takes
from bench.plugins.value import Value, loaded, value_of

if TYPE_CHECKING:
    from bench.restorer import Restorer, WeightsFile

__all__ = ["is_thing", "revived", "spec_of", "told_apart", "wrap"]

NETWORK = "bench.methods.module:Module"
"""what runs a network"""
MAIN = "__main__"


def is_thing(method: object) -> bool:
    """Whether it is a restorer itself, and not the name of one or several of them."""
    return isinstance(method, RestorerSpec) or callable(method) or _is_restorer(method)


def spec_of(method: object) -> RestorerSpec:
    """The restorer that a name, a class, an instance, a function or what `wrap` gave stands for.

    Raises RestorerError for what is none, with what is to be told of a network.
    """
    if isinstance(method, RestorerSpec):
        return method
    return choose(method) if isinstance(method, str) else wrap(method)


def wrap(
    thing: object,
    name: str | None = None,
    *,
    tasks: str | Iterable[str] | None = None,
    variant: str = "",
    weights: str | Path = "",
    **parameters: Any,
) -> RestorerSpec:
    """A class, instance, function or network as a restorer, with what it does not say of itself.

    name        in records and tables; None: its own
    tasks       that it is for; None: those that it says, or that its arguments tell
    variant, weights  as behind the colon and the @ of a name
    parameters  keywords of the class or function; of a network its options: see `bench.methods.exported.Exported`
    """
    if isinstance(thing, functools.partial) and not thing.args:
        parameters = {**thing.keywords, **parameters}
        thing = thing.func
    by_value = not (name is None and tasks is None)
    if _is_network(thing):
        spec = _of_network(thing, parameters)
    elif _is_restorer(thing):
        if parameters or variant:
            raise RestorerError("An instance has its parameters and variant: give it with those, or give the class.")
        spec = _of_instance(thing, by_value=by_value)
    elif isinstance(thing, type) or inspect.isroutine(thing):
        spec = _of_code(thing, variant, parameters, by_value=by_value)
    elif callable(thing) and not isinstance(thing, str):
        spec = _of_function(thing, parameters)
    else:
        raise RestorerError(
            f"{_called(thing)} is no restorer; expected a name, a class derived from bench.restorer.Restorer, an"
            " instance of one, a function f(image, sigma), or a network in bench.wrap(…)."
        )
    if tasks is not None:
        spec = _for_tasks(spec, frozenset([tasks] if isinstance(tasks, str) else tasks))
    if spec.info.value is not None:
        spec = replace(spec, info=replace(spec.info, name=_checked(name or spec.info.name)))
    return replace(spec, weights=str(weights)) if weights else spec


def told_apart(specs: Iterable[RestorerSpec]) -> Iterator[RestorerSpec]:
    """The same, with a number behind the names of those by value that share one and differ: `f`, `f#2`."""
    known: dict[str, list[str]] = {}
    for spec in specs:
        if spec.info.value is None:
            yield spec
            continue
        of_name = known.setdefault(spec.name, [])
        if spec.code_sha256 not in of_name:
            of_name.append(spec.code_sha256)
        n = 1 + of_name.index(spec.code_sha256)
        yield spec if n == 1 else replace(spec, info=replace(spec.info, name=f"{spec.info.name}#{n}"))


@dataclass(frozen=True)
class _ForTasks:
    """What goes to the process of a thing of which the user says what it is for; content: the thing's pickle."""

    content: bytes
    tasks: frozenset[str]


def _for_tasks(spec: RestorerSpec, tasks: frozenset[str]) -> RestorerSpec:
    value = spec.info.value
    assert value is not None
    sha256 = hashlib.sha256(f"{value.code.sha256} {sorted(tasks)}".encode()).hexdigest()
    told = Value(pickle.dumps(_ForTasks(value.content, tasks)), Code(sha256, ()), value.why_not)
    return replace(spec, info=replace(spec.info, tasks=tasks, value=told))


# --- what each kind is ---------------------------------------------------------------------------


def _is_restorer(thing: object) -> bool:
    from bench.restorer import Restorer

    return isinstance(thing, Restorer)


def _is_network(thing: object) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(thing, torch.nn.Module)


def _called(thing: object) -> str:
    name = getattr(thing, "__name__", None)
    return name if isinstance(name, str) else f"An object of {type(thing).__module__}.{type(thing).__qualname__}"


def _checked(name: str) -> str:
    if name in infos() and infos()[name].is_built_in:
        raise RestorerError(f"The name '{name}' is a built-in restorer's. Give another: bench.wrap(…, name='mine').")
    if not source.can_be_asked_for(name) or name.endswith("+"):
        raise RestorerError(f"{name!r} cannot be a restorer's name. Give another: bench.wrap(…, name='mine').")
    return name


def _of_code(thing: Any, variant: str, parameters: Mapping[str, Any], *, by_value: bool = False) -> RestorerSpec:
    """A class or a function."""
    from bench.restorer import Restorer

    if isinstance(thing, type) and not issubclass(thing, Restorer):
        if _is_network_class(thing):
            raise RestorerError(
                f"{thing.__name__} is a class of networks; expected one with its weights, bench.wrap(network, …)."
            )
        raise RestorerError(f"{thing.__name__} is not a class derived from bench.restorer.Restorer.")
    info = None if by_value else _in_file(thing)
    if info is None and not isinstance(thing, type):
        return _of_function(thing, parameters)
    info = info or _by_value(thing, thing)
    if variant and variant not in info.variants:
        known = f"It has: {', '.join(info.variants)}." if info.variants else "It has none."
        raise RestorerError(f"{info.name} has no variant '{variant}'. {known}")
    given = checked(info.name, _plain(parameters))
    check_parameters(info.name, info.takes, given)
    return RestorerSpec(info, variant, parameters=given)


def _is_network_class(thing: type) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and issubclass(thing, torch.nn.Module)


def _in_file(thing: Any) -> RestorerInfo | None:
    """What is known of it by its file or package; None if it cannot be imported from there."""
    module, name = sys.modules.get(thing.__module__ or ""), thing.__qualname__
    if module is None or module.__name__ == MAIN or "." in name or getattr(module, name, None) is not thing:
        return None
    for info in infos().values():
        if info.target == f"{module.__name__}:{name}":
            return info
    file = getattr(module, "__file__", None) or ""
    if not file.endswith(".py") or not Path(file).is_file():
        return None
    return info_of_file(Path(file), name)


def _by_value(thing: Any, cls: type[Restorer]) -> RestorerInfo:
    """What is known of a class, or of an instance of it, from itself."""
    place = Path(cls.__module__)
    known = {key: getattr(cls, key) for key in source.LITERALS if hasattr(cls, key)}
    source.check_literals(place, cls.__name__, known, source.LITERALS, ("name", "tasks"))
    return RestorerInfo(
        name=known["name"],
        summary=(cls.__doc__ or "").strip().partition("\n")[0],
        source=place,
        target=f"{cls.__module__}:{cls.__qualname__}",
        tasks=frozenset(known["tasks"]),
        version=known["version"],
        requires=known["requires"],
        variants=tuple(known["variants"]),
        needs_weights=known["needs_weights"],
        takes=takes_of(cls),
        value=value_of(thing, cls.__name__),
    )


def _of_instance(restorer: Any, *, by_value: bool) -> RestorerSpec:
    """By its class and what it was made with; by value if that is no text, or if it was changed since."""
    cls = type(restorer)
    args, keywords = restorer._made_with
    given = inspect.signature(cls).bind(*args, **keywords).arguments
    variant, weights = given.pop("variant", ""), given.pop("weights", None)
    for one in inspect.signature(cls).parameters.values():
        if one.kind is inspect.Parameter.VAR_KEYWORD:
            given |= given.pop(one.name, {})
    try:
        spec = _of_code(cls, variant, given, by_value=by_value)
        is_whole = _same(vars(restorer), vars(cls(*args, **keywords)))
    except RestorerError:
        if _in_words(given):
            raise
        is_whole = False
    if not is_whole:
        spec = RestorerSpec(replace(_by_value(restorer, cls), takes=Takes({}, True)), variant)
    return replace(spec, weights=str(getattr(weights, "path", weights))) if weights else spec


def _in_words(given: Mapping[str, Any]) -> bool:
    try:
        checked("", _plain(given))
    except RestorerError:
        return False
    return True


def _plain(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """NumPy's numbers as Python's."""
    return {key: value.item() if isinstance(value, np.generic) else value for key, value in parameters.items()}


def _same(a: Any, b: Any) -> bool:
    """Whether two attributes, or two objects' attributes by name, are equal as far as can be told."""
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, np.ndarray):
        return bool(a.dtype == b.dtype and np.array_equal(a, b))
    try:
        return bool(a == b)
    except Exception:  # of whatever the object is
        return False


def _of_function(function: Any, parameters: Mapping[str, Any]) -> RestorerSpec:
    """A function, or an object that can be called, by value."""
    from bench.plugins.functions import OfFunction, restorer_of

    name = getattr(function, "__name__", type(function).__name__)
    cls = restorer_of(function, "lambda" if name == "<lambda>" else name)
    assert issubclass(cls, OfFunction)
    info = RestorerInfo(
        name=cls.name,
        summary=(function.__doc__ or "").strip().partition("\n")[0],
        source=Path(MAIN),
        target=f"{getattr(function, '__module__', MAIN)}:{getattr(function, '__qualname__', name)}",
        tasks=frozenset(cls.tasks),
        version="1",
        takes=takes_of(cls),
        value=value_of(function, cls.name),
    )
    given = checked(info.name, _plain(parameters))
    check_parameters(info.name, info.takes, given)
    return RestorerSpec(info, parameters=given)


def _of_network(network: Any, options: Mapping[str, Any]) -> RestorerSpec:
    name = type(network).__name__
    module, _, cls = NETWORK.partition(":")
    of_files = source.takes_in(Sources().of("bench.methods.exported"), "Exported")
    if "range" not in options:
        raise RestorerError(
            f"{name} is a network, and does not say which values it takes. Write bench.wrap(network, range=1) for 0"
            " to 1, or range=255; and sigma_channel=True if the noise level is a channel more."
        )
    given = checked(name, _plain(options))
    check_parameters(name, of_files, given)
    info = RestorerInfo(
        name=name,
        summary=(type(network).__doc__ or "").strip().partition("\n")[0],
        source=Path(type(network).__module__),
        target=NETWORK,
        tasks=frozenset(source.declared(Sources().of(module), cls).attributes["tasks"]),
        version="1",
        takes=of_files,
        value=value_of(copy.deepcopy(network).cpu().eval(), name),
    )
    return RestorerSpec(info, parameters=given)


# --- in its process ------------------------------------------------------------------------------

Make = Callable[["WeightsFile | None"], "Restorer"]


def revived(
    thing: Any, target: str, name: str, variant: str, parameters: Mapping[str, Any]
) -> tuple[type[Restorer], Make]:
    """The class of what came by value, and what makes a restorer of it."""
    from bench.plugins.functions import restorer_of
    from bench.restorer import Restorer

    if isinstance(thing, _ForTasks):
        cls, make = revived(loaded(thing.content), target, name, variant, parameters)

        def for_tasks(weights: WeightsFile | None) -> Restorer:
            restorer = make(weights)
            vars(restorer)["tasks"] = thing.tasks
            return restorer

        return cls, for_tasks
    if isinstance(thing, Restorer):

        def copied(weights: WeightsFile | None) -> Restorer:
            restorer = copy.deepcopy(thing)
            restorer.weights = weights or restorer.weights
            return restorer

        return type(thing), copied
    if _is_network(thing):
        cls, parameters = load_class(target), {**parameters, "network": thing}
    elif isinstance(thing, type) and issubclass(thing, Restorer):
        cls = thing
    else:
        cls = restorer_of(thing, name)
    return cls, maker(cls, variant, parameters)
