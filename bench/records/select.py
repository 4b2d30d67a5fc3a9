"""The conditions of `--select`: a small language of columns, literals and comparisons.

    dataset == 'set12' and level == 25
    restorer in ['sc', 'groupsc'] and not psnr_db < 30
    15 <= level <= 50 and seconds is not None
    'dncnn' in restorer

It reads like Python and is parsed as Python, but nothing of it is run. There are the columns of the records, numbers,
texts, None, True, False and lists of them; `== != < <= > >=`, chained too; `in` and `not in` a list, or a text within
a column's; `is None` and `is not None`; `and`, `or`, `not` and parentheses.

Where a record has nothing in a column, it has None there: that equals None alone, and is neither less nor greater
than anything. A level may be a number or a text; these are unequal, and neither is the less.
"""

from __future__ import annotations

import ast
import functools
import math
import operator
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from bench.errors import RequestError, unknown
from bench.records.record import Record

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    Mask = NDArray[np.bool_]

__all__ = ["columns_in", "may_hold", "select"]

LONGEST = 4096
"""characters of a condition"""

DEEPEST = 50
"""parentheses, `not` and the like within each other"""

ORDERS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
WORDS = {"str": "a text", "int": "a number", "float": "a number", "bool": "true or false"}
KINDS = {
    field.name: frozenset(WORDS[kind] for kind in str(field.type).split(" | ") if kind != "None")
    for field in fields(Record)
}
EXAMPLE = "expected a condition on a record's columns, e.g. \"dataset == 'set12' and level == 25\""


def select(frame: pd.DataFrame, condition: str) -> pd.DataFrame:
    """The rows of records for which a condition holds. Raises RequestError for what is none."""
    with _told(condition) as text:
        return frame[_Rows(frame, text).where(_parsed(text))]


def may_hold(frame: pd.DataFrame, condition: str) -> Mask:
    """For which rows of some of a record's columns the condition may hold, whatever the others are."""
    with _told(condition) as text:
        return _Rows(frame, text).may_hold(_parsed(text))


def columns_in(condition: str) -> set[str]:
    """The columns that a condition asks for."""
    with _told(condition) as text:
        return _names(_parsed(text))


def _names(node: ast.AST) -> set[str]:
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}


@contextmanager
def _told(condition: str) -> Iterator[str]:
    """The condition in one line; what is none of it is told as a RequestError."""
    if len(condition) > LONGEST:
        raise RequestError(f"--select: {len(condition)} characters, expected at most {LONGEST}.")
    text = " ".join(condition.splitlines()).strip()
    try:
        yield text
    except _NoConditionError as error:
        shown = text if len(text) <= 200 else f"{text[:200]}…"
        said = str(error)
        raise RequestError(f"--select {shown}: {said if said.endswith('.') else f'{said}; {EXAMPLE}.'}") from None


class _NoConditionError(Exception):
    """Why a text is no condition."""


def _parsed(text: str) -> ast.expr:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd escapes in texts
            return ast.parse(text, mode="eval").body
    except SyntaxError as error:
        raise _NoConditionError(error.msg) from None
    except (ValueError, OverflowError, RecursionError, MemoryError) as error:
        raise _NoConditionError(str(error) or "too deeply nested") from None


@dataclass(frozen=True)
class _Values:
    """What one side of a comparison has in each row: a number (else nan), or a text (else None), or neither.

    said   as the condition says it
    kinds  what it may have; none if it is None
    """

    said: str
    kinds: frozenset[str]
    numbers: NDArray[np.float64]
    texts: NDArray[np.object_]


