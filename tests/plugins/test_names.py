"""The grammar of restorers' names: what is typed is what is meant, and what is printed can be typed again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import RestorerError
from bench.plugins.names import Asked, checked, read, read_parameters, spelled, split


def one(words):
    [asked] = read(words, lambda name: name == "onnx")
    return asked


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        ("dncnn", Asked("dncnn")),
        ("dncnn:bf16+@published", Asked("dncnn:bf16", ensemble=True, weights="published")),
        ("dncnn@a@b.pt", Asked("dncnn", weights="a@b.pt")),
        ("tv( weight = 0.2 )+@'x,y.pt'", Asked("tv", parameters={"weight": 0.2}, ensemble=True, weights="x,y.pt")),
        ("tv()", Asked("tv")),
        ("pack.age:Class:v(a=1)", Asked("pack.age:Class:v", parameters={"a": 1})),
        ("./my.py:Mine", Asked(file="./my.py", class_name="Mine")),
        ("./my.py:Mine:v+", Asked(file="./my.py", class_name="Mine", variant="v", ensemble=True)),
        ("./a@b/my.py:Mine(a=1)@w@2.pt", Asked("", "./a@b/my.py", "Mine", "", {"a": 1}, False, "w@2.pt")),
        ("./it's (new)/my.py:Mine", Asked(file="./it's (new)/my.py", class_name="Mine")),
        ("'./a, b.py':Mine(a=1)", Asked(file="./a, b.py", class_name="Mine", parameters={"a": 1})),
        ("\"./a, b.py:Mine(m='x')\"", Asked(file="./a, b.py", class_name="Mine", parameters={"m": "x"})),
        (r"'./it\'s, \\.py':Mine", Asked(file="./it's, \\.py", class_name="Mine")),
        ("onnx:m.onnx", Asked("onnx", weights="m.onnx")),
        ("onnx@m.onnx", Asked("onnx", weights="m.onnx")),
        ("onnx:./v(2)@b+c/m.onnx(range=255)+", Asked("onnx", "", "", "", {"range": 255}, True, "./v(2)@b+c/m.onnx")),
        ("onnx:'m(a=1)'", Asked("onnx", weights="m(a=1)")),
    ],
)
def test_each_part_is_found(words, asked):
    assert one(words) == asked


@pytest.mark.parametrize(
    ("told", "value"),
    [
        ("3", 3),
        ("-1e-3", -0.001),
        ("fast", "fast"),
        ("a-b.c", "a-b.c"),
        ("true", True),
        ("False", False),
        ("None", None),
        ("'true'", "true"),
        ("'a, (b|c'", "a, (b|c"),
        ("(1, fast, true)", (1, "fast", True)),
        ("[(1,), 'x y']", [(1,), "x y"]),
    ],
)
def test_values_are_what_they_look_like(told, value):
    found = one(f"x(key={told})").parameters["key"]
    assert (found, type(found)) == (value, type(value))


def test_a_bar_asks_for_each_value():
    asked = read("x(r=1|2, mode='a|b'|c)")
    assert [one.parameters for one in asked] == [
        {"mode": "a|b", "r": 1},
        {"mode": "c", "r": 1},
        {"mode": "a|b", "r": 2},
        {"mode": "c", "r": 2},
    ]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("x(3)", "'3' is no parameter; expected KEY=VALUE"),
        ("x(a=)", "a is ''; expected a number, a word"),
        ("x(a=b c)", "a is 'b c'; expected .* Other text goes into quotes"),
        ("x(a=f(1))", r"a is 'f\(1\)'; expected"),
        ("x(a={1: 2})", "a is {1: 2}; expected a finite number"),
        ("x(a=1e999)", "a is inf; expected a finite number"),
        ("x(a=1, a=2)", "a is given twice"),
        ("x(weights=w.pt)", "weights is no parameter; weights are asked for as NAME@FILE"),
        ("x(variant=fast)", "variant is no parameter; a variant is asked for as NAME:VARIANT"),
        ("x(a=1", "the bracket '\\(' is never closed"),
        ("x(a='1)", "the quote ' is never closed"),
        ("x(a=1)fast", "'fast' follows where only \\+ or @WEIGHTS may"),
        (f"x(a={'(' * 400}{')' * 400})", "a is '\\(.*; expected"),
        (f"x(a='{'y' * 400}')", "a is .*; expected"),
        (f"x({', '.join(f'a{i}={10**30}' for i in range(30))})", "have more than 300 letters"),
        (f"x(a={'|'.join(map(str, range(99)))}, b={'|'.join(map(str, range(99)))})", "asks for 9801 restorers"),
    ],
)
def test_what_is_not_of_the_grammar_is_named(words, says):
    with pytest.raises(RestorerError, match=says):
        read(words)


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ("a, b+,c@ours", ["a", "b+", "c@ours"]),
        ("a(x=1, y=(1,2)),b", ["a(x=1, y=(1,2))", "b"]),
        ("'./a, b.py':M,c@\"d,e\"", ["'./a, b.py':M", 'c@"d,e"']),
        ("./it's.py:M,b", ["./it's.py:M", "b"]),
        ("a(x='),'),b", ["a(x='),')", "b"]),
    ],
)
def test_commas_within_brackets_and_quotes_do_not_separate(words, parts):
    assert split(words) == parts


@pytest.mark.parametrize("words", ["a(b,c", "'a,b"])
def test_what_is_never_closed_is_said(words):
    with pytest.raises(RestorerError, match="is never closed"):
        split(words)


PLAIN = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    PLAIN | st.text(max_size=9) | st.sampled_from(["true", "a-b", "it's", "'\"", "\\"]),
    lambda inner: st.lists(inner, max_size=3) | st.lists(inner, max_size=3).map(tuple),
    max_leaves=4,
)


@given(st.dictionaries(st.sampled_from(["a", "b_2", "größe"]), VALUES, max_size=3))
def test_what_is_spelled_is_read_again(parameters):
    made = checked("x", parameters)
    told = spelled(made)
    assert read_parameters(told) == made
    assert repr(read_parameters(told)) == repr(made)
    assert split(f"x({told}),y") == [f"x({told})", "y"]
    assert one(f"x({told})+@w").parameters == made
