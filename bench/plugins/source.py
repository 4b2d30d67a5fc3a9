"""What a plugin's source says of it, read without being run: its attributes, and the keywords it is made with."""

from __future__ import annotations

import ast
import reprlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench.errors import RestorerError, unknown
from bench.plugins.names import OF_THE_GRAMMAR

__all__ = [
    "ANYTHING",
    "COMPUTED",
    "LITERALS",
    "OF_THE_ENGINE",
    "Declared",
    "Literal",
    "Takes",
    "attributes",
    "can_be_asked_for",
    "check_literals",
    "classes_in",
    "declared",
    "is_words",
    "literal",
    "parsed",
    "takes_in",
]


class Takes(NamedTuple):
    """The keywords that a class is made with, beyond variant and weights.

    names     with their defaults as they are written; of one that must be given ""
    is_known  whether these are all: a base in another file, or **keywords, may take more
    choices   the values of those that are annotated as `Literal[1, 255]`, as they are written
    """

    names: Mapping[str, str]
    is_known: bool
    choices: Mapping[str, Sequence[str]] = {}

    @property
    def required(self) -> list[str]:
        return [name for name, default in self.names.items() if not default]


ANYTHING = Takes({}, False)
"""of a class whose source was not read"""


class Declared(NamedTuple):
    """summary: first line of the docstring; attributes: those of LITERALS that are set, checked."""

    summary: str
    attributes: Mapping[str, Any]
    takes: Takes


MOST_BYTES = 1 << 20
"""of a source that is read: it takes some hundred times the memory to do so"""


def parsed(path: Path) -> ast.Module:
    """The syntax tree of a source. Raises RestorerError for what is none."""
    try:
        n_bytes = path.stat().st_size
        if n_bytes > MOST_BYTES:
            raise RestorerError(f"{path} has {n_bytes} bytes; of a plugin's source at most {MOST_BYTES} are read.")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd escapes and the like: whoever imports it is told
            return ast.parse(path.read_bytes())
    except OSError as error:
        raise RestorerError(f"{path} cannot be read: {error.strerror}.") from None
    except SyntaxError as error:
        line = f", line {error.lineno}" if error.lineno else ""
        raise RestorerError(f"{path}{line}: not valid Python ({error.msg}).") from None
    except ValueError as error:  # a zero byte
        raise RestorerError(f"{path}: not valid Python ({error}).") from None
    except (RecursionError, MemoryError):
        raise RestorerError(f"{path}: nested too deeply to be read.") from None


def declared(path: Path, class_name: str) -> Declared:
    """What the class in the file declares; of a function what its signature says: see `bench.plugins.functions`.

    Raises RestorerError for what will not do.
    """
    function = _function_in(path, class_name)
    if function is not None:
        return _of_function(function)
    classes = classes_in(path, class_name)
    known = attributes(path, class_name, classes)
    check_literals(path, class_name, known, LITERALS, ("name", "tasks"))
    for name in (known["name"], *known.get("variants", ())):
        if name.endswith("+"):
            raise RestorerError(f"{path}: class {class_name}: '{name}' ends in +, which asks for a self-ensemble.")
        if not can_be_asked_for(name):
            raise RestorerError(
                f"{path}: class {class_name}: {reprlib.repr(name)} cannot be asked for: expected at most"
                f" {MOST_LETTERS} letters, and none of {' '.join(OF_THE_GRAMMAR)} or what cannot be printed."
            )
    summary = (ast.get_docstring(classes[class_name]) or "").partition("\n")[0]
    return Declared(summary, known, _takes(class_name, classes))


def takes_in(path: Path, class_name: str) -> Takes:
    """The keywords that the class in the file is made with."""
    return _takes(class_name, classes_in(path, class_name))


