"""What lives in a notebook or a script, and in no file that could be named: it travels to its process by value.

It is pickled here and unpickled in the restorer's own process, never the other way. What it is, is told from the code
that Python compiled of it, and from what that uses: functions, classes, constants, arrays and tensors. Of installed
packages the name counts. Where that cannot be told (a lambda, a closure, an open file), no record may answer for it.
"""

from __future__ import annotations

import dataclasses
import dis
import enum
import functools
import hashlib
import importlib.util
import io
import re
import sys
import sysconfig
import types
import uuid
from collections import ChainMap, Counter, OrderedDict, namedtuple
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import numpy as np

from bench.errors import RestorerError
from bench.plugins.identity import Code

__all__ = ["Value", "loaded", "value_of"]


@dataclass(frozen=True)
class Value:
    """A thing as it travels.

    content  its pickle
    code     what it is; of one that cannot be told, something that no other is
    why_not  why it cannot be told; "" if it can
    """

    content: bytes
    code: Code
    why_not: str = ""


def value_of(thing: Any, name: str) -> Value:
    """The thing with all that it needs. Raises RestorerError, which names it, if it cannot be pickled."""
    import cloudpickle

    own = [module for module in [*sys.modules.values()] if _is_own(module) and module.__name__ != "__main__"]
    for module in own:
        cloudpickle.register_pickle_by_value(module)
    try:
        content = _pickled(thing)
    except Exception as error:  # of any kind: objects may say themselves how they are pickled
        raise RestorerError(
            f"{name} cannot go to a process of its own: {type(error).__name__}: {error}. Python must be able to"
            " pickle what it uses; files and devices are to be opened inside of it."
        ) from error
    finally:
        for module in own:
            cloudpickle.unregister_pickle_by_value(module)
    digest = _Digest()
    try:
        digest.add(thing)
        return Value(content, Code(digest.sha256, ()))
    except _UnreadableError as error:
        return Value(content, Code(hashlib.sha256(uuid.uuid4().bytes).hexdigest(), ()), str(error))
    except RecursionError:
        return Value(content, Code(hashlib.sha256(uuid.uuid4().bytes).hexdigest(), ()), "it is nested too deeply")


def _pickled(thing: Any) -> bytes:
    """By cloudpickle; but code keeps the name of its file, which a failure names."""
    import cloudpickle

    usual = cloudpickle.Pickler.dispatch_table

    def with_place(code: types.CodeType) -> Any:
        make, given = usual[types.CodeType](code)
        return make, tuple(code.co_filename if part == ELSEWHERE else part for part in given)

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
        dispatch_table = ChainMap({types.CodeType: with_place}, usual)

    file = io.BytesIO()
    Pickler(file).dump(thing)
    return file.getvalue()


ELSEWHERE = "<dynamic-code>"
"""what cloudpickle writes for the file of code"""


def loaded(content: bytes) -> Any:
    """The thing, in the process that it is for."""
    import pickle

    return pickle.loads(content)


# --- what is one's own ---------------------------------------------------------------------------


@functools.cache
def _installed_folders() -> tuple[str, ...]:
    return tuple({f"{path}/" for name, path in sysconfig.get_paths().items() if name.endswith(("lib", "stdlib"))})


def _is_own(module: types.ModuleType | None) -> bool:
    """Whether a module is the user's: in a file outside of where packages are installed, or the running script."""
    name = getattr(module, "__name__", "")
    if name == "__main__":
        return True
    file = getattr(module, "__file__", None)
    if not isinstance(file, str) or not isinstance(name, str):
        return False
    if name == "bench" or name.startswith("bench."):
        return False
    return _is_own_file(file)


def _is_own_file(file: str) -> bool:
    return not file.startswith(_installed_folders()) and "site-packages" not in file and "dist-packages" not in file


