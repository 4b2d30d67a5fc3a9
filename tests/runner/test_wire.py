"""Messages: what is written is read as it was; what a plugin writes in their place is refused, by what it is."""

import contextlib
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from bench.measure.clocks import Timing
from bench.plugins.identity import Held
from bench.restorer import Observation, Setting, WeightsFile
from bench.runner.messages import (
    Answer,
    Failure,
    Load,
    Prepare,
    Ready,
    Restore,
    Show,
    Shown,
    Unable,
    question_of,
    reply_of,
    written,
)
from bench.runner.wire import PREFIX, BadMessageError, Channel, frame, header_bytes, parsed

IMAGE = np.random.default_rng(0).random((5, 8, 1), dtype=np.float32)
SEEN = Observation(IMAGE, "denoise", sigma=25.0)
MOSAIC = Observation(IMAGE, "demosaick", pattern="RGGB", mask=np.random.default_rng(1).random((5, 8, 3)) > 0.5)
GRAY = Setting("denoise", 25.0, 1)
LOAD = Load(
    "a.py:A", "", "", ("", ""), True, "cpu", "a", "1", "/a", (Held("/a/caf\udce9.py", "12", "34", False),), False
)
ANSWER = Answer(IMAGE, Timing(0.1, None, None), 50.0, 7, None, -1.5, 0.3, ("lib/é.py",))
TOKEN = b"01234567"

QUESTIONS = [
    LOAD,
    Prepare(GRAY, None),
    Prepare(Setting("demosaick", "RGGB", 3), WeightsFile(Path("/w/caf\udce9.pth"), "ours:a", "12", "theirs")),
    Restore(SEEN, True, None),
    Restore(replace(SEEN, image=np.rot90(IMAGE), sigma=np.float64(0.1)), False, 3, 5),
    Restore(MOSAIC, True, 3),
    Show(MOSAIC, (3, 0)),
    Restore(replace(SEEN, image=IMAGE[:0]), True, 3),
    Restore(Observation(IMAGE, "superres", scale=3, uint8=True), True, 3),
]


@pytest.fixture
def pipe():
    """A channel, and the end that writes to it."""
    theirs, ours = os.pipe()
    channel = Channel(theirs)
    yield channel, ours
    channel.close()
    os.close(ours)


def same(one, other):
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    if hasattr(one, "__dataclass_fields__"):
        return type(one) is type(other) and all(same(getattr(one, f), getattr(other, f)) for f in vars(one))
    return one == other


@pytest.mark.parametrize("question", QUESTIONS, ids=range(len(QUESTIONS)))
def test_a_question_is_read_as_it_was_asked(pipe, question):
    channel, ours = pipe
    told, arrays = written(question)
    shapes = [(array.dtype.name, array.shape) for array in arrays]
    for piece in frame({**told, "arrays": shapes, "number": 1, "token": TOKEN.hex()}, arrays, TOKEN):
        os.write(ours, piece)
    told, arrays = channel.receive()
    assert (told.pop("number"), told.pop("token")) == (1, TOKEN.hex())
    assert same(question_of(told, arrays), question)


@pytest.mark.parametrize(
    ("said", "to"),
    [
        (Ready(True, ("cpu", "cuda")), LOAD),
        (Ready(), Prepare(GRAY, None)),
        (Unable("no"), Prepare(GRAY, None)),
        (Failure("no"), LOAD),
        (Failure("no"), Restore(SEEN, True, 3)),
        (ANSWER, Restore(SEEN, True, 3)),
        (Shown(("a", "b"), np.zeros((2, *SEEN.restored_shape[:2]), np.float32)), Show(SEEN, (0, 1))),
        (Shown((), np.zeros((0, *SEEN.restored_shape[:2]), np.float32)), Show(SEEN, (0, 1))),
        (replace(ANSWER, timing=None, peak_mib=None, macs_per_pixel=1e9, unseen=()), Restore(SEEN, False, None)),
    ],
    ids=str,
)
def test_an_answer_is_read_as_it_was_given(said, to):
    told, arrays = written(said)
    read = reply_of(parsed(bytes(frame({**told, "number": 4}, arrays, TOKEN)[0][PREFIX.size :])), 4, to)
    if isinstance(read, Answer):
        assert read.x_hat.shape == SEEN.restored_shape
        read.x_hat[...] = arrays[0]
    if isinstance(read, Shown):
        read.maps[...] = arrays[0]
    assert same(read, said)


@pytest.mark.parametrize(
    ("header", "says"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff{}", "not JSON"),
        (b"[" * 60_000, "not JSON"),
        (b'{"a":' * 10_000, "not JSON"),
        (b'{"a": NaN}', "not JSON"),
        (b'{"a": Infinity}', "not JSON"),
        (b'{"a": 1, "a": 1}', "not JSON"),
        (b'{"a": ' + b"1" * 60_000 + b"}", "not JSON"),
        (b"[]", "not a JSON object"),
        (b"7", "not a JSON object"),
        (b'"a"', "not a JSON object"),
        (b"null", "not a JSON object"),
    ],
    ids=lambda x: str(x[:12]),
)
def test_a_header_is_a_json_object(header, says):
    with pytest.raises(BadMessageError, match=says):
        parsed(header)


