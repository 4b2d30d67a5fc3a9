"""A worker over its pipe: whatever the process at the other end does, there is an answer in time, or a reason.

The process is a small script that is given the functions below, without any of the engine.
"""

import contextlib
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

from bench.restorer import Observation
from bench.runner import worker as workers
from bench.runner.messages import Answer, Failure, Load, Ready, Restore
from bench.runner.worker import Limits, Worker

LIMIT = 30
SEEN = Observation(np.random.default_rng(0).random((16, 24, 1), dtype=np.float32), "denoise", sigma=25.0)
ASKED = Restore(SEEN, True, None)
LOAD = Load("a.py:A", "", "", ("", ""), False, "cpu", "a", "1", "", (), False)

HEAD = """
import json, os, struct, sys, time
fd = int(sys.argv[1])

def exactly(n):
    read = b""
    while len(read) < n:
        more = os.read(fd, n - len(read))
        if not more:
            sys.exit()
        read += more
    return read

def asked():
    head = json.loads(exactly(struct.unpack(">4sI", exactly(8))[1]))
    size = sum({"float32": 4, "bool": 1}[kind] * h * w * c for kind, (h, w, c) in head["arrays"])
    return head, exactly(size), exactly(8)

def framed(fields, image=b"", end=None):
    head = json.dumps(fields).encode()
    return struct.pack(">4sI", b"bnch", len(head)) + head + image + end

def say(what):
    while what:
        what = what[os.write(fd, what):]

ANSWER = {"kind": "Answer", "timing": None, "peak_mib": None, "params": 0, "macs_per_pixel": None,
          "estimated_level": None, "seconds_restoring": 0.1, "unseen": []}

head, _, end = asked()
say(framed({"kind": "Ready", "needs_weights": False, "devices": ["cpu"], "number": 1}, b"", end))
head, image, end = asked()
number = head["number"]
right = framed({**ANSWER, "number": number}, image, end)
"""


