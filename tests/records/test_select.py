"""`--select`: a language of its own. It says what Python would of each row, and runs nothing."""

import math
import operator
import re

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import RequestError
from bench.records.record import COLUMNS, Record, frame_of
from bench.records.select import select

SHARED = {"weights": "", "channels": 1, "protocol": "standard-v1", "repeat": 0, "status": "ok", "task": "denoise"}


def made(restorer="sc", level=25.0, dataset="set12", image="1.png", **figures):
    return Record(**{**SHARED, **figures}, restorer=restorer, level=level, dataset=dataset, image=image)


ROWS = [
    made(psnr_db=30.0, seconds=0.5),
    made("dncnn", psnr_db=math.inf, params=555),
    made("dncnn:bf16", level=50.0, psnr_db=27.5, dataset="bsd68"),
    made("menon", level="RGGB", dataset="kodak24", psnr_db=38.0, seconds=2.0, channels=3),
    made("groupsc", level=15.0, status="failed", reason='it\'s "odd"'),
]
FRAME = frame_of(ROWS)


def chosen(condition, frame=FRAME):
    return select(frame, condition)["restorer"].tolist()


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("dataset == 'set12' and level == 25", ["sc", "dncnn"]),
        ("restorer in ['sc', 'groupsc']", ["sc", "groupsc"]),
        ("restorer not in ('sc', 'groupsc')", ["dncnn", "dncnn:bf16", "menon"]),
        ("psnr_db > 30", ["dncnn", "menon"]),
        ("25 <= level <= 50", ["sc", "dncnn", "dncnn:bf16"]),
        ("15 < level < 50.0 or level == 'RGGB'", ["sc", "dncnn", "menon"]),
        ("level in [15, 'RGGB']", ["menon", "groupsc"]),
        ("level != 25", ["dncnn:bf16", "menon", "groupsc"]),
        ("level == '25'", []),
        ("level > 'A'", ["menon"]),
        ("not (seconds is None)", ["sc", "menon"]),
        ("seconds is not None", ["sc", "menon"]),
        ("seconds == None", ["dncnn", "dncnn:bf16", "groupsc"]),
        ("seconds in [None, 2]", ["dncnn", "dncnn:bf16", "menon", "groupsc"]),
        ("not seconds < 1", ["dncnn", "dncnn:bf16", "menon", "groupsc"]),
        ("seconds != 0.5", ["dncnn", "dncnn:bf16", "menon", "groupsc"]),
        ("psnr_db == 1e999", ["dncnn"]),
        ("psnr_db > -1 and psnr_db < 10000000000000000000000000", ["sc", "dncnn:bf16", "menon"]),
        ("'dncnn' in restorer", ["dncnn", "dncnn:bf16"]),
        ("'dncnn' not in restorer", ["sc", "menon", "groupsc"]),
        ("params == 555", ["dncnn"]),
        ("reason == 'it\\'s \"odd\"'", ["groupsc"]),
        ("channels == 3 or\n  restorer == \"sc\"", ["sc", "menon"]),
        ("task == 'denoise' and not status == 'ok'", ["groupsc"]),
        ("restorer in []", []),
        ("  level == 15", ["groupsc"]),
        ("seconds < psnr_db", ["sc", "menon"]),
        ("dataset == restorer", []),
        ("1 == 1", [row.restorer for row in ROWS]),
    ],
)  # fmt: skip
def test_a_condition_chooses_rows(condition, expected):
    assert chosen(condition) == expected


def test_a_column_of_truths_is_a_condition():
    frame = FRAME.assign(current=[True, False, True, False, True])
    assert chosen("current", frame) == chosen("current == True", frame) == ["sc", "dncnn:bf16", "groupsc"]
    assert chosen("not current and psnr_db > 0", frame) == ["dncnn", "menon"]