@pytest.mark.parametrize("prefix", [b"\0" * 8, b"bnch\xff\xff\xff\xff", b"bnch\0\1\0\1", b"bnhc\0\0\0\1"])
def test_what_is_too_long_or_begins_as_no_message_is_not_read(prefix):
    with pytest.raises(BadMessageError, match=r"begins as no message does|header of \d+ bytes, expected 65536"):
        header_bytes(prefix)


NUMBERS = ["7", [7], {}, True, -1, float("inf"), float("nan"), 1e999, 10**400]
WRONG = {
    "number": [0, 3, 5, 4.0, True, "4", None, [4], 10**40],
    "kind": ["answer", "Ready", "Load", "", None, 7, ["Answer"], "\ud800"],
    "params": [None, 7.0, 10**40, 2**63, *NUMBERS],
    "peak_mib": NUMBERS,
    "macs_per_pixel": NUMBERS,
    "estimated_level": ["7", [7], {}, True, float("inf"), 10**400],
    "seconds_restoring": [None, *NUMBERS],
    "timing": ["abc", 7, {}, [], [1], [1, 2], [1, 2, 3, 4], [None, 1, 1], [-1, 0, 0], [[1], 0, 0], [True, 0, 0]],
    "unseen": [None, "a", 7, {}, [7], [None], [["a"]], ["a"] * 1000],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in WRONG for value in WRONG[name]])
def test_each_field_of_an_answer_is_held_to_its_type_and_range(name, value):
    told = {**written(ANSWER)[0], "timing": [0.1, None, None], "unseen": ["a"], "number": 4, name: value}
    with pytest.raises(BadMessageError) as refused:
        reply_of(told, 4, Restore(SEEN, True, 3))
    assert name in str(refused.value) or name in ("number", "kind")
    assert len(str(refused.value)) < 200
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("change", [{"more": 1}, {"params": None, "x_hat": []}])
def test_an_answer_has_its_fields_and_no_others(change):
    told = {**written(ANSWER)[0], "number": 4, **change}
    with pytest.raises(BadMessageError, match=r"fields of Answer|params is None"):
        reply_of(told, 4, Restore(SEEN, True, 3))
    with pytest.raises(BadMessageError, match="fields of Answer"):
        reply_of({"kind": "Answer", "number": 4}, 4, Restore(SEEN, True, 3))


@pytest.mark.parametrize(
    ("said", "to"),
    [(ANSWER, LOAD), (ANSWER, Prepare(GRAY, None)), (Ready(), Restore(SEEN, True, 3)), (Unable("no"), LOAD)],
    ids=str,
)
def test_an_answer_is_one_to_what_was_asked(said, to):
    with pytest.raises(BadMessageError, match=f"'{type(said).__name__}' is no answer to {type(to).__name__}"):
        reply_of({**written(said)[0], "number": 4}, 4, to)


@pytest.mark.parametrize("reason", [None, 7, ["no"], {}, True])
def test_a_reason_is_text(reason):
    with pytest.raises(BadMessageError, match=r"^reason is .+, expected text$"):
        reply_of({"kind": "Failure", "reason": reason, "number": 4}, 4, LOAD)


@pytest.mark.parametrize("reason", ["much " * 5000, "caf\udce9\n\x1b[31m\0", "\u202egnp", "\U0001f388" * 5000])
def test_a_reason_is_cut_and_can_be_printed(reason):
    for said in (Failure, Unable):
        told = {"kind": said.__name__, "reason": reason, "number": 4}
        read = reply_of(told, 4, Prepare(GRAY, None)).reason
        assert len(read) <= 500
        assert read.isprintable()
        assert read.encode("utf-8")


JSON = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | some.text(max_size=5) | some.just("\ud800"),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
NAMES = [*WRONG, "reason", "needs_weights", "devices", "x_hat"]


@given(some.dictionaries(some.sampled_from(NAMES), JSON), some.sampled_from([LOAD, *QUESTIONS[1:4:2]]))
def test_whatever_fields_come_they_are_read_or_refused(fields, to):
    told = {**written(ANSWER)[0], "timing": None, "unseen": [], "number": 4, **fields}
    for names in (told, {name: told[name] for name in fields}):
        try:
            read = reply_of(names, 4, to)
        except BadMessageError:
            continue
        assert isinstance(read, (Ready, Failure, Unable, Answer))


@given(some.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()))
def test_whatever_bytes_come_they_are_an_object_or_refused(header):
    with contextlib.suppress(BadMessageError):
        assert type(parsed(header)) is dict


def test_a_question_of_which_some_was_read_by_another_is_refused(pipe):
    channel, ours = pipe
    told, arrays = written(Restore(SEEN, True, 3))
    shapes = [("float32", IMAGE.shape)]
    pieces = frame({**told, "arrays": shapes, "number": 1, "token": TOKEN.hex()}, arrays, TOKEN)
    os.write(ours, b"".join(pieces).replace(bytes(pieces[1]), bytes(pieces[1])[:-9]) + b"123456789")
    with pytest.raises(BadMessageError, match="something else has read from the pipe"):
        channel.receive()