class Script:
    """In the place of bench.runner.lifeline.Lifeline: a process of the test's own."""

    text = ""
    nursery = fd = None

    def __init__(self, pipe, says, environment, modules):
        words = [sys.executable, "-ISc", self.text, str(pipe)]
        self.process = subprocess.Popen(
            words, pass_fds=[pipe], stdin=subprocess.DEVNULL, stdout=says, stderr=says, start_new_session=True
        )
        self.pid, self.status = self.process.pid, self.process.poll

    def wait(self, seconds):
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.process.wait(seconds)

    def end(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def worker(monkeypatch):
    """Makes a worker whose process loads, and does `lines` once it is asked to restore."""
    made = []

    def make(lines, seconds=LIMIT, memory_mib=None):
        monkeypatch.setattr(Script, "text", HEAD + textwrap.dedent(lines))
        monkeypatch.setattr(workers, "Lifeline", Script)
        made.append(Worker(LOAD, 1, Limits(seconds, memory_mib)))
        assert made[-1].loaded() == Ready(False, ("cpu",))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_an_answer_has_the_picture_and_the_figures(worker):
    said = worker("say(right); asked()").ask(ASKED)
    assert isinstance(said, Answer)
    assert np.array_equal(said.x_hat, SEEN.image)


def test_an_answer_in_many_parts_is_one(worker):
    said = worker("for i in range(len(right)): os.write(fd, right[i:i+1])\nasked()").ask(ASKED)
    assert np.array_equal(said.x_hat, SEEN.image)


REFUSED = {
    "say(b'x' * 1000)": "it begins as no message does",
    "say(struct.pack('>4sI', b'bnch', 2**32 - 1))": "a header of 4294967295 bytes, expected 65536 at most",
    "say(struct.pack('>4sI', b'bnch', 7) + b'not JSO')": "its header is not JSON",
    "say(framed([ANSWER], image, end))": "its header is not a JSON object",
    "say(framed({**ANSWER, 'number': number - 1}, image, end))": "it answered twice, or to no question",
    "say(framed({**ANSWER, 'number': number, 'params': '7'}, image, end))": "params is '7', expected a whole number",
    "say(framed({'kind': 'Ready', 'number': number}, b'', end))": "'Ready' is no answer to Restore",
    "say(right[:500] + b'junk' + right[500:])": "something was written in between",
    "say(right + right)": "more came than was asked for",
    "say(right[:-8] + b'notoken!')": "something was written in between",
    "say(right.replace(image[:4], struct.pack('f', float('nan'))))": "values that are not finite",
}


@pytest.mark.parametrize("lines", REFUSED)
def test_what_is_no_answer_is_refused_by_what_it_is(worker, lines):
    one = worker(f"{lines}\nasked()")
    said = one.ask(ASKED)
    assert isinstance(said, Failure)
    assert said.reason.startswith("what came through its pipe cannot be read: ")
    assert REFUSED[lines] in said.reason
    assert (one.alive, one.died) == (False, False)


def test_an_answer_that_comes_twice_is_never_that_to_another_question(worker):
    """The second comes late; what follows is asked of a process whose answers are not its own."""
    one = worker("say(right); time.sleep(0.05); say(right); asked(); time.sleep(60)")
    assert isinstance(one.ask(ASKED), Answer)
    time.sleep(0.2)
    said = one.ask(ASKED)
    assert said == Failure("what came through its pipe cannot be read: it answered twice, or to no question")


SLOW = {
    "says nothing": "time.sleep(600)",
    "stops in the prefix": "say(right[:5]); time.sleep(600)",
    "stops in the header": "say(right[:50]); time.sleep(600)",
    "stops in the picture": "say(right[:500]); time.sleep(600)",
    "stops before the end": "say(right[:-1]); time.sleep(600)",
    "drips": "for i in range(len(right)): os.write(fd, right[i:i+1]); time.sleep(0.02)",
    "prints without end": "while True: os.write(2, b'x' * 65536)",
    "is stopped": "os.kill(os.getpid(), 19)",
}


@pytest.mark.parametrize("lines", SLOW.values(), ids=SLOW)
def test_what_takes_too_long_ends_at_the_limit(worker, lines):
    began = time.monotonic()
    assert worker(lines, seconds=0.2).ask(ASKED) == Failure("no answer within the time limit of 0.2 s")
    assert time.monotonic() - began < 10


def test_a_picture_that_is_not_read_ends_at_the_limit(worker):
    large = Observation(np.zeros((1000, 1000, 3), np.float32), "denoise", sigma=25.0)
    one = worker("say(right); time.sleep(600)", seconds=0.3)
    assert isinstance(one.ask(ASKED), Answer)
    assert one.ask(Restore(large, True, None)) == Failure("no answer within the time limit of 0.3 s")


def test_to_write_before_the_question_is_read_is_refused(worker):
    large = Observation(np.zeros((1000, 1000, 3), np.float32), "denoise", sigma=25.0)
    one = worker("say(right); exactly(8); say(right); time.sleep(600)")
    assert isinstance(one.ask(ASKED), Answer)
    assert "it wrote before it had read the question" in one.ask(Restore(large, True, None)).reason


DEATHS = {
    "sys.exit(3)": "the process exited with status 3",
    "print('last'); print(); sys.exit(3)": "the process exited with status 3: last",
    "say(right[:500]); os._exit(0)": "the process exited with status 0",
    "os.kill(os.getpid(), 9)": "the process was killed by SIGKILL (out of memory?)",
    "os.kill(os.getpid(), 11)": "the process was killed by SIGSEGV",
    "os.write(2, b'x' * 10_000); os._exit(1)": "the process exited with status 1: " + "x" * 465 + "…",
    "os.kill(os.getpid(), 37)": "the process was killed by signal 37",  # a real-time signal has no name
    r"os.write(2, b'\x1b[31m\xff\n \n'); os._exit(1)": r"the process exited with status 1: \x1b[31m" + "\ufffd",
}


@pytest.mark.parametrize("lines", DEATHS)
@pytest.mark.parametrize("holder", ["", "if not os.fork(): os.setsid(); time.sleep(3)\n"], ids=["alone", "held"])
def test_a_death_is_seen_at_once_even_if_a_child_holds_the_pipe(worker, lines, holder):
    one = worker(f"{holder}{lines}")
    began = time.monotonic()
    assert one.ask(ASKED) == Failure(DEATHS[lines])
    assert time.monotonic() - began < 2
    assert (one.alive, one.died) == (False, True)


def test_a_death_is_seen_soon_though_another_holds_the_pipe(worker):
    one = worker("if not os.fork(): time.sleep(3)\nos._exit(5)")
    began = time.monotonic()
    assert one.ask(ASKED) == Failure("the process exited with status 5")
    assert time.monotonic() - began < 2


def test_an_answer_before_a_death_is_one(worker):
    one = worker("say(right); os._exit(0)")
    assert isinstance(one.ask(ASKED), Answer)
    assert one.ask(ASKED) == Failure("the process exited with status 0")


def test_one_that_closes_its_pipe_and_goes_on_is_not_waited_for(worker, monkeypatch):
    monkeypatch.setattr(workers, "DYING_SECONDS", 0.1)
    one = worker("os.close(fd); time.sleep(600)")
    assert one.ask(ASKED) == Failure("the process closed its pipe, and went on without it")
    assert not one.died


def test_of_what_is_printed_the_end_is_kept(worker):
    one = worker("for i in range(1000): os.write(2, b'x' * 65536)\nos.write(2, b'\\nlast\\n'); say(right); asked()")
    assert isinstance(one.ask(ASKED), Answer)
    assert len(one._said._kept) <= 2**16
    one._said.listen()
    assert one._said.last_line() == "last"


def test_one_that_grows_is_ended(worker, monkeypatch):
    monkeypatch.setattr(workers, "resident_mib", lambda pid: 300.0)
    one = worker("time.sleep(600)", memory_mib=400)
    one.limits = Limits(LIMIT, 200)
    assert one.ask(ASKED) == Failure("its resident memory grew past the limit of 200 MiB")


def test_one_that_another_thread_closed_is_a_failure(worker):
    one = worker("time.sleep(600)")
    one.close()
    assert isinstance(one.ask(ASKED), Failure)


@pytest.mark.parametrize(
    ("threads", "shares", "load", "policy"),
    [
        (1, False, 0.0, None),
        (1, True, 0.0, "PASSIVE"),
        (1, False, 9.0, "PASSIVE"),
        (4096, False, 0.0, "PASSIVE"),
    ],
)
def test_threads_wait_asleep_where_there_are_more_than_cores(monkeypatch, threads, shares, load, policy):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.setattr(workers, "overload", lambda: load)
    assert workers._environment(threads, shares).get("OMP_WAIT_POLICY") == policy


def test_what_the_user_has_said_of_openmp_holds(monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    assert workers._environment(1, shares=True)["OMP_WAIT_POLICY"] == "ACTIVE"