def _is_of_own(thing: types.FunctionType | type) -> bool:
    """Whether a function or class is the user's: that of a module which nobody can look up is."""
    name = thing.__globals__.get("__name__") if isinstance(thing, types.FunctionType) else thing.__module__
    module = sys.modules.get(name or "")
    return module is None or _is_own(module)


def _module_named(name: str) -> types.ModuleType | None:
    """The module that code would import; None if it is an installed one that nothing has imported yet."""
    if name in sys.modules:
        return sys.modules[name]
    top = importlib.util.find_spec(name.partition(".")[0])
    if top is None:
        raise ModuleNotFoundError(f"No module named {name!r}")
    if top.origin and not (top.has_location and _is_own_file(top.origin)):
        return None
    return importlib.import_module(name)


# --- what it is ----------------------------------------------------------------------------------


class _UnreadableError(Exception):
    """What a thing is cannot be told. Says why."""


class _Digest:
    """A hash over whatever is added, and all that it uses."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256(f"1 {sys.version_info[:2]}".encode())
        self._seen: dict[int, int] = {}
        self._alive: list[Any] = []

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def add(self, thing: Any) -> None:
        """Raises _UnreadableError for what cannot be told."""
        if thing is None or type(thing) in (bool, int, float, complex, str, bytes, type(...)):
            return self._say(type(thing).__name__, repr(thing))
        if id(thing) in self._seen:
            return self._say("again", self._seen[id(thing)])
        self._seen[id(thing)] = len(self._seen)
        self._alive.append(thing)  # or its id may be another's
        of_its_kind = _Digest._tensor if _is_tensor(thing) else _Digest._object
        add = next((add for kind, add in KINDS if isinstance(thing, kind)), of_its_kind)
        add(self, thing)
        if add is not _Digest._object:
            self._class_of(thing)
        return None

    def _say(self, *words: Any) -> None:
        for word in words:
            self._hash.update(f"{word}\0".encode(errors="surrogatepass"))

    def _all(self, kind: str, things: Iterable[Any]) -> None:
        several = [*things]
        self._say(kind, len(several))
        for thing in several:
            self.add(thing)

    # --- plain ---

    def _sequence(self, things: Any) -> None:
        self._all(type(things).__name__, things)

    def _set(self, things: Any) -> None:
        digests = []
        for thing in things:
            inner = _Digest()
            inner.add(thing)
            digests.append(inner.sha256)
        self._say(type(things).__name__, *sorted(digests))

    def _mapping(self, things: Mapping[Any, Any]) -> None:
        self._all(type(things).__name__, (part for item in things.items() for part in item))

    def _array(self, array: Any) -> None:
        if array.dtype.hasobject:
            raise _UnreadableError("it holds an array of objects")
        self._say("array", array.dtype.str, array.shape)
        self._hash.update(np.ascontiguousarray(array).tobytes())

    def _tensor(self, tensor: Any) -> None:
        import torch

        plain = tensor.detach().cpu().contiguous().reshape(-1)
        self._say("tensor", tensor.dtype, tuple(tensor.shape))
        self._hash.update(plain.view(torch.uint8).numpy().tobytes() if plain.numel() else b"")

    def _by_words(self, thing: Any) -> None:
        self._say(type(thing).__name__, repr(thing))

    def _plain(self, thing: Any) -> None:
        """A number or text of a derived class."""
        plain = next(kind for kind in PLAIN if isinstance(thing, kind))
        self._say(plain.__name__, plain.__repr__(thing))

    def _class_of(self, thing: Any) -> None:
        """What a class of one's own adds to the kind that it derives from."""
        cls = type(thing)
        if not _is_of_own(cls):
            if isinstance(thing, CONTAINERS) and cls not in KNOWN_CONTAINERS:
                raise _UnreadableError(f"it holds a {cls.__module__}.{cls.__qualname__}")
            return self._say(cls.__module__, cls.__qualname__)
        self._say("derived")
        self.add(cls)
        if not isinstance(thing, type):
            self._attributes(thing)
        return None

    # --- code ---

    def _function(self, function: types.FunctionType) -> None:
        if not _is_of_own(function):
            return self._named(function)
        if function.__name__ == "<lambda>":
            raise _UnreadableError("it is a lambda, or uses one")
        outer = [name for name in function.__code__.co_freevars if name != "__class__"]
        if outer:
            raise _UnreadableError(f"{function.__name__} is a closure, over {', '.join(outer)}")
        self._code(function.__code__)
        self._all("defaults", function.__defaults__ or ())
        self._mapping(function.__kwdefaults__ or {})
        for name in sorted({*_globals_of(function.__code__)} & {*function.__globals__}):
            self._say(name)
            self.add(function.__globals__[name])
        for level, name, taken in _imports_of(function.__code__):
            self._import("." * level + name, taken, function.__globals__.get("__package__"))

    def _import(self, name: str, taken: Iterable[str], package: str | None) -> None:
        """What a function imports when it runs."""
        try:
            name = importlib.util.resolve_name(name, package)
            parts = name.split(".")
            modules = [_module_named(".".join(parts[: n + 1])) for n in range(len(parts))]
            module = modules[-1]
            if module is not None and hasattr(module, "__path__") and _is_own_file(next(iter(module.__path__))):
                modules += [_module_named(f"{name}.{part}") for part in taken if not hasattr(module, part)]
        except Exception as error:  # of any kind: a module of the user's runs
            raise _UnreadableError(f"it imports {name}, which cannot be read: {error}") from error
        self._say("import", name)
        self._all("modules", modules)

    def _code(self, code: types.CodeType) -> None:
        self._say("code", code.co_name, code.co_code.hex(), code.co_flags)
        self._say(*code.co_names, "", *code.co_varnames, "", *code.co_freevars, "", *code.co_cellvars)
        self._say(code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount)
        self._say(getattr(code, "co_exceptiontable", b"").hex())
        for constant in code.co_consts:
            if isinstance(constant, types.CodeType):
                self._code(constant)
            else:
                self.add(constant)

    def _named(self, thing: Any) -> None:
        """What an installed package has by that name."""
        name = getattr(thing, "__qualname__", getattr(thing, "__name__", ""))
        if not name or "<" in name:
            raise _UnreadableError(f"it uses {type(thing).__name__} {name or 'without a name'} of a package")
        self._say("named", getattr(thing, "__module__", ""), name)

    def _class(self, cls: type) -> None:
        if not _is_of_own(cls):
            return self._named(cls)
        self._say("class", cls.__qualname__)
        self._all("bases", cls.__bases__)
        is_dataclass = "__dataclass_fields__" in vars(cls)
        for name, value in sorted(vars(cls).items()):
            if name in OF_A_CLASS or (is_dataclass and _is_made(name, value)):
                continue
            self._say(name)
            if name == "__dataclass_fields__":
                self._all(
                    "fields", [part for one in value.values() for part in (one.name, one.default, str(one.type))]
                )
            else:
                self.add(value)

    def _method(self, method: Any) -> None:
        self._all("method", [method.__self__, method.__func__])

    def _wrapped(self, one: Any) -> None:
        self._all(type(one).__name__, [one.__func__])

    def _property(self, one: property) -> None:
        self._all("property", [one.fget, one.fset, one.fdel])

    def _cached_property(self, one: functools.cached_property[Any]) -> None:
        self._all("cached", [one.func])

    def _partial(self, one: functools.partial[Any]) -> None:
        self._all("partial", [one.func, one.args, one.keywords])

    def _module(self, module: types.ModuleType) -> None:
        self._say("module", module.__name__)
        if _is_own(module):
            for name, value in sorted(vars(module).items()):
                if not name.startswith("__"):
                    self._say(name)
                    self.add(value)

    def _object(self, thing: Any) -> None:
        """One of a class that keeps all in its attributes."""
        cls = type(thing)
        if not hasattr(thing, "__dict__") or any(not one.__flags__ & MADE_BY_CODE for one in cls.__mro__[:-1]):
            raise _UnreadableError(f"it holds a {cls.__module__}.{cls.__qualname__}")
        self._say("object")
        self.add(cls)
        self._attributes(thing)

    def _attributes(self, thing: Any) -> None:
        cls = type(thing)
        if any(vars(one).get("__slots__") for one in cls.__mro__):
            raise _UnreadableError(f"it holds a {cls.__module__}.{cls.__qualname__}")
        for name, value in sorted(getattr(thing, "__dict__", {}).items(), key=lambda item: str(item[0])):
            if name not in OF_AN_OBJECT:
                self._say(name)
                self.add(value)