def _function_in(path: Path, name: str) -> ast.FunctionDef | None:
    """The function of that name, if that is what the name stands for at the end."""
    defined = [node for node in parsed(path).body if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
    last = next((node for node in reversed(defined) if node.name == name), None)
    return last if isinstance(last, ast.FunctionDef) else None


def _of_function(function: ast.FunctionDef) -> Declared:
    from bench.plugins.functions import role_of

    arguments = function.args
    takes = _of_arguments(arguments, [*arguments.posonlyargs, *arguments.args])
    role = role_of(function.name, {name: bool(default) for name, default in takes.names.items()})
    own = {name: default for name, default in [*takes.names.items()][1:] if name not in role.told}
    summary = (ast.get_docstring(function) or "").partition("\n")[0]
    known = {"name": function.name, "tasks": role.tasks}
    return Declared(summary, known, Takes(own, takes.is_known, takes.choices))


def classes_in(path: Path, class_name: str) -> dict[str, ast.ClassDef]:
    """The classes of a source by name. Raises RestorerError if the one that is asked for is not among them."""
    classes = {node.name: node for node in parsed(path).body if isinstance(node, ast.ClassDef)}
    if class_name not in classes:
        there = [*classes, *(node.name for node in parsed(path).body if isinstance(node, ast.FunctionDef))]
        raise RestorerError(f"{path}: {unknown('class or function', class_name, there)}")
    return classes


def attributes(path: Path, class_name: str, classes: Mapping[str, ast.ClassDef]) -> dict[str, Any]:
    """The class's attributes, literals or COMPUTED, those of its bases in the same file included."""
    try:
        return _declared(class_name, classes, {})
    except RecursionError:
        raise RestorerError(f"{path}: class {class_name} has too many bases, one of another, to be read.") from None


def check_literals(
    path: Path, class_name: str, known: Mapping[str, Any], literals: Mapping[str, Literal], wanted: Sequence[str]
) -> None:
    """Raise RestorerError for an attribute that is wanted and not set, or set to what it cannot be."""
    for key in wanted:
        if key not in known:
            raise RestorerError(
                f"{path}: class {class_name} must set `{key}` to a literal, e.g. {literals[key].example}."
            )
    for key, value in known.items():
        if key in literals and not literals[key].fits(value):
            raise RestorerError(
                f"{path}: class {class_name} sets `{key}` to {_shown(value)}; expected a literal such as"
                f" {literals[key].example}."
            )


MOST_LETTERS = 100


def can_be_asked_for(name: str) -> bool:
    """Whether the grammar of names leaves it whole."""
    is_plain = name.isprintable() and name == name.strip() and len(name) <= MOST_LETTERS
    return is_plain and not any(sign in name for sign in OF_THE_GRAMMAR)


COMPUTED = object()
"""stands for a value that only running the module would tell"""


class Literal(NamedTuple):
    """What an attribute that is read from the source must be."""

    example: str
    fits: Callable[[Any], bool]


def is_words(value: Any) -> bool:
    """A collection of texts; one text is none, though it is a collection of letters."""
    return isinstance(value, (list, tuple, set, frozenset)) and all(isinstance(word, str) and word for word in value)


LITERALS: dict[str, Literal] = {
    "name": Literal('name = "mine"', lambda value: isinstance(value, str) and bool(value)),
    "tasks": Literal('tasks = {"denoise"}', lambda value: is_words(value) and bool(value)),
    "version": Literal('version = "2"', lambda value: isinstance(value, str)),
    "requires": Literal(
        'requires = {"scikit-image": ""}',
        lambda value: (
            isinstance(value, dict) and is_words([*value]) and all(isinstance(terms, str) for terms in value.values())
        ),
    ),
    "requires_of": Literal(
        'requires_of = {"fast": {"scikit-image": ""}}',
        lambda value: (
            isinstance(value, dict) and is_words([*value]) and all(map(LITERALS["requires"].fits, value.values()))
        ),
    ),
    "variants": Literal('variants = ("fast",)', is_words),
    "needs_weights": Literal("needs_weights = True", lambda value: isinstance(value, bool)),
    "reads": Literal('reads = ["params.txt"]', is_words),
    "devices": Literal('devices = ("cpu", "cuda")', is_words),
    "adapts": Literal('adapts = ("onnx",)', is_words),
}
"""The attributes of a class that are read from its source: one that is computed would be another one unseen."""


def _shown(value: Any) -> str:
    return "what only running it would tell" if value is COMPUTED else reprlib.repr(value)


def _declared(
    class_name: str, classes: Mapping[str, ast.ClassDef], of_others: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """Class attributes that are literals, those of base classes in the same file included.

    of_others  what was read already, by class; of one that is being read nothing, which ends a circle of bases
    """
    if class_name in of_others:
        return of_others[class_name]
    of_others[class_name] = {}
    node, known = classes[class_name], dict[str, Any]()
    for base in reversed(node.bases):
        name = base.id if isinstance(base, ast.Name) else base.attr if isinstance(base, ast.Attribute) else ""
        if name in classes:
            known |= _declared(name, classes, of_others)
        elif name == "TorchRestorer":
            known["needs_weights"] = True
        elif name == "WithDenoiser":
            known["takes_denoiser"] = True
    for statement in node.body:
        for name, value in _assignments(statement):
            known[name] = COMPUTED if value is None else literal(value)
    of_others[class_name] = known
    return known


def _assignments(statement: ast.stmt) -> Iterator[tuple[str, ast.expr | None]]:
    """(name, value) of `a = b = 1`, `a: T = 1` and `a, b = 1, 2`; None for what another statement may set."""
    if isinstance(statement, ast.AnnAssign):
        if isinstance(statement.target, ast.Name) and statement.value:
            yield statement.target.id, statement.value
    elif isinstance(statement, ast.Assign):
        for target in statement.targets:
            yield from _pairs(target, statement.value)
    elif isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        yield statement.name, None
    else:
        stored = (node for node in ast.walk(statement) if isinstance(node, ast.Name))
        yield from ((node.id, None) for node in stored if isinstance(node.ctx, ast.Store))


def _pairs(target: ast.expr, value: ast.expr | None) -> Iterator[tuple[str, ast.expr | None]]:
    if isinstance(target, ast.Name):
        yield target.id, value
    elif isinstance(target, (ast.Tuple, ast.List)):
        parts = (
            value.elts if isinstance(value, (ast.Tuple, ast.List)) and len(value.elts) == len(target.elts) else None
        )
        for i, part in enumerate(target.elts):
            yield from _pairs(part, parts[i] if parts else None)


def literal(value: ast.expr) -> Any:
    """The value of a literal, in `frozenset(…)` or not; COMPUTED if it is none."""
    if (
        isinstance(value, ast.Call)
        and isinstance(value.func, ast.Name)
        and value.func.id in COLLECTIONS
        and value.args
    ):
        value = value.args[0]
    try:
        return ast.literal_eval(value)
    except (ValueError, TypeError, RecursionError, MemoryError):
        return COMPUTED


COLLECTIONS = ("frozenset", "set", "tuple", "list", "dict")


# --- the keywords that it is made with -----------------------------------------------------------------


OF_THE_ENGINE = ("variant", "weights")
WITHOUT_KEYWORDS = {"Restorer", "TorchRestorer", "WithDenoiser", "ABC", "object", "Generic", "Protocol"}


def _takes(class_name: str, classes: Mapping[str, ast.ClassDef]) -> Takes:
    """Those of its `__init__`, or of the first base that has one; of a dataclass its fields."""
    waiting, seen = [class_name], set[str]()
    fields, is_dataclass = dict[str, str](), False
    while waiting:
        name = waiting.pop(0)
        if name in seen:
            continue
        seen.add(name)
        if name not in classes:
            if name not in WITHOUT_KEYWORDS:
                return Takes(fields, False)
            continue
        node = classes[name]
        init = next((one for one in node.body if isinstance(one, ast.FunctionDef) and one.name == "__init__"), None)
        if _is_dataclass(node):
            is_dataclass = True
            fields = {**_fields(node), **fields}
        elif init is not None and not is_dataclass:
            return _of_init(init.args)
        bases = [_base(base) for base in node.bases]
        waiting = [*bases, *waiting]
    return Takes(fields, True)


def _of_init(arguments: ast.arguments) -> Takes:
    return _of_arguments(arguments, [*arguments.posonlyargs, *arguments.args][1:])


def _of_arguments(arguments: ast.arguments, by_place: Sequence[ast.arg]) -> Takes:
    of_places = [None] * (len(by_place) - len(arguments.defaults)) + [*arguments.defaults][-len(by_place) or 0 :]
    names = dict[str, str]()
    for argument, default in zip(
        [*by_place, *arguments.kwonlyargs], [*of_places, *arguments.kw_defaults], strict=True
    ):
        if argument.arg not in OF_THE_ENGINE:
            names[argument.arg] = ast.unparse(default) if default else ""
    choices = {one.arg: _choices(one.annotation) for one in (*by_place, *arguments.kwonlyargs)}
    return Takes(names, arguments.kwarg is None, {name: values for name, values in choices.items() if values})


def _choices(annotation: ast.expr | None) -> list[str]:
    """`1` and `255` of `Literal[1, 255]`; nothing of other annotations."""
    if not isinstance(annotation, ast.Subscript) or _base(annotation.value) != "Literal":
        return []
    told = annotation.slice
    return [ast.unparse(value) for value in (told.elts if isinstance(told, ast.Tuple) else [told])]


def _is_dataclass(node: ast.ClassDef) -> bool:
    made = (one.func if isinstance(one, ast.Call) else one for one in node.decorator_list)
    return any(_base(one) == "dataclass" for one in made)


def _fields(node: ast.ClassDef) -> dict[str, str]:
    """The fields of a dataclass, `name: type = default`, with their defaults."""
    return {
        one.target.id: ast.unparse(one.value) if one.value else ""
        for one in node.body
        if isinstance(one, ast.AnnAssign)
        and isinstance(one.target, ast.Name)
        and "ClassVar" not in ast.unparse(one.annotation)
    }


def _base(node: ast.expr) -> str:
    """The last word of a base's name, `TorchRestorer` of `bench.restorer.TorchRestorer`."""
    while isinstance(node, ast.Subscript):
        node = node.value
    return node.attr if isinstance(node, ast.Attribute) else ast.unparse(node)