class _Rows:
    """The rows of a frame, asked where a condition holds."""

    def __init__(self, frame: pd.DataFrame, text: str) -> None:
        self.frame = frame
        self.source = text.encode("utf-8", "backslashreplace")  # a word of a command line may be no UTF-8

    def where(self, node: ast.expr, depth: int = 0) -> Mask:
        if depth > DEEPEST:
            raise _NoConditionError("too deeply nested")
        if isinstance(node, ast.BoolOp):
            combine = operator.and_ if isinstance(node.op, ast.And) else operator.or_
            return functools.reduce(combine, [self.where(part, depth + 1) for part in node.values])
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return ~self.where(node.operand, depth + 1)
        if isinstance(node, ast.Compare):
            return self._compared(node)
        if isinstance(node, ast.Name) and self._column(node).kinds == {WORDS["bool"]}:
            holds: Mask = self._column(node).numbers == 1
            return holds
        raise _NoConditionError(f"{self._said(node)} is no comparison")

    def may_hold(self, node: ast.expr) -> Mask:
        import numpy as np

        if _names(node) <= {*self.frame.columns}:
            return self.where(node)
        if isinstance(node, ast.BoolOp):
            combine = operator.and_ if isinstance(node.op, ast.And) else operator.or_
            return functools.reduce(combine, map(self.may_hold, node.values))
        return np.ones(len(self.frame), bool)

    def _compared(self, node: ast.Compare) -> Mask:
        """`a < b < c` holds where `a < b` and `b < c` do."""
        import numpy as np

        mask = np.ones(len(self.frame), bool)
        sides = [node.left, *node.comparators]
        for left, op, right in zip(sides, node.ops, sides[1:], strict=False):
            if isinstance(op, (ast.In, ast.NotIn)):
                mask &= self._within(left, right) ^ isinstance(op, ast.NotIn)
            elif isinstance(op, (ast.Is, ast.IsNot)) and not (
                isinstance(right, ast.Constant) and right.value is None
            ):
                raise _NoConditionError(f"'is' {self._said(right)}, where there is 'is None' alone")
            else:
                mask &= _holds(op, self._values(left), self._values(right))
        return mask

    def _within(self, left: ast.expr, right: ast.expr) -> Mask:
        """`left in right`: equal to one of a list, or a text within a text."""
        import numpy as np
        import pandas as pd

        values = self._values(left)
        if not isinstance(right, (ast.List, ast.Tuple, ast.Set)):
            whole = self._values(right)
            if not values.kinds == whole.kinds == {WORDS["str"]}:
                raise _NoConditionError(f"'in' {whole.said}, expected a list, or a text in a column of texts")
            pairs = zip(values.texts, whole.texts, strict=True)
            return np.array([a is not None and b is not None and a in b for a, b in pairs], bool)
        items = [self._literal(item) for item in right.elts]
        for node, item in zip(right.elts, items, strict=True):
            _hold_to_kinds(values, self._said(node), _kinds_of(item))
        mask = np.isin(values.numbers, [float(item) for item in items if isinstance(item, (float, bool))])
        mask |= pd.Series(values.texts, dtype=object).isin([t for t in items if isinstance(t, str)]).to_numpy()
        return mask | (_is_missing(values) if None in items else False)

    def _values(self, node: ast.expr) -> _Values:
        import numpy as np

        if isinstance(node, ast.Name):
            return self._column(node)
        value, n = self._literal(node), len(self.frame)
        number = math.nan if value is None or isinstance(value, str) else float(value)
        texts = np.full(n, value if isinstance(value, str) else None, object)
        return _Values(self._said(node), _kinds_of(value), np.full(n, number), texts)

    def _column(self, node: ast.Name) -> _Values:
        import numpy as np
        from pandas.api.types import is_bool_dtype, is_numeric_dtype

        if node.id not in self.frame.columns:
            raise _NoConditionError(unknown("column", node.id, map(str, self.frame.columns)))
        column = self.frame[node.id]
        if is_numeric_dtype(column.dtype):
            kind = WORDS["bool"] if is_bool_dtype(column.dtype) else WORDS["float"]
            numbers = column.to_numpy(float, na_value=math.nan)
            return _Values(
                node.id, KINDS.get(node.id, frozenset({kind})), numbers, np.full(len(column), None, object)
            )
        values = column.astype(object).to_numpy()
        numbers = np.array([float(v) if isinstance(v, (int, float)) else math.nan for v in values], float)
        texts = np.array([v if isinstance(v, str) else None for v in values], object)
        found = KINDS.get(node.id) or frozenset[str]().union(*map(_kinds_of, values))
        return _Values(node.id, found, numbers, texts)

    def _literal(self, node: ast.expr) -> float | str | bool | None:
        sign = 1
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
            sign, node = -1 if isinstance(node.op, ast.USub) else 1, node.operand
            if not isinstance(node, ast.Constant) or type(node.value) not in (int, float):
                raise _NoConditionError(f"a sign before {self._said(node)}")
        if isinstance(node, ast.Constant):
            if node.value is None or isinstance(node.value, (str, bool)):
                return node.value
            if isinstance(node.value, (int, float)):
                try:
                    return sign * float(node.value)
                except OverflowError:
                    return sign * math.inf
        raise _NoConditionError(f"{self._said(node)} is neither a column nor a number, a text or None")

    def _said(self, node: ast.expr) -> str:
        said = self.source[node.col_offset : node.end_col_offset].decode(errors="replace")
        return said if len(said) <= 40 else f"{said[:40]}…"


def _kinds_of(value: object) -> frozenset[str]:
    word = WORDS.get(type(value).__name__)
    return frozenset({word} if word and value == value else ())  # a nan is None


def _hold_to_kinds(values: _Values, said: str, kinds: frozenset[str]) -> None:
    if values.kinds and kinds and not values.kinds & kinds:
        left, right = (" or ".join(sorted(of)) for of in (values.kinds, kinds))
        raise _NoConditionError(f"{values.said} is {left}, and {said} is {right}")


def _is_missing(values: _Values) -> Mask:
    import numpy as np

    missing: Mask = np.isnan(values.numbers) & (values.texts == None)  # noqa: E711  entry by entry
    return missing


def _holds(op: ast.cmpop, left: _Values, right: _Values) -> Mask:
    import numpy as np

    _hold_to_kinds(left, right.said, right.kinds)
    if type(op) in ORDERS:
        order = ORDERS[type(op)]
        mask: Mask = order(left.numbers, right.numbers)
        both = (left.texts != None) & (right.texts != None)  # noqa: E711
        mask[both] = order(left.texts[both], right.texts[both])
        return mask
    neither = np.isnan(left.numbers) & np.isnan(right.numbers)
    equal: Mask = (left.numbers == right.numbers) | (neither & (left.texts == right.texts).astype(bool))
    return ~equal if isinstance(op, (ast.NotEq, ast.IsNot)) else equal
