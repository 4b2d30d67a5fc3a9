"""The grammar of what users type for restorers: names, variants, parameters, files, and how they are told apart.

    NAME[:VARIANT][(KEY=VALUE, …)][+][@WEIGHTS]            dncnn   dncnn:bf16   tv(weight=0.2)+   dncnn@my.pt
    FILE.py:CLASS[:VARIANT][(KEY=VALUE, …)][+][@WEIGHTS]   ./my.py:Mine(radius=3)
    ADAPTER:FILE[(KEY=VALUE, …)][+]                        onnx:model.onnx(range=255)

A value is a number, a word, `true`, `false`, `none`, or a tuple or list of those. `KEY=1|2|3` asks for each of them.
Commas between restorers are those outside of brackets. A quote, at the beginning of a name, path or value, takes
everything to the next as it is: `'./a, b.py':Mine`, `dncnn@"x,y.pt"`.
"""

from __future__ import annotations

import ast
import itertools
import math
import re
import reprlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from bench.errors import RestorerError

__all__ = ["OF_THE_GRAMMAR", "Asked", "checked", "plain", "read", "read_parameters", "spelled", "split"]

OF_THE_GRAMMAR = ",@:/\\()|'\""
"""what no name of a restorer or variant may hold"""
MOST_LETTERS = 300
"""of parameters in words: they are part of a name in every table"""
MOST_BITS = 256
"""of a whole number among them"""
MOST_CHOICES = 1000
"""that one name may ask for"""


@dataclass(frozen=True)
class Asked:
    """One restorer as its words say, each part as it was typed.

    base     `dncnn`, `dncnn:bf16`, `package.module:Class`, or of an adapter its name; "" for a file
    file     `./my.py`, and class_name and variant behind it; "" for a name
    weights  what stood behind the @, or the file of an adapter
    """

    base: str = ""
    file: str = ""
    class_name: str = ""
    variant: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    ensemble: bool = False
    weights: str = ""


# --- one after the other -------------------------------------------------------------------------


def split(words: str, *, brackets: bool = True) -> list[str]:
    """The parts between commas that are outside of quotes and, unless told otherwise, of round brackets.

    Raises RestorerError for a quote or bracket that is never closed.
    """
    return [part.strip() for part in _split(words, ",", "()" if brackets else "")]


def plain(words: str) -> str:
    """A part as it is meant: without the quotes around all of it, if there are some."""
    return _unquoted(words) if words and _covered(words) == COVER * len(words) else words


def read(words: str, is_adapter: Callable[[str], bool] = lambda name: False) -> list[Asked]:
    """What one part asks for: one restorer, or several if a parameter has several values.

    is_adapter  whether an installed restorer of that name opens files
    Raises RestorerError for what is not of the grammar.
    """
    words = plain(words)
    covered = _covered(words)
    in_file = IN_FILE.match(words)
    adapter, _, _ = words.partition(":")
    if in_file:
        start = in_file.end()
    elif is_adapter(adapter) and len(adapter) < len(words):
        start = _end_of_file(covered, len(adapter) + 1)
    else:
        start = next((i for i, sign in enumerate(covered) if sign in "(@"), len(words))
    base, tail = words[:start], words[start:]
    given, ensemble, weights = _tail(words, tail, covered[start:])
    if base.endswith("+") and not given:
        base, ensemble = base[:-1], True
    if in_file:
        return [
            Asked("", _unquoted(in_file["file"]), in_file["class"], in_file["variant"] or "", one, ensemble, weights)
            for one in _choices(words, given)
        ]
    if is_adapter(adapter) and ":" in base:
        if weights:
            raise RestorerError(f"{words}: the file of {adapter} stands behind its colon; leave '@{weights}' out.")
        base, weights = adapter, _unquoted(base[len(adapter) + 1 :])
    return [Asked(base, parameters=one, ensemble=ensemble, weights=weights) for one in _choices(words, given)]


IN_FILE = re.compile(r"(?P<file>.+?\.py['\"]?):(?P<class>\w+)(?::(?P<variant>[^(@+]+))?")


def _end_of_file(covered: str, start: int) -> int:
    """Where the path of an adapter's file ends: it may hold what it likes, a last `(key=…)` and `+` are not of it."""
    found = re.search(r"(\(\s*([^\W\d]\w*\s*=.*)?\))?\+?$", covered)
    return found.start() if found and found.start() > start else len(covered)


def _tail(words: str, tail: str, covered: str) -> tuple[str, bool, str]:
    """Parameters, whether there is a +, and weights, of `(…)+@…`."""
    given = ""
    if tail.startswith("("):
        end = _closing(covered)
        if end is None:
            raise RestorerError(f"{words}: the bracket '(' is never closed.")
        given, tail = tail[1:end], tail[end + 1 :]
    ensemble, tail = tail.startswith("+"), tail.removeprefix("+")
    if tail and not tail.startswith("@"):
        raise RestorerError(f"{words}: '{tail}' follows where only + or @WEIGHTS may.")
    return given, ensemble, _unquoted(tail[1:])


def _closing(covered: str) -> int | None:
    """The place of the bracket that closes the first one."""
    depth = 0
    for i, sign in enumerate(covered):
        depth += (sign == "(") - (sign == ")")
        if not depth:
            return i
    return None


# --- quotes --------------------------------------------------------------------------------------

COVER = "\0"


