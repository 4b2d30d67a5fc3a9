"""A restorer's process: one death while it loads or prepares is tried once more, nothing else is."""

import pytest

from bench.plugins.registry import choose
from bench.restorer import Setting
from bench.runner.messages import Failure, Load, Prepare, Ready
from bench.runner.process import RestorerProcess
from bench.runner.worker import Limits

GRAY = Setting("denoise", 25.0, 1)
READY = Ready(False, ("cpu",))
DEATH, LIMIT, RAISED = Failure("the process was killed by SIGKILL"), Failure("no answer"), Failure("ValueError: no")


class Stub:
    """In the place of a worker: answers with what is due, and is dead after DEATH and LIMIT."""

    due = ()
    asked = ()

    nursery = None

    def __init__(self, load, threads, limits, *, shares=False, modules=()):
        self.alive, self.died = True, False
        self.load = load

    def loaded(self):
        return self.ask(self.load)

    def ask(self, message):
        Stub.asked.append(type(message))
        answer = Stub.due.pop(0)
        self.alive = answer not in (DEATH, LIMIT)
        self.died = answer is DEATH
        return answer

    def said(self):
        return f"said by question {len(Stub.asked)}"

    def close(self):
        self.alive = False


@pytest.fixture
def due():
    """Makes a process of a restorer that answers so."""

    def make(*answers):
        Stub.due, Stub.asked = [*answers], []
        return RestorerProcess(choose("noisy"), "cpu", 1, Limits(), kind=Stub)

    return make


@pytest.mark.parametrize(
    ("answers", "outcome", "asked"),
    [
        ([READY, READY], None, [Load, Prepare]),
        ([DEATH, READY, READY], None, [Load, Load, Prepare]),
        ([DEATH, DEATH], DEATH, [Load, Load]),
        ([DEATH, RAISED], RAISED, [Load, Load]),
        ([RAISED], RAISED, [Load]),
        ([LIMIT], LIMIT, [Load]),
        ([READY, DEATH, READY, READY], None, [Load, Prepare, Load, Prepare]),
        ([READY, DEATH, READY, DEATH], DEATH, [Load, Prepare, Load, Prepare]),
        ([READY, DEATH, DEATH, READY, READY], None, [Load, Prepare, Load, Load, Prepare]),
        ([READY, LIMIT], LIMIT, [Load, Prepare]),
        ([READY, RAISED], RAISED, [Load, Prepare]),
    ],
)
def test_one_death_is_tried_once_more(due, answers, outcome, asked):
    restorer = due(*answers)
    assert restorer.ready(GRAY, None) == outcome
    assert Stub.asked == asked
    assert not Stub.due
    if outcome is not None and Stub.asked[-1] is Load:
        assert restorer.ready(GRAY, None) == outcome  # and is not asked again
        assert Stub.asked == asked


def test_what_died_of_one_setting_twice_may_do_another(due):
    restorer = due(READY, DEATH, READY, DEATH, READY, READY)
    assert restorer.ready(GRAY, None) == DEATH
    assert restorer.ready(Setting("denoise", 50.0, 1), None) is None
    assert Stub.asked == [Load, Prepare] * 3
