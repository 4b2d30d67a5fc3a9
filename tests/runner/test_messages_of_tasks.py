"""Messages to and from tasks and metrics of one's own: read as written, bounded before there is memory for them."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from bench.plugins.identity import Held
from bench.restorer import Observation
from bench.runner.messages import (
    Bring,
    Degrade,
    Degraded,
    Failure,
    Judge,
    Judged,
    Restore,
    arrays_of,
    question_of,
    reply_of,
    written,
)
from bench.runner.wire import BadMessageError
from tests.runner.test_wire import JSON, same

IMAGE = np.random.default_rng(0).random((5, 8, 3), dtype=np.float32)
MASK = IMAGE[..., :1] > 0.5
KNOWN = {"peak": 4.0, "kernel": np.eye(3), "called": "box", "mask": MASK, "n": 3, "flag": True}
QUESTIONS = [
    Bring("task", "a.py:A", "a", "/a", (Held("/a/caf\udce9.py", "12", "34", False),)),
    Degrade(IMAGE, 25.0, (1, 2, 2**32 - 1)),
    Degrade(IMAGE, "0.01/0.0004", (0,), 1),
    Judge(IMAGE.astype(float), 255 * IMAGE.astype(float)),
    Restore(Observation(IMAGE, "photons", known=KNOWN), True, None),
    Restore(Observation(IMAGE, "photons", known={}), True, None),
]
TO = QUESTIONS[1]
ANSWERS = [
    (Degraded(IMAGE, IMAGE[::2], KNOWN, ("k.py",)), TO),
    (Degraded(IMAGE[..., :1], IMAGE[..., :1], {}), TO),
    *((Judged(value), QUESTIONS[3]) for value in (0.1, -7.0, float("inf"), float("-inf"))),
    (Failure("no"), TO),
]


@pytest.mark.parametrize("question", QUESTIONS, ids=range(len(QUESTIONS)))
def test_a_question_is_read_as_it_was_written(question):
    told, arrays = written(question)
    read = question_of(told, arrays)
    if isinstance(question, Restore):
        assert all(np.array_equal(read.seen.known[name], value) for name, value in question.seen.known.items())
        assert [*read.seen.known] == [*question.seen.known]
        assert read.seen.mask is None if not question.seen.known else np.array_equal(read.seen.mask, MASK)
    else:
        assert same(read, question)


def _as_json(fields):
    return json.loads(json.dumps(fields))


@pytest.mark.parametrize(("said", "to"), ANSWERS, ids=range(len(ANSWERS)))
def test_an_answer_is_read_as_it_was_given(said, to):
    told, arrays = written(said)
    read = reply_of({**_as_json(told), "number": 4}, 4, to)
    assert type(read) is type(said)
    for empty, array in zip(arrays_of(read), arrays, strict=True):
        assert (empty.dtype, empty.shape) == (array.dtype, array.shape)
        empty[...] = array
    if isinstance(said, Degraded):
        assert [*read.known] == [*said.known]
        assert all(np.array_equal(read.known[name], value) for name, value in said.known.items())
        read, said = replace(read, known={}), replace(said, known={})
    assert same(read, said)


SHAPES = [None, 7, "558", [5, 8], [6, 8, 3], [5, 9, 3], [5, 8, 2], [0, 8, 3], [5, 8, True], [5.0, 8, 3], [-1, 8, 3]]
WRONG = {
    "clean": SHAPES,
    "image": SHAPES,
    "told": [
        None,
        [7],
        [["float32"]],
        [["float32", 7]],
        [["object", [3]]],
        [["float64", [1 << 20, 1 << 20]]],
        [["float64", []]],
        [["float64", [0]]],
        [["float64", [1, 1, 1, 1, 1]]],
        [["float64", [1 << 40]]],
        [["float64", [3, 3]]] * 50,
        [],
    ],
    "known": [
        *[None, [], 7, {"a": [1]}, {"a": 1e999}, {"a": 10**400}, {"a": "x" * 10**4}, {"x" * 500: 1}],
        {"a": None, "b": None},
    ],
    "unseen": [None, "a", ["a"] * 1000],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in WRONG for value in WRONG[name]])
def test_each_field_of_what_a_task_shows_is_held_to_its_type_and_size(name, value):
    told = _as_json(written(Degraded(IMAGE, IMAGE, {"kernel": np.eye(3)}))[0])
    with pytest.raises(BadMessageError) as refused:
        reply_of({**told, "number": 4, name: value}, 4, TO)
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize("value", [None, "7", "nan", [1], True, 10**400])
def test_a_metric_s_figure_is_a_number(value):
    with pytest.raises(BadMessageError, match="value is"):
        reply_of({"kind": "Judged", "value": value, "unseen": [], "number": 4}, 4, QUESTIONS[3])


@given(some.dictionaries(some.sampled_from([*WRONG, "kind", "number", "value"]), JSON))
def test_whatever_fields_come_they_are_read_or_refused(fields):
    told = {**_as_json(written(Degraded(IMAGE, IMAGE, {}))[0]), "number": 4, **fields}
    try:
        read = reply_of(told, 4, TO)
    except BadMessageError:
        return
    assert isinstance(read, (Degraded, Failure))
    assert sum(array.nbytes for array in arrays_of(read)) < 1 << 27