def _covered(words: str) -> str:
    """The words with each quoted part, and its quotes, written over."""
    signs = [*words]
    quote, start, before = "", 0, ","
    i = 0
    while i < len(words):
        sign = words[i]
        if quote:
            if sign == "\\" and words[i + 1 : i + 2] in (quote, "\\"):
                i += 1
            elif sign == quote:
                signs[start : i + 1] = COVER * (i + 1 - start)
                quote = ""
        elif sign in "'\"" and before in ",@:=(|[":
            quote, start = sign, i
        if not sign.isspace():
            before = words[i]
        i += 1
    if quote:
        raise RestorerError(f"{words}: the quote {quote} is never closed.")
    return "".join(signs)


def _unquoted(word: str) -> str:
    word = word.strip()
    if len(word) > 1 and word[0] == word[-1] and word[0] in "'\"":
        return re.sub(rf"\\([\\{word[0]}])", r"\1", word[1:-1])
    return word


def _split(words: str, sign: str, brackets: str) -> Iterator[str]:
    depth, start, covered = 0, 0, _covered(words)
    opening, closing = brackets[::2], brackets[1::2]
    for i, found in enumerate(covered):
        depth = max(0, depth + (found in opening) - (found in closing))
        if found == sign and not depth:
            yield words[start:i]
            start = i + 1
    if depth:
        raise RestorerError(f"{words}: a bracket is never closed. A path that holds one goes into quotes.")
    yield words[start:]


# --- parameters ----------------------------------------------------------------------------------


def _choices(words: str, given: str) -> Iterator[dict[str, Any]]:
    """The parameters of each restorer that `radius=1|2, mode=fast` asks for."""
    values: dict[str, list[Any]] = {}
    for part in map(str.strip, _split(given, ",", "()[]{}") if given.strip() else ()):
        found = re.fullmatch(r"([^\W\d]\w*)\s*=\s*(.*)", part, re.DOTALL)
        if not found:
            raise RestorerError(f"{words}: '{part}' is no parameter; expected KEY=VALUE, as radius=3.")
        key, told = found.groups()
        if key in values:
            raise RestorerError(f"{words}: {key} is given twice.")
        if key in OF_THE_ENGINE:
            raise RestorerError(f"{words}: {key} is no parameter; {OF_THE_ENGINE[key]}.")
        values[key] = [_value(words, key, word.strip()) for word in _split(told, "|", "()[]{}")]
    n = math.prod(map(len, values.values()))
    if n > MOST_CHOICES:
        raise RestorerError(f"{reprlib.repr(words)} asks for {n} restorers; at most {MOST_CHOICES} are made of one.")
    for chosen in itertools.product(*values.values()):
        yield checked(words, dict(zip(values, chosen, strict=True)))


OF_THE_ENGINE = {
    "variant": "a variant is asked for as NAME:VARIANT",
    "weights": "weights are asked for as NAME@FILE",
}
WORD = re.compile(r"[^\W\d][\w.-]*")
CONSTANTS = {"true": True, "false": False, "none": None}


def _value(words: str, key: str, told: str) -> Any:
    if told.lower() in CONSTANTS:
        return CONSTANTS[told.lower()]
    if WORD.fullmatch(told):
        return told
    try:
        if len(told) > MOST_LETTERS:
            raise ValueError
        return _literal(ast.parse(told, mode="eval").body)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        raise RestorerError(
            f"{reprlib.repr(words)}: {key} is {reprlib.repr(told)}; expected a number, a word, true, false, none or a"
            " tuple of those. Other text goes into quotes."
        ) from None


def _literal(node: ast.expr) -> Any:
    """As `ast.literal_eval`, with names for words: `(fast, true)`. Raises ValueError for anything else."""
    if isinstance(node, ast.Name):
        return CONSTANTS.get(node.id.lower(), node.id)
    if isinstance(node, ast.Tuple):
        return tuple(map(_literal, node.elts))
    if isinstance(node, ast.List):
        return [*map(_literal, node.elts)]
    return ast.literal_eval(node)


def checked(words: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters by name in alphabetical order, plain values of Python. Raises RestorerError for what is none."""
    made = {key: _plain(words, key, parameters[key]) for key in sorted(parameters)}
    if len(spelled(made)) > MOST_LETTERS:
        raise RestorerError(
            f"{reprlib.repr(words)}: its parameters have more than {MOST_LETTERS} letters, and would be part of its"
            " name in every table."
        )
    return made


def _plain(words: str, key: str, value: Any) -> Any:
    if isinstance(value, (tuple, list)):
        return type(value)(_plain(words, key, part) for part in value)
    if type(value) in (bool, str, type(None)):
        return value
    if type(value) is int and value.bit_length() <= MOST_BITS:
        return value
    if type(value) is float and math.isfinite(value):
        return value
    raise RestorerError(
        f"{words}: {key} is {reprlib.repr(value)}; expected a finite number, text, true, false, none, or a tuple or"
        " list of those."
    )


def spelled(parameters: Mapping[str, Any]) -> str:
    """`mode=fast, radius=3`: what `read_parameters` reads, and a user may type."""
    return ", ".join(f"{key}={_in_words(value)}" for key, value in parameters.items())


def _in_words(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        inside = ", ".join(map(_in_words, value))
        if isinstance(value, list):
            return f"[{inside}]"
        return f"({inside},)" if len(value) == 1 else f"({inside})"
    if isinstance(value, str):
        return value if WORD.fullmatch(value) and value.lower() not in CONSTANTS else ascii(value)
    return next((word for word, constant in CONSTANTS.items() if constant is value), repr(value))


def read_parameters(told: str) -> dict[str, Any]:
    """The parameters that `spelled` wrote."""
    [parameters] = _choices(told, told)
    return parameters