OF_A_CLASS = {
    "__abstractmethods__",
    "__annotate__",
    "__annotate_func__",
    "__annotations__",
    "__annotations_cache__",
    "__dataclass_params__",
    "__dict__",
    "__doc__",
    "__firstlineno__",
    "__match_args__",
    "__module__",
    "__parameters__",
    "__static_attributes__",
    "__weakref__",
    "_abc_impl",
}
"""attributes that say nothing of what a class does"""
OF_AN_OBJECT = {"_made_with", "_non_persistent_buffers_set"}
MADE_BY_CODE = 1 << 9
"""flag of a class that keeps nothing where Python code cannot look (Py_TPFLAGS_HEAPTYPE)"""
PLAIN = (int, float, complex, str, bytes)
CONTAINERS = (list, set, frozenset, dict, np.ndarray)
KNOWN_CONTAINERS = {*CONTAINERS, OrderedDict, Counter}
"""those that are told by what they contain"""
BY_ITS_NAME = (
    types.BuiltinFunctionType,
    np.ufunc,
    type(np.dot),
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
)
FIELD = type(vars(namedtuple("_One", "field"))["field"])
"""of a named tuple"""
KINDS: tuple[tuple[Any, Any], ...] = (
    (types.FunctionType, _Digest._function),
    (enum.Enum, _Digest._by_words),
    (type, _Digest._class),
    (types.ModuleType, _Digest._module),
    (types.MethodType, _Digest._method),
    ((staticmethod, classmethod), _Digest._wrapped),
    (property, _Digest._property),
    (functools.cached_property, _Digest._cached_property),
    (functools.partial, _Digest._partial),
    (BY_ITS_NAME, _Digest._named),
    ((list, tuple), _Digest._sequence),
    ((set, frozenset), _Digest._set),
    ((dict, types.MappingProxyType), _Digest._mapping),
    (np.ndarray, _Digest._array),
    ((np.generic, np.dtype, PurePath, re.Pattern, range, slice, FIELD), _Digest._by_words),
    (PLAIN, _Digest._plain),
)


def _is_tensor(thing: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(thing, torch.Tensor)


def _is_made(name: str, value: Any) -> bool:
    """Whether it is a method that `dataclass` has made: what it does, the fields tell."""
    places = ("<string>", dataclasses.__file__)
    return name.startswith("__") and isinstance(value, types.FunctionType) and value.__code__.co_filename in places


def _globals_of(code: types.CodeType) -> Iterator[str]:
    """The names that code takes from its module, that of functions within it included."""
    for step in dis.get_instructions(code):
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield str(step.argval)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _globals_of(constant)


def _imports_of(code: types.CodeType) -> Iterator[tuple[int, str, tuple[str, ...]]]:
    """Level and name of each module that code imports and what it takes of it, within inner functions too."""
    steps = [step for step in dis.get_instructions(code) if step.opname != "EXTENDED_ARG"]
    for level, names, step in zip(steps, steps[1:], steps[2:], strict=False):
        if step.opname == "IMPORT_NAME":
            yield level.argval, step.argval, names.argval or ()
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _imports_of(constant)