def test_no_records_are_selected_from_none():
    assert select(frame_of([]), "level == 25 and restorer in ['x'] and 'a' in image").empty


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ("levl == 25", "No column named 'levl'. Did you mean 'level'?"),
        ("restorer == 5", "restorer is a text, and 5 is a number"),
        ("psnr_db > '30'", "psnr_db is a number, and '30' is a text"),
        ("restorer in ['a', 3]", "restorer is a text, and 3 is a number"),
        ("seconds < restorer", "seconds is a number, and restorer is a text"),
        ("seconds", "seconds is no comparison"),
        ("25", "25 is no comparison"),
        ("", "invalid syntax"),
        ("level equals 15", "invalid syntax"),
        ("level == 25 & channels == 1", "25 & channels is neither a column nor"),
        ("(level == 25) & (channels == 1)", "(level == 25) & (channels == 1) is no comparison"),
        ("level == [15, 25]", "[15, 25] is neither a column nor"),
        ("level is 25", "'is' 25, where there is 'is None' alone"),
        ("level == -'a'", "a sign before 'a'"),
        ("level in 25", "expected a list, or a text in a column of texts"),
        ("level == 25j", "25j is neither"),
        ("level == f'{1}'", "f'{1}' is neither"),
        ("level == b'a'", "b'a' is neither"),
        ("level == True", "level is a number or a text, and True is true or false"),
        ("image.str.startswith('a')", "image.str.startswith('a') is no comparison"),
        ("@pd.io.common.os.system('touch x')", "invalid syntax"),
        ("__import__('os').system('touch x') == 0", "__import__('os').system('touch x') is neither"),
        ("level == (lambda: 25)()", "(lambda: 25)() is neither"),
        ("[x for x in level] == 25", "[x for x in level] is neither"),
        ("level == 9**9**9", "9**9**9 is neither"),
        ("(level := 25) == 25", "is neither"),
        ("level == 25 if level else 3", "is no comparison"),
        ("`level` == 25", "invalid syntax"),
        ("level == 25\0", "null"),
        ("not " * 60 + "level == 25", "too deeply nested"),
        ("(" * 300 + "level" + ")" * 300 + " == 25", "nested"),
        ("not " * 1000 + "a", "nested"),
        ("level == " + "-" * 4000 + "1", "--select"),
        ("a." * 2000 + "a", "--select"),
        ("level == " + "9" * 4087, None),
        ("level" + " " * 5000 + "== 25", "5010 characters, expected at most 4096"),
    ],
    ids=lambda value: re.sub(r"\W+", " ", value or "")[:40],
)  # fmt: skip
def test_what_is_no_condition_is_told_in_one_line_and_nothing_of_it_runs(condition, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if said is None:
        assert chosen(condition) == []
        return
    with pytest.raises(RequestError, match=re.escape(said)) as told:
        select(FRAME, condition)
    assert str(told.value).startswith("--select")
    assert len(str(told.value).splitlines()) == 1
    assert len(str(told.value)) < 900
    assert not [*tmp_path.iterdir()]


# --- beside plain Python, row by row -------------------------------------------------------------------------

texts = st.sampled_from(["", "sc", "dncnn", "RGGB", "it's", "ü"])
numbers = st.sampled_from([0, 1, 3, -2, 15, 25, 25.0, 0.1, 30.5, math.inf, -1e9])
TEXT, NUMBER = ["restorer", "image", "reason"], ["psnr_db", "seconds", "channels", "params"]
OPS = {"==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


@st.composite
def comparisons(draw):
    """A condition, and what Python makes of a row."""
    mixed = draw(st.integers(0, 3)) == 0
    texty = draw(st.booleans())
    value = texts | numbers | st.none() if mixed else (texts if texty else numbers) | st.none()
    names = st.just("level") if mixed else st.sampled_from(TEXT if texty else NUMBER)
    name = draw(names)
    if draw(st.booleans()):
        items = draw(st.lists(value, max_size=4))
        negated = draw(st.booleans())
        said = ", ".join("1e999" if item == math.inf else repr(item) for item in items)
        return f"{name} {'not ' * negated}in [{said}]", lambda row: (row[name] in items) != negated
    if texty and not mixed and draw(st.booleans()):
        part = draw(texts)
        return f"{part!r} in {name}", lambda row: row[name] is not None and part in row[name]
    said, sides = [name], [lambda row: row[name]]
    ops = draw(st.lists(st.sampled_from([*OPS]), min_size=1, max_size=1 if mixed else 2))
    for op in ops:
        if draw(st.booleans()):
            other = draw(names)
            side, word = (lambda row, other=other: row[other]), other
        else:
            literal = draw(value)
            side = lambda row, literal=literal: literal  # noqa: E731
            word = "1e999" if isinstance(literal, float) and literal == math.inf else repr(literal)
        said += [op, word]
        sides.append(side)
    return " ".join(said), lambda row: all(
        holds(op, a(row), b(row)) for op, a, b in zip(ops, sides, sides[1:], strict=False)
    )


def holds(op, a, b):
    """As Python, but that no order holds between values of two kinds, where it raises."""
    try:
        return OPS[op](a, b)
    except TypeError:
        return False


def combined(parts):
    def joined(word, join):
        return st.tuples(parts, parts).map(
            lambda two: (f"({two[0][0]} {word} {two[1][0]})", lambda row: join((two[0][1](row), two[1][1](row))))
        )

    negated = parts.map(lambda one: (f"not ({one[0]})", lambda row: not one[1](row)))
    return joined("and", all) | joined("or", any) | negated


rows = st.fixed_dictionaries(
    {
        **dict.fromkeys(TEXT, texts),
        "psnr_db": st.none() | numbers.map(float),
        "seconds": st.none() | numbers.map(float),
        "params": st.none() | st.integers(0, 3),
        "channels": st.sampled_from([1, 3]),
        "level": texts | numbers.map(float),
    }
)


@given(condition=st.recursive(comparisons(), combined, max_leaves=4), rows=st.lists(rows, min_size=1, max_size=6))
def test_a_condition_holds_where_python_says_so(condition, rows):
    said, python = condition
    frame = pd.DataFrame([{**dict.fromkeys(COLUMNS), **SHARED, **row} for row in rows], columns=list(COLUMNS))
    kept = select(frame, said).index.tolist()
    assert kept == [i for i, row in enumerate(rows) if python(row)]


@given(st.text(max_size=60) | st.text("level()[]{}<>=!'\" .,:0123456789andornotis-+@\\", max_size=60))
def test_any_text_selects_or_is_refused(condition):
    try:
        select(FRAME, condition)
    except RequestError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017
